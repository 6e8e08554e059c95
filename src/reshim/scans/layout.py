"""The geometry that a fastMRI-style file's headers give, checked against itself before samples are read.

A wrong axis order, a mask of another length or a reference of other slices is found here, from shapes and the
scanner's header alone.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reshim.errors import BadScanError
from reshim.scans import hdf5
from reshim.scans.header import ScannerHeader, parse
from reshim.types import ReadoutAxis

REFERENCES = {
    "rss": ("reconstruction_rss", "reconstruction_esc"),
    "mvue": ("reconstruction_mvue",),
    "clean": ("reconstruction_clean",),
}
MAX_COILS = 256
MIN_MATRIX = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """What the headers of one file say of its geometry."""

    shape: tuple[int, int, int, int]
    """Slices, coils, rows, columns."""

    has_coil_axis: bool
    crop: tuple[int, int]
    padding: tuple[int, int]
    mask: np.ndarray | None
    """(1 or row, column) bool of an undersampled scan."""

    fully_sampled: bool
    readout_axis: ReadoutAxis | None
    header: ScannerHeader
    attributes: dict[str, Any]


def read_layout(path: Path) -> Layout:
    """The geometry that the file's headers give, checked against itself."""
    with hdf5.open_file(path) as file:
        kspace = hdf5.numeric(file, "kspace")
        if kspace is None:
            raise BadScanError(
                f"{path.name} has no dataset `kspace` (it has {sorted(map(str, file))[:8]}); reconstruction "
                f"starts "
                f"from "
                "k-space: download the multi-coil file"
            )
        known = hdf5.attributes(file)
        xml = hdf5.text(file, "ismrmrd_header")
        header = ScannerHeader() if xml is None else parse(xml, path.name)
        if kspace.ndim == 4:
            _check_axes(tuple(map(int, kspace.shape)), header, path.name)
        shape = _checked_shape(kspace, path.name)
        has_coil_axis = kspace.ndim == 4
        mask = _mask(file, shape, path.name)
        stored = [hdf5.numeric(file, name) for names in REFERENCES.values() for name in names]
        for reference in filter(None, stored):
            check_reference_shape(reference, shape, path.name)
        images = [tuple(reference.shape[-2:]) for reference in stored if reference is not None]
    declared = known.get("fully_sampled")
    fully_sampled = mask is None or bool(mask.all()) if declared is None else bool(declared)
    return Layout(
        shape=shape,
        has_coil_axis=has_coil_axis,
        crop=_crop(shape, header, images, known),
        padding=_padding(known, header, shape[3]),
        mask=None if fully_sampled else mask,
        fully_sampled=fully_sampled,
        readout_axis=_readout_axis(known, header, mask),
        header=header,
        attributes=known,
    )


def layout_of(path: Path) -> Layout:
    """`read_layout`, remembered for as long as the file keeps its size and time."""
    try:
        status = path.stat()
    except OSError:
        raise BadScanError(
            f"{path}: no such file; the folder may have moved: index it where it lies now"
        ) from None
    return _remembered(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _remembered(path: Path, size: int, mtime_ns: int) -> Layout:
    return read_layout(path)


def check_reference_shape(reference: h5py.Dataset, shape: tuple[int, ...], name: str) -> None:
    """Refuse a stored image whose slices or matrix cannot belong to the k-space."""
    found = reference.shape
    if len(found) != 3 or found[0] != shape[0] or found[1] > 2 * shape[2] or found[2] > 2 * shape[3]:
        raise BadScanError(
            f"{name}: {reference.name.lstrip('/')} has shape {found} but the k-space has {shape[0]} slices "
            f"of "
            f"{shape[2]}x{shape[3]}; a reference has one image a slice: the axes are in another order, or "
            f"it belongs "
            "to another scan"
        )


def _checked_shape(kspace: h5py.Dataset, name: str) -> tuple[int, int, int, int]:
    if kspace.ndim not in (3, 4):
        raise BadScanError(
            f"{name}: kspace has {kspace.ndim} axes, shape {kspace.shape}; expected (slice, coil, row, "
            f"column), or "
            "(slice, row, column) of a single coil: reorder it, or average repetitions first"
        )
    n_slices, *coils, n_rows, n_columns = map(int, kspace.shape)
    n_coils = coils[0] if coils else 1
    if min(n_slices, n_coils) < 1 or min(n_rows, n_columns) < MIN_MATRIX:
        raise BadScanError(
            f"{name}: kspace has shape {kspace.shape}; expected (slice, coil, row, column) with at least "
            f"{MIN_MATRIX} rows and columns: the file is empty or its axes are in another order"
        )
    if n_coils > MAX_COILS:
        raise BadScanError(
            f"{name}: kspace has shape {kspace.shape}, that is {n_coils} coils, but no scanner has more than "
            f"{MAX_COILS}; the axes are in another order: store (slice, coil, row, column)"
        )
    if kspace.dtype.kind != "c" and kspace.dtype.names is None:
        raise BadScanError(
            f"{name}: kspace has dtype {kspace.dtype}; k-space is complex: store complex64, not magnitudes "
            f"or a "
            "trailing axis of real and imaginary parts"
        )
    return n_slices, n_coils, n_rows, n_columns


def _check_axes(shape: tuple[int, ...], header: ScannerHeader, name: str) -> None:
    """The header's encoded matrix must stand in the last two axes, if it stands in the shape at all."""
    if header.encoded_matrix is None or shape[2:] == header.encoded_matrix[:2]:
        return
    matrix = header.encoded_matrix[:2]
    axes = ("slice", "coil", "row", "column")
    for order in itertools.permutations(range(4)):
        if (shape[order[2]], shape[order[3]]) == matrix and min(matrix) > 1:
            raise BadScanError(
                f"{name}: kspace has shape {shape} but the header's matrix is {matrix[0]}x{matrix[1]}, "
                f"which stands "
                f"at axes {axes[order[2]]} and {axes[order[3]]}; the order is (slice, coil, row, column): "
                f"kspace.transpose{order} puts it right"
            )


def _mask(file: h5py.File, shape: tuple[int, int, int, int], name: str) -> np.ndarray | None:
    found = hdf5.numeric(file, "mask")
    if found is None:
        return None
    n_rows, n_columns = shape[2:]
    if found.shape == (n_columns,):
        return _as_mask(hdf5.read(found))[None]
    if found.shape in ((n_rows, n_columns), (1, n_columns)):
        return _as_mask(hdf5.read(found))
    swapped = found.shape == (n_rows,) or found.shape == (n_columns, n_rows)
    raise BadScanError(
        f"{name}: mask has shape {found.shape} but the k-space has {n_rows} rows and {n_columns} columns; a "
        f"mask is "
        f"({n_columns},) or ({n_rows}, {n_columns}): "
        + ("rows and columns are swapped in one of them" if swapped else "it belongs to another scan")
    )


def _as_mask(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.nan_to_num(values.real) != 0)


def _crop(
    shape: tuple[int, int, int, int],
    header: ScannerHeader,
    images: list[tuple[int, int]],
    known: dict[str, Any],
) -> tuple[int, int]:
    """Rows and columns that are scored: the header's, never larger than the matrix or a stored image."""
    wanted = header.recon_matrix[:2] if header.recon_matrix else shape[2:]
    stated = known.get("recon_rows"), known.get("recon_columns")
    if all(isinstance(n, int) and n > 0 for n in stated):
        wanted = stated  # type: ignore[assignment]
    elif header.recon_matrix is None and images:
        wanted = images[0]
    rows, columns = (min(sizes) for sizes in zip(wanted, shape[2:], *images, strict=True))
    if columns < wanted[1] and header.recon_matrix is not None:
        rows = min(rows, columns)
    return rows, columns


def _padding(known: dict[str, Any], header: ScannerHeader, n_columns: int) -> tuple[int, int]:
    left, right = known.get("padding_left"), known.get("padding_right")
    if isinstance(left, int) and isinstance(right, int) and 0 <= left < right <= n_columns:
        return left, right
    return header.padding(n_columns)


def _readout_axis(
    known: dict[str, Any], header: ScannerHeader, mask: np.ndarray | None
) -> ReadoutAxis | None:
    stated = known.get("readout_axis")
    if stated in ("row", "column", "none"):
        return None if stated == "none" else stated
    if mask is not None and (mask != mask[:1]).any():
        return None
    # A slice of a 3D scan after the transform along readout: both axes left are phase encoded, and neither
    # is oversampled.
    words = str(known.get("acquisition", "")).upper().replace("-", "_").split("_")
    if "3D" in words and header.encoded_matrix == header.recon_matrix and header.recon_matrix is not None:
        return None
    return "row"
