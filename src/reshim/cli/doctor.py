"""``reshim doctor``: is this machine fit."""

import argparse
import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

NAME = "doctor"
HELP = "Say whether this machine and a folder are fit: versions, threads, memory, disk, write access."

EXAMPLE = """\
example:
  reshim doctor --out runs
"""

PACKAGES = ("torch", "numpy", "h5py", "pyarrow", "duckdb", "safetensors", "matplotlib", "nibabel", "pydicom")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder that would hold results")


def run(arguments: argparse.Namespace) -> int:
    """Print what is found; 2 where something needed is missing."""
    from rich.console import Console
    from rich.table import Table

    rows, missing = _findings(arguments.out)
    table = Table("what", "found", "note", box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    return 2 if missing else 0


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
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
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
