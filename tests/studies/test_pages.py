"""The page of every study has what a reader of its paper looks for: claims, images, a table to copy."""

import json

import pytest

from reshim.catalog import Catalog
from reshim.report.blocks import ClaimsBlock, ImagesBlock, TableBlock
from reshim.studies import STUDIES, recipe_of
from reshim.studies.scale import Scale
from reshim.studies.study import Study

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
