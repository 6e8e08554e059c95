import argparse
import json
import os

import pytest
from tests.scans.miniature import write_fastmri

from reshim.cli import index
from reshim.cli import list as list_command
from reshim.errors import UserError


def run(command, *words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    return command.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        write_fastmri(tmp_path / "scans" / f"file{number}.h5", patient=f"patient-{number}")
    return tmp_path / "scans"


def test_index_ends_with_0_and_list_counts_what_it_wrote(folder, tmp_path, capsys):
    out = tmp_path / "c.parquet"
    assert run(index, folder, "--out", out) == 0
    assert "3 volumes of 3 subjects, 6 slices" in capsys.readouterr().out
    assert run(list_command, out, "--by", "anatomy", "split", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["total"] == {"subjects": 3, "volumes": 3, "slices": 6}
    assert [group["split"] for group in listed["groups"]] == ["test", "train", "val"]
    assert run(list_command, out, "--where", "split = 'train'") == 0
    printed = capsys.readouterr().out
    assert "fastmri_knee" in printed
    assert "PD" in printed


def test_index_ends_with_3_and_names_what_it_left_out(folder, tmp_path, capsys):
    os.truncate(folder / "file1.h5", 1000)
    assert run(index, folder, "--out", tmp_path / "c.parquet") == 3
    printed = capsys.readouterr()
    assert "file1.h5" in printed.err
    assert "1 left out" in printed.out


def test_shares_that_are_none_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="60/20/20"):
        run(index, folder, "--out", tmp_path / "c.parquet", "--split", "80/20")


def test_splits_are_kept_until_they_are_redrawn(folder, tmp_path):
    from reshim.catalog import Catalog

    out = tmp_path / "c.parquet"
    run(index, folder, "--out", out)
    run(index, folder, "--out", out, "--split", "0/0/1")
    assert len(Catalog.read(out).part("test")) == 1
    run(index, folder, "--out", out, "--split", "0/0/1", "--redraw")
    assert len(Catalog.read(out).part("test")) == 3


def test_duplicates_are_marked_and_named(folder, tmp_path, capsys):
    from reshim.catalog import Catalog

    out = tmp_path / "c.parquet"
    assert run(index, folder, "--out", out, "--duplicates") == 0
    # The three miniatures differ in the patient's name alone.
    assert "repeats another: fastmri_knee/file2: fastmri_knee/file0" in capsys.readouterr().err
    assert len(Catalog.read(out).where("duplicate_of = 'fastmri_knee/file0'")) == 2
