"""``reshim doctor``: is this machine fit, and what would a run take: memory, time, disk."""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from reshim.cli.train import add_plan, network_of, scans_of, settings_of
from reshim.errors import UserError

if TYPE_CHECKING:
    import torch

    from reshim.training.forecast import Forecast
    from reshim.types import ScanRecord

NAME = "doctor"
HELP = "Say whether this machine is fit, and with a catalog or --plan what a training run would need."

EXAMPLE = """\
examples:
  reshim doctor --out runs
  reshim doctor scans.parquet --where "anatomy = 'knee'" --network unet-s --epochs 50
  reshim doctor --plan slices=30000 volumes=1000 coils=15 rows=640 columns=368 side=320 --network varnet-s

The second and third take the options of `reshim train`. A few steps are made on invented scans to learn how
fast this machine is; no scan is read. Exit status 2 where the run would not fit.
"""

PLAN = {
    "slices": 1000,
    "volumes": 40,
    "coils": 15,
    "rows": 320,
    "columns": 320,
    "side": 320,
    "validation": 100,
}
"""What --plan says, and what is taken where it does not; `side` is that of the image that is scored."""

PACKAGES = ("torch", "numpy", "h5py", "pyarrow", "duckdb", "safetensors", "matplotlib", "nibabel", "pydicom")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "catalog", type=Path, nargs="?", metavar="CATALOG", help="catalog of the scans to train on"
    )
    parser.add_argument(
        "--plan", nargs="+", metavar="KEY=N", help=f"scans without a catalog: {', '.join(PLAN)}"
    )
    parser.add_argument("--json", action="store_true", help="print the forecast as JSON, nothing else")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder that would hold results")
    add_plan(parser, needs_data=False)


def run(arguments: argparse.Namespace) -> int:
    """Print what is found; 2 where something needed is missing."""
    from rich.console import Console
    from rich.table import Table

    if arguments.plan is None and arguments.catalog is None:
        rows, missing = _findings(arguments.out)
    else:
        found, device = _forecast(arguments)
        if arguments.json:
            print(json.dumps(asdict(found)))
            return 0
        rows, missing = _needs(found, device, arguments.out)
    table = Table("what", "found", "note", box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    return 2 if missing else 0


def _forecast(arguments: argparse.Namespace) -> tuple["Forecast", "torch.device"]:
    import torch

    from reshim.networks import build
    from reshim.training.forecast import forecast

    settings = settings_of(arguments)
    name, changes = network_of(arguments, settings.objective)
    training, validation = _scans(arguments)
    with torch.random.fork_rng(devices=[]):
        network = build(name, changes)
    device = torch.device(arguments.device)
    return forecast(network, training, validation, settings, device), device


def _scans(arguments: argparse.Namespace) -> tuple[list["ScanRecord"], list["ScanRecord"]]:
    if arguments.catalog is not None:
        from reshim.catalog import Catalog

        arguments.where = arguments.where or ["true"]
        groups, validation = scans_of(Catalog.read(arguments.catalog), arguments)
        return [record for group in groups for record in group.records], validation
    values = dict(PLAN)
    for pair in arguments.plan:
        key, _, number = pair.partition("=")
        if key not in PLAN or not number.isdecimal():
            raise UserError(
                f"--plan has {pair!r}; it takes whole numbers for {', '.join(PLAN)}, as slices=300"
            )
        values[key] = int(number)
    return _planned(values, "slices"), _planned(values, "validation")


def _planned(values: dict[str, int], kind: str) -> list["ScanRecord"]:
    """Volumes of equal size that add up to the slices of a plan."""
    from reshim.types import ScanRecord

    of_volume = max(values["slices"] // max(values["volumes"], 1), 1)
    whole, rest = divmod(values[kind], of_volume)
    side = values["side"]
    return [
        ScanRecord(
            scan_id=f"planned {kind} {index}",
            root="",
            path="",
            dataset="planned",
            data_kind="simulated",
            subject=str(index),
            n_slices=n_slices,
            n_coils=values["coils"],
            n_rows=values["rows"],
            n_columns=values["columns"],
            recon_rows=min(side, values["rows"]),
            recon_columns=min(side, values["columns"]),
            fully_sampled=True,
            fingerprint="",
        )
        for index, n_slices in enumerate([of_volume] * whole + [rest] * (rest > 0))
    ]


def _needs(
    found: "Forecast", device: "torch.device", folder: Path
) -> tuple[list[tuple[str, str, str]], bool]:
    """The forecast beside what is there."""
    import torch

    from reshim.training.forecast import available_bytes

    rows = [
        ("parameters", f"{found.n_parameters:,}", ""),
        ("training slices", f"{found.n_slices:,}", f"{found.n_steps:,} steps of {found.step_seconds:.2f} s"),
        ("time", _duration(found.seconds), "within a quarter, while nothing else runs"),
    ]
    needs = [("memory", found.memory_bytes, available_bytes(torch.device("cpu")))]
    if device.type == "cuda":
        needs.append(("memory of the GPU", found.device_bytes, available_bytes(device)))
    needs.append(("disk", found.disk_bytes, shutil.disk_usage(_existing(folder)).free))
    short = False
    for name, wanted, there in needs:
        remedy = "--accumulation, a smaller --batch or network" if name != "disk" else "another --out"
        fits = wanted < there
        note = f"{there / 1e9:.1f} GB are free" + ("" if fits else f": too little; {remedy}")
        rows.append((name, f"{wanted / 1e9:.2f} GB", note))
        short = short or not fits
    return rows, short


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())


def _findings(folder: Path) -> tuple[list[tuple[str, str, str]], bool]:
    rows = [("python", platform.python_version(), "3.11 or newer is needed")]
    missing = False
    for name in PACKAGES:
        try:
            rows.append((name, importlib.metadata.version(name), ""))
        except importlib.metadata.PackageNotFoundError:
            optional = name in ("nibabel", "pydicom")
            missing = missing or not optional
            rows.append(
                (name, "missing", "pip install 'reshim[formats]'" if optional else "pip install reshim")
            )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows.append(
        ("processor cores", str(cores), f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}")
    )
    rows.append(("memory", _memory(), "a 320x320, 15-coil U-net training step of batch 4 takes about 2.5 GB"))
    kept = os.environ.get("MALLOC_TRIM_THRESHOLD_")
    rows.append(
        (
            "large blocks kept by the C library",
            "yes" if kept else "no",
            ""
            if kept
            else "MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 speeds up training",
        )
    )
    rows.append(("GPU", _gpu(), ""))
    place = _existing(folder)
    free = shutil.disk_usage(place).free / 1e9
    rows.append(("disk", f"{free:.0f} GB free at {place}", "" if free > 5 else "a study needs up to 5 GB"))
    writable = os.access(place, os.W_OK)
    rows.append(
        (
            "results folder",
            "writable" if writable else "not writable",
            "" if writable else "give another --out",
        )
    )
    return rows, missing or not writable


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return "unknown"
    return f"{total / 2**30:.0f} GiB"


def _gpu() -> str:
    import torch

    return (
        torch.cuda.get_device_name(0)
        if torch.cuda.is_available()
        else "none; everything runs on the processor"
    )
