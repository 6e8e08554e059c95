"""``reshim doctor``: is this machine fit, and what would a run take: memory, time, disk."""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from reshim.cli.training_plan import add_plan, bounds_of, network_of, scans_of, settings_of
from reshim.errors import UserError

if TYPE_CHECKING:
    import torch

    from reshim.training.forecast import Forecast, Processes
    from reshim.types import ScanRecord

NAME = "doctor"
HELP = "Say whether this machine is fit, and with a catalog or --plan what a training run would need."

EXAMPLE = """\
examples:
  reshim doctor --out runs
  reshim doctor scans.parquet --where "anatomy = 'knee'" --network unet-s --epochs 50
  reshim doctor --plan slices=30000 volumes=1000 coils=15 rows=640 columns=368 side=320 --network varnet-s
  reshim doctor scans.parquet --where true --network vit-l --fsdp --processes 8 --device cuda

All but the first take the options of `reshim train`. A few steps are made on invented scans to learn how
fast this machine is; no scan is read. Memory, seconds and disk came out within a quarter in five runs on a
quiet machine; seconds are those of one that stays as fast as it is meanwhile. What is beyond --pool-gib is
made again at every draw, and counted so. --stop early is taken as never met, --compile as not asked for. Exit
status 2 where the run would not fit.
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

PACKAGES = ("torch", "numpy", "h5py", "pyarrow", "duckdb", "safetensors", "matplotlib")
OPTIONAL = {"nibabel": "formats", "pydicom": "formats", "twixtools": "formats", "numba": "fast"}
"""A package and the extra that brings it."""


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
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="of torchrun --nproc-per-node (default 1)"
    )
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
        short = [need for need in _needs(found, device, arguments.out) if need[1] >= need[2]]
        if short:
            said = "; ".join(f"{name} {_gb(wanted)} of {_gb(there)} free" for name, wanted, there in short)
            print(f"reshim doctor: the run does not fit: {said}; {_remedy(short[0][0])}", file=sys.stderr)
        if arguments.json:
            print(json.dumps({**asdict(found), "fits": not short}))
            return 2 if short else 0
        rows, missing = _rows(found, device, arguments), bool(short)
    table = Table("what", "found", "note", box=None)
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)
    return 2 if missing else 0


def _forecast(arguments: argparse.Namespace) -> tuple["Forecast", "torch.device"]:
    # What a training loads, timed here: on a cold disk it is much of a short run.
    started = time.perf_counter()
    import torch

    for name in ("reshim.training.train", "reshim.report.run_page"):
        importlib.import_module(name)
    from reshim.methods import checked_device
    from reshim.networks import build
    from reshim.training.forecast import START_SECONDS, forecast

    device = torch.device(checked_device(arguments.device))
    settings = settings_of(arguments)
    name, changes = network_of(arguments, settings.objective)
    training, validation, watched = _scans(arguments)
    with torch.random.fork_rng(devices=[]):
        network = build(name, changes)
    in_memory, on_disk = bounds_of(arguments)
    loaded = time.perf_counter() - started
    found = forecast(
        network,
        training,
        validation,
        settings,
        device,
        watched=watched,
        processes=_processes(arguments, device),
        pool_bytes=in_memory,
        cache_bytes=on_disk,
        lends=arguments.start is not None or arguments.fallback is not None,
        start_seconds=max(loaded, START_SECONDS),
    )
    return found, device


def _processes(arguments: argparse.Namespace, device: "torch.device") -> "Processes":
    """How torchrun would deal the run out; with the threads that each of its processes would have."""
    import torch

    from reshim.training.forecast import Processes

    count = arguments.processes
    if count > 1 and arguments.threads is None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # as torchrun sets it
    crowded = 1.0 if device.type == "cuda" else count * torch.get_num_threads() / _cores()
    return Processes(count, arguments.fsdp, max(crowded, 1.0) if count > 1 else 1.0)


def _scans(
    arguments: argparse.Namespace,
) -> tuple[list["ScanRecord"], list["ScanRecord"], list[list["ScanRecord"]]]:
    """Scans that are trained on, that choose the checkpoint, and that are only watched."""
    if arguments.catalog is not None:
        from reshim.catalog import Catalog

        arguments.where = arguments.where or ["true"]
        catalog = Catalog.read(arguments.catalog)
        groups, validation = scans_of(catalog, arguments)
        watched = [catalog.where(where).part("val").records() for where in arguments.watch or ()]
        return [record for group in groups for record in group.records], validation, watched
    if arguments.watch:
        raise UserError("--watch filters a catalog, and there is none; count its scans to validation=N")
    values = dict(PLAN)
    for pair in arguments.plan:
        key, _, number = pair.partition("=")
        if key not in PLAN or not number.isdecimal():
            raise UserError(
                f"--plan has {pair!r}; it takes whole numbers for {', '.join(PLAN)}, as slices=300"
            )
        values[key] = int(number)
    return _planned(values, "slices"), _planned(values, "validation"), []


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


def _needs(found: "Forecast", device: "torch.device", folder: Path) -> list[tuple[str, int, int]]:
    """What is needed, how many bytes of it, and how many are free."""
    import torch

    from reshim.training.forecast import available_bytes

    needs = [("memory", found.memory_bytes, available_bytes(torch.device("cpu")))]
    if device.type == "cuda":
        needs.append(("memory of the GPU", found.device_bytes, available_bytes(device)))
    return [*needs, ("disk", found.disk_bytes, shutil.disk_usage(_existing(folder)).free)]


def _rows(
    found: "Forecast", device: "torch.device", arguments: argparse.Namespace
) -> list[tuple[str, str, str]]:
    """The forecast beside what is there."""
    quiet = "if the machine stays as fast as it is just now"
    rows = [
        ("parameters", f"{found.n_parameters:,}", ""),
        ("training slices", f"{found.n_slices:,}", f"{found.n_steps:,} steps of {found.step_seconds:.2f} s"),
        (
            "time",
            _duration(found.seconds),
            "at most: --stop early may end it before" if arguments.stop == "early" else quiet,
        ),
    ]
    if found.pool_share < 1:
        again = _duration(found.parts["remade_seconds"])
        rows.append(
            (
                "kept in memory",
                f"{found.pool_share:.0%} of {_gb(found.parts['wanted_bytes'])}",
                f"{again} of the time go into reading and making the rest again; --pool-gib, --cache-gib",
            )
        )
    for name, wanted, there in _needs(found, device, arguments.out):
        note = f"{_gb(there)} are free" + ("" if wanted < there else f": too little; {_remedy(name)}")
        rows.append((name, _gb(wanted), note))
    return rows


def _remedy(name: str) -> str:
    if name == "disk":
        return "another --out, or less --cache-gib"
    return "--accumulation, a smaller --batch, network or --pool-gib"


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2f} GB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())


def _findings(folder: Path) -> tuple[list[tuple[str, str, str]], bool]:
    from reshim.training.memory import keep_freed_memory

    rows = [("python", platform.python_version(), "3.11 or newer is needed")]
    missing = False
    for name in (*PACKAGES, *OPTIONAL):
        try:
            rows.append((name, importlib.metadata.version(name), ""))
        except importlib.metadata.PackageNotFoundError:
            extra = f"'reshim[{OPTIONAL[name]}]'" if name in OPTIONAL else "reshim"
            missing = missing or name not in OPTIONAL
            rows.append((name, "missing", f"pip install {extra}"))
    rows.append(
        ("processor cores", str(_cores()), f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}")
    )
    rows.append(("memory", _memory(), "a 320x320, 15-coil U-net training step of batch 4 takes about 2.5 GB"))
    kept = keep_freed_memory()
    rows.append(
        (
            "large blocks kept by the C library",
            "yes" if kept else "no",
            "every command that computes tells it to"
            if kept
            else "it is not glibc, and large images are slower",
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
