import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog
from reshim.catalog import index as index_module
from reshim.errors import UserError


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scans"
    for number in range(5):
        write_fastmri(folder / f"file{number}.h5", patient=f"patient-{number}", seed=number)
    return folder


def test_run_again_it_reads_only_what_changed(folder, tmp_path):
    out = tmp_path / "c.parquet"
    assert Catalog.index([folder], out).n_read == 5
    first = out.read_bytes()
    assert Catalog.index([folder], out).n_read == 0
    assert out.read_bytes() == first
    write_fastmri(folder / "file1.h5", patient="patient-1", n_slices=7, seed=9)
    (folder / "file2.h5").unlink()
    write_fastmri(folder / "file9.h5", patient="patient-9")
    again = Catalog.index([folder], out)
    assert again.n_read == 2
    assert {r.path: r.n_slices for r in again.catalog.records()}["file1.h5"] == 7
    assert len(again.catalog) == 5


def test_a_changed_time_or_fingerprint_is_noticed(folder, tmp_path):
    out = tmp_path / "c.parquet"
    before = {r.path: r.fingerprint for r in Catalog.index([folder], out).catalog.records()}
    path = folder / "file3.h5"
    with h5py.File(path, "a") as file:
        file.attrs["acquisition"] = "CORPDX_FBK"
    os.utime(path, ns=(1, 1))
    again = Catalog.index([folder], out)
    after = {r.path: r.fingerprint for r in again.catalog.records()}
    assert again.n_read == 1
    assert {p for p in before if before[p] != after[p]} == {"file3.h5"}


def test_bad_files_are_named_and_the_others_stand(folder, tmp_path):
    os.truncate(folder / "file0.h5", 5000)
    (folder / "empty.h5").write_bytes(b"")
    (folder / "text.h5").write_text("no HDF5")
    (folder / "dangling.h5").symlink_to(tmp_path / "nowhere.h5")
    with h5py.File(folder / "other.h5", "w") as file:
        file["something"] = np.ones(3)
    (folder / "notes.txt").write_text("not looked at")
    indexed = Catalog.index([folder], tmp_path / "c.parquet")
    assert len(indexed.catalog) == 4
    reasons = {path.rsplit("/", 1)[1]: reason for path, reason in indexed.left_out}
    assert set(reasons) == {"file0.h5", "empty.h5", "text.h5", "dangling.h5", "other.h5"}
    assert "cut short" in reasons["file0.h5"]
    assert "no dataset `kspace`" in reasons["other.h5"]


def test_names_that_are_not_ascii_and_folders_that_loop(tmp_path):
    folder = tmp_path / "Köpfe und Knie 脳"
    write_fastmri(folder / "süd" / "файл 1.h5")
    (folder / "süd" / "back").symlink_to(folder, target_is_directory=True)
    catalog = Catalog.index([folder], tmp_path / "c.parquet").catalog
    assert [r.path for r in catalog.records()] == ["süd/файл 1.h5"]
    assert Catalog.read(tmp_path / "c.parquet").records()[0].root == "Köpfe und Knie 脳"


def test_a_folder_that_can_only_be_read_is_enough(folder, tmp_path):
    folder.chmod(0o555)
    try:
        assert len(Catalog.index([folder], tmp_path / "c.parquet").catalog) == 5
        assert sorted(path.name for path in folder.iterdir()) == [f"file{n}.h5" for n in range(5)]
    finally:
        folder.chmod(0o755)


def test_the_full_hash_is_that_of_the_bytes(folder, tmp_path):
    import hashlib

    out = tmp_path / "c.parquet"
    assert Catalog.index([folder], out).catalog.records()[0].sha256 is None
    record = Catalog.index([folder], out, hash="full").catalog.records()[0]
    assert record.sha256 == hashlib.sha256((folder / "file0.h5").read_bytes()).hexdigest()
    assert Catalog.index([folder], out, hash="full").n_read == 0


def test_two_folders_of_one_name_are_two_roots(tmp_path):
    for side in ("a", "b"):
        write_fastmri(tmp_path / side / "scans" / "file1.h5", patient=side)
    catalog = Catalog.index(
        [tmp_path / "a" / "scans", f"clinic={tmp_path / 'b' / 'scans'}"], tmp_path / "c.parquet"
    )
    assert sorted(r.root for r in catalog.catalog.records()) == ["clinic", "scans"]
    catalog = Catalog.index([tmp_path / "a" / "scans", tmp_path / "b" / "scans"], tmp_path / "d.parquet")
    assert sorted(r.root for r in catalog.catalog.records()) == ["scans", "scans-2"]


def test_an_interrupted_run_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    out = tmp_path / "c.parquet"
    monkeypatch.setattr(index_module, "BATCH", 1)
    monkeypatch.setattr(index_module, "SECONDS_BETWEEN_WRITES", -1.0)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Catalog.index([folder], out, on_progress=stop)
    assert not out.exists()
    assert Catalog.index([folder], out).n_read == 3
    assert not out.with_name("c.parquet.unfinished").exists()


def test_headers_alone_are_read(tmp_path):
    path = write_fastmri(
        tmp_path / "scans" / "big.h5", n_slices=20, n_coils=8, rows=128, columns=96, recon=(64, 64)
    )

    def bytes_read():
        return int(Path("/proc/self/io").read_text().split()[1])

    index_module._read_batch([], False)
    before = bytes_read()
    rows, _ = index_module._read_batch(
        [index_module._File(path, path.parent, "scans", path.stat().st_size, 0)], False
    )
    assert rows[0]["n_slices"] == 20
    assert path.stat().st_size > 15_000_000
    assert bytes_read() - before < 100_000


@pytest.mark.slow
def test_processes_read_what_one_process_reads(folder, tmp_path):
    shutil.copy(folder / "file0.h5", folder / "cut.h5")
    os.truncate(folder / "cut.h5", 4000)
    alone = Catalog.index([folder], tmp_path / "c.parquet", workers=1)
    together = Catalog.index([folder], tmp_path / "d.parquet", workers=2)
    assert alone.catalog.table.equals(together.catalog.table)
    assert alone.left_out == together.left_out


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        Catalog.index([tmp_path / "nothing"], tmp_path / "c.parquet")
