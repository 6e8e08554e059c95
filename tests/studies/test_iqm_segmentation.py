"""The judge sees planted correlations, gains and costs, and none where there are none."""

import json

import numpy as np
import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies.iqm_segmentation import CLAIMS, SOURCES, SPLIT_BY, TEST, half, halves


def planted(correlation: float, gain: float, cost: float):
    def value(where):
        if where["metric"] == "spearman":
            return correlation * {"psnr": 1.0, "cjv": -1.0}[where["method"]]
        return (
            0.8 + (gain if "better" in where["method"] else 0) - (cost if where["method"] in SOURCES else 0)
        )

    return value


def test_planted_correlations_gains_and_no_cost_are_seen():
    found = verdicts(CLAIMS, planted(0.7, 0.05, 0.0))
    assert found == dict.fromkeys(found, "holds")


def test_no_correlation_and_no_gain_are_not_seen_and_a_cost_contradicts():
    found = verdicts(CLAIMS, planted(0.0, 0.0, 0.1))
    assert "holds" not in found.values()
    assert found["undersampling-costs-little"] == "contradicted"


def test_a_gain_of_the_worse_half_contradicts():
    found = verdicts(CLAIMS, planted(0.7, -0.05, 0.0))
    assert {found[f"better-{metric}-trains-better"] for metric in SPLIT_BY} == {"contradicted"}


def test_halves_are_equally_large_apart_and_in_the_metrics_own_direction():
    values = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0, "none": np.nan}
    assert halves(list(values), values, "psnr") == (["e", "d"], ["b", "a"])
    assert halves(list(values), values, "cjv") == (["a", "b"], ["d", "e"])


@pytest.mark.slow
def test_the_tiny_form_outlines_in_folds_halves_and_reconstructions(tmp_path):
    assert main(["study", "iqm-segmentation", "--tiny", "--out", str(tmp_path)]) == 0
    rows = [row for row in read_rows(tmp_path / "rows.parquet").to_pylist() if row["metric"] == "dice"]
    assert {half(better, metric) for metric in SPLIT_BY for better in (True, False)} <= {
        row["method"] for row in rows
    }
    assert set(SOURCES) <= {row["method"] for row in rows}
    assert {row["split"] for row in rows if row["test"] == TEST} == {"test"}
    fold = json.loads((tmp_path / "segmenters" / "fold-1.json").read_text())
    assert not set(fold["trained on"]) & set(fold["dice"]["fold"])
    assert "Dice on the independent test set" in (tmp_path / "index.html").read_text()
