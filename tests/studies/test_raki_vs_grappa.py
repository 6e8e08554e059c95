"""The judge tells resilience from none, the map is the known one without noise, and the tiny form runs."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from tests.conftest import make_measurement
from tests.studies.answers import verdicts

from reshim.catalog import Catalog
from reshim.classical.sense import Sense
from reshim.cli import main
from reshim.report.pictures import load_example
from reshim.rows import read_rows
from reshim.scans import open_scan
from reshim.simulation.write import simulate
from reshim.studies import raki_vs_grappa
from reshim.studies.engine.repeats import (
    ERROR,
    SPREAD,
    Echoes,
    Repeats,
    maps_of,
    rate_of,
    realisations,
    rows_of,
)
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.raki_vs_grappa import CLAIMS, JUDGED, MAPS, METHODS, NETWORK, PHANTOM, plan
from reshim.types import Acquisition

from .engine.test_lab import record


def test_a_quieter_network_is_seen_and_an_equal_one_is_not():
    better = verdicts(CLAIMS, lambda where: 0.5 if where["method"] == NETWORK else 1.0)
    assert better == dict.fromkeys(better, "holds")
    worse = verdicts(CLAIMS, lambda where: 2.0 if where["method"] == NETWORK else 1.0)
    assert worse == dict.fromkeys(worse, "contradicted")
    equal = verdicts(CLAIMS, lambda where: 1.0)
    assert "holds" not in equal.values()


def test_a_network_that_is_quieter_by_less_than_published_is_told_from_one_by_as_much():
    def by(share):
        return verdicts(CLAIMS, lambda where: 1 - share if where["method"] == NETWORK else 1.0)

    found = by(0.3)
    assert found["noise"] == found["noise-share-4"] == "holds"
    assert found["noise-share-5"] == "contradicted"
    assert by(0.5)["noise-share-5"] == "holds"


def test_a_spread_is_in_its_own_unit():
    assert {claim.unit for claim in CLAIMS} == {"1/s", "share"}


def scan() -> Acquisition:
    measurement, _ = make_measurement(rows=40, columns=48, acceleration=1, n=1)
    everywhere = torch.ones(1, 1, 1, 48, dtype=torch.bool)
    return Acquisition(measurement.kspace, "phantom", (0,), (40, 48), everywhere)


def test_two_full_echoes_show_the_rate_that_decayed_one_into_the_other():
    echoes = Echoes.of(scan(), 6)
    rate = rate_of(*echoes.images)[echoes.body]
    assert 8 <= float(rate.min()) < float(rate.max()) <= 32.01


def test_realisations_differ_in_their_noise_and_in_nothing_else():
    echoes = Echoes.of(scan(), 4)
    (one, _), (two, _) = realisations(echoes, Repeats(3, 16, n=2), "phantom")
    (again, _), _ = realisations(echoes, Repeats(3, 16, n=2), "phantom")
    assert torch.equal(one.kspace, again.kspace)
    assert torch.equal(one.mask, two.mask)
    assert not torch.equal(one.kspace, two.kspace)
    assert one.kspace.shape[1] == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    assert main(["study", "raki-vs-grappa", "--tiny", "--out", str(out)]) == 0
    return out


def test_the_tiny_form_leaves_rows_of_every_method_and_judged_claims(folder):
    rows = read_rows(folder / "rows.parquet")
    assert set(rows["method"].to_pylist()) == set(METHODS)
    assert set(rows["metric"].to_pylist()) == {SPREAD, ERROR, "nmse"}
    assert set(rows["acceleration"].to_pylist()) == {4.0, 5.0}
    assert min(rows["value"].to_pylist()) > 0
    claims = json.loads((folder / "summary.json").read_text())["claims"]
    assert [claim["id"] for claim in claims] == [claim.id for claim in CLAIMS]
    assert all(claim["verdict"] != "unanswered" for claim in claims)
    assert (folder / "index.html").exists()


def test_maps_of_the_median_and_the_worst_slice_are_kept_with_the_error_of_each(folder):
    rows = read_rows(folder / "rows.parquet").to_pylist()
    at = {"metric": ERROR, "method": NETWORK, "acceleration": float(JUDGED[-1])}
    errors = sorted(row["value"] for row in rows if at.items() <= row.items())
    median, worst = (load_example(folder, f"{MAPS}-{which}") for which in ("median", "worst"))
    assert f"{errors[-1]:.2f} 1/s" in worst.caption
    assert f"{errors[(len(errors) - 1) // 2]:.2f} 1/s" in median.caption
    assert median.labels == worst.labels == METHODS
    assert worst.reference.max() == 1
    outside = worst.reference == 0
    assert outside.any()
    assert not worst.images[:, outside].any()


@pytest.mark.filterwarnings("ignore:std.*degrees of freedom")
def test_the_map_shown_is_the_one_that_rows_score(tmp_path):
    (made,) = simulate(tmp_path, ["knee-pd-3t"], subjects=[9], matrix=48, slices=1)
    scan = open_scan(made)
    repeats = Repeats(4, 16, n=1, coils=4)
    maps = maps_of(scan.record, scan.load(None), {"it": Sense()}, repeats)
    rows = rows_of(scan.record, scan.load(None), "it", Sense(), repeats)
    (row,) = [row for row in rows if row["metric"] == ERROR]
    assert float(maps.errors["it"][0]) == row["value"]


@pytest.fixture
def computed(monkeypatch):
    """What is computed from now on, by method and repetition; nothing is, in truth."""
    asked = []

    def rows_of(record, acquisition, name, method, repeats):
        asked.append((record.scan_id, name, repeats))
        about = {
            "scan_id": record.scan_id,
            "dataset": "made",
            "data_kind": "simulated",
            "subject": record.subject,
            "acceleration": float(repeats.acceleration),
        }
        where = {"target": "full", "region": "support", "slice": 0, "value": 1.0}
        return [{**about, **where, "metric": metric} for metric in (SPREAD, ERROR, "nmse")]

    monkeypatch.setattr(raki_vs_grappa, "rows_of", rows_of)
    monkeypatch.setattr(raki_vs_grappa, "show", lambda study: None)
    return asked


def test_a_second_run_of_the_tiny_form_computes_nothing(folder, computed):
    before = read_rows(folder / "rows.parquet")
    assert main(["study", "raki-vs-grappa", "--tiny", "--out", str(folder)]) == 0
    assert computed == []
    assert json.loads((folder / "summary.json").read_text())["last_run"]["new"] == 0
    assert read_rows(folder / "rows.parquet").equals(before)


def test_the_whole_form_with_its_phantom_computes_once_what_lies_in_the_shared_folder(
    computed, tmp_path, monkeypatch
):
    (made,) = simulate(tmp_path / "made", ["knee-pd-3t"], subjects=[9], matrix=48, slices=1)
    phantom = tmp_path / "data" / PHANTOM / f"{PHANTOM}.h5"
    phantom.parent.mkdir(parents=True)
    shutil.copy(made, phantom)
    monkeypatch.setenv("RESHIM_REAL_DATA", str(tmp_path / "data"))

    def run(out: str) -> int:
        """How much one run computes."""
        before = len(computed)
        folders = ["--out", str(tmp_path / out), "--shared", str(tmp_path / "shared")]
        assert main(["study", "raki-vs-grappa", *folders]) == 0
        return len(computed) - before

    everything = len(METHODS) * (4 * sum(map(len, plan(tiny=False).values())) + len(JUDGED))
    assert run("once") == everything
    assert run("once") == 0
    assert run("elsewhere") == 0


def test_a_large_catalog_gives_one_scan_of_a_few_subjects_from_all_over_it(tmp_path, monkeypatch):
    scans = [
        replace(record(f"{subject:02d} {n}"), subject=f"{subject:02d}") for subject in range(40) for n in "ab"
    ]
    monkeypatch.setattr(Study, "scans", lambda *_: scans)
    study = Study("x", tmp_path, Catalog.__new__(Catalog), Scale.EMBEDDED, 0, tmp_path)
    chosen = raki_vs_grappa.knees(study)
    assert [each.scan_id for each in chosen] == ["05 a", "15 a", "25 a", "35 a"]
    monkeypatch.setattr(Study, "scans", lambda *_: scans[:8:2])
    assert raki_vs_grappa.knees(study) == scans[:8:2]
