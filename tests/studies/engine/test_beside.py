"""Processes that train for one study: each leaves alone what another is at; the study needs none of them."""

from dataclasses import replace
from types import ModuleType

import pytest

from reshim.cli import main
from reshim.errors import UserError
from reshim.studies import STUDIES, recipe_of
from reshim.studies.engine import lab
from reshim.studies.engine.alone import AtWork, alone
from reshim.studies.engine.asked import Asked
from reshim.studies.engine.beside import checked_processes, train_beside, train_what_is_free
from reshim.studies.engine.diverse import Part
from reshim.studies.engine.one_for_all import OneForAll
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TOGETHER = OneForAll("both", tuple(Part.of(each) for each in (lab.KNEE_PD, lab.BRAIN_T2)), ("unet-tiny",))


@pytest.fixture
def recipe():
    small = ModuleType("small", "Is one network enough?")
    small.embedded = lambda scale: replace(lab.embedded(*TOGETHER.tests, scale=scale), subjects=4)
    small.train = TOGETHER.train
    return small


def test_who_does_not_wait_is_told(tmp_path):
    with alone(tmp_path / "work"):
        with pytest.raises(AtWork, match="work"), alone(tmp_path / "work", wait=False):
            raise AssertionError
        with alone(tmp_path / "other", wait=False):
            pass
    with alone(tmp_path / "work", wait=False):
        pass


def test_what_another_process_trains_is_left_alone_and_found_afterwards(recipe, tmp_path, monkeypatch):
    asked = Asked("small", recipe, tmp_path, scale=Scale.TINY)
    first = asked.study()
    TOGETHER.parts[0].train(first, "unet-tiny")
    (done,) = (tmp_path / "models").glob("unet*")

    study = asked.study()
    with alone(done):
        train_what_is_free(study, recipe)
    assert set(study.runs) == {"U-net: brain T2 3 T", "U-net: knee PD 3 T + brain T2 3 T",
                               "U-net: knee PD 3 T + brain T2 3 T, same size"}  # fmt: skip
    assert study.waits
    assert not (tmp_path / "curves" / "u-net-brain-t2-3-t.jsonl").exists()

    trained = []
    monkeypatch.setattr(Study, "_keep_curve", lambda study, label: trained.append(label))
    last = asked.study()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "models").glob("*/model.safetensors")}
    train_what_is_free(last, recipe)
    assert len(last.runs) == len(before) == 4
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not trained


def test_a_process_that_fails_leaves_its_work_to_the_study(recipe, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("reshim.studies.engine.beside.sys.executable", "false")
    study = Asked("small", recipe, tmp_path, scale=Scale.TINY).study()
    train_beside(study, recipe, ["study", "small"], processes=2)
    assert len(study.runs) == 4
    assert "trainings-2.log" in capfd.readouterr().err.replace("\n", "")


def test_only_studies_that_say_what_they_train_are_dealt_out(tmp_path, capsys):
    assert {name for name in STUDIES if hasattr(recipe_of(name), "train")} >= {
        "diverse-contrast", "diverse-anatomy", "diverse-field", "diverse-scanner", "diverse-forward-model",
        "diverse-skew", "diverse-large",
    }  # fmt: skip
    with pytest.raises(UserError, match="diverse-large"):
        checked_processes(recipe_of("stress"), 2)
    with pytest.raises(UserError, match="at least 1"):
        checked_processes(recipe_of("diverse-large"), 0)
    assert main(["study", "stress", "--processes", "2", "--out", str(tmp_path)]) == 2
    assert "--processes" in capsys.readouterr().err
