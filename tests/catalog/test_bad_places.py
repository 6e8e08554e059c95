"""Places that fail while a catalog is made: a clear error or a named skip, never half a catalog."""

import os
import subprocess
import sys

import pytest
from tests.scans.miniature import write_fastmri

from reshim.catalog import Catalog
from reshim.errors import UserError

FULL_DISK = """
import resource, signal, sys
from reshim.cli import main
# Like a disk with so little room: a file that grows beyond it fails to be written.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


def index_with_room_for(n_bytes, *words):
    command = [sys.executable, "-c", FULL_DISK, str(n_bytes), "index", *map(str, words)]
    # Under the limit a module's byte code would be cut short too, and break whoever imports it next.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        write_fastmri(tmp_path / "scans" / f"file{number}.h5", patient=str(number))
    return tmp_path / "scans"


def test_a_disk_that_fills_leaves_the_old_catalog_and_says_so(folder, tmp_path):
    out = tmp_path / "c.parquet"
    Catalog.index([folder], out)
    before = out.read_bytes()
    write_fastmri(folder / "file9.h5", patient="9")
    ran = index_with_room_for(2000, folder, "--out", out)
    assert ran.returncode == 2, ran.stderr
    assert "cannot be written" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.parquet", "scans"]
    assert len(Catalog.read(out)) == 3


def test_a_disk_that_fills_leaves_no_half_release(folder, tmp_path):
    out = tmp_path / "c.parquet"
    Catalog.index([folder], out)
    room = out.stat().st_size + 20  # for the catalog, but not for the manifest of many scans
    for number in range(12):
        write_fastmri(folder / f"a-rather-long-name-of-a-file-{number:060d}.h5", patient=f"p{number}")
    ran = index_with_room_for(max(room, 14_000), folder, "--out", out, "--release", "1.0.0")
    releases = tmp_path / "c-releases"
    if ran.returncode == 0:  # there was room after all
        assert (releases / "1.0.0" / "manifest.json").is_file()
    else:
        assert ran.returncode == 2, ran.stderr
        assert "cannot be written" in ran.stderr
        assert not releases.exists() or list(releases.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(folder, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(UserError, match="cannot be written"):
        Catalog.index([folder], locked / "c.parquet")


def test_a_place_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="cannot be written"):
        Catalog.index([folder], tmp_path / "file" / "c.parquet")
    catalog = Catalog.index([folder], tmp_path / "c.parquet").catalog
    with pytest.raises(UserError, match="cannot be written"):
        catalog.release(tmp_path / "file", "1.0")


def test_a_folder_of_scans_that_is_read_only_is_indexed_all_the_same(folder, tmp_path):
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert len(Catalog.index([folder], tmp_path / "c.parquet").catalog) == 3
    finally:
        folder.chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_skipped_and_named(folder, tmp_path):
    (folder / "file1.h5").chmod(0)
    indexed = Catalog.index([folder], tmp_path / "c.parquet")
    assert len(indexed.catalog) == 2
    ((path, _),) = indexed.left_out
    assert path.endswith("file1.h5")
