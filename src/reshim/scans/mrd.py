"""ISMRMRD (MRD) raw data: anybody's Cartesian scan, and the collections of mridata.org, OCMR and AHEAD.

Origin   S. J. Inati et al., Magn. Reson. Med. 77:411 (2017). mridata.org: Stanford 2D and 3D FSE (Epperson et
         al., ISMRM 2013), NYU (Hammernik et al., Magn. Reson. Med. 79:3055, 2018); OCMR (Chen et al.,
         arXiv:2008.03410); AHEAD (Alkemade et al., NeuroImage 221:117200, 2020; doi 10.34894/IHZGQM).
Licence  of each source; mridata.org and OCMR are downloaded freely, AHEAD after registration.
Layout   HDF5 group `dataset`: `xml` (header), `data` (one record a line: head, trajectory, samples as
         interleaved float32). Lines say where they belong: encode steps 1 and 2, slice, contrast, phase, set.
Quirks   noise lines come first (they give the coils' covariance); phase-correction and navigator lines are no
         image; asymmetric echoes start off centre; lines may run backwards; averages are averaged.
         A 3D scan is listed once for each of its three views; where it is undersampled, only the view along
         readout exists, because a transform along an undersampled axis would fold.
Not done the calibration-line phase correction of Stanford's 2D fast spin echoes (several shots), so their
         images ghost a little; non-Cartesian trajectories are refused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans import hdf5, vocabulary
from reshim.scans.header import ScannerHeader, parse
from reshim.scans.reader import check_samples, chosen_slices, make_record
from reshim.scans.volume import Volume, crop_of, matrix_of, spacing_of
from reshim.types import Acquisition, ScanRecord

NAME = "mrd"
MAX_BYTES = 64 << 30
LINES_AT_ONCE = 1024
_NOISE, _PARALLEL_ONLY, _REVERSE, _NAVIGATOR, _PHASE_CORRECTION = 19, 20, 22, 23, 24
_NO_IMAGE = (_NOISE, _PARALLEL_ONLY, _NAVIGATOR, _PHASE_CORRECTION, 25, 26, 27, 28)
_FRAME = ("slice", "contrast", "phase", "repetition", "set")
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


@dataclass(frozen=True, slots=True)
class _Head:
    header: ScannerHeader
    n_coils: int
    n_frames: int

    @property
    def matrix(self) -> tuple[int, int, int]:
        assert self.header.encoded_matrix is not None
        return self.header.encoded_matrix

    @property
    def recon(self) -> tuple[int, int, int]:
        recon = self.header.recon_matrix or self.matrix
        return tuple(min(a, b) for a, b in zip(recon, self.matrix, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class _Sorted:
    """All lines where they belong: (frame, coil, x, y, z), and which of y and z were acquired."""

    samples: np.ndarray
    acquired: np.ndarray
    covariance: np.ndarray | None


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
    if head.matrix[2] == 1:
        shape = (head.n_frames, *head.matrix[:2])
        view = vocabulary.view_of(*names)
        return [
            _record(
                path, root, root_name, dataset, common, shape, head.recon[:2], header.spacing_mm, view=view
            )
        ]
    records: list[ScanRecord] = []
    xyz_mm = None if header.spacing_mm is None else (*header.spacing_mm[1:], header.spacing_mm[0])
    for axis in ("z", "x", "y"):
        spacing = None if xyz_mm is None else spacing_of(xyz_mm, axis)
        first = records[0].scan_id if records else None
        shape, crop = matrix_of(head.matrix, axis), crop_of(head.recon, axis)
        records.append(
            _record(
                path,
                root,
                root_name,
                dataset,
                common,
                shape,
                crop,
                spacing,
                view=VIEWS[axis],
                view_of=first,
                part=axis,
            )
        )
    return records


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    head = _read_head(path)
    axis = (record.extra.get("part") if record is not None else None) or "z"
    status = path.stat()
    lines = _sorted_lines(path, status.st_size, status.st_mtime_ns)
    flat = head.matrix[2] == 1
    acquired = torch.from_numpy(lines.acquired)
    if flat:
        # A line that some frames lack is no sample of the scan's common mask.
        kspace = torch.where(acquired[:, 0], torch.from_numpy(lines.samples[..., 0]), 0)
        mask, acquirable = _line_mask(acquired[:, 0])
        crop = head.recon[:2]
    else:
        volume = Volume(lines.samples[0])
        whole = bool(acquired.all())
        if not whole and axis != "x":
            raise BadScanError(
                f"{path.name} is a 3D scan undersampled along y and z ({acquired.float().mean():.0%} "
                f"acquired), so "
                "it has no view along either; take the one along readout (part 'x')"
            )
        kspace, crop = volume.view(axis), crop_of(head.recon, axis)
        mask = None if whole or axis != "x" else acquired[None, None]
        acquirable = torch.ones(1, 1, 1, kspace.shape[-1], dtype=torch.bool)
    chosen = chosen_slices(slices, kspace.shape[0], path.name)
    kspace = kspace[list(chosen)].clone()
    if check:
        check_samples(kspace, chosen, path.name)
    return Acquisition(
        kspace=kspace,
        name=path.name,
        slices=chosen,
        crop=crop,
        acquirable=acquirable,
        mask=mask,
        readout_axis=None if axis == "x" and not flat else "row",
        noise_covariance=None if lines.covariance is None else torch.from_numpy(lines.covariance),
    )


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


def _line_mask(acquired: Tensor) -> tuple[Tensor | None, Tensor]:
    """The mask of acquired columns, None where only outer columns are missing; and what could be acquired."""
    columns = acquired.nonzero().flatten()
    acquirable = torch.zeros_like(acquired)
    acquirable[columns[0] : columns[-1] + 1] = True
    missing = bool((acquirable & ~acquired).any())
    return (acquired[None, None, None] if missing else None), acquirable[None, None, None]


def _read_head(path: Path) -> _Head:
    with hdf5.open_file(path) as file:
        header = parse(hdf5.text(file, "dataset/xml") or "<none/>", path.name)
        data = _lines(file)
        if data.shape[0] == 0:
            raise BadScanError(
                f"{path.name} has no line of data; the scan was stopped or the copy is cut short"
            )
        first = data.fields("head")[0]
    if header.trajectory not in (None, "cartesian"):
        raise BadScanError(f"{path.name} has a {header.trajectory} trajectory; only Cartesian scans are read")
    if header.encoded_matrix is None:
        raise BadScanError(f"{path.name}: the header gives no encoded matrix; add encodedSpace/matrixSize")
    n_coils = int(first["active_channels"])
    if not 0 < n_coils <= 1024:
        raise BadScanError(
            f"{path.name}: the first line has {n_coils} channels; between 1 and 1024 are expected"
        )
    n_frames = int(
        np.prod([maximum + 1 for name, maximum in header.limits if name in _FRAME], dtype=object) or 1
    )
    head = _Head(header, n_coils, n_frames)
    declared = 8 * n_coils * n_frames * int(np.prod(head.matrix, dtype=object))
    if declared > min(MAX_BYTES, hdf5.MAX_EXPANSION * path.stat().st_size):
        raise BadScanError(
            f"{path.name} declares {declared} bytes of k-space ({n_frames} frames of {head.matrix}) in a "
            f"file of "
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
def _sorted_lines(path: Path, size: int, mtime_ns: int) -> _Sorted:
    head = _read_head(path)
    n_x, n_y, n_z = head.matrix
    frames: dict[tuple[int, ...], int] = {}
    samples = np.zeros((head.n_frames, head.n_coils, n_x, n_y, n_z), np.complex64)
    counts = np.zeros((head.n_frames, n_y, n_z), np.int32)
    noise = []
    with hdf5.open_file(path) as file:
        for line_head, values in _each_line(_lines(file), path.name):
            flags = int(line_head["flags"])
            if flags >> (_NOISE - 1) & 1:
                noise.append(values)
            if any(flags >> (bit - 1) & 1 for bit in _NO_IMAGE) or values.shape[0] != head.n_coils:
                continue
            index = line_head["idx"]
            frame = frames.setdefault(tuple(int(index[name]) for name in _FRAME), len(frames))
            y, z = _place(index, head)
            if frame >= head.n_frames or not (0 <= y < n_y and 0 <= z < n_z):
                raise BadScanError(
                    f"{path.name}: a line belongs to frame {frame}, y {y}, z {z} of {head.n_frames} frames "
                    f"of "
                    f"{n_y}x{n_z}; the header's limits are those of another scan"
                )
            if flags >> (_REVERSE - 1) & 1:
                values = values[:, ::-1]
            rows, columns = _rows(n_x, values.shape[1], int(line_head["center_sample"]))
            samples[frame, :, rows, y, z] += values[:, columns]
            counts[frame, y, z] += 1
    samples /= np.maximum(counts, 1)[:, None, None]
    # Frames in the order of their counters, not in the order in which the scanner happened to measure them.
    order = [frames[key] for key in sorted(frames)]
    acquired = np.asarray((counts[order] > 0).all(0) if order else np.zeros((n_y, n_z), bool))
    if not acquired.any():
        raise BadScanError(
            f"{path.name} has no image line in common to its frames; the scan was stopped early"
        )
    return _Sorted(samples[order], acquired, _covariance(noise, head.n_coils))


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


def _place(index: Any, head: _Head) -> tuple[int, int]:
    """Column and partition of a line, counted from frequency 0 at the middle of the matrix."""
    header, (_, n_y, n_z) = head.header, head.matrix
    y_center = n_y // 2 if header.phase_center is None else header.phase_center
    z_center = n_z // 2 if header.partition_center is None else header.partition_center
    z = 0 if n_z == 1 else int(index["kspace_encode_step_2"]) - z_center + n_z // 2
    return int(index["kspace_encode_step_1"]) - y_center + n_y // 2, z


def _rows(n_x: int, n_samples: int, center: int) -> tuple[slice, slice]:
    """Where a readout goes: its centre sample onto frequency 0, what sticks out is dropped."""
    start = n_x // 2 - (center if 0 < center < n_samples else n_samples // 2)
    first, last = max(start, 0), min(start + n_samples, n_x)
    return slice(first, last), slice(first - start, last - start)


def _covariance(noise: list[np.ndarray], n_coils: int) -> np.ndarray | None:
    """E[n n^H] / 2 over the noise lines, so that the diagonal is the variance of the real part."""
    usable = [values for values in noise if values.shape[0] == n_coils]
    if not usable or sum(values.shape[1] for values in usable) < 2 * n_coils:
        return None
    values = np.concatenate(usable, axis=1).astype(np.complex128)
    return (values @ values.conj().T / (2 * values.shape[1])).astype(np.complex64)
