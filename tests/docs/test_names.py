"""Modules, functions and files that pages and docstrings name are there, also after something has moved."""

import importlib
import re
from pathlib import Path

import pytest

import reshim

ROOT = Path(__file__).parents[2]
SOURCE = Path(reshim.__file__).parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *SOURCE.rglob("*.py")]
DATED = ("LOG.md", "results.md")
"""Pages that keep what was true on a day."""
NAME = re.compile(r"`(reshim(?:\.[A-Za-z_]\w*)+)")
FILE = re.compile(r"`((?:\w+/)+\w+\.py)`")


def resolves(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            settings = getattr(found, "__dataclass_fields__", {})
            if not hasattr(found, part) and part not in settings:
                return False
            found = getattr(found, part, None)
        return True
    return False


def is_there(file):
    return any((folder / file).exists() for folder in (ROOT, SOURCE, ROOT / "tests"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reshim.types.Measurement.kspace", True),
        ("reshim.physics.fourier.to_image", True),
        ("reshim.physics.fourier.to_picture", False),
        ("reshim.nowhere", False),
    ],
)
def test_a_name_resolves_to_what_is_there(name, expected):
    assert resolves(name) is expected


def test_every_name_and_file_of_pages_and_docstrings_is_there():
    texts = {page: page.read_text() for page in PAGES if page.name not in DATED}
    names = {(page.name, name) for page, text in texts.items() for name in NAME.findall(text)}
    files = {(page.name, file) for page, text in texts.items() for file in FILE.findall(text)}
    assert len(names) > 30
    assert len(files) > 10
    assert not {found for found in names if not resolves(found[1])}
    assert not {found for found in files if not is_there(found[1])}
