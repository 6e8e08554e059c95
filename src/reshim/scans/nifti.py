"""NIfTI images as emulated scans: magnitudes with phase, coils and noise of their own.

Origin   anybody's own; nifti.nimh.nih.gov documents the layout.
Licence  the user's.
Layout   `.nii` or `.nii.gz` of three axes, or four (each volume of the fourth is a scan of the same subject);
         a `.json` of the same name (as BIDS writes it) gives scanner, field and timing; the rest a sidecar.
Quirks   slices run along the axis of the largest spacing, the third where all are equal; the affine gives
         view and orientation. Images were interpolated, filtered or stripped of their phase, which flatters
         every method: zero-filling is undone where the spectrum shows it, the rest cannot be, so the kind of
         data is `emulated`. What the header's intent (labels, statistics, vectors) or the name's end (_seg,
         _dseg, _probseg, _mask, _label) calls a map is refused as no scan; of others a sidecar says `skip`.
Citation R. W. Cox et al., Neuroimage 22:e1440 (2004).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from reshim.errors import BadScanError, UserError
from reshim.scans.emulated import (
    emulated_acquisition,
    emulated_clean,
    emulation_of,
    remembered,
    true_extent,
)
from reshim.scans.own import own_record, spacing_at
from reshim.scans.reader import chosen_slices
from reshim.scans.sidecar import read_sidecar, sidecar_path
from reshim.types import Acquisition, ScanRecord

NAME = "nifti"
TRUSTED_BYTES = 64 << 20
MAX_EXPANSION = 300
MAX_JSON_BYTES = 1 << 20
# Codes of the axis that slices run along; of rows and columns as a person is used to see them.
_VIEWS = {"IS": ("axial", "AP", "LR"), "AP": ("coronal", "IS", "LR"), "LR": ("sagittal", "IS", "AP")}
_MAP = re.compile(r"[-_](seg|dseg|probseg|mask|labels?)(?=\.nii(\.gz)?$)", re.IGNORECASE)
_JSON = {
    "Manufacturer": "vendor",
    "ManufacturersModelName": "model",
    "MagneticFieldStrength": "field_tesla",
    "ProtocolName": "protocol",
    "SeriesDescription": "protocol",
}
_SECONDS = {"EchoTime": "echo_ms", "RepetitionTime": "repetition_ms", "InversionTime": "inversion_ms"}


@dataclass(frozen=True)
class Geometry:
    """Shape of a file's volumes, and how its axes become slices, rows and columns."""

    shape: tuple[int, ...]
    order: tuple[int, int, int]
    """Which of the file's axes are slice, row and column."""

    spacing_mm: tuple[float, float, float]
    view: str
    orientation: str | None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        slices, rows, columns = (self.shape[axis] for axis in self.order)
        return slices, rows, columns

    @property
    def n_frames(self) -> int:
        """Volumes in the file."""
        return self.shape[3] if len(self.shape) == 4 else 1


def matches(path: Path) -> bool:
    """True by the file's ending."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record a volume; the middle slices are read to find the true extent of k-space."""
    sidecar = read_sidecar(path)
    if sidecar.get("skip"):
        return []
    if "skip" not in sidecar:
        _refuse_maps(path)
    return records_of(path, root, root_name, sidecar, NAME)


def records_of(
    path: Path, root: Path | None, root_name: str | None, sidecar: dict[str, Any], reader: str, **known: Any
) -> list[ScanRecord]:
    """The records of a file, for this reader and those of collections in NIfTI."""
    geometry = geometry_of(path)
    extent, n_coils = _extent(path, sidecar), emulation_of(sidecar).coils
    spacing = spacing_at(geometry.spacing_mm, geometry.sizes[1:], extent)
    records: list[ScanRecord] = []
    for frame in range(geometry.n_frames):
        inferred = {"view": geometry.view, "orientation": geometry.orientation, "spacing_mm": spacing}
        record = own_record(
            path,
            root,
            root_name,
            sidecar,
            (geometry.sizes[0], n_coils, *extent),
            extent,
            reader,
            data_kind="emulated",
            view_of=records[0].scan_id if records else None,
            part=f"volume{frame + 1}" if geometry.n_frames > 1 else None,
            extra={"frame": frame, "stored": list(geometry.sizes)},
            **(_described(path) | inferred | known),
        )
        records.append(record)
    return records


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The emulated k-space of the slices; see `scans.load`."""
    sidecar = read_sidecar(path)
    images = images_of(path, record)
    chosen = chosen_slices(slices, len(images), path.name)
    seed = record.scan_id if record is not None else path.name
    return emulated_acquisition(
        images, _extent(path, sidecar), chosen, seed, path.name, emulation_of(sidecar)
    )


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """The clean image that the scan was made of; no other reference is stored."""
    if kind != "clean":
        return None
    sidecar, images = read_sidecar(path), images_of(path, record)
    chosen = chosen_slices(slices, len(images), path.name)
    return emulated_clean(images, _extent(path, sidecar), chosen, emulation_of(sidecar))


def geometry_of(path: Path) -> Geometry:
    """Shape, order of axes and orientation, from the header; sizes are checked against the file's bytes."""
    image = _opened(path)
    shape = tuple(map(int, image.shape))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (3, 4) or min(shape[:3]) < 1 or sorted(shape[:3])[1] < 4:
        raise BadScanError(f"{path.name} has the shape {shape}; a scan has three axes, or four with volumes")
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise BadScanError(f"{path.name} holds {dtype}; emulated scans are made of magnitudes: store those")
    needed, stored = int(np.prod(shape, dtype=object)) * dtype.itemsize, path.stat().st_size
    limit = max(TRUSTED_BYTES, MAX_EXPANSION * stored) if path.name.lower().endswith(".gz") else stored
    if needed > limit:
        raise BadScanError(
            f"{path.name} declares {needed} bytes (shape {shape}) in a file of {stored}; it is cut short "
            "or damaged"
        )
    zooms = tuple(map(float, image.header.get_zooms()[:3]))
    if not (np.isfinite(image.affine).all() and np.isfinite(zooms).all()):
        raise BadScanError(f"{path.name}: its spacing {zooms} or its affine is no number; convert it again")
    return _arranged(shape, zooms, image.affine)


def images_of(path: Path, record: ScanRecord | None) -> np.ndarray:
    """The volume (slice, row, column) of a record, in float32."""
    geometry = geometry_of(path)
    status = path.stat()
    values = remembered(_values, path, status.st_size, status.st_mtime_ns)
    frame = int(record.extra.get("frame", 0)) if record is not None else 0
    values = values.reshape(geometry.shape)
    return (values[..., frame] if values.ndim == 4 else values).transpose(geometry.order)


def _refuse_maps(path: Path) -> None:
    intent = int(_opened(path).header["intent_code"])
    named = _MAP.search(path.name)
    if intent == 0 and named is None:
        return
    said = f"its header's intent is {intent}" if intent else f"its name ends in {named[0]}"  # type: ignore[index]
    raise BadScanError(
        f"{path.name} is a map made from images and no scan, as {said}; write {sidecar_path(path).name} "
        'beside it with skip = "a map", or skip = false where it is a scan all the same'
    )


def extent_on(path: Path) -> tuple[int, int]:
    """Rows and columns of the emulated scan."""
    return _extent(path, read_sidecar(path))


def _extent(path: Path, sidecar: dict[str, Any]) -> tuple[int, int]:
    sizes = geometry_of(path).sizes[1:]
    extent = sidecar.get("crop") or true_extent(path, lambda: images_of(path, None))
    return min(extent[0], sizes[0]), min(extent[1], sizes[1])


def _opened(path: Path):  # type: ignore[no-untyped-def]
    try:
        import nibabel
    except ImportError:
        raise UserError(f"{path.name} needs the package nibabel; pip install 'reshim[formats]'") from None
    try:
        return nibabel.Nifti1Image.from_filename(path, mmap=False)
    except Exception as error:  # a damaged header breaks the library in any way
        raise BadScanError(_damaged(path, error)) from None


def _values(path: Path) -> np.ndarray:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(_opened(path).dataobj, dtype=np.float32)
    except Exception as error:  # damaged data break the library and what unpacks them in any way
        raise BadScanError(_damaged(path, error)) from None


def _damaged(path: Path, error: Exception) -> str:
    reason = f"{type(error).__name__}: {str(error)[:120]}"
    return f"{path.name} is no readable NIfTI file ({reason}); copy or convert it again"


def _arranged(shape: tuple[int, ...], zooms: tuple[float, ...], affine: np.ndarray) -> Geometry:
    from nibabel.orientations import aff2axcodes

    codes = aff2axcodes(affine)
    if None in codes:
        codes = ("R", "A", "S")
    largest = max(zooms)
    slice_axis = max(axis for axis in range(3) if zooms[axis] >= 0.99 * largest)
    # A single image is a slice along the axis of length 1, whatever its thickness.
    if 1 in shape[:3]:
        slice_axis = shape.index(1)
    view, row_codes, column_codes = next(entry for pair, entry in _VIEWS.items() if codes[slice_axis] in pair)
    rest = [axis for axis in range(3) if axis != slice_axis]
    row = next(axis for axis in rest if codes[axis] in row_codes)
    column = next(axis for axis in rest if axis != row)
    steps = []
    # Seen from the feet or the left: the head, the front and the subject's right come first.
    if codes[row] in "SA" and codes[row] in row_codes:
        steps.append("flip-rows")
    if codes[column] in "RA" and codes[column] in column_codes:
        steps.append("flip-columns")
    order = (slice_axis, row, column)
    spacing = tuple(zooms[axis] or 1.0 for axis in order)
    return Geometry(shape, order, spacing, view, "+".join(steps) or None)  # type: ignore[arg-type]


def _described(path: Path) -> dict[str, Any]:
    """What the BIDS JSON beside a file says of scanner and timing."""
    beside = path.with_name(re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE) + ".json")
    try:
        if not beside.is_file() or beside.stat().st_size > MAX_JSON_BYTES:
            return {}
        said = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    known: dict[str, Any] = {}
    for name, field in _JSON.items():
        kind = int | float if field == "field_tesla" else str
        if field not in known and isinstance(said.get(name), kind):
            known[field] = said[name]
    for name, field in _SECONDS.items():
        if isinstance(said.get(name), int | float) and said[name] > 0:
            known[field] = 1000.0 * said[name]
    return known
