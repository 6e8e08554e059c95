"""What both studies make of planted scores and seconds, and their tiny forms."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import scipy.stats
import torch
from tests.studies.answers import verdicts
from tests.training.toy import record

from reshim.alarm.calibrate import Observed
from reshim.alarm.features import NAMES
from reshim.alarm.shift import Alarm
from reshim.catalog import Catalog
from reshim.cli import main
from reshim.errors import BadScanError, UserError
from reshim.evaluation.claims import judge
from reshim.rows import read_rows
from reshim.simulation.protocols import protocol_of
from reshim.studies import recipe_of, zero_shot
from reshim.studies.engine import lab, watched
from reshim.studies.engine.crowd import crowd
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.engine.watched import (
    EVERYWHERE,
    WITHIN,
    Watched,
    keep,
    keep_placements,
    keep_ranks,
    watch,
)
from reshim.studies.shift_alarm import (
    CLAIMS,
    CLOSE,
    HOME,
    SHIFTS,
    TRIVIAL,
    matched,
    placed,
    told,
)
from reshim.training.features import PARTS
from reshim.training.run_folder import Trained
from reshim.training.statistics import Statistics


def planted_at(folder: Path) -> Study:
    """A study whose rows are planted, so that nobody asks for its scans."""
    return Study("planted", folder, Catalog.__new__(Catalog), Scale.TINY, 0, folder)


@pytest.fixture
def study(tmp_path) -> Study:
    return planted_at(tmp_path)


def rows_of(study: Study):
    path = study.folder / "rows.parquet"
    study.store.collect(study.finished, path)
    return read_rows(path)


def test_placements_average_to_the_area_under_the_curve(study):
    usual, shifted = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0.4, 0.9, 0.05])
    keep_placements(study, "shift score", usual, shifted, [record(name) for name in "abc"], SHIFTS[0].label)
    values = rows_of(study)["value"].to_pylist()
    assert values == [0.625, 1.0, 0.0]


def test_ranks_over_all_scans_and_within_a_shift(study):
    labels = [HOME.label, *(test.label for test in SHIFTS)]
    scans = {
        label: Watched([record(f"{label} {n}") for n in range(20)], torch.empty(0), torch.empty(0))
        for label in labels
    }
    generator = torch.Generator().manual_seed(0)
    # What shift it is decides both; from scan to scan they fall and rise against each other.
    from_scan_to_scan = torch.rand(20, generator=generator)
    scores = {label: 10.0 * place + from_scan_to_scan for place, label in enumerate(labels)}
    lost = {label: 0.1 * place - 0.01 * from_scan_to_scan for place, label in enumerate(labels)}
    keep_ranks(study, "shift score", scores, lost, scans, HOME.label)
    rows = [row for row in rows_of(study).to_pylist() if row["metric"] == "spearman"]
    found = {among: [row["value"] for row in rows if row["test"] == among] for among in (EVERYWHERE, WITHIN)}
    everywhere, within = (sum(values) / len(values) for values in found.values())
    expected = scipy.stats.spearmanr(torch.cat([*scores.values()]), torch.cat([*lost.values()])).statistic
    assert everywhere == pytest.approx(expected)
    assert everywhere > 0.8
    assert within == pytest.approx(-1)
    verdict = {claim["id"]: claim for claim in judge(rows_of(study), CLAIMS)}
    assert verdict["rank"]["holds"]


@pytest.fixture
def looked_at(monkeypatch):
    """Names of the scans that were looked at; those called broken cannot be."""
    asked = []

    def observed(scan, method, alarm, scheme):
        asked.append(scan.scan_id)
        if "broken" in scan.scan_id:
            raise BadScanError(f"{scan.scan_id} is damaged")
        return Observed(torch.full((len(NAMES),), float(len(asked))), 0.01 * len(asked), None)

    monkeypatch.setattr(watched, "observed", observed)
    monkeypatch.setattr(watched, "left_as_is", lambda run: SimpleNamespace(network="network"))
    return asked


def test_a_scan_that_cannot_be_looked_at_is_named_each_time_and_the_others_are_kept(study, looked_at):
    run, alarm = Trained.__new__(Trained), Alarm(Statistics.of(torch.randn(20, sum(PARTS))))
    scans = [record("one"), record("broken"), record("two")]
    first = watch(study, run, alarm, scans, [lab.SCHEME])
    again = watch(study, run, alarm, scans, [lab.SCHEME])
    assert looked_at == ["one", "broken", "two", "broken"]
    assert (
        [each.scan_id for each in first.records] == [each.scan_id for each in again.records] == ["one", "two"]
    )
    assert torch.equal(first.rows, again.rows)
    assert first.ssim.tolist() == again.ssim.tolist() == [0.01, 0.03]
    assert [left.scan_id for left in study.left_out] == ["broken", "broken"]
    with pytest.raises(UserError, match="none of 1 scans"):
        watch(study, run, alarm, scans[1:2], [lab.SCHEME])


def test_what_was_looked_at_before_a_study_was_cut_off_is_not_looked_at_again(study, looked_at, monkeypatch):
    monkeypatch.setattr(watched, "KEEP_EVERY_SECONDS", 0.0)
    run, alarm = Trained.__new__(Trained), Alarm(Statistics.of(torch.randn(20, sum(PARTS))))
    scans = [record("one"), record("two"), record("three")]

    def cut_off(text, total):
        seen = []

        def tick(name):
            seen.append(name)
            if len(seen) == 3:
                raise KeyboardInterrupt

        return nullcontext(tick)

    with monkeypatch.context() as once:
        once.setattr(watched, "steps", cut_off)
        with pytest.raises(KeyboardInterrupt):
            watch(study, run, alarm, scans, [lab.SCHEME])
    assert len(watch(study, run, alarm, scans, [lab.SCHEME]).records) == 3
    assert looked_at == ["one", "two", "three", "three"]


def test_scans_that_two_have_in_common():
    scans = [record(name) for name in "abc"]
    rows = torch.arange(3.0)[:, None]
    some = Watched(scans, rows, rows[:, 0]).among(Watched(scans[1:], rows[1:], rows[1:, 0]))
    assert [each.scan_id for each in some.records] == ["b", "c"]
    assert some.rows[:, 0].tolist() == some.ssim.tolist() == [1.0, 2.0]


def test_a_catalog_of_too_few_subjects_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    few = [replace(record(f"{subject} {n}"), subject=f"{subject}") for subject in range(13) for n in range(3)]
    monkeypatch.setattr(Study, "scans", lambda study, where, split=None: few)
    study = Study("planted", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path, embedded=False)
    with pytest.raises(UserError, match="5 subjects to fit and 8 to calibrate"):
        recipe_of("shift-alarm").run(study)
    assert not (tmp_path / "models").exists()


def planted(study: Study, placement: float, error: float, covered: float) -> dict:
    scans = [record(f"scan {number}") for number in range(40)]
    for test in (*(test.label for test in SHIFTS), *(told(*each) for each in CLOSE.values())):
        keep(study, "shift score", test, "placement", scans, [placement] * 40)
    keep(study, "alarm", HOME.label, "mae_ssim", scans, [error] * 40)
    for name in TRIVIAL:
        keep(study, name, HOME.label, "mae_ssim", scans, [0.04] * 40)
    hits = [1.0] * round(40 * covered) + [0.0] * (40 - round(40 * covered))
    keep(study, "alarm", HOME.label, "covered", scans, hits)
    return {claim["id"]: claim for claim in judge(rows_of(study), CLAIMS)}


def test_a_good_alarm_is_told_from_a_poor_one(study, tmp_path):
    good = planted(study, placement=0.98, error=0.015, covered=0.9)
    assert all(good[name]["holds"] for name in ("auroc", "auroc-contrast", "auroc-dataset"))
    assert good["prediction"]["holds"]
    other = planted_at(tmp_path / "other")
    poor = planted(other, placement=0.9, error=0.03, covered=0.5)
    assert not any(poor[name]["holds"] for name in ("auroc", "auroc-contrast", "auroc-dataset"))
    assert not poor["prediction"]["holds"]
    assert not poor["coverage"]["holds"]
    assert str(placed("shift score", SHIFTS[0])).startswith("AUROC")


def test_shifts_are_matched_in_coils_and_noise():
    for home, away in ((HOME, SHIFTS[0]), *CLOSE.values()):
        card, own = matched(away, home), matched(home, home)
        assert card.coils == own.coils == protocol_of(home.protocol).coils
        assert card.snr == own.snr
        assert card.contrast == protocol_of(away.protocol).contrast


def test_a_crowd_is_none_of_the_laboratory_s_subjects(study):
    with pytest.raises(ValueError, match="laboratory"):
        crowd(study, "x", [], range(3, 9))


def test_a_crowd_is_of_test_subjects_wherever_the_hash_of_their_names_falls(study):
    records = crowd(study, "x", [protocol_of(HOME.protocol)], range(7003, 7008))
    assert len({record.subject for record in records}) == 5
    assert {record.split for record in records} == {"test"}


def test_reconciling_is_as_good_or_not_and_sooner_or_not():
    def found(score, seconds):
        """Where zero-shot learning from a trained start has 0.8 and takes 20 seconds."""

        def value(where):
            reconciled = where["method"] == zero_shot.RECONCILED
            if where["metric"] == zero_shot.SECONDS:
                return seconds if reconciled else 20.0
            return score if reconciled else 0.8

        told = verdicts(zero_shot.CLAIMS, value)
        return told["reconciling-as-good"], told["reconciling-sooner"]

    assert found(0.81, 0.5) == ("holds", "holds")
    assert found(0.79, 2.0) == ("contradicted", "contradicted")


def test_seconds_a_slice_are_those_of_the_volume_over_its_slices(study):
    def scored(name, number):
        about = {"scan_id": name, "dataset": "made", "data_kind": "simulated", "subject": name}
        return {**about, "slice": number, "target": "mvue", "region": "support", "metric": "ssim"}

    # A volume of two slices in 6 seconds and one of one slice in 2, under two metrics each.
    for name, slices, taken in (("long", 2, 6.0), ("short", 1, 2.0)):
        rows = [
            {**scored(name, number), "metric": metric, "value": 0.8, "seconds": taken, "train_seed": 0}
            for number in range(slices)
            for metric in ("ssim", "nmse")
        ]
        study.store.put(f"key-{name}", rows)
        study.finished.append((f"key-{name}", {"method": "a", "test": zero_shot.AWAY.label}))
    zero_shot.keep_seconds(study, "a")
    kept = [row for row in rows_of(study).to_pylist() if row["metric"] == zero_shot.SECONDS]
    assert sorted((row["scan_id"], row["slice"], row["value"]) for row in kept) == [
        ("long", 0, 3.0),
        ("long", 1, 3.0),
        ("short", 0, 2.0),
    ]
    assert {(row["method"], row["train_seed"]) for row in kept} == {("a", 0)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shift-alarm", "zero-shot"])
def test_the_tiny_form_leaves_rows_a_summary_and_a_page(name, tmp_path):
    out = tmp_path / name
    assert main(["study", name, "--tiny", "--threads", "1", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [claim["id"] for claim in summary["claims"]] == [claim.id for claim in recipe_of(name).CLAIMS]
    assert all(claim["value"] is not None for claim in summary["claims"] if not claim.get("note"))
    assert (out / "index.html").exists()
    stamps = {path: path.stat().st_mtime_ns for path in (out / "store").rglob("*.parquet")}
    assert main(["study", name, "--tiny", "--threads", "1", "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "store").rglob("*.parquet")} == stamps
