import json
import os
from pathlib import Path

import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog
from reshim.catalog.lists import Listed, NamedList, assign_list, read_list, select_list
from reshim.errors import UserError

REAL = os.environ.get("RESHIM_REAL_DATA")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for number in range(4):
        write_fastmri(folder / f"file{number}.h5", patient=str(number))
    return Catalog.index([folder], folder / "c.parquet").catalog


def test_a_csv_list_gives_splits_and_the_rest_stays(catalog, tmp_path):
    (tmp_path / "list.csv").write_text(
        "folderDirectory,filename,start_slice,end_slice,datasetName,split\n"
        "/media/ssd2/,file0.h5,0,2,fastmri_knee,test\n,file1.h5,0,1,fastmri_knee,val\n,file9.h5,0,1,,test\n"
        ",file2.h5,0,1,another_dataset,test\n"
    )
    before = {r.path: r.split for r in catalog.records()}
    matched = assign_list(catalog, read_list(tmp_path / "list.csv"))
    after = {r.path: r.split for r in matched.catalog.records()}
    assert (after["file0.h5"], after["file1.h5"]) == ("test", "val")
    assert [after[name] for name in ("file2.h5", "file3.h5")] == [
        before[name] for name in ("file2.h5", "file3.h5")
    ]
    assert matched.missing == ("file2.h5", "file9.h5")
    everything = assign_list(catalog, read_list(tmp_path / "list.csv"), split="train")
    assert len(everything.catalog.where("split_from = 'list' AND split = 'train'")) == 2


def test_a_json_list_picks_slices_and_says_how_often(catalog, tmp_path):
    files = {
        "/x/file1.h5": {"dataset_name": "fastmri_knee", "slices": {"1": {"freq": 3}}},
        "file3.h5": {"dataset_name": "fastmri_knee"},
    }
    (tmp_path / "list.json").write_text(json.dumps({"files": files}))
    matched = select_list(catalog, read_list(tmp_path / "list.json"))
    assert [r.path for r in matched.catalog.records()] == ["file1.h5", "file3.h5"]
    assert matched.repeats == {("fastmri_knee/file1", 0): 0.0, ("fastmri_knee/file1", 1): 3.0}


def test_slices_named_one_by_one_are_gathered(catalog, tmp_path):
    content = {
        "train": ["{'filename': 'file0.h5', 'slice': 1}", "{'filename': 'file0.h5', 'slice': 0}"],
        "val": [],
    }
    (tmp_path / "list.json").write_text(json.dumps(content))
    matched = select_list(catalog, read_list(tmp_path / "list.json", "train"))
    assert matched.repeats == {("fastmri_knee/file0", 0): 1.0, ("fastmri_knee/file0", 1): 1.0}
    with pytest.raises(UserError, match=r"holds the lists \['train', 'val'\]"):
        read_list(tmp_path / "list.json")


def test_indexing_takes_the_splits_of_lists_and_draws_the_rest(tmp_path, monkeypatch):
    for number in range(6):
        write_fastmri(tmp_path / "scans" / f"file{number}.h5", patient=str(number // 2))
    out, lists = tmp_path / "c.parquet", tmp_path / "lists"
    Catalog.index([tmp_path / "scans"], out)
    lists.mkdir()
    (lists / "a.csv").write_text(
        "filename,start_slice,end_slice,split\nfile0.h5,0,2,test\nfile9.h5,0,2,test\n"
    )
    (lists / "b.json").write_text(json.dumps({"few": ["{'filename': 'file2.h5', 'slice': 1}"], "none": []}))
    monkeypatch.setenv("RESHIM_SPLIT_LISTS", str(lists))
    indexed = Catalog.index([tmp_path / "scans"], out, lists=["a.csv", "b.json#few=val"])
    splits = {record.path: record.split for record in indexed.catalog.records()}
    assert (splits["file0.h5"], splits["file1.h5"]) == ("test", "test")  # one subject
    assert (splits["file2.h5"], splits["file3.h5"]) == ("val", "val")
    assert splits["file4.h5"] == splits["file5.h5"]
    assert "a.csv names 2 files, 1 of them in this catalog" in indexed.notes
    assert indexed.n_read == 0

    write_fastmri(tmp_path / "scans" / "file0.h5", patient="0", n_slices=5)
    again = Catalog.index([tmp_path / "scans"], out, lists=["b.json#few=val"])
    assert {record.path: record.split for record in again.catalog.records()} == splits
    assert [about["list"] for about in Catalog.read(out).lists] == ["a.csv", "b.json#few"]


@pytest.mark.parametrize("text", ["a.csv=tset", "#few", "=test"])
def test_a_list_that_is_misnamed_is_refused(text):
    with pytest.raises(UserError, match="--split-list"):
        NamedList.parse(text)


def test_a_list_without_splits_needs_one(catalog, tmp_path):
    (tmp_path / "list.csv").write_text("filename,start_slice,end_slice\nfile0.h5,0,2\n")
    with pytest.raises(UserError, match="=train"):
        Catalog.index([tmp_path], tmp_path / "c.parquet", lists=[str(tmp_path / "list.csv")])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "file,slice\nx,1\n"),
        ("a.csv", "filename,start_slice,end_slice\nx,one,2\n"),
        ("a.json", "{"),
        ("a.json", "[1, 2]"),
        ("a.json", "{\"a\": [\"__import__('os').system('true')\"]}"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError):
        read_list(tmp_path / name, "a")
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path / "missing.csv")


@pytest.mark.real_data
@pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real lists")
def test_the_published_lists_hold_what_was_published():
    lists = Path(REAL) / "split-lists"
    full = read_list(lists / "mri_data_diversity.zip" / "dataset_csv/full_datasets/train/all_data_nodir.csv")
    by_dataset: dict[str, list[Listed]] = {}
    for entry in full:
        by_dataset.setdefault(entry.dataset, []).append(entry)
    assert len(by_dataset["fastmri_knee"]) == 973
    assert sum(len(entry.slices) for entry in by_dataset["fastmri_knee"]) == 34_742
    assert sum(len(entry.slices) for entry in by_dataset["m4raw"]) == 18_432
    few = read_list(
        lists / "data_filtering.zip" / "datasets/evals/classic/nuanced/fastmri_knee_curated_pd_15t.json"
    )
    assert len(few) == 5
    assert len(read_list(lists / "ttt_lists.json", "unet/train_data/knee_train")) == 376
    coco = lists / "meddlr_fastmri_metadata.zip" / "annotations/fastmri/knee_multicoil/mini-v0.0.1/test.json"
    assert all(entry.split == "test" for entry in read_list(coco))


@pytest.mark.real_data
@pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real lists")
def test_published_lists_give_the_splits_of_files_called_as_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("RESHIM_SPLIT_LISTS", str(Path(REAL) / "split-lists"))
    knees = "ttt_lists.json#unet/train_data/knee_train"
    trained = sorted(
        {entry.filename for entry in read_list(NamedList.parse(knees).path, knees.split("#")[1])}
    )
    coco = "meddlr_fastmri_metadata.zip/annotations/fastmri/knee_multicoil/mini-v0.0.1/test.json"
    tested = sorted({entry.filename for entry in read_list(NamedList.parse(coco).path)} - set(trained))
    for name in (*trained[:2], *tested[:2], "of_nobody.h5"):
        write_fastmri(tmp_path / "scans" / name, patient=name)
    lists = [f"{knees}=train", coco]
    catalog = Catalog.index([tmp_path / "scans"], tmp_path / "c.parquet", lists=lists).catalog
    found = {record.path: record.split for record in catalog.where("split_from = 'list'").records()}
    assert found == dict.fromkeys(trained[:2], "train") | dict.fromkeys(tested[:2], "test")
