"""Tables of labels that reconcile: every finding is counted once, and what could not be counted is named."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reshim.catalog.catalog import Catalog
from reshim.scans.boxes import Annotations
from reshim.types import ScanRecord

NO_SPLIT = "none"


@dataclass(frozen=True, slots=True)
class LabelTable:
    """How annotations and a catalog meet."""

    rows: tuple[dict[str, Any], ...]
    """One row a split and label: `boxes`, `labels` (without a box), `slices`, `scans`, `subjects`."""

    labels_without_rows: tuple[str, ...]
    """Annotated scans that the catalog does not have."""

    rows_without_labels: tuple[str, ...]
    """Scans of the catalog (scan_id) with no finding, and not on the list of reviewed ones."""

    without_finding: tuple[str, ...]
    """Scans of the catalog that were reviewed, and nothing was found."""

    ambiguous: tuple[str, ...]
    """Names of annotated scans that several volumes of the catalog bear; they are counted in none."""

    outside: int
    """Boxes on slices or places that their scan does not have."""

    @property
    def n_counted(self) -> int:
        """Findings that stand in the table."""
        return sum(row["boxes"] + row["labels"] for row in self.rows)


def reconcile(
    catalog: Catalog, annotations: Annotations, reviewed: Iterable[str] | None = None
) -> LabelTable:
    """Count the findings by split and label, and name every scan on one side that the other lacks.

    Views and echoes of a volume share a file, so its findings count for the first of them alone. The counts
    add up: those of the table, those outside, and those of scans that are missing or ambiguous are all.
    """
    by_stem = _volumes(catalog.records())
    ambiguous = {stem for stem, records in by_stem.items() if len({(r.root, r.path) for r in records}) > 1}
    known = {stem: records[0] for stem, records in by_stem.items() if stem not in ambiguous}
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    seen: dict[tuple[str, str], dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
    outside = 0

    def count(record: ScanRecord, label: str, kind: str, slice_index: int | None) -> None:
        key = record.split or NO_SPLIT, label
        counts[key][kind] += 1
        seen[key]["scans"].add(record.scan_id)
        seen[key]["subjects"].add((record.dataset, record.subject))
        if slice_index is not None:
            seen[key]["slices"].add((record.scan_id, slice_index))

    for stem, (boxes, labels) in _by_scan(annotations).items():
        record = known.get(stem)
        if record is None:
            continue
        kept = Annotations(tuple(boxes), (), annotations.drawn_upside_down).of(record)
        outside += len(boxes) - len(kept)
        for box in kept:
            count(record, box.label, "boxes", box.slice_index)
        for label in labels:
            count(record, label.label, "labels", label.slice_index)
    rows = tuple(
        {
            "split": split,
            "label": label,
            **{kind: counts[split, label][kind] for kind in ("boxes", "labels")},
            **{name: len(seen[split, label][name]) for name in ("slices", "scans", "subjects")},
        }
        for split, label in sorted(counts)
    )
    absent, unseen, clean, twice = _missing(by_stem, annotations.scans, ambiguous, reviewed)
    return LabelTable(rows, absent, unseen, clean, twice, outside)


def _missing(
    by_stem: dict[str, list[ScanRecord]],
    found: set[str],
    ambiguous: set[str],
    reviewed: Iterable[str] | None,
) -> tuple[tuple[str, ...], ...]:
    looked_at = set(reviewed or ())
    without = [record for stem, records in by_stem.items() if stem not in found for record in records]
    unseen = [record.scan_id for record in without if Path(record.path).stem not in looked_at]
    clean = [record.scan_id for record in without if Path(record.path).stem in looked_at]
    return (
        tuple(sorted(found - set(by_stem))),
        tuple(sorted(unseen)),
        tuple(sorted(clean)),
        tuple(sorted(found & ambiguous)),
    )


def _volumes(records: Sequence[ScanRecord]) -> dict[str, list[ScanRecord]]:
    by_stem: dict[str, list[ScanRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.scan_id):
        by_stem[Path(record.path).stem].append(record)
    return by_stem


def _by_scan(annotations: Annotations) -> dict[str, tuple[list[Any], list[Any]]]:
    gathered: dict[str, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for box in annotations.boxes:
        gathered[box.scan][0].append(box)
    for label in annotations.labels:
        gathered[label.scan][1].append(label)
    return gathered
