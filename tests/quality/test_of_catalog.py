"""Rows of every scan, mode and metric, from a catalog of simulated scans."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from reshim.catalog import Catalog
from reshim.cli import main
from reshim.quality.metrics import METRICS, quality
from reshim.quality.of_catalog import SCHEMA, magnitudes_of, quality_table
from reshim.simulation.write import simulate


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    simulate(folder / "scans", protocols=["knee-pd-3t"], subjects=2, matrix=32, slices=2)
    Catalog.index([folder / "scans"], folder / "catalog.parquet")
    return folder / "catalog.parquet"


def test_every_scan_has_every_metric_in_both_modes(catalog):
    records = Catalog.read(catalog).records()
    table, left_out = quality_table(records)
    assert not left_out
    assert table.schema == SCHEMA
    keys = list(zip(*(table[name].to_pylist() for name in ("scan_id", "mode", "metric")), strict=True))
    assert sorted(keys) == sorted(
        (record.scan_id, mode, metric)
        for record in records
        for mode in ("mrqy", "corrected")
        for metric in METRICS
    )
    first = quality(magnitudes_of(records[0]).numpy(), "corrected")
    shown = {row["metric"]: row["value"] for row in table.slice(len(METRICS), len(METRICS)).to_pylist()}
    assert shown == pytest.approx(dict(first.values))
    assert np.isfinite(shown["psnr"])


def test_the_command_writes_them(catalog, tmp_path):
    out = tmp_path / "quality.parquet"
    assert main(["list", str(catalog), "--quality", str(out)]) == 0
    assert pq.read_table(out).num_rows == 2 * 2 * len(METRICS)
