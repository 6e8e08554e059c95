"""The tiny form of the study is its integration test: from scans to a page, killed and gone on with."""

import json
import signal
import subprocess
import sys
import time

import pytest

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies import STUDIES, recipe_of
from reshim.studies.first_look import CLAIMS, METHODS

IDS = (
    "specialists-believable",
    "gap",
    "joint-as-good",
    "ttt-share",
    "reconciled-share",
    "ttt-in-distribution",
    "reconciled-in-distribution",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished tiny study that was killed once on the way."""
    out = tmp_path_factory.mktemp("study") / "first-look"
    command = [sys.executable, "-m", "reshim", "study", "first-look", "--tiny", "--threads", "1"]
    command += ["--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    models = out / "models"
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if models.exists() and len(list(models.glob("*/model.safetensors"))) >= 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.2)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the study ended before it could be killed"
    assert main(["study", "first-look", "--tiny", "--out", str(out)]) == 0
    return out


def test_it_leaves_rows_a_summary_and_a_page(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert [claim["id"] for claim in summary["claims"]] == list(IDS)
    assert set(summary) >= {"study", "seconds", "data", "claims"}
    for claim in summary["claims"]:
        assert set(claim) >= {"id", "claim", "rule", "holds", "value", "low", "high", "unit", "paper"}
    rows = read_rows(folder / "rows.parquet")
    assert set(rows["method"].to_pylist()) == set(METHODS)
    assert set(rows["test"].to_pylist()) == {"knee", "brain"}
    page = (folder / "index.html").read_text()
    assert "simulated" in page.lower()
    for claim in CLAIMS:
        assert claim.claim in page


def test_no_test_subject_was_trained_on(folder):
    tested = set(read_rows(folder / "rows.parquet")["subject"].to_pylist())
    for settings in folder.glob("models/*/settings.json"):
        trained = {subject for _, subject in json.loads(settings.read_text())["data"]["training_subjects"]}
        assert trained
        assert not trained & tested


def test_run_again_it_recomputes_nothing(folder):
    kept = [*folder.glob("models/*/*"), *folder.glob("store/**/*.parquet"), *folder.glob("scans/**/*.h5")]
    stamps = {path: path.stat().st_mtime_ns for path in kept if path.is_file()}
    rows = read_rows(folder / "rows.parquet").to_pylist()
    started = time.monotonic()
    assert main(["study", "first-look", "--tiny", "--out", str(folder)]) == 0
    assert time.monotonic() - started < 20
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert read_rows(folder / "rows.parquet").to_pylist() == rows


def test_the_page_is_drawn_again_from_the_rows(folder):
    before = (folder / "index.html").read_text()
    (folder / "index.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert (folder / "index.html").read_text() == before


def test_every_study_says_question_paper_claim_data_cost_and_command(capsys):
    assert main(["study", "--list"]) == 0
    listed = capsys.readouterr().out
    for name in STUDIES:
        assert name in listed
        text = recipe_of(name).__doc__
        for word in ("Paper", "Claim", "Data", "Cost", "Run"):
            assert f"\n{word}" in text


def test_an_unknown_study_names_those_there_are(capsys):
    assert main(["study", "second-look"]) == 2
    assert "first-look" in capsys.readouterr().err
