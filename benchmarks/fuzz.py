"""Damaged files against the readers: read, refused with a clear error, or named and skipped; nothing else.

    python benchmarks/fuzz.py [--minutes 1] [--seed 0]

Miniatures of the tests, and with RESHIM_REAL_DATA the small real files, have bytes flipped, blocks zeroed or
swapped, or their end cut off. A folder of them is indexed, then every file is read in full, in a process that
may die. Prints one JSON line; the exit status is 1 where a file crashed, hung or broke a reader. A file is
made again from its number: `--only N`.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FINE = ("read", "clean_errors", "skipped", "skipped_unforeseen")
OUTCOMES = (*FINE, "crashes", "hangs", "unexpected")
LARGEST = 1_200_000
A_FOLDER = 16
SECONDS_A_FOLDER = 180.0


def sources(folder: Path) -> list[Path]:
    """Whole files to damage: miniatures, annotations, small real files."""
    sys.path.insert(0, str(ROOT))
    from tests.scans.miniature import write_fastmri
    from tests.scans.miniature_mrd import line, write_mrd

    mask = np.arange(20) % 3 == 0
    found = [
        write_fastmri(folder / "full.h5"),
        write_fastmri(folder / "undersampled.h5", mask=mask),
        write_mrd(folder / "lines.h5", [line(np.ones((2, 8)) * (y + 1), y) for y in range(6)], (8, 6, 1), 2),
    ]
    real = os.environ.get("RESHIM_REAL_DATA")
    if real:
        from reshim.scans import SUFFIXES

        known = sorted(path for path in Path(real).rglob("*") if path.name.lower().endswith(SUFFIXES))
        found += [path for path in known if path.stat().st_size <= LARGEST]
    return found


def damaged(content: bytes, number: int, seed: int) -> bytes:
    """The bytes with one kind of damage, most of it near the front, where directories and headers lie."""
    rng = np.random.default_rng([seed, number])
    changed = bytearray(content)
    reach = len(changed) if rng.random() < 0.3 else min(len(changed), 8192)
    kind = rng.integers(5)
    if kind == 0:
        return bytes(changed[: rng.integers(len(changed))])
    if kind == 1:
        start, size = int(rng.integers(reach)), int(rng.integers(1, 512))
        changed[start : start + size] = bytes(min(size, len(changed) - start))
    elif kind == 2:
        size = min(int(rng.integers(8, 512)), len(changed) // 2)
        one, other = (int(n) for n in rng.integers(len(changed) - size, size=2))
        changed[one : one + size], changed[other : other + size] = (
            changed[other : other + size],
            changed[one : one + size],
        )
    else:
        for position in rng.integers(0, reach, rng.integers(1, 9)):
            changed[position] ^= int(rng.integers(1, 256))
    return bytes(changed)


def look_at(folder: str) -> dict[str, str]:
    """Index a folder, then read every file of it: what each came to."""
    from reshim.catalog import Catalog
    from reshim.errors import BadScanError
    from reshim.scans import open_scans

    warnings.simplefilter("ignore")
    indexed = Catalog.index([folder], Path(folder).with_suffix(".parquet"))
    skipped = {Path(path).name: reason for path, reason in indexed.left_out}
    outcomes = {}
    for path in sorted(Path(folder).iterdir()):
        if path.name in skipped:
            # Indexing names every file that breaks a library too; what no reader foresaw is counted.
            foreseen = not skipped[path.name].startswith("cannot be read (")
            outcomes[path.name] = "skipped" if foreseen else f"skipped_unforeseen {skipped[path.name][:150]}"
            continue
        try:
            for scan in open_scans(path):
                scan.load()
                scan.reference("rss")
            outcomes[path.name] = "read"
        except BadScanError:
            outcomes[path.name] = "clean_errors"
        except Exception as error:
            outcomes[path.name] = f"unexpected {type(error).__name__}: {str(error)[:100]}"
    return outcomes


class Process:
    """One process that looks at folders; a new one where it died or hung."""

    pool: ProcessPoolExecutor | None = None

    def outcomes_of(self, folder: Path) -> dict[str, str]:
        """What becomes of a folder's files; one by one where the process did not survive them all."""
        if self.pool is None:
            self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            return self.pool.submit(look_at, str(folder)).result(timeout=SECONDS_A_FOLDER)
        except (BrokenProcessPool, TimeoutError) as error:
            self.stop()
            files = sorted(folder.iterdir())
            if len(files) == 1:
                return {files[0].name: "crashes" if isinstance(error, BrokenProcessPool) else "hangs"}
        found = {}
        for path in files:
            alone = folder.with_name(f"{folder.name}-{path.stem}")
            alone.mkdir()
            found.update(self.outcomes_of(path.rename(alone / path.name).parent))
        return found

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.pool is not None:
            for process in list((self.pool._processes or {}).values()):
                process.kill()
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="N", help="this file alone")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    failed: list[str] = []
    unforeseen: list[str] = []
    process = Process()
    until, number = time.monotonic() + 60 * arguments.minutes, 0
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        whole.mkdir()
        contents = [(path.name, path.name.partition(".")[2], path.read_bytes()) for path in sources(whole)]
        while number == 0 or time.monotonic() < until:
            folder = Path(temporary) / f"folder-{number}"
            folder.mkdir()
            numbers = [arguments.only] if arguments.only is not None else range(number, number + A_FOLDER)
            for one in numbers:
                _, suffix, content = contents[one % len(contents)]
                (folder / f"{one}.{suffix}").write_bytes(damaged(content, one, arguments.seed))
            for name, outcome in sorted(process.outcomes_of(folder).items()):
                kind = outcome.split(" ")[0]
                counts[kind] += 1
                source = contents[int(name.split(".")[0]) % len(contents)][0]
                if kind not in FINE:
                    failed.append(f"{name} of {source}: {outcome}")
                elif kind == "skipped_unforeseen":
                    unforeseen.append(f"{name} of {source}: {outcome.partition(' ')[2]}")
            number += len(numbers)
            for path in Path(temporary).glob("folder-*/*"):
                path.unlink()
            if arguments.only is not None:
                break
    process.stop()
    line = {
        "benchmark": "fuzz",
        "seed": arguments.seed,
        "sources": len(contents),
        "files": sum(counts.values()),
        **{name: counts[name] for name in OUTCOMES},
        "unforeseen": unforeseen[:20],
        "failed": failed[:20],
    }
    print(json.dumps(line))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
