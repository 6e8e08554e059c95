"""Builds the documentation site into build/docs: the pages of docs/, an API reference, the studies' overview.

Run `make docs`, or `python docs/build.py [--open]`. Nothing in docs/ is written to.
"""

import argparse
import pkgutil
import re
import shutil
import sys
import webbrowser
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import reshim
from reshim.report.overview import overview

DOCS = Path(__file__).resolve().parent
BUILD = DOCS.parent / "build" / "docs"
SOURCE, SITE, CACHE = BUILD / "source", BUILD / "html", BUILD / "cache"

SETTINGS = {
    "project": "reshim",
    "version": reshim.__version__,
    "extensions": ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"],
    "html_theme": "furo",
    "html_title": "reshim",
    "html_show_sphinx": False,
    "html_show_copyright": False,
    "myst_enable_extensions": ["colon_fence", "deflist", "dollarmath"],
    "myst_heading_anchors": 3,
    "myst_url_schemes": ["http", "https", "mailto"],
    # A page may point at a file of the repository, which has no place on the site.
    "suppress_warnings": ["myst.xref_missing", "ref.python", "toc.empty_glob"],
    "default_role": "code",
    "autodoc_member_order": "bysource",
    "autodoc_typehints": "signature",
    "autodoc_default_options": {"members": True, "show-inheritance": True},
    "napoleon_google_docstring": False,
    "napoleon_use_rtype": False,
    "python_use_unqualified_type_names": True,
}

COLUMNS = re.compile(r"^\S+ {2,}\S|^ +\S", re.MULTILINE)
"""A word and, after a gap, what it means; or a line that is indented."""

API_HEAD = """\
# API reference

Every module in the order of the data, with the paper it is from and where it departs.

"""


def main() -> int:
    """Build the site; 0, or 1 where a page could not be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", action="store_true", help="show the site in the browser")
    arguments = parser.parse_args()
    gather()
    # furo compiles nothing and asks no server: the site reads from the disk as it lies.
    site = Sphinx(SOURCE, None, SITE, CACHE, "html", confoverrides=SETTINGS, freshenv=True, status=None)
    site.connect("autodoc-process-docstring", plain, priority=400)
    site.build()
    results = sorted((DOCS / "results").glob("*.json"))
    if results:
        overview(results, SITE / "studies-overview.html")
    print(SITE / "index.html")
    if arguments.open:
        webbrowser.open((SITE / "index.html").as_uri())
    return int(site.statuscode)


def gather() -> None:
    """Copy the pages and write one API page for each package, all into build/."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(DOCS, SOURCE, ignore=shutil.ignore_patterns("*.py", "__pycache__", "results"))
    api = SOURCE / "api"
    api.mkdir(exist_ok=True)
    packages = sorted({name.split(".")[1] for name in modules()})
    for package in packages:
        members = [name for name in modules() if name.split(".")[1] == package]
        sections = "\n\n".join(_section(name) for name in members)
        (api / f"{package}.md").write_text(f"# {package}\n\n{sections}\n", encoding="utf-8")
    entries = "\n".join(packages)
    toctree = f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    (api / "index.md").write_text(API_HEAD + toctree, encoding="utf-8")


def plain(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written to be read as they stand: bars are no markup, and columns keep their lines."""
    text = re.sub(r"\|", r"\\|", "\n".join(lines))
    if what == "module":
        paragraphs = text.split("\n\n")
        text = "\n\n".join(_as_lines(each) if COLUMNS.search(each) else each for each in paragraphs)
    lines[:] = text.split("\n")


def _as_lines(paragraph: str) -> str:
    return "\n".join(f"| {line}" for line in paragraph.strip("\n").split("\n"))


def modules() -> list[str]:
    """Every module of the package but the command line, which explains itself."""
    found = [module.name for module in pkgutil.walk_packages(reshim.__path__, "reshim.")]
    return [name for name in found if name.split(".")[1] not in ("cli", "__main__")]


def _section(name: str) -> str:
    directive = f"```{{eval-rst}}\n.. automodule:: {name}\n```"
    return directive if name.count(".") == 1 else f"## {name.rpartition('.')[2]}\n\n{directive}"


if __name__ == "__main__":
    sys.exit(main())
