"""Two that write one file do not meet, and a reader never finds half of it."""

import os

import numpy as np
import pytest

from reshim.beside import beside
from reshim.evaluation.store import Store


def test_a_process_that_writes_the_same_file_meanwhile_is_not_met(tmp_path, monkeypatch):
    path = tmp_path / "new" / "rows"
    with beside(path) as first:
        first.write_text("first")
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: -1)
            with beside(path) as second:
                second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    path = tmp_path / "rows"
    path.write_text("before")

    def fails():
        with beside(path) as own:
            own.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_images_that_two_processes_score_at_once_are_kept_by_both(tmp_path, monkeypatch):
    store, images = Store(tmp_path), np.ones((1, 4, 4))
    save = np.savez_compressed

    def slow(file, **arrays):
        """While this process writes, the other one finishes the same volume."""
        monkeypatch.setattr(np, "savez_compressed", save)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: -1)
            store.put_images("ab" * 32, images, images)
        save(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", slow)
    store.put_images("ab" * 32, images, images)
    assert np.load(store.image_path("ab" * 32))["images"].shape == (1, 4, 4)
