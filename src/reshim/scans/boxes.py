"""Boxes around findings, in rows and columns of the stored reference, whatever they were drawn on.

Source: R. Zhao et al. (fastMRI+), Sci. Data 9:152 (2022), github.com/microsoft/fastmri-plus (MIT).
Ours differs: theirs are drawn on images turned upside down and count x, y from the upper left there; a `Box`
here has half-open rows and columns of the array as it is stored, so it cuts an image without further thought.
Findings of a whole study have no box and are kept apart.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from reshim.errors import UserError
from reshim.scans import hdf5
from reshim.scans.reader import located
from reshim.types import ScanRecord

VERSION = 1
COLUMNS = (
    "version",
    "scan",
    "slice",
    "row_start",
    "column_start",
    "row_stop",
    "column_stop",
    "label",
    "confidence",
)
FASTMRI_PLUS = ("file", "slice", "study_level", "x", "y", "width", "height", "label")


@dataclass(frozen=True, slots=True)
class Box:
    """A finding on one slice."""

    scan: str
    """The file's stem."""

    slice_index: int
    row_start: int
    column_start: int
    row_stop: int
    column_stop: int
    label: str
    confidence: float | None = None
    """Between 0 and 1, where whoever drew it said so."""

    @property
    def block(self) -> tuple[slice, slice]:
        """The two slices that cut the box out of an image (…, row, column)."""
        return slice(self.row_start, self.row_stop), slice(self.column_start, self.column_stop)

    def inside(self, shape: tuple[int, int]) -> "Box | None":
        """The part within an image of that shape, or None where nothing of it is."""
        rows, columns = shape
        cut = replace(
            self,
            row_start=max(self.row_start, 0),
            column_start=max(self.column_start, 0),
            row_stop=min(self.row_stop, rows),
            column_stop=min(self.column_stop, columns),
        )
        return cut if cut.row_stop > cut.row_start and cut.column_stop > cut.column_start else None

    def upside_down(self, n_rows: int) -> "Box":
        """The same box on the image flipped up and down."""
        return replace(self, row_start=n_rows - self.row_stop, row_stop=n_rows - self.row_start)


@dataclass(frozen=True, slots=True)
class Annotations:
    """What was found in a set of scans; boxes of fastMRI+ are still as drawn."""

    boxes: tuple[Box, ...]
    studies: tuple[tuple[str, str], ...] = ()
    """(scan, label) of findings that concern a whole study."""

    drawn_upside_down: bool = False

    def of(self, record: ScanRecord) -> list[Box]:
        """The boxes of a scan on its stored reference, cut to it."""
        stem, shape = Path(record.path).stem, (record.recon_rows, record.recon_columns)
        turned = (
            box.upside_down(record.recon_rows) if self.drawn_upside_down else box
            for box in self.boxes
            if box.scan == stem and box.slice_index < record.n_slices
        )
        return [cut for cut in (box.inside(shape) for box in turned) if cut is not None]


def read_fastmri_plus(path: Path) -> Annotations:
    """The annotations of fastMRI+ from one of its CSV files.

    Raises
    ------
    UserError
        If the file has other columns, or a box that is none.
    """
    boxes, studies = [], []
    for number, row in _rows(path, FASTMRI_PLUS):
        if row["study_level"].strip().lower() == "yes":
            studies.append((row["file"], row["label"]))
            continue
        try:
            x, y, width, height = (round(float(row[name])) for name in ("x", "y", "width", "height"))
            boxes.append(Box(row["file"], int(row["slice"]), y, x, y + height, x + width, row["label"]))
        except ValueError:
            raise UserError(
                f"{path.name}, line {number}: {row['x']!r}, {row['y']!r}, {row['width']!r}, "
                f"{row['height']!r} is no "
                "box; x, y, width and height are numbers: correct the line"
            ) from None
    return Annotations(tuple(boxes), tuple(studies), drawn_upside_down=True)


def read_reviewed(path: Path) -> list[str]:
    """The scans that were looked at, findings or not: without a box on this list, a scan has no finding."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def read_boxes(path: Path) -> Annotations:
    """Boxes from the CSV that `write_boxes` writes.

    Raises
    ------
    UserError
        If the columns, the version or a value are others.
    """
    boxes = []
    for number, row in _rows(path, COLUMNS):
        try:
            if int(row["version"]) > VERSION:
                raise UserError(
                    f"{path.name} is of version {row['version']}; this reads up to {VERSION}: update"
                )
            number_of, top, left, bottom, right = (int(row[name]) for name in COLUMNS[2:7])
            confidence = float(row["confidence"]) if row["confidence"] else None
            boxes.append(Box(row["scan"], number_of, top, left, bottom, right, row["label"], confidence))
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path.name}, line {number}: {error}; correct the line") from None
    return Annotations(tuple(boxes))


def write_boxes(path: Path, boxes: Iterable[Box]) -> None:
    """Boxes as CSV with a version, beside first and then renamed."""
    beside = path.with_name(path.name + ".partial")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for box in boxes:
            confidence = "" if box.confidence is None else box.confidence
            places = (box.slice_index, box.row_start, box.column_start, box.row_stop, box.column_stop)
            writer.writerow((VERSION, box.scan, *places, box.label, confidence))
    beside.replace(path)


def simulated_boxes(record: ScanRecord) -> list[Box]:
    """The lesions that a simulated scan's file carries; none where it has no such dataset."""
    path = located(record)
    with hdf5.open_file(path) as file:
        found = hdf5.numeric(file, "lesions")
        if found is None or found.shape[0] == 0:
            return []
        names = found.attrs.get("names", ["lesion"] * found.shape[0])
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
        return [
            Box(path.stem, int(index), int(top), int(left), int(bottom), int(right), name)
            for (index, top, left, bottom, right), name in zip(hdf5.read(found), names, strict=True)
        ]


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise UserError(
                    f"{path.name} has the columns {reader.fieldnames}; expected {', '.join(columns)}"
                )
            return [
                (number, {key: row[key] or "" for key in columns}) for number, row in enumerate(reader, 2)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error})") from None
