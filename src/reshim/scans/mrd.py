"""ISMRMRD (MRD) raw data: anybody's Cartesian scan, and the collections of mridata.org, OCMR and AHEAD.

Origin   S. J. Inati et al., Magn. Reson. Med. 77:411 (2017). mridata.org: Stanford 2D and 3D FSE (Epperson et
         al., ISMRM 2013), NYU (Hammernik et al., Magn. Reson. Med. 79:3055, 2018); OCMR (Chen et al.,
         arXiv:2008.03410); AHEAD (Alkemade et al., NeuroImage 221:117200, 2020; doi 10.34894/IHZGQM).
Licence  of each source; mridata.org and OCMR are downloaded freely, AHEAD after registration.
Layout   HDF5 group `dataset`: `xml` (header), `data` (one record a line: head, trajectory, samples as
         interleaved float32). Lines say where they belong: encode steps 1 and 2, slice, contrast, phase, set.
Quirks   noise lines come first (they give the coils' covariance); phase-correction and navigator lines are no
         image; asymmetric echoes start off centre; lines may run backwards; averages are averaged.
         Contrasts, repetitions and sets are scans of one subject each; time frames (`phase`) of a flat scan
         are slices. A 3D scan is listed once for each of its three views; where it is undersampled, only the
         view along readout exists, because a transform along an undersampled axis would fold.
         Stanford's 2D fast spin echoes of several segments carry one calibration line a segment behind the
         last encoding step: each segment's phase is corrected by it (`lines.py`). Lines that the scanner
         stored with alternating sign (user parameters ChopY, ChopZ of 0) are turned back. OCMR's undersampled
         files have other lines in every time frame, so only what all frames share can be read.
Not done non-Cartesian trajectories are refused; Stanford's `rec_std` is not used; SKM-TEA has another layout.
Unverified  vendor, field and coil counts of Stanford, NYU and AHEAD; where headers state them, they win.
Citation the papers above.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans import hdf5, vocabulary
from reshim.scans.header import parse
from reshim.scans.lines import Sorted, sort_lines
from reshim.scans.mrd_scan import Head, as_acquisition, head_of, line_of
from reshim.scans.reader import make_record
from reshim.scans.volume import crop_of, matrix_of, spacing_of
from reshim.types import Acquisition, ScanRecord

NAME = "mrd"
MAX_BYTES = 64 << 30
LINES_AT_ONCE = 1024
VIEWS = {"x": "axial", "y": "coronal", "z": "sagittal"}
"""Names of the views where partitions run from left to right, as in the 3D collections here."""

COLLECTIONS: dict[str, dict[str, Any]] = {
    "stanford_3d": {"anatomy": "knee", "contrast": "PD", "vendor": "GE", "field_tesla": 3.0},
    "stanford_2d": {"vendor": "GE", "field_tesla": 3.0},
    "nyu": {"anatomy": "knee", "vendor": "Siemens", "field_tesla": 3.0},
    "7t": {"anatomy": "brain", "contrast": "MP2RAGE", "vendor": "Philips", "field_tesla": 7.0},
    "ahead": {"anatomy": "brain", "contrast": "MP2RAGE", "vendor": "Philips", "field_tesla": 7.0},
    "ocmr": {"anatomy": "heart", "contrast": "CINE", "vendor": "Siemens"},
}
"""Folders with these names hold these collections; what their headers leave out."""


def matches(path: Path) -> bool:
    """True for HDF5 files with a group `dataset` of `xml` and `data`."""
    return path.suffix.lower() in (".h5", ".hdf5", ".mrd", ".ismrmrd") and hdf5.glimpse(path).is_mrd


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record, or one for each view of a 3D scan, from the XML and the first line.

    Raises
    ------
    BadScanError
        If the trajectory is not Cartesian, or the header gives no matrix.
    """
    head = _read_head(path)
    header, folders = head.header, [part.lower() for part in path.parts[-4:-1]]
    dataset = next((name for name in COLLECTIONS if any(name in folder for folder in folders)), "mrd")
    names = (header.protocol, path.stem, *reversed(folders))
    common = {
        "anatomy": vocabulary.anatomy_of(*names),
        "contrast": vocabulary.contrast_of(*names),
        "protocol": header.protocol,
        "vendor": vocabulary.vendor_of(header.vendor),
        "model": header.model,
        "field_tesla": vocabulary.field_of(header.field_tesla),
        "echo_ms": header.echo_ms[0] if header.echo_ms else None,
        "repetition_ms": header.repetition_ms,
        "inversion_ms": header.inversion_ms,
        "n_coils": head.n_coils,
    }
    for name, value in COLLECTIONS.get(dataset, {}).items():
        common[name] = common.get(name) or value
    view = vocabulary.view_of(*names) if head.matrix[2] == 1 else None
    xyz_mm = None if header.spacing_mm is None else (*header.spacing_mm[1:], header.spacing_mm[0])
    records: list[ScanRecord] = []
    for scan in head.scans:
        for axis in ("z",) if head.matrix[2] == 1 else ("z", "x", "y"):
            shape, crop = matrix_of(head.matrix, axis), crop_of(head.recon, axis)
            if head.matrix[2] == 1:
                shape = (head.count(head.frame_counters), *shape[1:])
            parts = [f"{name}{number + 1}" for name, number in scan.items()]
            parts += [] if head.matrix[2] == 1 else [axis]
            echoes = header.echo_ms[scan.get("contrast", 0) :][:1]
            known = common | ({"echo_ms": echoes[0]} if echoes else {})
            records.append(
                _record(
                    path,
                    root,
                    root_name,
                    dataset,
                    known,
                    shape,
                    crop,
                    None if xyz_mm is None else spacing_of(xyz_mm, axis),
                    view=VIEWS[axis] if head.matrix[2] > 1 else view,
                    view_of=records[0].scan_id if records else None,
                    part="-".join(parts) or None,
                    extra={"axis": axis, "scan": scan},
                )
            )
    return records


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    head = _read_head(path)
    about = record.extra if record is not None else {}
    axis, asked = about.get("axis", "z"), about.get("scan", {})
    scan = tuple(int(asked.get(name, 0)) for name in head.scan_counters)
    status = path.stat()
    lines = _sorted_lines(path, scan, status.st_size, status.st_mtime_ns)
    return as_acquisition(head, lines, axis, path.name, slices, check)


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: raw data store no reference."""
    return None


def _record(
    path: Path,
    root: Path | None,
    root_name: str | None,
    dataset: str,
    common: dict[str, Any],
    shape: tuple[int, int, int],
    crop: tuple[int, int],
    spacing_mm: tuple[float, ...] | None,
    **known: Any,
) -> ScanRecord:
    names = ("n_slices", "n_rows", "n_columns", "recon_rows", "recon_columns")
    known |= common | dict(zip(names, (*shape, *crop), strict=True)) | {"spacing_mm": spacing_mm}
    return make_record(path, root, root_name, reader=NAME, dataset=dataset, **known)


def _read_head(path: Path) -> Head:
    with hdf5.open_file(path) as file:
        header = parse(hdf5.text(file, "dataset/xml") or "<none/>", path.name)
        data = _lines(file)
        if data.shape[0] == 0:
            raise BadScanError(
                f"{path.name} has no line of data; the scan was stopped or the copy is cut short"
            )
        first = data.fields("head")[0]
    head = head_of(header, int(first["active_channels"]), path.name)
    if head.declared_bytes > min(MAX_BYTES, hdf5.MAX_EXPANSION * path.stat().st_size):
        raise BadScanError(
            f"{path.name} declares {head.declared_bytes} bytes of k-space in a file of "
            f"{path.stat().st_size}; the header belongs to another scan or is damaged"
        )
    return head


def _lines(file: h5py.File) -> h5py.Dataset:
    data = hdf5.dataset(file, "dataset/data")
    if (
        data is None
        or data.dtype.names is None
        or not {"head", "data"} <= set(data.dtype.names)
        or data.ndim != 1
    ):
        raise BadScanError(
            f"{Path(file.filename).name}: dataset/data holds no ISMRMRD lines; export it again"
        )
    return data


@lru_cache(maxsize=1)
def _sorted_lines(path: Path, scan: tuple[int, ...], size: int, mtime_ns: int) -> Sorted:
    head = _read_head(path)
    with hdf5.open_file(path) as file:
        lines = (
            line_of(head, line_head, values) for line_head, values in _each_line(_lines(file), path.name)
        )
        return sort_lines(lines, head.lines_fit, scan, path.name)


def _each_line(data: h5py.Dataset, name: str) -> Iterator[tuple[Any, np.ndarray]]:
    for start in range(0, data.shape[0], LINES_AT_ONCE):
        for line in hdf5.read(data, slice(start, start + LINES_AT_ONCE)):
            head = line["head"]
            values = np.asarray(line["data"], dtype=np.float32)
            shape = int(head["active_channels"]), int(head["number_of_samples"])
            if values.size != 2 * shape[0] * shape[1]:
                raise BadScanError(
                    f"{name}: a line holds {values.size} numbers but its head says {shape[0]} channels of "
                    f"{shape[1]} "
                    "samples; the file is damaged: copy it again"
                )
            yield head, values.view(np.complex64).reshape(shape)
