"""Files of scans: one reader a collection, each opening with its card.

`open_scan` asks the readers in the order below which of them knows a file. Nothing heavy is imported
before one is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from reshim.scans.reader import Scan
    from reshim.types import Acquisition, ScanRecord

READERS: dict[str, str] = {
    "m4raw": "reshim.scans.m4raw",
    "fastmri_prostate": "reshim.scans.prostate",
    "fastmri_breast": "reshim.scans.breast",
    "skmtea": "reshim.scans.skmtea",
    "cc359": "reshim.scans.cc359",
    "cmrxrecon": "reshim.scans.cmrxrecon",
    "mrd": "reshim.scans.mrd",
    "smurf": "reshim.scans.smurf",
    "twix": "reshim.scans.twix",
    "brats": "reshim.scans.brats",
    "nifti": "reshim.scans.nifti",
    "dicom": "reshim.scans.dicom",
    "numpy": "reshim.scans.npy",
    "matlab": "reshim.scans.matlab",
    "bart": "reshim.scans.bart",
    "fastmri": "reshim.scans.fastmri",
}
"""Name of the reader (as the catalog keeps it) and its module, the particular before the general."""

SUFFIXES = (
    ".h5",
    ".hdf5",
    ".mrd",
    ".ismrmrd",
    ".mat",
    ".npy",
    ".npz",
    ".cfl",
    ".nii",
    ".nii.gz",
    ".dcm",
    ".dat",
)
"""Endings of the files that indexing looks into."""


def reader_named(name: str) -> ModuleType:
    """The reader's module."""
    return import_module(READERS[name])


def open_scans(path: Path | str, root: Path | str | None = None, root_name: str | None = None) -> list[Scan]:
    """Every scan in the file: one, or one for each view or echo that the collection stores in it.

    Raises
    ------
    BadScanError
        If no reader knows the file, or the one that does finds it damaged.
    """
    from reshim.errors import BadScanError
    from reshim.scans.reader import Scan

    path, folder = Path(path), None if root is None else Path(root)
    if not path.exists():
        raise BadScanError(f"{path}: no such file; check the path")
    for name in READERS:
        reader = reader_named(name)
        if reader.matches(path):
            records = reader.read_records(path, folder, root_name)
            return [Scan(record, path, reader) for record in records]
    raise BadScanError(
        f"{path.name}: no reader knows this file; known are {', '.join(READERS)}: convert it to "
        "fastMRI-style HDF5"
    )


def open_scan(path: Path | str) -> Scan:
    """The first scan of a file; see `open_scans`."""
    scans = open_scans(path)
    if not scans:
        from reshim.errors import BadScanError

        raise BadScanError(f"{path} is no scan, as its sidecar says (skip = true); name another file")
    return scans[0]


def scan_of(record_or_path: ScanRecord | Path | str) -> Scan:
    """The scan of a catalog's record, or of a file."""
    if isinstance(record_or_path, str | Path):
        return open_scan(record_or_path)
    from reshim.scans.reader import Scan, located

    reader = reader_named(record_or_path.extra.get("reader", "fastmri"))
    return Scan(record_or_path, located(record_or_path), reader)


def load(
    record_or_path: ScanRecord | Path | str, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """K-space (slice, coil, row, column) complex64 of the slices, and what is known of its geometry.

    Samples that the scan's own mask leaves out are 0, whatever the file holds there. `check` refuses slices
    that are all zero or hold NaN.

    Raises
    ------
    BadScanError
        If the file moved or is damaged, a slice does not exist, or (with `check`) is unusable.
    """
    return scan_of(record_or_path).load(slices, check)


def load_reference(
    record_or_path: ScanRecord | Path | str, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """The stored reference `rss`, `mvue` or `clean`, (slice, row, column) on the crop; None where absent.

    BraTS and simulated scans have a ``segmentation`` too: integers, 0 where nothing is to be outlined.
    """
    return scan_of(record_or_path).reference(kind, slices)
