"""Every score that a study's claims or a page are made of is defined on the card of its metric."""

import pyarrow as pa
import pytest

from reshim.evaluation import insertion
from reshim.evaluation.quantities import Rows, lower_is_better
from reshim.evaluation.rules import rules_of
from reshim.metrics import METRICS as OF_IMAGES
from reshim.report.context import Context
from reshim.report.glossary import METRICS, REGIONS, TARGETS, aim, better, meaning_of
from reshim.report.made import cards, crops, words
from reshim.studies import STUDIES, recipe_of
from reshim.studies.engine.relations import KINDS
from reshim.studies.engine.repeats import ERROR, SPREAD


@pytest.mark.parametrize("name", STUDIES)
def test_every_score_of_a_claim_is_defined(name):
    named = [
        dict(leaf.where)
        for claim in recipe_of(name).CLAIMS
        for rule in rules_of(claim.rule)
        for leaf in rule.quantity.leaves()
    ]
    assert [where["metric"] for where in named if meaning_of(where["metric"]) is None] == []
    assert {where["region"] for where in named if where.get("region")} <= set(REGIONS)
    assert {where["target"] for where in named if where.get("target")} <= set(TARGETS)


def test_what_the_modules_measure_is_defined():
    assert {*OF_IMAGES, *insertion.METRICS, *KINDS, ERROR, SPREAD} <= set(METRICS)
    assert meaning_of("ssim_matched") is meaning_of("ssim_volume") is METRICS["ssim"]
    assert meaning_of("similarity-efficientnet") is METRICS["similarity"]
    assert meaning_of("of our own") is None


@pytest.mark.parametrize(
    ("metric", "good"),
    [
        *((name, "lower") for name in ("nmse", "nmse_volume", "block_mse", "false", "mae_rate", "width")),
        *((name, "lower") for name in ("seconds to its end", "loses more than 0.002")),
        *((name, "higher") for name in ("ssim", "psnr", "dice", "fidelity", "placement")),
        *((name, "neither") for name in ("spearman", "similarity-clip")),
        ("recovery", "nearer to 1"),
        ("covered", "near 0.9"),
    ],
)
def test_a_card_says_what_a_good_value_is(metric, good):
    assert better(metric) == good
    if good in ("higher", "lower"):
        assert lower_is_better(metric) is (good == "lower")
        assert aim(metric) == f"{good} is better"


def context(tmp_path, **columns) -> Context:
    rows = [{"metric": "ssim_matched", "target": "full", "region": "box-small", **columns}]
    rows += [{"metric": "own", "target": "made up", "region": "lesion", **columns}]
    return Context(tmp_path, Rows(pa.Table.from_pylist(rows)), {})


def test_cards_define_what_is_known_and_say_so_of_what_is_not(tmp_path):
    found = {card["definition"]: card for card in cards(context(tmp_path))}
    other, known = sorted(found.values(), key=lambda card: "SSIM" in card["metric"])
    assert known["definition"].startswith("Structural similarity")
    assert "After matching" in known["definition"]
    assert "whoever wrote the rows" in other["definition"]
    assert [name for name, _ in words(context(tmp_path))] == ["full", "box-small", "lesion"]


def test_the_page_says_how_large_the_images_were_where_rows_know(tmp_path):
    assert crops(context(tmp_path)) == ""
    assert crops(context(tmp_path, crop_rows=320, crop_columns=300)) == "320 × 300 pixels"
    assert crops(context(tmp_path, crop_rows=None, crop_columns=None)) == ""
