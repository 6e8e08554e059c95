"""The judge sees planted correlations and gains, and none where there are none."""

import json

import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.report.pictures import load_example
from reshim.rows import read_rows
from reshim.studies.engine.relations import claim_id
from reshim.studies.iqm_reconstruction import CLAIMS, EVERY_TEST, MODES, PICTURED, SPLIT_BY, half


def planted(correlation: float, gain: float):
    def value(where):
        if where["metric"] == "spearman":
            signs = {"corrected psnr": 1.0, "mrqy psnr": 0.2}
            return correlation * signs.get(where["method"], -1.0)
        return 0.9 + (gain if "better" in where["method"] else 0)

    return value


def test_planted_correlations_and_gains_are_seen():
    found = verdicts(CLAIMS, planted(0.7, 0.02))
    assert found == dict.fromkeys(found, "holds")


def test_no_correlation_and_no_gain_are_not_seen():
    found = verdicts(CLAIMS, planted(0.0, 0.0))
    assert "holds" not in found.values()


def test_a_gain_of_the_worse_half_contradicts():
    found = verdicts(CLAIMS, planted(0.7, -0.02))
    assert {found[claim_id(*each)] for each in SPLIT_BY} == {"contradicted"}


@pytest.mark.slow
def test_the_tiny_form_relates_every_metric_and_trains_on_halves(tmp_path):
    assert main(["study", "iqm-reconstruction", "--tiny", "--out", str(tmp_path)]) == 0
    methods = set(read_rows(tmp_path / "rows.parquet")["method"].to_pylist())
    assert {half(better, *each) for each in SPLIT_BY for better in (True, False)} <= methods
    assert {f"{mode} psnr" for mode in MODES} <= methods
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
    page = (tmp_path / "index.html").read_text()
    assert "Correlation of each metric" in page
    assert "after Holm" in page
    labels = ("all scans", half(True, *PICTURED), half(False, *PICTURED))
    assert [load_example(tmp_path, f"{EVERY_TEST}-{which}").labels for which in ("median", "worst")] == [
        labels
    ] * 2
