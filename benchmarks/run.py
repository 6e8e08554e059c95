"""Run every benchmark, one process each, and print their JSON lines: ``make bench``, or name some of them.

A line says what was timed, by whom, in seconds, and as a ratio against a peer timed in turn with it in the
same run; absolute times of a shared machine mean little, ratios more.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# These tune and compare quality rather than time anything; run them by name.
HELPERS = {"run", "alarm", "fuzz", "classical_tuning", "classical_quality", "adaptation_real"}


def benchmarks() -> list[str]:
    """Names of the scripts beside this one that print JSON lines."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in HELPERS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(benchmarks())}; all of these by default"
    )
    names = parser.parse_args().names or benchmarks()
    missing = [name for name in names if not (HERE / f"{name}.py").exists()]
    if missing:
        parser.error(f"there is no benchmark {missing[0]!r}; there are {', '.join(benchmarks())}")
    failed = [name for name in names if subprocess.run([sys.executable, HERE / f"{name}.py"]).returncode]
    if failed:
        print(f"these did not finish: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
