"""The judge sees planted agreement between detail and overall score, and its opposite."""

import json

import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies.small_features import CLAIMS, FEATURES, METHODS, UNTRAINED


def planted(agree: float, by_size: float = 0.02, false: float = 0.0, untrained: float = 0.1):
    """Detail follows the overall score `agree` times; larger features are easier; networks make things up.

    The untrained network's error is so much lower on squares, and higher on lesions.
    """

    def value(where):
        if where["metric"] == "block_mse":
            return 0.3 + untrained * (where["method"] == UNTRAINED) * (
                -1 if "square" in where["feature"] else 1
            )
        place = METHODS.index(where["method"])
        if where["feature"] is None:
            return 0.6 + 0.04 * place
        size = int(where["feature"].split()[1])
        if where["metric"] == "false":
            return 0.1 + (false if where["method"] in ("U-net", "VarNet", "unrolled") else 0)
        return 0.5 + agree * 0.04 * place + by_size * size

    return value


def test_detail_that_follows_the_score_is_seen():
    found = verdicts(CLAIMS, planted(agree=1))
    assert found == dict.fromkeys(found, "holds")


def test_detail_that_runs_against_the_score_contradicts():
    assert verdicts(CLAIMS, planted(agree=-1))["better-overall-better-detail"] == "contradicted"


def test_where_detail_and_score_have_nothing_to_do_with_each_other_no_agreement_is_seen():
    found = verdicts(CLAIMS, planted(agree=0))
    for claim in ("better-overall-better-detail", "squares-tell-the-same"):
        assert found[claim] in ("undecided", "contradicted")


def test_size_without_effect_and_made_up_structures_are_told():
    found = verdicts(CLAIMS, planted(agree=1, by_size=0.0, false=0.5))
    assert found["larger-is-easier"] in ("undecided", "contradicted")
    assert found["networks-make-nothing-up"] == "contradicted"


def test_an_untrained_network_that_shows_neither_better_is_told():
    for untrained, verdicts_ in ((0.0, ("undecided", "contradicted")), (-0.1, ("contradicted",))):
        found = verdicts(CLAIMS, planted(agree=1, untrained=untrained))
        assert {found["untrained-shows-squares"], found["networks-show-lesions"]} <= set(verdicts_)


@pytest.mark.slow
def test_the_tiny_form_scores_every_method_on_every_feature(tmp_path):
    assert main(["study", "small-features", "--tiny", "--out", str(tmp_path)]) == 0
    table = read_rows(tmp_path / "rows.parquet")
    found = set(zip(table["method"].to_pylist(), table["feature"].to_pylist(), strict=True))
    assert {(method, feature.label) for method in METHODS for feature in FEATURES} <= found
    assert len(list((tmp_path / "images").glob("*.npz"))) == 4
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
