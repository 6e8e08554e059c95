"""A scan that cannot be read is left out and named, and the study goes on with the others."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.training.toy import read, record

from reshim.acquire import Scheme
from reshim.catalog import Catalog
from reshim.classical.zero_filled import ZeroFilled
from reshim.cli import main
from reshim.errors import BadScanError
from reshim.evaluation import insertion
from reshim.evaluation.insertion import Feature
from reshim.evaluation.run import Evaluation
from reshim.quality import of_catalog
from reshim.rows import read_rows
from reshim.simulation.write import simulate
from reshim.studies import iqm_segmentation, raki_vs_grappa
from reshim.studies.engine import outlines, relations
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study


@pytest.fixture
def study(tmp_path) -> Study:
    """Its scans are handed in, so that nobody asks for a catalog."""
    return Study("made", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)


def read_but_one(of, slices=None):
    if of.scan_id == "bad":
        raise BadScanError("bad is cut short")
    return read(of, slices)


def named(study: Study) -> list[tuple[str, str]]:
    return [(each.scan_id, each.reason) for each in study.left_out]


def test_features_are_put_into_the_scans_that_can_be_read(study, monkeypatch):
    monkeypatch.setattr(insertion, "load", read_but_one)
    monkeypatch.setattr(Study, "scans", lambda *_: [record("bad"), record("good")])
    evaluation = Evaluation(scheme=Scheme("equispaced", 2, center_lines=8))
    study.insert({"zero-filled": ZeroFilled()}, "", evaluation, Feature("square", 1, 0.3), test="made")
    assert named(study) == [("bad", "bad is cut short")]
    rows = study.store.collect(study.finished, study.folder / "rows.parquet").to_pylist()
    assert {row["scan_id"] for row in rows} == {"good"}
    for name in ("mask_sha256", "effective_acceleration", "center_lines", "crop_rows", "crop_columns"):
        assert all(row[name] for row in rows), name
    assert {row["effective_acceleration"] < 2 for row in rows} == {True}


def test_a_feature_is_put_into_no_undersampled_scan(study, monkeypatch):
    def undersampled(of, slices=None):
        scan = read(of, slices)
        return replace(scan, mask=scan.acquirable)

    monkeypatch.setattr(insertion, "load", undersampled)
    monkeypatch.setattr(Study, "scans", lambda *_: [record("half")])
    study.insert({"zero-filled": ZeroFilled()}, "", Evaluation(), Feature(), test="made")
    assert [scan for scan, reason in named(study) if "undersampled" in reason] == ["half"]


def test_a_scan_is_repeated_only_where_it_can_be_read(study):
    bad = record("bad")
    raki_vs_grappa.repeat(study, "knees", bad, lambda: read_but_one(bad), raki_vs_grappa.plan(True)["knees"])
    assert named(study) == [("bad", "bad is cut short")]
    assert study.finished == []


def test_the_quality_of_scans_names_those_without_one(study, monkeypatch):
    monkeypatch.setattr(of_catalog, "load", read_but_one)
    values = relations.measured(study, [record("bad"), record("good")], ("corrected",))
    assert named(study) == [("bad", "bad is cut short")]
    assert {scan for found in values.values() for scan in found} == {"good"}
    assert pq.read_table(study.folder / "quality.parquet")["scan_id"].unique().to_pylist() == ["good"]


def test_what_has_no_outline_or_no_full_samples_is_no_scan_to_outline(monkeypatch):
    monkeypatch.setattr(of_catalog, "load", read)
    monkeypatch.setattr(outlines, "load_reference", lambda *_: None)
    known = outlines.Outlines()
    with pytest.raises(BadScanError, match="no segmentation"):
        known.read(record("healthy"))
    with pytest.raises(BadScanError, match="undersampled"):
        known.read(record("half", fully_sampled=False))
    assert not known.images


@pytest.mark.slow
def test_a_study_on_a_catalog_of_ones_own_leaves_a_broken_scan_out_and_resumes(tmp_path, capsys):
    scans, catalog, out = tmp_path / "scans", tmp_path / "catalog.parquet", tmp_path / "out"
    protocols = ["brain-flair-3t", "brain-flair-1.5t"]
    simulate(scans, protocols=protocols, subjects=10, matrix=48, slices=4, seed=0, lesions=2.5)
    assert main(["index", str(scans), "--out", str(catalog)]) == 0
    whole = Catalog.read(catalog)
    broken = whole.where("split = 'test'").records()[0]
    path = next(scans.rglob(Path(broken.path).name))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    command = ["study", "iqm-segmentation", "--tiny", "--catalog", str(catalog), "--out", str(out)]
    assert main(command) == 3
    assert broken.scan_id in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["data"]["catalog"] == str(catalog)
    rows = read_rows(out / "rows.parquet")
    splits = {record.scan_id: record.split for record in whole.records()}
    assert set(rows["scan_id"].to_pylist()) <= set(splits) - {broken.scan_id}
    tested = {row["scan_id"] for row in rows.to_pylist() if row["test"] == iqm_segmentation.TEST}
    assert {splits[scan] for scan in tested} == {"test"}
    kept = sorted((out / "segmenters").glob("*.json"))
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    assert main(command) == 3
    assert {path: path.stat().st_mtime_ns for path in sorted((out / "segmenters").glob("*.json"))} == stamps
    assert read_rows(out / "rows.parquet").to_pylist() == rows.to_pylist()
