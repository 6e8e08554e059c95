"""The judge sees a planted shift and none where there is none; the tiny form runs from scans to page."""

import json

import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies.engine import families
from reshim.studies.natural_shift import AWAY, CLAIMS, FROM_AWAY, HOME, METHODS, SHIFTS, TUNED

LEVEL = {
    name: 0.95 - 0.03 * place for place, name in enumerate(("unrolled", *sorted(set(METHODS) - {"unrolled"})))
}


def planted(trained: float, sparse: float):
    """Every method loses 0.1 on every shift, and its own cost where it comes from knees to brains."""

    def value(where):
        method = where["method"].removesuffix(FROM_AWAY)
        loss = 0.0 if where["test"] == HOME.label else 0.1
        if where["test"] == AWAY.label and not where["method"].endswith(FROM_AWAY):
            loss += trained if method in families.NETWORKS else sparse if method in TUNED else 0
        return LEVEL[method] - loss

    return value


def test_a_shift_that_costs_all_alike_is_seen():
    found = verdicts(CLAIMS, planted(trained=0.01, sparse=0.01))
    assert found == dict.fromkeys(found, "holds")


def test_where_nothing_is_lost_no_loss_is_seen():
    found = verdicts(CLAIMS, planted(trained=0.0, sparse=0.0))
    assert found["trained-lose"] in ("undecided", "contradicted")
    assert found["tuned-lose"] in ("undecided", "contradicted")
    assert found["alike"] == "holds"


def test_networks_that_lose_far_more_are_told_from_sparse_methods():
    found = verdicts(CLAIMS, planted(trained=0.2, sparse=0.01))
    assert found["alike"] == "contradicted"
    assert found["best-stays-ahead"] == "contradicted"


def test_methods_that_change_places_break_the_order():
    def value(where):
        return LEVEL[where["method"].removesuffix(FROM_AWAY)] * (1 if where["test"] == HOME.label else -1)

    assert verdicts(CLAIMS, value)["order-kept"] == "contradicted"


@pytest.mark.slow
def test_the_tiny_form_leaves_rows_of_every_method_under_every_shift(tmp_path):
    assert main(["study", "natural-shift", "--tiny", "--out", str(tmp_path)]) == 0
    rows = read_rows(tmp_path / "rows.parquet")
    pairs = set(zip(rows["method"].to_pylist(), rows["test"].to_pylist(), strict=True))
    assert {(method, test) for method in METHODS for test in (HOME.label, *SHIFTS)} <= pairs
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
    assert "Every method under every shift" in (tmp_path / "index.html").read_text()
