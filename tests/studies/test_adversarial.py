"""The judge sees planted attacks and masked gradients, and nothing where nothing is lost."""

import json

import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies.adversarial import BUDGETS, CLAIMS, DOSE, FOLLOWED, MIDDLE, PUBLISHED, UNTRAINED


def planted(slope: float, masked: str = ""):
    """Gradients take `slope` times the budget; noise and searches a tenth of it, and more where masked."""

    def value(where):
        share = 1.0 if where["attack"] in ("gradient", "two starts", "joint") else 0.1
        if where["attack"] == "search" and where["method"] == masked:
            share = 2.0
        if where["metric"] == "psnr":
            return 30 - 20 * slope * share * where["budget"]
        return 0.9 - slope * share * where["budget"]

    return value


def test_sensitive_methods_are_seen():
    found = verdicts(CLAIMS, planted(slope=4))
    assert found == dict.fromkeys(found, "holds")


def test_where_attacks_take_nothing_no_sensitivity_is_seen():
    found = verdicts(CLAIMS, planted(slope=0))
    for claim in ("trained-sensitive", "sparse-sensitive", "untrained-sensitive"):
        assert found[claim] == "contradicted"
    for claim in ("not-noise", "joint-not-noise", "dose"):
        assert found[claim] in ("undecided", "contradicted")
    for method in PUBLISHED:
        assert found[f"published-dose-{method.lower()}"] == "contradicted"


def test_less_than_half_of_the_published_decibels_is_told():
    found = verdicts(CLAIMS, planted(slope=2.5))
    told = {method: found[f"published-dose-{method.lower()}"] for method in PUBLISHED}
    # Four decibels are less than half of nine, and more than half of 1.4.
    assert told == {**dict.fromkeys(PUBLISHED, "contradicted"), UNTRAINED: "holds"}


@pytest.mark.parametrize("method", ["unrolled", "L1-wavelet"])
def test_a_masked_gradient_is_seen(method):
    assert verdicts(CLAIMS, planted(slope=4, masked=method))["not-masked"] == "contradicted"


@pytest.mark.slow
def test_the_tiny_form_attacks_every_method_at_every_budget(tmp_path):
    assert main(["study", "adversarial", "--tiny", "--out", str(tmp_path)]) == 0
    table = read_rows(tmp_path / "rows.parquet")
    columns = [table[name].to_pylist() for name in ("method", "attack", "budget")]
    found = set(zip(*columns, strict=True))
    assert {(method, "gradient", budget) for method in FOLLOWED for budget in (*BUDGETS, DOSE)} <= found
    assert {(UNTRAINED, "noise", MIDDLE), *((UNTRAINED, "joint", dose) for dose in (MIDDLE, DOSE))} <= found
    assert {("GRAPPA", "search", MIDDLE), ("GRAPPA", "transfer from unrolled", MIDDLE)} <= found
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
