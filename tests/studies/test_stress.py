"""The judge sees planted dose responses, tells a fragile network, and sees nothing where doses do nothing."""

import json

import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies.stress import CLAIMS, DOSES, METHODS


def planted(slope: float, of_network: float = 1.0):
    """Every method loses `slope` at the highest dose, the unrolled network so many times that."""

    def value(where):
        share = where["dose"] / DOSES[where["stress"]][-1]
        times = of_network if where["method"] == "unrolled" else 1.0
        return 0.9 - 0.02 * METHODS.index(where["method"]) - slope * times * share

    return value


def test_doses_that_cost_all_alike_are_seen():
    found = verdicts(CLAIMS, planted(0.2))
    assert found == dict.fromkeys(found, "holds")


def test_a_network_that_breaks_first_is_seen():
    found = verdicts(CLAIMS, planted(0.2, of_network=2.0))
    assert {found[name] for name in found if name.startswith("network")} == {"contradicted"}


def test_doses_without_effect_are_not_seen():
    assert verdicts(CLAIMS, planted(0.0))["every-artefact-costs"] in ("undecided", "contradicted")


@pytest.mark.slow
def test_the_tiny_form_scores_every_method_at_every_dose(tmp_path):
    assert main(["study", "stress", "--tiny", "--out", str(tmp_path)]) == 0
    table = read_rows(tmp_path / "rows.parquet")
    found = set(zip(*(table[name].to_pylist() for name in ("method", "stress", "dose")), strict=True))
    wanted = {(m, kind, dose) for m in METHODS for kind, doses in DOSES.items() for dose in (0.0, *doses)}
    assert found == wanted
    assert len(list((tmp_path / "images").glob("*.npz"))) == 2 * len(DOSES)
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
