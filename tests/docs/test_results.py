"""The page of results says what the committed summaries say, and the summaries are those of real runs."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from reshim.studies import recipe_of

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("docs_results", DOCS / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_summaries(results):
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results.page(), "run python docs/results.py"


def test_what_a_paper_found_appears_where_the_claim_holds_unless_it_says_the_opposite(results):
    shared = {"value": 0.5, "low": 0.4, "high": 0.6, "rule": "> 0", "unit": "SSIM", "paper": "theirs"}
    claims = [
        {"id": "squares-mislead-not", "claim": "ours against theirs", "verdict": "holds", **shared},
        {"id": "other", "claim": "as theirs", "verdict": "holds", **shared},
        {"id": "own", "claim": "of no paper", "verdict": "holds", **shared, "paper": None},
    ]
    opposed = next(claim.id for claim in results.recipe_of("small-features").CLAIMS if claim.opposed)
    claims[0]["id"] = opposed
    text = results.published({"small-features": {"claims": claims}})
    appears, does_not = text.split("**It does not appear**")
    assert "as theirs" in appears
    assert "against" not in appears
    assert "ours against theirs" in does_not
    assert "of no paper" not in text


@pytest.mark.parametrize(("low", "heading"), [(-0.001, "Nothing speaks against it"), (0.001, "It appears")])
def test_what_is_not_refuted_appears_only_where_its_interval_leaves_0_out(results, low, heading):
    shared = {"verdict": "holds", "value": 0.002, "high": 0.01, "unit": "SSIM", "paper": "theirs"}
    rule = "union − best of (a, b) not significantly below 0 (97.5 %, Holm over 2)"
    parts = [{"rule": rule, "low": low, "high": 0.01}, {"rule": rule, "low": 0.004, "high": 0.01}]
    claims = [
        {"id": "joined", "claim": "joined of two", "low": low, "rule": f"{rule}; and {rule}", "parts": parts},
        {"id": "single", "claim": "one alone", "low": low, "rule": rule},
        {"id": "gain", "claim": "an own rule", "low": -0.001, "rule": "lower end of the interval ≥ −0.003"},
    ]
    text = results.published({"diverse-large": {"claims": [claim | shared for claim in claims]}})
    under = dict(re.findall(r"\*\*(.+?)\*\* \(\d\)\n(.*?)(?=\*\*|\Z)", text, re.DOTALL))
    assert "joined of two" in under[heading]
    assert "one alone" in under[heading]
    assert "an own rule" in under["It appears"]


def test_a_claim_that_the_last_run_did_not_know_is_named(results):
    summary = json.loads((DOCS / "results" / "diverse-large.json").read_text(encoding="utf-8"))
    known = summary["claims"][0]
    asked = [{**known, "id": claim.id, "claim": claim.claim} for claim in recipe_of("diverse-large").CLAIMS]
    summary |= {"claims": asked}
    assert "Asked since" not in results.section("diverse-large", summary)
    first, second, *others = summary["claims"]
    older = {**summary, "claims": [{**second, "claim": "another sentence"}, *others]}
    (line,) = (line for line in results.section("diverse-large", older).splitlines() if "Asked since" in line)
    assert first["id"] in line
    assert second["claim"] in line
    assert others[0]["id"] not in line


def test_a_recipe_that_asks_otherwise_than_its_last_run_is_told_of(results):
    described = """A question?

    Paper   one
    Claim   what is claimed,
            on two lines.
    Data    brains
    Cost    an hour
    """
    assert results.asked(described) == "Claim: what is claimed, on two lines.\nData: brains"
    assert results.asked(None) == ""
    recipe = results.asked(results.recipe_of("diverse-large").__doc__)
    summary = json.loads((DOCS / "results" / "diverse-large.json").read_text(encoding="utf-8"))
    assert "has changed" not in results.section("diverse-large", {**summary, "asked": recipe})
    claim, data = recipe.splitlines()
    text = results.section("diverse-large", {**summary, "asked": f"{claim}\nData: other scans"})
    assert "has changed since this run, which asked: Data: other scans" in text
    assert data not in text


def test_each_study_says_from_how_many_trainings_it_is(results):
    def of(*numbers):
        return results.trained([{"id": f"c{at}", "n_seeds": number} for at, number in enumerate(numbers)])

    assert of(1, 1) == "One training seed: intervals do not cover retraining."
    assert of(3, 3) == "3 training seeds."
    assert of(0) == "No training seed in the rows."
    assert of(1, 3, 1, 3, 0) == (
        "3 training seeds for `c1`, `c3`; one training seed for 2 of 5 claims: intervals do not cover "
        "retraining; no training seed in the rows for 1 of 5 claims."
    )


def test_every_summary_says_what_was_asked():
    for path in (DOCS / "results").glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["asked"].startswith("Claim: "), path.name


def test_no_summary_is_of_a_tiny_run():
    for path in (DOCS / "results").glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["data"]["tiny"] is False, path.name


def test_a_tiny_run_is_not_taken(results, tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"study": "x", "data": {"tiny": True}, "claims": []}))
    with pytest.raises(SystemExit, match="tiny"):
        results.take(tmp_path, "")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(None, "SSIM", "–"), (-0.0123, "SSIM", "−0.0123"), (0.54, "share", "54 %"), (21.34, "times", "21.3")],
)
def test_numbers_are_told_in_their_unit(results, value, unit, text):
    assert results.number(value, unit) == text
