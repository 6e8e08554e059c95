"""The report of a case: all that a catalog knows of one subject, as text that may be handed on.

A subject is a pseudonym in the catalog already. Paths and names of files stay out, because a file may be
called after a person; scans are counted instead. A dataset that no reader knows has its folder's name.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from reshim.catalog.catalog import Catalog
from reshim.catalog.scrub import scrubbed
from reshim.errors import BadScanError, UserError
from reshim.scans.boxes import Annotations, Box, simulated_boxes
from reshim.types import ScanRecord

KINDS = {
    "simulated": "simulated: no person was scanned",
    "semi-synthetic": "semi-synthetic: a real image seen through coils it was not scanned with",
    "emulated": "emulated: k-space made from a magnitude image",
    "measured": "measured",
}


def case_report(
    catalog: Catalog, subject: str, annotations: Sequence[Annotations] = (), dataset: str | None = None
) -> str:
    """One subject's scans: protocol, scanner, field, slices, and what was found on them.

    Raises
    ------
    UserError
        If the catalog has no such subject, or several datasets have one of this name and none is chosen.
    """
    records = [
        record
        for record in catalog.records()
        if record.subject == subject and dataset in (None, record.dataset)
    ]
    if not records:
        some = ", ".join(catalog.subjects()[:3])
        raise UserError(
            f"the catalog has no subject {subject!r}; it has {some} …: reshim list CATALOG --by subject"
        )
    datasets = sorted({record.dataset for record in records})
    if len(datasets) > 1:
        raise UserError(f"{subject!r} stands in {', '.join(datasets)}; choose with --where \"dataset = '…'\"")
    records.sort(key=lambda record: record.scan_id)
    lines = [f"Case {scrubbed(subject)} of {scrubbed(datasets[0])}", "", *_table(_about_case(records))]
    for number, record in enumerate(records, 1):
        lines += ["", f"Scan {number} of {len(records)}", *_table(_about_scan(record))]
        lines += _findings(record, annotations)
    return "\n".join(lines) + "\n"


def _about_case(records: Sequence[ScanRecord]) -> Iterable[tuple[str, Any]]:
    yield "data", "; ".join(sorted({KINDS[record.data_kind] for record in records}))
    yield "anatomy", _all(record.anatomy for record in records)
    yield "split", _all(record.split for record in records)
    yield "scans", f"{len(records)}, {sum(record.n_slices for record in records)} slices"
    yield "licence", _all(record.licence for record in records)


def _about_scan(record: ScanRecord) -> Iterable[tuple[str, Any]]:
    yield "contrast", record.contrast
    yield "protocol", scrubbed(record.protocol)
    yield "view", record.view
    yield "scanner", " ".join(part for part in (record.vendor, record.model) if part) or None
    yield "field", None if record.field_tesla is None else f"{record.field_tesla:g} T"
    yield "slices", f"{record.n_slices} of {record.recon_rows} x {record.recon_columns}"
    yield "voxel", None if record.spacing_mm is None else _spacing(record.spacing_mm)
    yield (
        "k-space",
        f"{record.n_coils} coils, {record.n_rows} x {record.n_columns}"
        + ("" if record.fully_sampled else ", undersampled"),
    )
    times = (("TE", record.echo_ms), ("TR", record.repetition_ms), ("TI", record.inversion_ms))
    yield "times", ", ".join(f"{name} {value:g} ms" for name, value in times if value is not None) or None


def _spacing(spacing_mm: tuple[float, ...]) -> str:
    return " x ".join(f"{size:.3g}" for size in spacing_mm) + " mm (slice, row, column)"


def _findings(record: ScanRecord, annotations: Sequence[Annotations]) -> list[str]:
    boxes = [box for some in annotations for box in some.of(record)]
    if record.data_kind == "simulated":
        try:
            boxes += simulated_boxes(record)
        except (BadScanError, OSError) as error:
            return [f"  findings  not readable ({type(error).__name__})"]
    labels = [label for some in annotations for label in some.labels_of(record)]
    lines = [
        f"    slice {box.slice_index:>3}  {_place(box)}  {_said(box)}" for box in sorted(boxes, key=_order)
    ]
    for label in labels:
        where = "all slices" if label.slice_index is None else f"slice {label.slice_index:>3}"
        lines.append(f"    {where}  {_said(label)}")
    return ["  findings", *lines] if lines else ["  findings  none on record"]


def _order(box: Box) -> tuple[Any, ...]:
    return box.slice_index, box.row_start, box.column_start, box.label


def _place(box: Box) -> str:
    return f"rows {box.row_start}-{box.row_stop}, columns {box.column_start}-{box.column_stop}"


def _said(finding: Any) -> str:
    sure = None if finding.confidence is None else f"confidence {finding.confidence:.2g}"
    notes = ", ".join(note for note in (sure, scrubbed(finding.source)) if note)
    return f"{scrubbed(finding.label)}{f' ({notes})' if notes else ''}"


def _all(values: Iterable[str | None]) -> str | None:
    return ", ".join(sorted({value for value in values if value})) or None


def _table(rows: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"  {name:<9} {'not stated' if value is None else value}" for name, value in rows]
