"""One catalog of all there is: simulated protocols, the miniatures of every reader, real scans."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reshim.catalog import Catalog
from reshim.cli import main
from reshim.scans import READERS, SUFFIXES
from reshim.scans.sidecar import why_skipped

pytestmark = pytest.mark.slow

REAL = os.environ.get("RESHIM_REAL_DATA")
SCANS = Path(__file__).parents[1] / "scans"
SIDECARS = SCANS.parents[1] / "docs" / "sidecars"
ONE = "brain-t2-3t"


def write_miniatures(folder: Path) -> None:
    """Every file that the readers' tests write, kept where pytest puts it."""
    options = ["-q", "-m", "not slow and not real_data", "--basetemp", str(folder), "-p", "no:cacheprovider"]
    ignored = [f"--ignore={SCANS / name}" for name in ("test_hostile.py", "test_damaged.py")]
    command = [sys.executable, "-m", "pytest", str(SCANS), *options, *ignored]
    ran = subprocess.run(command, cwd=SCANS.parents[1], capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stdout[-3000:] + ran.stderr[-1000:]


def described(folder: Path) -> Path:
    """Links to the real scans, and beside them what docs/sidecars says of each."""
    for path in (path for path in Path(REAL or "").rglob("*") if path.is_file()):
        link = folder / path.relative_to(REAL)  # type: ignore[arg-type]
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.absolute())
    shutil.copytree(SIDECARS, folder, dirs_exist_ok=True)
    (folder / "complex-knee" / "knee-2.npz").symlink_to("knee.npz")
    return folder


def is_no_scan(relative: Path) -> bool:
    """True where the sidecars say so."""
    return why_skipped(SIDECARS / relative) is not None


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    from reshim.simulation.protocols import PROTOCOLS
    from reshim.simulation.write import simulate

    folder = tmp_path_factory.mktemp("everything")
    one = ONE if ONE in PROTOCOLS else next(iter(PROTOCOLS))
    simulate(folder / "simulated", None, 1, matrix=48, slices=2)
    simulate(folder / "simulated", [one], 3, matrix=48, slices=2)
    write_miniatures(folder / "miniatures")
    folders = [str(folder / "simulated"), str(folder / "miniatures")]
    if REAL:
        folders.append(str(described(folder / "real")))
    assert main(["index", *folders, "--out", str(folder / "all.parquet")]) in (0, 3)
    return folder / "all.parquet"


def test_one_catalog_holds_every_protocol_every_reader_and_every_real_scan(out, capsys):
    from reshim.simulation.protocols import PROTOCOLS

    catalog = Catalog.read(out)
    simulated = catalog.where("data_kind = 'simulated' AND root = 'simulated'")
    files = {Path(record.path).stem for record in simulated.records()}
    assert all(
        any(name in stem or name in record.path for stem in files for record in simulated.records())
        for name in PROTOCOLS
    )
    assert set(catalog.where("root = 'miniatures'").table["reader"].to_pylist()) == set(READERS)
    if REAL:
        real = catalog.where("root = 'real'")
        assert len(real.where("dataset LIKE 'raw-%'")) == 5
        held = {Path(path) for path in real.table["path"].to_pylist()}
        files = (path.relative_to(REAL) for path in Path(REAL).rglob("*") if path.is_file())
        scans = {path for path in files if path.name.lower().endswith(SUFFIXES) and not is_no_scan(path)}
        assert held == scans | {Path("complex-knee/knee-2.npz")}
        assert {group["data_kind"] for group in real.by(["data_kind"])} == {
            *("measured", "semi-synthetic", "emulated")
        }
    capsys.readouterr()
    columns = ["dataset", "anatomy", "contrast", "field_tesla"]
    assert main(["list", str(out), "--by", *columns, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert sum(group["volumes"] for group in listed["groups"]) == len(catalog)
    assert {group["anatomy"] for group in listed["groups"]} >= {"knee", "brain"}


def test_training_and_evaluation_take_a_filter_of_it(out, tmp_path):
    catalog = Catalog.read(out).where("root = 'simulated' AND fully_sampled")
    protocols = catalog.by(["protocol", "dataset"])
    most = max(protocols, key=lambda group: group["subjects"])
    where = f"root = 'simulated' AND protocol = '{most['protocol']}' AND dataset = '{most['dataset']}'"
    three = catalog.where(where)
    split = dict(zip(three.subjects(), ("train", "val", "test"), strict=True))
    rows = Catalog.read(out)
    subjects = rows.table["subject"].to_pylist()
    old = rows.table["split"].to_pylist()
    rows._with(split=[split.get(name, was) for name, was in zip(subjects, old, strict=True)]).write(out)
    run = tmp_path / "run"
    words = ["--network", "unet-tiny", "--epochs", "1", "--target", "rss", "--center-lines", "8"]
    assert main(["train", str(out), "--where", where, *words, "--out", str(run)]) == 0
    methods = ["zero-filled", str(run)]
    scored = ["evaluate", str(out), "--where", where, "--with", *methods, "--center-lines", "8"]
    assert main([*scored, "--targets", "rss", "--out", str(tmp_path / "rows.parquet")]) == 0
