"""The page of every study has what a reader of its paper looks for: claims, images, a table to copy."""

import json
from dataclasses import replace

import pytest

from reshim.catalog import Catalog
from reshim.classical.sense import Sense
from reshim.errors import UserError
from reshim.report.blocks import ClaimsBlock, DosesBlock, ImagesBlock, ScatterBlock, TableBlock
from reshim.studies import STUDIES, recipe_of
from reshim.studies.engine import families
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

WITHOUT_IMAGES = {
    "shift-alarm": "it judges an alarm, not images",
    "ttt-shares": "the studies of the single shifts show them",
}
FROM_ROWS = {
    "ttt-cost": "it has curves of the first test scan, by name",
    "ttt-harm": "it names the worst slices",
}
"""Pages that cannot be composed before there are rows."""


@pytest.fixture
def study(tmp_path):
    """A study before its run: pages say which rows to show, and need none for that."""
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "early-stop.json").write_text(json.dumps({"share": 0.01}))
    return Study("made", tmp_path, Catalog.__new__(Catalog), Scale.EMBEDDED, 0, tmp_path)


@pytest.mark.parametrize("name", [name for name in STUDIES if name not in FROM_ROWS])
def test_a_page_begins_with_claims_and_has_a_table_and_images(name, study):
    blocks = recipe_of(name).page(study)
    assert isinstance(blocks[0], ClaimsBlock)
    assert any(isinstance(block, TableBlock) for block in blocks)
    assert name in WITHOUT_IMAGES or any(isinstance(block, ImagesBlock) for block in blocks)


COMPARED = (
    "adversarial",
    "diverse-anatomy",
    "diverse-contrast",
    "diverse-field",
    "diverse-forward-model",
    "diverse-large",
    "diverse-scanner",
    "diverse-skew",
    "jittering",
    "natural-shift",
    "small-features",
    "stress",
)


@pytest.mark.parametrize("name", COMPARED)
def test_tables_compare_to_a_row_that_they_have(name, study):
    tables = [block for block in recipe_of(name).page(study) if isinstance(block, TableBlock)]
    compared = [table for table in tables if table.compare_to]
    assert compared
    for table in compared:
        labels = [row.label for row in table.rows]
        assert table.compare_to in labels
        assert len(set(labels)) == len(labels)
        assert "Holm" in table.note


TAKE_METHODS = ("adversarial", "natural-shift", "small-features", "stress")


@pytest.mark.parametrize("name", TAKE_METHODS)
def test_a_method_of_the_user_stands_in_curves_and_tables_and_in_no_claim(name, study):
    recipe = recipe_of(name)
    assert recipe.TAKES_METHODS
    mine = replace(study, methods={"mine": Sense(ridge=1.0)})
    tables = [block for block in recipe.page(mine) if isinstance(block, TableBlock) and block.compare_to]
    assert all("mine" in [row.label for row in table.rows] for table in tables)
    without = [block for block in recipe.page(study) if isinstance(block, TableBlock)]
    assert not any("mine" in [row.label for row in table.rows] for table in without)
    drawn = [block for block in recipe.page(mine) if isinstance(block, DosesBlock | ScatterBlock)]
    assert drawn
    for block in drawn:
        labels = [each.label for each in (block.lines if isinstance(block, DosesBlock) else block.points)]
        assert "mine" in labels
    assert "mine" not in repr(recipe.CLAIMS)


def test_a_method_of_the_user_is_refused_under_the_name_of_one_of_the_studys(study):
    taken = replace(study, methods={"unrolled": Sense()})
    with pytest.raises(UserError, match="rename the RUN folder"):
        families.asked(taken, families.EVERY)


@pytest.mark.parametrize(("name", "count"), [("diverse-large", 8), ("diverse-skew", 4)])
def test_a_network_of_one_kind_is_compared_to_one_of_its_kind(name, count, study):
    tables = [block for block in recipe_of(name).page(study) if isinstance(block, TableBlock)]
    assert len(tables) == count
    for table in tables:
        assert {row.label.split(":")[0] for row in table.rows} == {table.compare_to.split(":")[0]}
