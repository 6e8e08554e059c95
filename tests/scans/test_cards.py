from pathlib import Path

import pytest

from reshim.scans import READERS
from reshim.scans.cards import card, table
from reshim.scans.sidecar import KEYS

PAGE = Path(__file__).parents[2] / "docs" / "scans.md"


@pytest.mark.parametrize("name", READERS)
def test_every_reader_opens_with_its_card(name):
    assert {"what", "origin", "licence", "layout", "quirks"} <= set(card(name))


def test_the_page_on_scans_shows_the_cards_as_they_are():
    assert table() in PAGE.read_text(encoding="utf-8"), "print reshim.scans.cards.table() into docs/scans.md"


def test_the_page_on_scans_names_every_key_of_a_sidecar():
    page = PAGE.read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in page] == []
