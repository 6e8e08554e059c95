"""The judge of each study of diverse data finds planted effects, and none where there is none."""

import pytest

from reshim.evaluation.claims import LowerBoundAbove, PointAndInterval, judge
from reshim.studies import recipe_of

from .planted import all_rules, leaves_of, levels, rows_at

RECIPES = (
    "data-filtering",
    "diverse-scanner",
    "diverse-skew",
    "distributional-overfitting",
    "pathology",
    "site-adaptation",
    "ssdu-vs-supervised",
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


@pytest.fixture(params=[*RECIPES, *(pytest.param(name, marks=pytest.mark.slow) for name in MANY)])
def claims(request):
    return recipe_of(request.param).CLAIMS


def test_a_claim_has_an_id_of_its_own_and_says_what_it_asks(claims):
    assert len({claim.id for claim in claims}) == len(claims)
    assert all(claim.claim and claim.id == claim.id.lower() for claim in claims)


def test_planted_effects_are_found(claims):
    judged = judge(rows_at(levels(claims, clear_of=0.004)), claims, resamples=200)
    assert {each["id"]: each["verdict"] for each in judged} == {claim.id: "holds" for claim in claims}


def test_the_opposite_of_every_effect_is_told(claims):
    judged = judge(rows_at(levels(claims, clear_of=-0.004)), claims, resamples=200)
    assert {each["id"]: each["holds"] for each in judged} == {claim.id: False for claim in claims}


def test_where_all_methods_are_alike_no_gain_is_found(claims):
    # Not quite alike: through points that coincide there is no line.
    alike = rows_at({leaf: 0.8 + 1e-6 * (number % 7) for number, leaf in enumerate(leaves_of(claims))})
    gains = [
        claim
        for claim in claims
        if any(type(rule) in (LowerBoundAbove, PointAndInterval) for rule in all_rules([claim]))
    ]
    assert not any(each["holds"] for each in judge(alike, gains, resamples=200))
