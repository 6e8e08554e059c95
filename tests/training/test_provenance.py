"""Who weights have seen goes on to the runs that are made from them."""

import dataclasses
import json
import shutil

import pytest
import torch

from reshim.networks import build
from reshim.networks.import_weights import import_weights
from reshim.training.run_folder import load_run
from reshim.training.train import train

SMALL = {"channels": 4, "poolings": 2}


@pytest.fixture
def trainer(toy, tmp_path):
    def run(out, scan, licence=None, **origins):
        record = dataclasses.replace(toy.record(scan, 2), licence=licence)
        options = {"network_settings": SMALL, "pool": toy.pool()} | origins
        return train("unet-tiny", [record], [], toy.settings(epochs=1), tmp_path / out, **options)

    return run


def subjects(*scans):
    return {("toy", f"subject of {scan}") for scan in scans}


def rewritten(run, change):
    """The run's settings.json, changed in place."""
    content = json.loads((run.path / "settings.json").read_text())
    change(content)
    (run.path / "settings.json").write_text(json.dumps(content))


def test_subjects_and_licences_go_on_from_start_and_fallback(trainer):
    first = trainer("first", "a", "CC-BY")
    second = trainer("second", "b", "own", start=first.path)
    lent = trainer("lent", "d", "MIT")
    third = trainer("third", "c", start=second.path, fallback=lent.path)
    assert first.settings["inherited"] is None
    assert second.training_subjects == subjects("a", "b")
    assert third.training_subjects == subjects("a", "b", "c", "d")
    assert third.unknown_subjects == ()
    # What this run itself looked at stays told apart.
    assert third.settings["data"]["training_subjects"] == [["toy", "subject of c"]]
    card = (third.path / "card.md").read_text()
    assert "CC-BY, MIT, own" in card
    assert "taken over with the weights of other runs: 3 subjects from toy" in card


def test_a_run_from_before_this_was_kept_is_read_through_the_folder_it_names(trainer, tmp_path):
    first = trainer("first", "a")
    second = trainer("second", "b", start=first.path)
    rewritten(second, lambda content: content.pop("inherited"))
    old = load_run(second.path)
    assert old.training_subjects == subjects("a", "b")
    assert old.digest == second.digest
    # Finished is finished: the same training hands it back, and its record is completed.
    before = (second.path / "model.safetensors").stat().st_mtime_ns
    again = trainer("second", "b", start=first.path)
    assert (second.path / "model.safetensors").stat().st_mtime_ns == before
    assert again.settings["inherited"]["training_subjects"] == [["toy", "subject of a"]]
    rewritten(second, lambda content: content.pop("inherited"))
    shutil.rmtree(first.path)
    orphan = load_run(second.path)
    assert orphan.training_subjects == subjects("b")
    assert orphan.unknown_subjects == (f"{first.path}: its folder is gone",)


def test_what_is_unknown_of_imported_weights_stays_unknown(trainer, tmp_path):
    torch.save(build("unet-tiny", SMALL).core.state_dict(), tmp_path / "public.pt")
    out = import_weights(tmp_path / "public.pt", "unet-tiny", tmp_path / "imported", SMALL)
    assert load_run(out).unknown_subjects == ("the weights were imported",)
    tuned = trainer("tuned", "a", start=out)
    again = trainer("again", "b", start=tuned.path)
    for run in (tuned, again):
        assert run.unknown_subjects == (f"{out}: the weights were imported",)
        assert "not all are known" in (run.path / "card.md").read_text()
    assert again.training_subjects == subjects("a", "b")
