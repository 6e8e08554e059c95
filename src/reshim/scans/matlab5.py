"""Numeric variables of a MATLAB 5 file, read by SciPy in a process of its own.

SciPy's reader is compiled and trusts what a file declares: a damaged one can end the process that reads it.
So this file is run as a script, and whoever waits for it meets an exit status instead.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

NUMERIC = {"double": 8, "single": 4, "logical": 1}
NUMERIC |= {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}
MAX_EXPANSION = 100
TRUSTED_BYTES = 64 << 20
MEMORY_BYTES = 2 << 30
SECONDS = 600


class UnreadableError(ValueError):
    """The file could not be read, and why."""


def read(path: Path) -> dict[str, np.ndarray]:
    """Every numeric variable of the file, axes as MATLAB has them.

    Raises
    ------
    UnreadableError
        If the file is damaged, declares more than it can hold, or kills its reader.
    ImportError
        If SciPy is not installed.
    """
    import scipy.io  # noqa: F401  (asked here, so that the child cannot be the first to miss it)

    with tempfile.TemporaryDirectory(prefix="reshim-matlab-") as folder:
        out = Path(folder) / "variables.npz"
        command = [sys.executable, str(Path(__file__).resolve()), str(path.resolve()), str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise UnreadableError(f"nothing came of it in {SECONDS} seconds") from None
        if done.returncode < 0:
            raise UnreadableError(f"its reader was ended by signal {-done.returncode}")
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise UnreadableError(lines[-1][:160] if lines else f"exit status {done.returncode}")
        with np.load(out, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}


def main(path: str, out: str) -> None:
    """Read in this process: sizes are looked at before anything is read, and memory is bounded."""
    from scipy.io import loadmat, whosmat

    size = Path(path).stat().st_size
    _bound_memory(max(MEMORY_BYTES, 2 * MAX_EXPANSION * size))
    kept = {}
    for name, shape, kind in whosmat(path):
        if kind not in NUMERIC or name.startswith("__"):
            continue
        needed = int(np.prod(shape, dtype=object)) * NUMERIC[kind]
        if needed > max(TRUSTED_BYTES, MAX_EXPANSION * size):
            raise ValueError(f"{name} declares {needed} bytes (shape {shape}) in a file of {size}")
        values = np.asarray(loadmat(path, variable_names=[name])[name])
        if values.dtype.kind in "biufc":
            kept[name] = values
    np.savez(out, allow_pickle=False, **kept)  # type: ignore[arg-type]


def _bound_memory(n_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return  # a system without such limits
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


if __name__ == "__main__":
    main(*sys.argv[1:])
