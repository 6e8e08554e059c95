"""What a result has cost is what its own runs took that added to it."""

import json
import os
import signal
from dataclasses import replace
from types import ModuleType

import pytest
from tests.training.toy import record

from reshim.catalog import Catalog
from reshim.cli import main
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import score
from reshim.evaluation.rules import LowerBoundAbove
from reshim.report.blocks import ClaimsBlock
from reshim.rows import read_rows
from reshim.studies.engine import lab, relations, took
from reshim.studies.engine.asked import Asked
from reshim.studies.engine.run import run_study
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.engine.took import NOTES, Clock, total


@pytest.fixture
def time(monkeypatch):
    """A clock that is set by hand."""
    now = {"wall": 0.0}
    monkeypatch.setattr(took.time, "perf_counter", lambda: now["wall"])
    # User and system time, of this process and of those it waited for; the wall stands behind them.
    monkeypatch.setattr(took.os, "times", lambda: (*[now["wall"] / 8] * 4, now["wall"]))
    return now


def run(folder, time, seconds, keys, scale=Scale.EMBEDDED):
    study = Study("made", folder, Catalog.__new__(Catalog), scale, 0, folder)
    clock, before = Clock.started(), study.store.keys()
    time["wall"] += seconds
    for key in keys:
        study.finished.append((key, {}))
        if not study.store.has(key):
            study.store.put(key, [{"value": 1.0}])
    last = clock.note(study, Asked("made", recipe(), folder, scale=scale).form, before)
    return last, total(folder, last).seconds


def test_runs_that_add_something_add_up_and_others_do_not(tmp_path, time):
    assert run(tmp_path, time, 100, ["aa"])[1] == 100
    last, all_of_them = run(tmp_path, time, 30, ["aa", "bb"])
    assert (last.seconds, last.processor_seconds, last.new, all_of_them) == (30, 15, 1, 130)
    last, all_of_them = run(tmp_path, time, 7, ["aa", "bb"])
    assert (last.seconds, last.new, all_of_them) == (7, 0, 130)


def test_the_tiny_form_in_the_same_folder_is_another_study(tmp_path, time):
    assert run(tmp_path, time, 20, ["aa"], Scale.TINY)[1] == 20
    assert run(tmp_path, time, 100, ["bb"])[1] == 100


def test_where_everything_was_there_it_took_what_the_run_took(tmp_path, time):
    run(tmp_path, time, 50, ["aa"])
    (tmp_path / took.NOTES).unlink()
    assert run(tmp_path, time, 3, ["aa"])[1] == 3


def test_what_was_kept_before_there_were_notes_is_not_lost(tmp_path, time):
    (tmp_path / took.BEFORE).write_text("1600.5\n")
    assert run(tmp_path, time, 10, ["aa"])[1] == 1610.5
    (tmp_path / took.BEFORE).write_text("5000\n")
    assert run(tmp_path, time, 9, ["aa"])[1] == 1610.5


def test_processor_time_adds_up_where_every_run_has_noted_it(tmp_path, time):
    run(tmp_path, time, 100, ["aa"])
    last, _ = run(tmp_path, time, 30, ["aa", "bb"])
    assert total(tmp_path, last).processor_seconds == 65
    (tmp_path / took.NOTES).unlink()
    (tmp_path / took.BEFORE).write_text("1600.5\n")
    last, _ = run(tmp_path, time, 10, ["aa", "bb", "cc"])
    assert total(tmp_path, last).processor_seconds is None


def recipe(failing: bool = False) -> ModuleType:
    """A study of rows of its own making."""
    made = ModuleType("made", "Does it add up?")
    made.TITLE, made.PAPER = "Made", "none"
    made.CLAIMS = (Claim("one", "above 0", LowerBoundAbove(score(method="m", metric="dice"))),)
    made.embedded = lambda scale: replace(lab.embedded(lab.KNEE_PD, scale=scale), subjects=4, slices=1)
    made.page = lambda study: (ClaimsBlock(),)

    def rows(study):
        if failing:
            raise RuntimeError("cut off")
        study.keep(
            [
                {**relations.about(each), "metric": "dice", "target": "mvue", "region": "lesion", "slice": 0}
                | {"value": 0.5}
                for each in [*study.scans(lab.KNEE_PD.where), record("elsewhere")]
            ],
            method="m",
        )

    made.run = rows
    return made


def test_a_summary_tells_the_whole_from_the_last_run_and_rows_know_their_crop(tmp_path):
    with pytest.raises(RuntimeError, match="cut off"):
        run_study(Asked("made", recipe(failing=True), tmp_path, scale=Scale.TINY))
    run_study(Asked("made", recipe(), tmp_path, scale=Scale.TINY))
    first = json.loads((tmp_path / "summary.json").read_text())
    run_study(Asked("made", recipe(), tmp_path, scale=Scale.TINY))
    again = json.loads((tmp_path / "summary.json").read_text())
    assert first["last_run"]["new"] == 1
    assert again["last_run"]["new"] == 0
    assert again["seconds"] == first["seconds"]
    assert again["processor_seconds"] == first["processor_seconds"] >= 0
    assert len((tmp_path / took.NOTES).read_text().splitlines()) == 3
    rows = read_rows(tmp_path / "rows.parquet").to_pylist()
    sizes = {row["scan_id"]: (row["crop_rows"], row["crop_columns"]) for row in rows}
    assert sizes.pop("elsewhere") == (None, None)
    assert set(sizes.values()) == {(48, 48)}
    assert "48 × 48 pixels" in (tmp_path / "index.html").read_text()


def test_a_study_that_is_asked_to_end_notes_what_it_took_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    made = recipe()

    def ask_to_end(study):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    made.run = ask_to_end
    monkeypatch.setattr("reshim.studies.recipe_of", lambda name: made)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        main(["study", "first-look", "--tiny", "--out", str(tmp_path)])
    assert left.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert "run it again to go on" in capsys.readouterr().err
    assert len((tmp_path / NOTES).read_text().splitlines()) == 1
