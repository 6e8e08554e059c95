"""BART's cfl and hdr: complex float32 in column-major order, up to sixteen axes of fixed meaning.

Origin   M. Uecker et al., ISMRM 23:2486 (2015); mrirecon.github.io/bart.
Licence  the user's.
Layout   `NAME.hdr` holds a line `# Dimensions` and below it the sizes; `NAME.cfl` the numbers, the first axis
         fastest. Axes: 0 read, 1 and 2 phase, 3 coil, 4 maps, 5 echo, 10 and 11 time, 13 slice, 14 average.
Quirks   read becomes row and phase 1 column; with phase 2 the file is a volume of three views. Other axes
         must be of length 1. A cfl does not say what it holds: k-space is assumed where there is a coil axis,
         else `content` stands in a sidecar. Where nothing was acquired BART stores zeros, so an
         undersampled file needs `mask = "nonzero"`.
Citation doi 10.5281/zenodo.592960.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans.arrays import ArrayFormat, Stored
from reshim.scans.sidecar import read_sidecar
from reshim.types import Acquisition, ScanRecord

NAME = "bart"
DIMENSIONS = {0: "row", 1: "column", 2: "slice", 3: "coil", 5: "echo", 10: "time", 13: "slice", 14: "average"}
MAX_HEADER_BYTES = 64 << 10


def matches(path: Path) -> bool:
    """True for cfl files; the hdr beside is theirs."""
    return path.suffix.lower() == ".cfl"


def _dimensions(path: Path) -> tuple[int, ...]:
    header = path.with_suffix(".hdr")
    if not header.is_file() or header.stat().st_size > MAX_HEADER_BYTES:
        raise BadScanError(f"{path.name} has no {header.name} of a few lines beside it; copy both files")
    lines = header.read_text(errors="replace").splitlines()
    try:
        place = next(n for n, text in enumerate(lines) if text.strip() == "# Dimensions")
        sizes = tuple(int(word) for word in lines[place + 1].split())
    except (StopIteration, IndexError, ValueError):
        raise BadScanError(
            f"{header.name} has no line of sizes below '# Dimensions'; write it again"
        ) from None
    needed = 8 * int(np.prod(sizes, dtype=object))
    if not sizes or len(sizes) > 32 or min(sizes) < 1 or needed != path.stat().st_size:
        raise BadScanError(
            f"{path.name} has {path.stat().st_size} bytes but {header.name} declares {sizes}, that is "
            f"{needed}; "
            "one of them is damaged or of another scan"
        )
    return sizes + (1,) * (16 - len(sizes))


def _kept(path: Path) -> list[int]:
    sizes = _dimensions(path)
    kept = [axis for axis, size in enumerate(sizes) if size > 1 or axis in (0, 1, 3)]
    strange = [axis for axis in kept if axis not in DIMENSIONS]
    if strange or {2, 13} <= set(kept):
        raise BadScanError(
            f"{path.name} has the sizes {sizes}; axes {strange or [2, 13]} are not read (together): cut it "
            "to one "
            "map set and one volume"
        )
    return kept


def _arrays_of(path: Path) -> Mapping[str, Stored]:
    sizes, kept = _dimensions(path), _kept(path)
    shape = tuple(sizes[axis] for axis in kept)

    def read() -> np.ndarray:
        return np.memmap(path, np.complex64, "r", shape=shape, order="F")

    return {"": Stored(shape, np.dtype(np.complex64), read)}


def _format(path: Path) -> ArrayFormat:
    kept = _kept(path)
    axes = tuple(DIMENSIONS[axis] for axis in kept)
    implied = {"volume": True} if 2 in kept else {}
    if _dimensions(path)[3] == 1 and "content" not in read_sidecar(path):
        axes = tuple(axis for axis in axes if axis != "coil")
        return ArrayFormat(NAME, _without_coils, lambda name, stored: axes, implied)
    return ArrayFormat(NAME, _arrays_of, lambda name, stored: axes, implied)


def _without_coils(path: Path) -> Mapping[str, Stored]:
    (stored,) = _arrays_of(path).values()
    place = _kept(path).index(3)
    shape = stored.shape[:place] + stored.shape[place + 1 :]
    return {"": Stored(shape, stored.dtype, lambda: stored.read().reshape(shape, order="F"))}


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record, or one for each view and frame."""
    return _format(path).read_records(path, root, root_name)


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    return _format(path).load(path, record, slices, check)


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """The clean image of a semi-synthetic scan; None for measured ones."""
    return _format(path).load_reference(path, record, kind, slices)
