"""`reshim report` draws one study, or all inside a folder with their overview."""

import argparse
from pathlib import Path

import pytest

from reshim.cli import report
from reshim.errors import UserError

from .study_folder import make_study


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return report.run(parser.parse_args([str(word) for word in words]))


def test_a_study_is_drawn_again_and_its_page_named(tmp_path, capsys):
    folder = make_study(tmp_path / "made-up")
    assert run(folder) == 0
    assert capsys.readouterr().out == f"{folder / 'index.html'}\n"
    assert (folder / "index.html").exists()


def test_a_folder_of_studies_gets_an_overview_and_one_that_fails_is_named(tmp_path, capsys):
    make_study(tmp_path / "good")
    make_study(tmp_path / "bad")
    (tmp_path / "bad" / "page.json").write_text("{")
    assert run(tmp_path) == 3
    assert (tmp_path / "index.html").exists()
    assert "left out:" in capsys.readouterr().out.splitlines()[-1]


def test_the_tables_compare_to_the_method_that_is_named(tmp_path):
    folder = make_study(tmp_path / "made-up")
    assert run(folder, "--compare-to", "f_Q") == 0
    assert "difference to f_Q" in (folder / "index.html").read_text()
    with pytest.raises(UserError, match="has a row 'gone'"):
        run(folder, "--compare-to", "gone")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        run(tmp_path / "absent")
    with pytest.raises(UserError, match="has no rows"):
        run(tmp_path)
