"""DICOM series of MR magnitudes as emulated scans.

Origin   anybody's own; dicomstandard.org documents the layout.
Licence  the user's.
Layout   a folder of files, one image each, in series (`SeriesInstanceUID`), or one file of many frames. The
         series stands in the catalog at its first file. Slices are put in order along their normal; where
         a place holds several images (echoes, phases), each set is a scan of the same subject.
Quirks   emulated: DICOM images are interpolated, filtered and without phase. `AcquisitionMatrix` says how
         many samples were measured; that, and the spectrum, undo zero-filling. Of the patient nothing is
         read but the ID, which becomes a pseudonym. Compressed pixels need a decoder of pydicom's.
Citation DICOM PS3.3, C.8.3 MR modules.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from reshim.errors import BadScanError, UserError
from reshim.scans.emulated import emulated_acquisition, emulated_clean, emulation_of, true_extent
from reshim.scans.own import own_record, spacing_at
from reshim.scans.reader import chosen_slices
from reshim.scans.sidecar import read_sidecar
from reshim.types import Acquisition, ScanRecord

NAME = "dicom"
MAX_FILES = 20_000
MAX_EXPANSION = 100
_VIEWS = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, eq=False)
class _Image:
    path: Path
    series: str
    place_mm: float | None
    number: int
    head: Any


@dataclass(frozen=True, eq=False)
class _Series:
    """The images of one series as (frame, slice)."""

    frames: tuple[tuple[_Image, ...], ...]

    @property
    def first(self) -> Path:
        """The file that the series is listed at."""
        return min(image.path for frame in self.frames for image in frame)

    @property
    def head(self) -> Any:
        """The header of the first slice."""
        return self.frames[0][0].head

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        n_slices = len(self.frames[0])
        if n_slices == 1:
            n_slices = int(self.head.get("NumberOfFrames", 1) or 1)
        return n_slices, int(self.head.Rows), int(self.head.Columns)


def matches(path: Path) -> bool:
    """True for a file ending in .dcm, or with the letters DICM where they belong."""
    if path.suffix.lower() == ".dcm":
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """A record for every frame of the file's series; none, in an index, for all but its first file."""
    sidecar = read_sidecar(path)
    if sidecar.get("skip"):
        return []
    with _damage_named(path):
        return _records(path, root, root_name, sidecar)


def _records(
    path: Path, root: Path | None, root_name: str | None, sidecar: dict[str, Any]
) -> list[ScanRecord]:
    series = _series_of(path)
    if root is not None and path.absolute() != series.first.absolute():
        return []
    sizes, extent, head = series.sizes, _extent(series, sidecar), series.head
    records: list[ScanRecord] = []
    for frame in range(len(series.frames)):
        record = own_record(
            path,
            root,
            root_name,
            sidecar,
            (sizes[0], emulation_of(sidecar).coils, *extent),
            extent,
            NAME,
            data_kind="emulated",
            view_of=records[0].scan_id if records else None,
            part=f"image{frame + 1}" if len(series.frames) > 1 else None,
            extra={"frame": frame, "stored": list(sizes), "n_files": sum(map(len, series.frames))},
            patient=str(head.get("PatientID") or "") or None,
            protocol=_text(head, "ProtocolName") or _text(head, "SeriesDescription"),
            anatomy=None,
            vendor=_text(head, "Manufacturer"),
            model=_text(head, "ManufacturerModelName"),
            field_tesla=_number(head, "MagneticFieldStrength"),
            echo_ms=_number(series.frames[frame][0].head, "EchoTime"),
            repetition_ms=_number(head, "RepetitionTime"),
            inversion_ms=_number(head, "InversionTime"),
            view=_view(head),
            spacing_mm=_spacing(series, extent),
        )
        records.append(record)
    return records


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The emulated k-space of the slices; see `scans.load`."""
    sidecar, images, extent = _read(path, record)
    chosen = chosen_slices(slices, len(images), path.name)
    seed = record.scan_id if record is not None else path.name
    return emulated_acquisition(images, extent, chosen, seed, path.name, emulation_of(sidecar))


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """The clean image that the scan was made of; no other reference is stored."""
    if kind != "clean":
        return None
    sidecar, images, extent = _read(path, record)
    chosen = chosen_slices(slices, len(images), path.name)
    return emulated_clean(images, extent, chosen, emulation_of(sidecar))


def _read(path: Path, record: ScanRecord | None) -> tuple[dict[str, Any], np.ndarray, tuple[int, int]]:
    sidecar = read_sidecar(path)
    with _damage_named(path):
        series = _series_of(path)
        frame = int(record.extra.get("frame", 0)) if record is not None else 0
        return sidecar, _pixels(series, frame), _extent(series, sidecar)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    # pydicom converts an element when it is asked for, so any question to a damaged header may break it.
    try:
        yield
    except (BadScanError, UserError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise BadScanError(f"{path.name}: its header is damaged ({reason}); export it again") from None


def _extent(series: _Series, sidecar: dict[str, Any]) -> tuple[int, int]:
    rows, columns = series.sizes[1:]
    if "crop" in sidecar:
        return min(sidecar["crop"][0], rows), min(sidecar["crop"][1], columns)
    seen = true_extent(series.first, lambda: _pixels(series, 0))
    # AcquisitionMatrix: frequency rows, frequency columns, phase rows, phase columns; two of them are 0.
    matrix = [int(n) for n in series.head.get("AcquisitionMatrix", None) or (0, 0, 0, 0)]
    stated = (max(matrix[0], matrix[2]), max(matrix[1], matrix[3])) if len(matrix) == 4 else (0, 0)
    return tuple(  # type: ignore[return-value]
        min(found, said) if whole // 4 <= said < whole else found
        for found, said, whole in zip(seen, stated, (rows, columns), strict=True)
    )


def _series_of(path: Path) -> _Series:
    path = path.absolute()
    folder = path.parent
    statuses = [(each.name, each.stat()) for each in sorted(folder.iterdir())[:MAX_FILES]]
    found = _all_series(folder, hash(tuple((name, s.st_size, s.st_mtime_ns) for name, s in statuses)))
    for series in found:
        if any(image.path == path for frame in series.frames for image in frame):
            return series
    _header(path)  # says what is wrong with it
    raise BadScanError(f"{path.name} is no image of a series of MR images; leave it out with skip = true")


@lru_cache(maxsize=4)
def _all_series(folder: Path, as_it_is: int) -> tuple[_Series, ...]:
    together: dict[str, list[_Image]] = {}
    for path in sorted(folder.iterdir())[:MAX_FILES]:
        if path.is_file() and matches(path):
            try:
                image = _image(path)
            except BadScanError:
                continue  # it is named when it is asked for itself
            together.setdefault(image.series, []).append(image)
    return tuple(_in_order(images) for images in together.values())


def _in_order(images: list[_Image]) -> _Series:
    """Images by place and number; those of one place are frames, as many at every place."""
    size = (images[0].head.Rows, images[0].head.Columns)
    images = [image for image in images if (image.head.Rows, image.head.Columns) == size]
    places: dict[float, list[_Image]] = {}
    for image in sorted(images, key=lambda image: image.number):
        place = float(image.number) if image.place_mm is None else round(image.place_mm, 2)
        places.setdefault(place, []).append(image)
    n_frames = min(map(len, places.values()))
    columns = [places[place][:n_frames] for place in sorted(places)]
    return _Series(tuple(tuple(column[frame] for column in columns) for frame in range(n_frames)))


def _image(path: Path) -> _Image:
    head = _header(path)
    try:
        place = None
        if "ImagePositionPatient" in head and "ImageOrientationPatient" in head:
            across = np.asarray(head.ImageOrientationPatient, float).reshape(2, 3)
            place = float(np.cross(*across) @ np.asarray(head.ImagePositionPatient, float))
        return _Image(path, str(head.SeriesInstanceUID), place, int(head.get("InstanceNumber") or 0), head)
    except Exception as error:  # see `_damage_named`
        raise BadScanError(
            f"{path.name}: its header is damaged ({str(error)[:120]}); export it again"
        ) from None


def _header(path: Path) -> Any:
    try:
        from pydicom import dcmread
    except ImportError:
        raise UserError(f"{path.name} needs the package pydicom; pip install 'reshim[formats]'") from None
    try:
        head = dcmread(path, stop_before_pixels=True)
        modality, rows, columns = head.get("Modality"), int(head.Rows), int(head.Columns)
        frames, bits = int(head.get("NumberOfFrames") or 1), int(head.get("BitsAllocated") or 16)
    except Exception as error:  # a damaged file breaks the library in any way
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise BadScanError(f"{path.name} is no readable DICOM image ({reason}); export it again") from None
    if modality != "MR":
        raise BadScanError(f"{path.name} is of modality {modality}; MR images are read")
    needed = rows * columns * frames * (bits // 8)
    if min(rows, columns) < 4 or needed > MAX_EXPANSION * path.stat().st_size:
        raise BadScanError(
            f"{path.name} declares {rows}x{columns} pixels in a file of {path.stat().st_size} bytes; it is "
            "damaged"
        )
    return head


@lru_cache(maxsize=2)
def _pixels(series: _Series, frame: int) -> np.ndarray:
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut

    images = []
    for image in series.frames[frame]:
        try:
            dataset = dcmread(image.path)
            images.append(np.asarray(apply_modality_lut(dataset.pixel_array, dataset), np.float32))
        except Exception as error:  # a damaged or compressed file breaks the library in any way
            reason = f"{type(error).__name__}: {str(error)[:160]}"
            raise BadScanError(
                f"{image.path.name}: its pixels cannot be read ({reason}); export it again"
            ) from None
    stack = np.concatenate([image.reshape(-1, *image.shape[-2:]) for image in images])
    if stack.shape != series.sizes:
        raise BadScanError(
            f"{series.first.name}: its pixels are {stack.shape}, not {series.sizes}; export it again"
        )
    return np.abs(stack)


def _view(head: Any) -> str | None:
    if "ImageOrientationPatient" not in head:
        return None
    normal = np.abs(np.cross(*np.asarray(head.ImageOrientationPatient, float).reshape(2, 3)))
    return _VIEWS[int(normal.argmax())]


def _spacing(series: _Series, extent: tuple[int, int]) -> tuple[float, float, float] | None:
    pixel = series.head.get("PixelSpacing")
    if not pixel or len(pixel) != 2:
        return None
    places = [image.place_mm for image in series.frames[0] if image.place_mm is not None]
    steps = np.diff(sorted(places))
    thickness = _number(series.head, "SpacingBetweenSlices") or _number(series.head, "SliceThickness") or 1.0
    between = float(np.median(steps)) if len(steps) else thickness
    return spacing_at((between, float(pixel[0]), float(pixel[1])), series.sizes[1:], extent)


def _text(head: Any, name: str) -> str | None:
    text = str(head.get(name) or "").encode("utf-8", "replace").decode()
    return text.strip()[:200] or None


def _number(head: Any, name: str) -> float | None:
    try:
        value = float(head.get(name))
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) and value > 0 else None
