"""Commands that the pages name exist, with their options; snippets of Python compile."""

import re
import shlex
from pathlib import Path

import pytest

from reshim.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page, kind):
    return [text for found, text in BLOCK.findall(page.read_text(encoding="utf-8")) if found == kind]


def commands(page):
    lines = "\n".join(blocks(page, "console")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.startswith("$ ")]
    return [command[1:] for command in words if command[:1] == ["reshim"] and "..." not in command]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_are_understood(page):
    parser, _ = build_parser()
    for words in commands(page):
        parser.parse_args(words)


def test_the_page_of_training_has_commands_and_python_that_compile():
    page = ROOT / "docs" / "training.md"
    assert len(commands(page)) >= 9
    for text in blocks(page, "python"):
        compile(text, str(page), "exec")
    parser, modules = build_parser()
    helps = " ".join(parser._subparsers._group_actions[0].choices[name].format_help() for name in modules)
    # Of torchrun, not ours.
    torchrun = {"--nproc-per-node", "--nnodes", "--node-rank", "--rdzv-endpoint"}
    named = set(re.findall(r"--[a-z][a-z0-9-]+", page.read_text(encoding="utf-8"))) - torchrun
    assert named <= set(re.findall(r"--[a-z][a-z0-9-]+", helps))


@pytest.mark.parametrize("page", ["docs/index.md", "README.md"])
def test_the_page_of_training_is_linked(page):
    assert "training.md" in (ROOT / page).read_text(encoding="utf-8")
