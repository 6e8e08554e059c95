"""Findings on scans: boxes and labels in one model, whatever file they came from.

Source: R. Zhao et al. (fastMRI+), Sci. Data 9:152 (2022), github.com/microsoft/fastmri-plus (MIT).
Ours differs: theirs are drawn on images turned upside down and count x, y from the upper left there; a `Box`
here has half-open rows and columns of the array as it is stored, so it cuts an image without further thought.
Findings of a whole study or slice have no box and are labels. Nobody's name is kept: `source` says which
collection, program or reading a finding is from. Our own files are in `scans.annotation_files`.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from reshim.errors import UserError
from reshim.scans import hdf5
from reshim.scans.reader import located
from reshim.types import ScanRecord

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

    source: str | None = None
    """The collection, program or reading that it is from."""

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
class Label:
    """A finding without a place: of one slice, or of the whole scan where `slice_index` is None."""

    scan: str
    label: str
    slice_index: int | None = None
    confidence: float | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Annotations:
    """What was found in a set of scans; boxes of fastMRI+ are still as drawn."""

    boxes: tuple[Box, ...]
    labels: tuple[Label, ...] = ()
    drawn_upside_down: bool = False

    @property
    def scans(self) -> set[str]:
        """Stems of the files that something was found in."""
        return {box.scan for box in self.boxes} | {label.scan for label in self.labels}

    def of(self, record: ScanRecord) -> list[Box]:
        """The boxes of a scan on its stored reference, cut to it."""
        stem, shape = Path(record.path).stem, (record.recon_rows, record.recon_columns)
        turned = (
            box.upside_down(record.recon_rows) if self.drawn_upside_down else box
            for box in self.boxes
            if box.scan == stem and 0 <= box.slice_index < record.n_slices
        )
        return [cut for cut in (box.inside(shape) for box in turned) if cut is not None]

    def labels_of(self, record: ScanRecord) -> list[Label]:
        """The findings of a scan that have no box."""
        stem = Path(record.path).stem
        return [label for label in self.labels if label.scan == stem]


def read_fastmri_plus(path: Path) -> Annotations:
    """The annotations of fastMRI+ from one of its CSV files.

    Raises
    ------
    UserError
        If the file has other columns, or a box that is none.
    """
    boxes, labels = [], []
    for number, row in csv_rows(path, FASTMRI_PLUS):
        if row["study_level"].strip().lower() == "yes":
            labels.append(Label(row["file"], row["label"], source="fastMRI+"))
            continue
        try:
            x, y, width, height = (round(float(row[name])) for name in ("x", "y", "width", "height"))
            place = int(row["slice"]), y, x, y + height, x + width
            boxes.append(Box(row["file"], *place, row["label"], source="fastMRI+"))
        except (ValueError, OverflowError):
            raise UserError(
                f"{path.name}, line {number}: {row['x']!r}, {row['y']!r}, {row['width']!r}, "
                f"{row['height']!r} is no box; x, y, width and height are numbers: correct the line"
            ) from None
    return Annotations(tuple(boxes), tuple(labels), drawn_upside_down=True)


def read_reviewed(path: Path) -> list[str]:
    """The scans that were looked at, findings or not: without a box on this list, a scan has no finding."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


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
            Box(path.stem, int(index), int(top), int(left), int(bottom), int(right), name, source="simulated")
            for (index, top, left, bottom, right), name in zip(hdf5.read(found), names, strict=True)
        ]


def csv_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Line number and values of every row of a CSV file that has at least these columns.

    Raises
    ------
    UserError
        If the file cannot be read as CSV, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise UserError(
                    f"{path.name} has the columns {reader.fieldnames}; expected {', '.join(columns)}"
                )
            known = reader.fieldnames or ()
            return [(reader.line_num, {key: row[key] or "" for key in known}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error})") from None
