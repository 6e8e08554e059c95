"""What `reshim doctor` says before a run against what the run then took: memory, seconds, disk.

For each configuration, none of which anything in the forecast was fitted to: scans are simulated, the doctor
is asked, the same options go to `reshim train`, and its largest resident memory, its wall time and the size
of its folder are taken. A ratio is predicted over measured; the aim is 0.75 to 1.25. Ask on a quiet machine:
the load at the start of each, beside the cores, says whether it was one.

    python benchmarks/doctor.py [JOB ...] [--subjects 12] [--threads 2] [--table]

One JSON line a configuration, or with `--table` rows of a table for README.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIGURATIONS = {
    "unet-xs-magnitude": (
        ["--protocol", "knee-pd-3t", "--matrix", "128"],
        ["--network", "unet-xs", "--epochs", "3", "--target", "rss"],
    ),
    "varnet-tiny-rss": (
        ["--protocol", "brain-t2-3t", "--matrix", "96"],
        ["--network", "varnet-tiny", "--epochs", "2", "--batch", "2"],
    ),
    "vit-tiny-joint": (
        ["--protocol", "brain-t2-3t", "--matrix", "128"],
        [
            "--network",
            "vit-tiny",
            "--objective",
            "joint",
            "--samples",
            "400",
            "--batch",
            "8",
            "--accumulation=2",
        ],
    ),
    "unet-tiny-beyond-memory": (
        ["--protocol", "brain-t2-3t", "--matrix", "96"],
        ["--network", "unet-tiny", "--input", "complex", "--epochs", "3", "--pool-gib", "0.05"],
    ),
    "unrolled-tiny-ssdu": (
        ["--protocol", "knee-pd-3t", "--matrix", "96"],
        ["--network", "unrolled-tiny", "--objective", "ssdu", "--epochs", "2"],
    ),
}
RESHIM = [sys.executable, "-m", "reshim"]

WATCH = """
import json, resource, subprocess, sys
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
status = subprocess.run(sys.argv[1:], **quiet).returncode
print(json.dumps([status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""
"""A small process between: the peak of a child begins at what its parent holds when it starts it."""


def predicted(catalog: Path, options: list[str]) -> dict[str, float]:
    answer = subprocess.run(
        [*RESHIM, "doctor", str(catalog), "--json", *options], check=True, capture_output=True, text=True
    )
    found = json.loads(answer.stdout)
    return {"memory": found["memory_bytes"], "seconds": found["seconds"], "disk": found["disk_bytes"]}


def measured(catalog: Path, options: list[str], out: Path) -> dict[str, float]:
    started = time.perf_counter()
    command = [*RESHIM, "train", str(catalog), "--where", "true", "--out", str(out), *options]
    watched = subprocess.run([sys.executable, "-c", WATCH, *command], check=True, capture_output=True)
    status, peak = json.loads(watched.stdout)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {"memory": peak * 1024, "seconds": time.perf_counter() - started, "disk": size}


def compare(name: str, subjects: int, threads: int, folder: Path, tiny: bool = False) -> dict[str, object]:
    simulation, options = CONFIGURATIONS[name]
    if tiny:
        simulation = [*simulation[:-1], "48"]
    options = [*options, "--threads", str(threads)]
    scans, catalog = folder / f"{name} scans", folder / f"{name}.parquet"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*RESHIM, "simulate", str(scans), "--subjects", str(subjects), *simulation], **quiet)
    subprocess.run([*RESHIM, "index", str(scans), "--out", str(catalog)], **quiet)
    load = os.getloadavg()[0]
    said, found = predicted(catalog, options), measured(catalog, options, folder / f"{name} run")
    line: dict[str, object] = {"job": f"doctor-{name}", "threads": threads, "subjects": subjects}
    line |= {"load": round(load, 1), "cores": os.cpu_count()}
    for what, value in found.items():
        line |= {
            f"{what}_predicted": round(said[what], 1),
            f"{what}_measured": round(value, 1),
            f"{what}_ratio": round(said[what] / value, 3),
        }
    return line


def row(line: dict[str, object]) -> str:
    """A configuration as a row: predicted, measured, and their ratio of each."""

    def cell(what: str, unit: float, digits: int) -> str:
        said, found = (float(str(line[f"{what}_{kind}"])) / unit for kind in ("predicted", "measured"))
        return f"{said:.{digits}f} / {found:.{digits}f} = {line[f'{what}_ratio']:.2f}"

    name = str(line["job"]).removeprefix("doctor-")
    cells = [cell("seconds", 1, 0), cell("memory", 2**20, 0), cell("disk", 2**20, 1)]
    return f"| {name} | {' | '.join(cells)} | {line['load']} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(CONFIGURATIONS)}")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="48x48 scans, to see that it runs")
    parser.add_argument("--table", action="store_true", help="rows of a table")
    arguments = parser.parse_args()
    unknown = set(arguments.jobs) - CONFIGURATIONS.keys()
    if unknown:
        parser.error(f"there is no job {min(unknown)!r}; there are {', '.join(CONFIGURATIONS)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.jobs or CONFIGURATIONS:
            line = compare(name, arguments.subjects, arguments.threads, Path(folder), arguments.tiny)
            print(row(line) if arguments.table else json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
