"""Annotations as files: CSV with a version, and XML that is validated against the schema beside this file.

Source: the practice of the Temple University digital pathology corpus (versioned CSV, XML checked against an
XSD, both into one structure, a confidence for every region, the kind of file told by its content).
Ours differs: the layout is our own (boxes in half-open rows and columns, the frame they were drawn in, no
author), and both kinds can be written.
"""

import contextlib
import csv
import io
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from reshim.errors import UserError
from reshim.scans.boxes import FASTMRI_PLUS, Annotations, Box, Label, csv_rows, read_fastmri_plus

VERSION = 2
"""Of both kinds of file. Version 1 was CSV alone, without frame, source and labels; it is read for ever."""

COLUMNS = (
    "version",
    "frame",
    "scan",
    "slice",
    "row_start",
    "column_start",
    "row_stop",
    "column_stop",
    "label",
    "confidence",
    "source",
)
COLUMNS_1 = tuple(name for name in COLUMNS if name not in ("frame", "source"))
PLACES = ("row_start", "column_start", "row_stop", "column_stop")
FRAMES = {"stored": False, "upside_down": True}
NAMESPACE = "urn:reshim:annotations"
MAX_BYTES = 256 << 20
_FOREIGN = "{http://www.w3.org/2001/XMLSchema-instance}"


def read_annotations(path: Path) -> Annotations:
    """Annotations of any known kind, told by the file's first bytes: our XML, our CSV, fastMRI+.

    Raises
    ------
    UserError
        If the file is of no known kind, or not what its kind demands.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return read_xml(path)
    first_line = start.decode("utf-8-sig", errors="replace").splitlines()[:1]
    if set(FASTMRI_PLUS) <= set(first_line[0].split(",") if first_line else ()):
        return read_fastmri_plus(path)
    return read_csv(path)


def read_csv(path: Path) -> Annotations:
    """Annotations from the CSV that `write_csv` writes, of this version or an older one.

    Raises
    ------
    UserError
        If the columns, the version or a value are others.
    """
    boxes: list[Box] = []
    labels: list[Label] = []
    frames = set()
    for number, row in csv_rows(path, COLUMNS_1):
        where = f"{path.name}, line {number}"
        _check_version(row["version"], where)
        frames.add(row.get("frame") or "stored")
        _sort_in(row, boxes, labels, where)
    return Annotations(tuple(boxes), tuple(labels), _frame_of(frames, path))


def write_csv(path: Path, annotations: Annotations) -> None:
    """Annotations as CSV with a version in every line, beside first and then renamed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    frame = _frame_name(annotations)
    for row in _rows(annotations):
        writer.writerow([VERSION, frame, *(row.get(name, "") for name in COLUMNS[2:])])
    _write(path, text.getvalue().encode("utf-8"))


def read_xml(path: Path) -> Annotations:
    """Annotations from XML that satisfies the schema; entities, document types and hints are refused.

    Raises
    ------
    UserError
        If the file is no plain XML, another version's, or breaks the schema; the first breach is named.
    """
    root = _plain_xml(path)
    if root.tag != f"{{{NAMESPACE}}}annotations":
        raise UserError(f"{path.name} begins with {root.tag[:80]!r}; expected annotations of {NAMESPACE}")
    _check_version(root.get("version", ""), path.name)
    _validate(root, path)
    boxes: list[Box] = []
    labels: list[Label] = []
    for scan in root:
        for finding in scan:
            row = dict(finding.attrib, scan=scan.get("name", ""))
            _sort_in(row, boxes, labels, f"{path.name}, scan {row['scan']!r}")
    return Annotations(tuple(boxes), tuple(labels), FRAMES[root.get("frame", "stored")])


def write_xml(path: Path, annotations: Annotations) -> None:
    """Annotations as XML, gathered by scan, validated before anything is written.

    Raises
    ------
    UserError
        If a text holds characters that XML cannot, or the annotations break the schema.
    """
    root = ElementTree.Element(
        "annotations", xmlns=NAMESPACE, version=str(VERSION), frame=_frame_name(annotations)
    )
    scans: dict[str, ElementTree.Element] = {}
    for row in _rows(annotations):
        name = row.pop("scan")
        if name not in scans:
            scans[name] = ElementTree.SubElement(root, "scan", name=name)
        kind = "box" if "row_start" in row else "label"
        ElementTree.SubElement(scans[name], kind, {key: value for key, value in row.items() if value})
    ElementTree.indent(root)
    content = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
    _validate(_parsed(content, path), path)
    _write(path, content)


def _rows(annotations: Annotations) -> Iterator[dict[str, str]]:
    """Every finding as text; empty where nothing is known."""
    findings: list[Box | Label] = [*annotations.boxes, *annotations.labels]
    for finding in findings:
        row = {"scan": finding.scan, "slice": _text(finding.slice_index)}
        if isinstance(finding, Box):
            row |= {name: str(getattr(finding, name)) for name in PLACES}
        yield row | {
            "label": finding.label,
            "confidence": _text(finding.confidence),
            "source": finding.source or "",
        }


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _sort_in(row: dict[str, str], boxes: list[Box], labels: list[Label], where: str) -> None:
    """A row among the boxes, or, without a place, among the labels."""
    given = [name for name in PLACES if row.get(name)]
    about: dict[str, Any] = {"confidence": _confidence(row.get("confidence"), where)}
    about["source"] = row.get("source") or None
    if not given:
        slice_index = _number(int, row["slice"], where) if row.get("slice") else None
        labels.append(Label(row["scan"], row["label"], slice_index, **about))
        return
    if len(given) < len(PLACES):
        raise UserError(f"{where}: a box has {', '.join(PLACES)}, and here is only {', '.join(given)}")
    slice_index, top, left, bottom, right = (_number(int, row[name], where) for name in ("slice", *PLACES))
    if bottom < top or right < left:
        raise UserError(
            f"{where}: the box ends before it starts (rows {top} to {bottom}, columns {left} to {right}); "
            "stops lie behind starts: correct it"
        )
    boxes.append(Box(row["scan"], slice_index, top, left, bottom, right, row["label"], **about))


def _confidence(text: str | None, where: str) -> float | None:
    if not text:
        return None
    value = _number(float, text, where)
    if not 0 <= value <= 1:
        raise UserError(f"{where}: the confidence is {text}; it lies between 0 and 1: correct it")
    return value


def _number(kind: Callable[[str], Any], text: str, where: str) -> Any:
    try:
        value = kind(text)
        if math.isfinite(value):
            return value
    except (ValueError, OverflowError):
        pass
    raise UserError(f"{where}: {text[:40]!r} is no number; correct it")


def _check_version(text: str, where: str) -> None:
    version = _number(int, text, where)
    if version > VERSION:
        raise UserError(f"{where} is of version {version}; this reads up to {VERSION}: update reshim")


def _frame_name(annotations: Annotations) -> str:
    return "upside_down" if annotations.drawn_upside_down else "stored"


def _frame_of(frames: set[str], path: Path) -> bool:
    if len(frames) > 1 or not frames <= set(FRAMES):
        raise UserError(
            f"{path.name} has the frames {sorted(frames)}; a file has one of {', '.join(FRAMES)}: split it"
        )
    return FRAMES[frames.pop()] if frames else False


def _plain_xml(path: Path) -> ElementTree.Element:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(
                f"{path.name} has {path.stat().st_size} bytes; annotations have at most {MAX_BYTES}"
            )
        return _parsed(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error})") from None


def _parsed(content: bytes, path: Path) -> ElementTree.Element:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: ElementTree.Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise UserError(
            f"{path.name} is no plain XML ({type(error).__name__}); entities are refused"
        ) from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path.name} is no plain XML ({str(error)[:100]})") from None
    return root


def _validate(root: ElementTree.Element, path: Path) -> None:
    schema = _schema()
    from xmlschema import XMLSchemaException

    # An instance may name schemas and types of its own; only ours counts.
    if any(name.startswith(_FOREIGN) for element in root.iter() for name in element.attrib):
        raise UserError(f"{path.name} names a schema or a type of its own; leave xsi: attributes out")
    try:
        first = next(schema.iter_errors(root), None)
    except (XMLSchemaException, RecursionError) as error:
        raise UserError(f"{path.name} breaks the schema of annotations ({str(error)[:200]})") from None
    if first is not None:
        raise UserError(
            f"{path.name} breaks the schema of annotations: {(first.reason or 'unknown')[:200]} "
            f"({first.path}); correct it after scans/annotations.xsd"
        )


@lru_cache(maxsize=1)
def _schema() -> Any:
    try:
        from xmlschema import XMLSchema
    except ImportError:
        raise UserError("annotations in XML need xmlschema: pip install 'reshim[formats]'") from None
    return XMLSchema(str(Path(__file__).with_name("annotations.xsd")), allow="local", defuse="always")


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".partial")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise UserError(f"{path} cannot be written ({error}); name another place") from None
