"""Rows of every scan, mode and metric, from a catalog of simulated scans, and beside scores of methods."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from reshim.catalog import Catalog
from reshim.cli import main
from reshim.errors import UserError
from reshim.evaluation.significance import rank_correlation
from reshim.quality.metrics import METRICS, quality
from reshim.quality.of_catalog import SCHEMA, magnitudes_of, quality_table
from reshim.report.context import open_folder
from reshim.rows import read_rows
from reshim.simulation.write import simulate


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    simulate(folder / "scans", protocols=["knee-pd-3t"], subjects=4, matrix=32, slices=2)
    Catalog.index([folder / "scans"], folder / "catalog.parquet", shares={"train": 0, "val": 0, "test": 1})
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
    levels = dict(zip(table["mode"].to_pylist(), table["grey_levels"].to_pylist(), strict=True))
    assert levels == {"mrqy": 4095, "corrected": None}


def test_the_commands_rows_are_joined_with_scores_of_reconstructions(catalog, tmp_path):
    quality_path, rows_path = tmp_path / "quality.parquet", tmp_path / "rows.parquet"
    assert main(["list", str(catalog), "--quality", str(quality_path)]) == 0
    command = ["evaluate", str(catalog), "--where", "true", "--with", "zero-filled"]
    assert main([*command, "--out", str(rows_path)]) == 0
    measured, scores = read_rows(quality_path), read_rows(rows_path)
    assert measured.num_rows == 4 * 2 * len(METRICS)
    # As docs/robustness.md shows it.
    chosen = measured.filter((pc.field("method") == "quality corrected") & (pc.field("metric") == "psnr"))
    wanted = (
        (pc.field("metric") == "ssim") & (pc.field("target") == "mvue") & (pc.field("region") == "support")
    )
    place = ["dataset", "scan_id"]
    ssim = scores.filter(wanted).group_by(place).aggregate([("value", "mean")])
    both = chosen.select([*place, "value"]).join(ssim, place, join_type="inner")
    assert both.num_rows == 4
    assert -1 <= float(rank_correlation(*(both[name].to_numpy() for name in ("value", "value_mean")))) <= 1
    # One table of both still tells them apart.
    together = pa.concat_tables([scores, measured], promote_options="permissive")
    assert together.num_rows == scores.num_rows + measured.num_rows
    assert set(together.filter(pc.field("target").is_valid())["method"].to_pylist()) == {"zero-filled"}


def test_a_page_of_scores_shows_no_quality_of_scans(catalog, tmp_path):
    assert main(["list", str(catalog), "--quality", str(tmp_path / "quality.parquet")]) == 0
    with pytest.raises(UserError, match="has no rows"):
        open_folder(tmp_path)
