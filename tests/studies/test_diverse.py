"""The tiny forms of the studies of diverse data, from scans to a page; one small one is in the fast suite."""

import json
from dataclasses import replace
from types import ModuleType

import pytest
from tests.training.toy import record

from reshim.cli import main
from reshim.report.blocks import ClaimsBlock
from reshim.rows import read_rows
from reshim.studies import STUDIES, recipe_of
from reshim.studies.diverse_controls import AGAIN, CASES, LONGER, PARTS, SIZES, SUBJECTS, WIDER
from reshim.studies.engine import lab
from reshim.studies.engine.asked import Asked
from reshim.studies.engine.crowd import one_of_each
from reshim.studies.engine.diverse import Part, called
from reshim.studies.engine.one_for_all import OneForAll
from reshim.studies.engine.run import run_study
from reshim.studies.engine.scale import Scale

SLOW = (
    "data-filtering",
    "diverse-anatomy",
    "diverse-contrast",
    "diverse-controls",
    "diverse-field",
    "diverse-forward-model",
    "diverse-large",
    "diverse-scanner",
    "diverse-skew",
    "distributional-overfitting",
    "pathology",
    "similarity",
    "site-adaptation",
    "ssdu-vs-supervised",
)


WITH_IMAGES = (
    "data-filtering",
    "diverse-controls",
    "diverse-large",
    "diverse-skew",
    "distributional-overfitting",
    "similarity",
    "site-adaptation",
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Scans and models that the studies have in common."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_tiny_form_answers_every_claim_it_can_and_draws_a_page(name, shared, tmp_path):
    out = tmp_path / name
    assert main(["study", name, "--tiny", "--out", str(out), "--shared", str(shared)]) == 0
    claims = json.loads((out / "summary.json").read_text())["claims"]
    assert [claim["id"] for claim in claims] == [claim.id for claim in recipe_of(name).CLAIMS]
    # Four test subjects may all lack a large lesion, and a network of two epochs a gap.
    assert sum(claim["verdict"] != "unanswered" for claim in claims) >= len(claims) / 2
    assert (out / "index.html").read_text().count("<section") > 2
    if name in WITH_IMAGES:
        assert list((out / "images").glob("*-median.npz"))


def test_a_repeated_scan_stands_for_one_subject():
    scans = [
        replace(record(f"{name} {repetition}"), subject=name) for name in "ab" for repetition in range(3)
    ]
    assert [each.scan_id for each in one_of_each(scans)] == ["a 0", "b 0"]
    elsewhere = replace(scans[0], dataset="another")
    assert one_of_each([*scans, elsewhere])[-1] is elsewhere


def test_a_small_study_of_one_network_runs_from_scans_to_page(tmp_path):
    parts = tuple(Part.of(each) for each in (lab.KNEE_PD, lab.BRAIN_T2))
    together = OneForAll("both", parts, ("unet-tiny",), seeds=2)
    recipe = ModuleType("small", "Is one network enough?")
    recipe.TITLE, recipe.PAPER, recipe.CLAIMS = "Small", "none", together.claims()
    recipe.embedded = lambda scale: replace(lab.embedded(*together.tests, scale=scale), subjects=4)
    recipe.run = lambda study: (together.run(study), together.run(study))
    recipe.page = lambda study: (ClaimsBlock(), *together.blocks(study))
    result = run_study(Asked("small", recipe, tmp_path, scale=Scale.TINY))
    assert all(claim["value"] is not None for claim in result.claims)
    rows = read_rows(tmp_path / "rows.parquet")
    scored = {(row["method"], row["test"]) for row in rows.select(["method", "test"]).to_pylist()}
    union = called("unet-tiny", together.union)
    assert {(union, lab.KNEE_PD.label), (f"{union}, same size", lab.BRAIN_T2.label)} <= scored
    # What two questions have in common is scored once.
    place = ["method", "test", "scan_id", "slice", "metric", "target", "region", "train_seed", "value"]
    places = [tuple(row.values()) for row in rows.select(place).to_pylist()]
    assert len({row[:-1] for row in places}) == len(places)
    # Two trainings of everything: as many rows, other weights, and an interval over both.
    first, second = ({row for row in places if row[-2] == seed} for seed in (0, 1))
    assert len(first) == len(second) > 0
    assert {row[-1] for row in first} != {row[-1] for row in second}
    assert all(claim["n_seeds"] == 2 for claim in result.claims)
    assert lab.BRAIN_T2.label in result.page.read_text()


def test_networks_of_other_parts_have_other_names_within_a_study():
    for name in (name for name in STUDIES if name.startswith("diverse-")):
        known = {}
        for question in getattr(recipe_of(name), "QUESTIONS", ()):
            for part in (*question.parts, question.union):
                assert known.setdefault(part.label, part) == part


def test_controls_vary_the_epochs_or_the_subjects_and_leave_the_updates_alone():
    updates = {size.label: size.epochs * size.share for size in SIZES}
    assert updates[LONGER.label] == updates[WIDER.label] == pytest.approx(3 * updates[AGAIN.label])
    assert LONGER.share == AGAIN.share < WIDER.share
    trained = round(AGAIN.share * SUBJECTS * PARTS[0])
    assert trained == round(lab.SUBJECTS * lab.SHARES[0])


RENAMED = {
    "diverse-contrast": {f"{lab.BRAIN_T1.label} + {lab.BRAIN_T2.label}": "all 2"},
    "diverse-skew": {
        f"{lab.KNEE_PD.label} and few {lab.BRAIN_T2.label}": "knees and few brains",
        f"{lab.BRAIN_T2.label} and few {lab.KNEE_PD.label}": "brains and few knees",
        f"few {lab.BRAIN_T2.label} on": "few brains on",
        f"U-net: {lab.BRAIN_T2.label} on": "U-net: brains on",
    },
    "ssdu-vs-supervised": {"SSDU: brain T1 3 T": "SSDU", ", 16 centre lines": ""},
}
"""What a control calls otherwise than the study it came from."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_control_asks_what_its_study_asked(case):
    rules = [claim.rule for claim in recipe_of(case.came_from).CLAIMS]
    asked = {str(part) for rule in rules for part in getattr(rule, "rules", (rule,))}
    own = str(case.rule(case.gain(AGAIN))).replace(f", {AGAIN.label}", "")
    for here, there in RENAMED[case.came_from].items():
        own = own.replace(here, there)
    assert own in asked
