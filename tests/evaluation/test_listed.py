"""A list of slices is a test set: those slices and no others, and the mean over lists is unweighted."""

import json
import math
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.toy import record

from reshim.catalog import Catalog
from reshim.catalog.lists import NamedList, named_lists, read_list
from reshim.cli import main
from reshim.errors import UserError
from reshim.evaluation.listed import test_sets as sets_of
from reshim.rows import read_rows
from reshim.simulation.write import simulate

REAL = os.environ.get("RESHIM_REAL_DATA")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three knees of four slices; a list of five slices of two of them, one of a slice of the third."""
    folder = tmp_path_factory.mktemp("listed")
    paths = simulate(folder / "scans", ["knee-pd-3t"], subjects=3, matrix=32, slices=4)
    Catalog.index([folder / "scans"], folder / "scans.parquet")
    names = [path.name for path in paths]
    write(folder / "many.json", {names[0]: (0, 2, 3), names[1]: (1, 2)})
    write(folder / "one.json", {names[2]: (3,)})
    return folder


def write(path, files, freq=1):
    """A list in the form of the published ones."""
    slices = {name: {str(n): {"freq": freq} for n in numbers} for name, numbers in files.items()}
    content = {f"/elsewhere/{name}": {"slices": numbers} for name, numbers in slices.items()}
    path.write_text(json.dumps({"files": content}))


def evaluated(folder, out, *lists):
    arguments = [
        "evaluate",
        str(folder / "scans.parquet"),
        "--where",
        "true",
        "--with",
        "zero-filled",
        "sense",
    ]
    status = main([*arguments, "--slice-list", *map(str, lists), "--out", str(out)])
    return status, read_rows(out).to_pylist() if out.exists() else []


def test_the_slices_of_each_list_are_scored_and_no_others(folder, tmp_path, capsys):
    status, rows = evaluated(folder, tmp_path / "rows.parquet", folder / "many.json", folder / "one.json")
    assert status == 0
    found = {}
    for row in rows:
        found.setdefault(row["test"], set()).add((row["subject"], row["slice"]))
    assert {test: len(slices) for test, slices in found.items()} == {"many": 5, "one": 1}
    assert {number for _, number in found["one"]} == {3}
    own = [
        [row["value"] for row in rows if row["test"] == test and is_shown(row, "sense")]
        for test in ("many", "one")
    ]
    assert [len(each) for each in own] == [5, 1]
    mean = math.fsum(math.fsum(each) / len(each) for each in own) / 2
    line = next(
        line
        for line in capsys.readouterr().out.splitlines()
        if line.split()[:4] == ["sense", "ssim", "mvue", "support"]
    )
    assert line.split()[4:] == ["2", f"{mean:.4f}"]


def is_shown(row, method):
    return [row[name] for name in ("method", "metric", "target", "region")] == [
        method,
        "ssim",
        "mvue",
        "support",
    ]


def test_files_that_the_catalog_lacks_are_told_and_the_others_scored(folder, tmp_path, capsys):
    scan = next((folder / "scans").glob("*.h5")).name
    write(tmp_path / "half.json", {scan: (0,), "elsewhere.h5": (1,)})
    status, rows = evaluated(folder, tmp_path / "rows.parquet", tmp_path / "half.json")
    assert status == 3
    assert {row["slice"] for row in rows} == {0}
    assert "list half: files that are not in the catalog: 1, e.g. elsewhere.h5" in capsys.readouterr().out


def test_a_slice_that_a_scan_does_not_have_leaves_the_scan_out_by_name(folder, tmp_path, capsys):
    first, second, _ = sorted(path.name for path in (folder / "scans").glob("*.h5"))
    write(tmp_path / "beyond.json", {first: (4,), second: (1,)})
    status, rows = evaluated(folder, tmp_path / "rows.parquet", tmp_path / "beyond.json")
    assert status == 3
    assert len({row["scan_id"] for row in rows}) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "the list names slice 4, and the scan's last one is 3" in out


def test_a_slice_named_twice_is_scored_once(folder, tmp_path):
    scan = next((folder / "scans").glob("*.h5")).name
    write(tmp_path / "twice.json", {scan: (1,)}, freq=2)
    _, rows = evaluated(folder, tmp_path / "rows.parquet", tmp_path / "twice.json")
    assert len([row for row in rows if is_shown(row, "sense")]) == 1


def test_scans_of_another_data_set_are_told_with_the_remedy(folder, tmp_path):
    catalog = Catalog.read(folder / "scans.parquet")
    scan = next((folder / "scans").glob("*.h5")).name
    content = {scan: {"dataset_name": "smurf", "slices": {"1": {"freq": 1}}}}
    (tmp_path / "smurf.json").write_text(json.dumps({"files": content}))
    with pytest.raises(UserError, match=r"the list means 'smurf': .* index their folder as smurf=FOLDER"):
        sets_of(catalog, [NamedList.parse(str(tmp_path / "smurf.json"))])


def test_a_wildcard_stands_for_all_lists_of_a_folder_or_of_one_in_an_archive(folder, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "published.zip", "w") as archive:
        for name in ("many", "one"):
            archive.write(folder / f"{name}.json", f"evals/new/{name}.json")
        archive.writestr("evals/new/deeper/other.json", "{}")
        archive.writestr("evals/new/note.txt", "no list")
    patterns = [f"{folder}/*.json", f"{tmp_path}/published.zip/evals/new/*.json"]
    monkeypatch.setenv("RESHIM_SPLIT_LISTS", str(tmp_path))
    for pattern in (*patterns, "published.zip/evals/new/*.json"):
        assert [each.path.stem for each in named_lists([pattern])] == ["many", "one"]
    catalog = Catalog.read(folder / "scans.parquet")
    counts = [
        sum(len(slices) for _, slices in each.scans) for each in sets_of(catalog, named_lists(patterns[1:]))
    ]
    assert counts == [5, 1]
    for nothing in (f"{folder}/none*.json", f"{tmp_path}/published.zip/evals/*.json"):
        with pytest.raises(UserError, match="no list fits"):
            named_lists([nothing])


@pytest.mark.real_data
@pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real lists")
def test_the_48_published_test_sets_are_imported_and_score_files_called_as_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("RESHIM_SPLIT_LISTS", str(Path(REAL) / "split-lists"))
    lists = named_lists(["data_filtering.zip/datasets/evals/classic/nuanced_new/*.json"])
    assert len(lists) == 48
    listed = {each.path.stem: read_list(each.path) for each in lists}
    assert sum(len(entry.slices) for entries in listed.values() for entry in entries) == 269
    wanted = {
        "fastmri_knee_curated_pd_30t",
        "fastmri_prostate_T2_curated_random",
        "m4raw_gre_rot_curated_random",
    }
    paths = {"knee": "fastmri_knee", "prostate": "fastmri_prostate", "gre": "m4raw_gre"}
    records = [
        replace(record(f"{dataset}/{entry.filename}", n_slices=40), path=entry.filename, dataset=dataset)
        for name, dataset in zip(sorted(wanted), paths.values(), strict=True)
        for entry in listed[name]
    ]
    chosen = [each for each in lists if each.path.stem in wanted]
    for found in sets_of(Catalog.of(records), chosen):
        assert found.missing == ()
        assert [slices for _, slices in sorted(found.scans, key=lambda scan: scan[0].path)] == [
            tuple(sorted(entry.slices))
            for entry in sorted(listed[found.name], key=lambda entry: entry.filename)
        ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{folder}/one.json=test", "has no split"),
        ("{folder}/none.json", "cannot be read"),
        ("", "names no file"),
    ],
)
def test_what_is_no_list_of_slices_is_refused(folder, text, message):
    catalog = Catalog.read(folder / "scans.parquet")
    with pytest.raises(UserError, match=message):
        sets_of(catalog, [NamedList.parse(text.format(folder=folder))])


def test_lists_of_one_name_or_of_other_scans_are_refused(folder, tmp_path):
    catalog = Catalog.read(folder / "scans.parquet")
    one = NamedList.parse(str(folder / "one.json"))
    with pytest.raises(UserError, match="two slice lists are called 'one'"):
        sets_of(catalog, [one, one])
    write(tmp_path / "other.json", {"nobody.h5": (0,)})
    with pytest.raises(UserError, match=r"names nobody\.h5"):
        sets_of(catalog, [NamedList.parse(str(tmp_path / "other.json"))])
