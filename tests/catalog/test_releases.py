import argparse
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog, table
from reshim.catalog.releases import read_release, release, versions
from reshim.cli import index
from reshim.errors import UserError

FIRST = Path(__file__).parent / "released"


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        write_fastmri(tmp_path / "scans" / f"file{number}.h5", patient=str(number))
    return tmp_path / "scans"


def test_a_release_is_read_as_it_was_written(folder, tmp_path):
    catalog = Catalog.index([folder], tmp_path / "c.parquet").catalog
    made = catalog.release(tmp_path / "releases", "1.0.0")
    found = read_release(tmp_path / "releases")
    assert found.manifest == made.manifest
    assert found.read().table.equals(catalog.table)
    assert found.read().records() == catalog.records()  # roots are found from the release's folder
    counts = found.manifest["counts"]
    assert (counts["subjects"], counts["volumes"], counts["slices"]) == (3, 3, 6)
    assert counts["split"] == {"test": 1, "train": 1, "val": 1}
    assert found.manifest["schema_version"] == table.SCHEMA_VERSION
    assert found.manifest["changes"]["added"] == sorted(r.scan_id for r in catalog.records())


def test_a_release_says_what_changed_since_the_one_before(folder, tmp_path):
    out = tmp_path / "c.parquet"
    Catalog.index([folder], out).catalog.release(tmp_path / "releases", "1.0")
    (folder / "file0.h5").unlink()
    write_fastmri(folder / "file1.h5", patient="1", n_slices=4)
    write_fastmri(folder / "file9.h5", patient="9")
    catalog = Catalog.index([folder], out).catalog
    moved = catalog._with(split=["test" if r.path == "file2.h5" else r.split for r in catalog.records()])
    changes = moved.release(tmp_path / "releases", "1.10").manifest["changes"]
    before = {r.path: r.split for r in read_release(tmp_path / "releases", "1.0").read().records()}
    assert changes["added"] == ["fastmri_knee/file9"]
    assert changes["removed"] == ["fastmri_knee/file0"]
    assert changes["changed"] == ["fastmri_knee/file1"]
    assert changes["split_changed"] == ([] if before["file2.h5"] == "test" else ["fastmri_knee/file2"])
    moved.release(tmp_path / "releases", "1.9")
    assert versions(tmp_path / "releases") == ["1.0", "1.9", "1.10"]
    same = read_release(tmp_path / "releases", "1.9").manifest
    assert same["previous"] == "1.0"
    assert same["content_sha256"] == read_release(tmp_path / "releases").manifest["content_sha256"]


def test_a_version_is_never_overwritten(folder, tmp_path):
    catalog = Catalog.index([folder], tmp_path / "c.parquet").catalog
    made = catalog.release(tmp_path / "releases", "1.0")
    before = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    for same in ("1.0", "v1", "1.0.0"):
        with pytest.raises(UserError, match="never changed"):
            release(catalog.where("true = false"), tmp_path / "releases", same)
    assert {path.name: path.read_bytes() for path in made.folder.iterdir()} == before
    for wrong in ("", "../2", "one", "1..2", "1.0/2", "9" * 40):
        with pytest.raises(UserError, match="numbers and dots"):
            catalog.release(tmp_path / "releases", wrong)
    assert os.listdir(tmp_path / "releases") == ["1.0"]  # noqa: PTH208  (hidden ones too)


def test_a_release_that_fails_leaves_nothing(folder, tmp_path, monkeypatch):
    catalog = Catalog.index([folder], tmp_path / "c.parquet").catalog

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reshim.catalog.releases.os.fsync", full)
    with pytest.raises(UserError, match="no release was made"):
        catalog.release(tmp_path / "releases", "1.0")
    assert list((tmp_path / "releases").iterdir()) == []


def test_a_release_that_was_tampered_with_is_refused(folder, tmp_path):
    made = Catalog.index([folder], tmp_path / "c.parquet").catalog.release(tmp_path / "releases", "1.0")
    path = made.folder / "catalog.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match="not the table that was released"):
        read_release(tmp_path / "releases", "1.0").read()
    with pytest.raises(UserError, match=r"no release 2\.0; it has 1\.0"):
        read_release(tmp_path / "releases", "2.0")


def test_the_first_release_ever_made_is_still_read():
    catalog = read_release(FIRST, "1.0.0").read()
    assert [record.scan_id for record in catalog.records()] == ["fastmri_knee/file0", "fastmri_knee/file1"]
    assert {record.split for record in catalog.records()} == {"train", "val"}
    assert len(catalog.where("anatomy = 'knee' AND field_tesla = 3")) == 2


def test_a_release_is_read_after_columns_were_added(monkeypatch, tmp_path):
    grown = pa.schema([*table.SCHEMA, ("shim", pa.string())])
    monkeypatch.setattr(table, "SCHEMA", grown)
    monkeypatch.setattr(table, "COLUMNS", tuple(grown.names))
    monkeypatch.setattr(table, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(table, "ADDED", {"shim": 2})
    catalog = read_release(FIRST, "1.0.0").read()
    assert catalog.table["shim"].null_count == len(catalog) == 2
    # But a file that calls itself new and lacks the column is none.
    written = table.versioned(pq.read_table(FIRST / "1.0.0" / "catalog.parquet"))
    pq.write_table(written, tmp_path / "c.parquet")
    with pytest.raises(UserError, match="shim"):
        Catalog.read(tmp_path / "c.parquet")


def test_index_keeps_a_version_when_told(folder, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    index.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    words = [str(folder), "--out", str(tmp_path / "c.parquet"), "--release", "1.0.0"]
    assert index.run(parser.parse_args(words)) == 0
    assert "release 1.0.0 in" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "c-releases" / "1.0.0" / "manifest.json").read_text())
    assert manifest["table"]["rows"] == 3
    with pytest.raises(UserError, match="never changed"):
        index.run(parser.parse_args(words))
    shutil.rmtree(tmp_path / "c-releases")
