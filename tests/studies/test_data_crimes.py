"""The judge sees planted flattery, and none where processed data score as raw ones do."""

import json

import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies.data_crimes import CLAIMS, CRIMINALS, DOSES, METHODS, UNDONE, of_processed


def planted(gain: float, turned: bool = False, more: float = 0.02):
    def value(where):
        processed = where["dose"] != UNDONE[where["source"]]
        method, _, made_for = where["method"].partition(", ")
        place = METHODS.index(method)
        if made_for and processed:
            return 0.8 + 0.02 * place + gain + more
        if turned and processed:
            place = -place
        return 0.8 + 0.02 * place + (gain if processed else 0)

    return value


def test_planted_flattery_is_seen():
    found = verdicts(CLAIMS, planted(0.05))
    assert found == dict.fromkeys(found, "holds")


def test_no_flattery_and_its_opposite_are_not_seen():
    assert "holds" not in {v for k, v in verdicts(CLAIMS, planted(0.0)).items() if k.endswith("flatters")}
    assert verdicts(CLAIMS, planted(-0.05))["denoised-flatters"] == "contradicted"


def test_what_being_made_for_processed_data_adds_is_told_apart_from_what_testing_on_them_does():
    found = verdicts(CLAIMS, planted(0.05, more=0.0))
    assert {found[f"{kind}-crime"] for kind in DOSES} == {"holds"}
    assert "holds" not in {found[f"{kind}-made-for-it"] for kind in DOSES}
    found = verdicts(CLAIMS, planted(0.0, more=-0.02))
    assert {found[f"{kind}-crime"] for kind in DOSES} == {"contradicted"}


def test_an_order_that_turns_round_is_seen():
    assert verdicts(CLAIMS, planted(0.05, turned=True))["order-kept"] == "contradicted"


@pytest.mark.slow
def test_the_tiny_form_scores_every_method_on_every_source(tmp_path):
    assert main(["study", "data-crimes", "--tiny", "--out", str(tmp_path)]) == 0
    table = read_rows(tmp_path / "rows.parquet")
    found = set(zip(*(table[name].to_pylist() for name in ("method", "source", "dose")), strict=True))
    assert {(m, kind, dose) for m in METHODS for kind, doses in DOSES.items() for dose in doses} <= found
    assert len(list((tmp_path / "images").glob("*.npz"))) == 2 * len(DOSES)
    assert {(of_processed(m, kind), kind, DOSES[kind][-1]) for m in CRIMINALS for kind in DOSES} <= found
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
