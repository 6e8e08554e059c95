"""The judge of each study finds planted effects, and none where there is none."""

from pathlib import Path

import pytest

from reshim.evaluation.claims import judge
from reshim.evaluation.quantities import Ratio
from reshim.evaluation.rules import LowerBoundAbove, LowerBoundAtLeast, PointAndInterval
from reshim.studies import STUDIES, recipe_of
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import called
from reshim.studies.engine.held_out import HeldOut
from reshim.studies.engine.shifts import UNET
from reshim.studies.first_look import ADAPTED, RECONCILED

from .planted import all_rules, leaves_of, levels, rows_at

RECIPES = (
    "data-filtering",
    "diverse-controls",
    "diverse-scanner",
    "diverse-skew",
    "distributional-overfitting",
    "pathology",
    "site-adaptation",
    "ssdu-vs-supervised",
    "zero-shot",
)
MANY = (
    "diverse-anatomy",
    "diverse-contrast",
    "diverse-field",
    "diverse-large",
    "diverse-forward-model",
    "similarity",
)
"""Recipes with so many claims and scores that their judges take seconds."""
ELSEWHERE = {
    "first-look": "test_judges.py",
    "shift-alarm": "test_zero_shot_and_alarm.py",
    "ttt-acceleration": "engine/test_shifts.py",
    "ttt-anatomy": "engine/test_shifts.py",
    "ttt-controls": "test_judges.py",
    "ttt-cost": "test_fitting_costs.py",
    "ttt-dataset": "engine/test_shifts.py",
    "ttt-harm": "test_fitting_costs.py",
    "ttt-modality": "engine/test_shifts.py",
    "ttt-shares": "engine/test_shifts.py",
}
"""Recipes whose rows are planted by hand, in a file that is not called as they are."""


@pytest.fixture(params=[*RECIPES, *(pytest.param(name, marks=pytest.mark.slow) for name in MANY)])
def claims(request):
    # Factors of time are none of small levels near a score: their rows are planted by hand.
    return [claim for claim in recipe_of(request.param).CLAIMS if claim.unit != "times"]


def test_a_claim_has_an_id_of_its_own_and_says_what_it_asks(claims):
    assert len({claim.id for claim in claims}) == len(claims)
    assert all(claim.claim and claim.id == claim.id.lower() for claim in claims)


def test_planted_effects_are_found(claims):
    judged = judge(rows_at(levels(claims, clear_of=0.004)), claims, resamples=200)
    assert {each["id"]: each["verdict"] for each in judged} == {claim.id: "holds" for claim in claims}


def test_the_opposite_of_every_effect_is_told(claims):
    judged = judge(rows_at(levels(claims, clear_of=-0.004)), claims, resamples=200)
    assert {each["id"]: each["holds"] for each in judged} == {claim.id: False for claim in claims}


def gains(claims):
    """Claims that need an effect: an interval away from the bound at which all are alike."""
    return [
        claim
        for claim in claims
        if any(type(rule) in (LowerBoundAbove, PointAndInterval) for rule in all_rules([claim]))
    ]


def alike(claims):
    """Rows on which methods do not differ; not quite, as through points that coincide there is no line."""
    return rows_at({leaf: 0.8 + 1e-6 * (number % 7) for number, leaf in enumerate(leaves_of(claims))})


def no_losses(claims):
    """Claims that nothing is lost beyond a tolerance, which is what being alike shows."""
    return [
        claim
        for claim in claims
        if all(type(rule) is LowerBoundAtLeast and rule.bound < 0 for rule in all_rules([claim]))
    ]


def test_where_all_methods_are_alike_no_gain_is_found_and_no_loss(claims):
    judged = {each["id"]: each["holds"] for each in judge(alike(claims), claims, resamples=200)}
    shares = [claim for claim in claims if isinstance(all_rules([claim])[0].quantity, Ratio)]
    told = {claim.id: False for claim in (*gains(claims), *shares)}
    told |= {claim.id: True for claim in no_losses(claims)}
    assert told, "every recipe claims a gain, a share of a gap, or that nothing is lost"
    assert {claim: judged[claim] for claim in told} == told


def test_a_loss_beyond_the_tolerance_is_told_where_a_claim_allows_none():
    claims = recipe_of("pathology").CLAIMS
    assert [claim.id for claim in no_losses(claims)] == [claim.id for claim in claims]
    means = {leaf: 0.79 if is_healthy_only(leaf) else 0.8 for leaf in leaves_of(claims)}
    found = judge(rows_at(means), claims, resamples=200)
    assert {each["verdict"] for each in found} == {"contradicted"}


def is_healthy_only(leaf) -> bool:
    return str(dict(leaf.where)["method"]).endswith(": healthy")


def first_look(**levels: float) -> dict[str, str]:
    """Verdicts where networks have 0.9 and classical methods 0.8, but for the methods named."""

    def level(where):
        method, test = str(where["method"]), str(where["test"])
        usual = 0.8 if "SENSE" in method or (method, test) == ("knee", "brain") else 0.9
        return levels.get(f"{method} on {test}", usual)

    claims = recipe_of("first-look").CLAIMS
    rows = rows_at({leaf: level(dict(leaf.where)) for leaf in leaves_of(claims)})
    return {each["id"]: each["verdict"] for each in judge(rows, claims, resamples=400)}


def test_a_first_look_tells_closed_gaps_from_open_ones_and_from_none():
    closed = first_look()
    assert closed == dict.fromkeys(closed, "holds")
    opened = first_look(**{f"{method} on brain": 0.82 for method in (ADAPTED, RECONCILED)})
    assert opened["ttt-share"] == opened["reconciled-share"] == "contradicted"
    assert opened["gap"] == "holds"
    none = first_look(**{"knee on brain": 0.9})
    assert none["gap"] == "contradicted"
    assert none["ttt-share"] == none["reconciled-share"] == "unanswered"


def test_a_first_look_tells_harm_at_home_and_what_one_network_for_both_costs():
    found = first_look(
        **{f"{method} on knee": 0.85 for method in (ADAPTED, RECONCILED, "knee and brain")},
        **{"CG-SENSE, tuned on brains on brain": 0.95},
    )
    for claim in (
        "specialists-believable",
        "joint-as-good",
        "ttt-in-distribution",
        "reconciled-in-distribution",
    ):
        assert found[claim] == "contradicted"


def controls(repaired: float, reconciled: float, own: float = 0.9) -> set[tuple[str, str]]:
    """What is said of free repairs and of reconciling where the source network has 0.8."""

    module = recipe_of("ttt-controls")
    sources = {target.label: UNET.of(source) for source, target in module.PAIRS}

    def level(where):
        if "reconciled" in where["method"]:
            return reconciled
        if ", " in where["method"]:
            return repaired
        return 0.8 if where["method"] == sources[where["test"]] else own

    rows = rows_at({leaf: level(dict(leaf.where)) for leaf in leaves_of(module.CLAIMS)})
    judged = judge(rows, module.CLAIMS, resamples=400)
    return {(each["id"].split("-")[0] == "reconciled", each["verdict"]) for each in judged}


def test_what_closes_for_free_is_told_and_without_a_gap_nothing_is():
    assert controls(repaired=0.82, reconciled=0.88) == {(False, "holds"), (True, "holds")}
    assert controls(repaired=0.88, reconciled=0.82) == {(False, "contradicted"), (True, "contradicted")}
    assert controls(repaired=0.8, reconciled=0.8) == {(False, "holds"), (True, "contradicted")}
    assert controls(0.8, 0.8, own=0.8) == {(False, "unanswered"), (True, "unanswered")}


@pytest.mark.parametrize(
    ("gains", "most", "better"),
    [
        ((0.01, 0.01, 0.01, -0.05), "holds", "contradicted"),
        ((0.01, 0.01, -0.01, -0.01), "undecided", "undecided"),
        ((-0.01, -0.01, -0.01, 0.08), "contradicted", "holds"),
        ((0.0, 0.0, 0.0, 0.0), "undecided", "undecided"),
    ],
)
def test_a_gain_on_most_tests_is_another_thing_than_one_in_the_mean(gains, most, better):
    tests = (lab.BRAIN_T1, lab.BRAIN_T2, lab.BRAIN_FLAIR, lab.BRAIN_T1_POST)
    held_out = HeldOut("made", (lab.KNEE_PD, lab.KNEE_PDFS), tests, ("unet-tiny",))
    gain = dict(zip((test.label for test in tests), gains, strict=True))
    union = called("unet-tiny", held_out.union)
    claims = [claim for claim in held_out.claims() if claim.id in ("made-unet-most", "made-unet-better")]
    means = {}
    for leaf in leaves_of(claims):
        where = dict(leaf.where)
        # Of both single ones the first is the best; the other is far behind.
        behind = 0.1 if where["method"].endswith(lab.KNEE_PDFS.label) else 0.0
        means[leaf] = 0.8 - behind + (gain[where["test"]] if where["method"] == union else 0.0)
    found = {each["id"]: each["verdict"] for each in judge(rows_at(means), claims, resamples=1000)}
    assert found["made-unet-most"] == most
    assert found["made-unet-better"] == better


def test_at_home_the_network_of_all_is_held_against_each_single_one():
    home = (lab.KNEE_PD, lab.KNEE_PDFS)
    held_out = HeldOut("made", home, (lab.BRAIN_T2,), ("unet-tiny",))
    (claim,) = held_out.at_home()
    union = called("unet-tiny", held_out.union)

    def verdict(lost):
        means = {
            leaf: 0.8 - (lost if dict(leaf.where)["method"] == union else 0) for leaf in leaves_of([claim])
        }
        return judge(rows_at(means), [claim], resamples=200)[0]["verdict"]

    assert {dict(leaf.where)["test"] for leaf in leaves_of([claim])} == {test.label for test in home}
    assert [verdict(lost) for lost in (-0.01, 0.0, 0.01)] == ["holds", "holds", "contradicted"]


def test_the_rows_of_every_study_are_planted_somewhere():
    folder = Path(__file__).parent
    for name in set(STUDIES) - {*RECIPES, *MANY}:
        file = folder / ELSEWHERE.get(name, f"test_{name.replace('-', '_')}.py")
        text = file.read_text()
        assert "judge" in text or "verdicts(CLAIMS" in text, f"{name}: no test plants rows for its claims"
