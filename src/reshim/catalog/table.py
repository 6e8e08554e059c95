"""The catalog's columns, and a scan's record as a row and back."""

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pyarrow as pa

from reshim.catalog.scrub import scrubbed
from reshim.types import ScanRecord

SCHEMA = pa.schema(
    [
        ("scan_id", pa.string()),
        ("root", pa.string()),
        ("path", pa.string()),  # relative to the root, with forward slashes
        ("dataset", pa.string()),
        ("data_kind", pa.string()),
        ("subject", pa.string()),
        ("view_of", pa.string()),
        ("split", pa.string()),
        ("anatomy", pa.string()),
        ("contrast", pa.string()),
        ("protocol", pa.string()),  # as the scanner calls it
        ("view", pa.string()),
        ("orientation", pa.string()),  # steps to show it; arrays are never flipped on reading
        ("vendor", pa.string()),
        ("model", pa.string()),
        ("field_tesla", pa.float64()),
        ("n_slices", pa.int32()),
        ("n_coils", pa.int32()),
        ("n_rows", pa.int32()),
        ("n_columns", pa.int32()),
        ("recon_rows", pa.int32()),
        ("recon_columns", pa.int32()),
        ("spacing_mm", pa.list_(pa.float64())),  # slice, row, column: the order of the axes
        ("echo_ms", pa.float64()),
        ("repetition_ms", pa.float64()),
        ("inversion_ms", pa.float64()),
        ("fully_sampled", pa.bool_()),
        ("licence", pa.string()),
        ("fingerprint", pa.string()),  # size, header, fixed sampled blocks
        ("sha256", pa.string()),  # null unless asked for
        ("split_from", pa.string()),  # file, list or drawn
        ("duplicate_of", pa.string()),  # the first scan that this one repeats; null unless asked for
        ("reader", pa.string()),
        ("extra", pa.string()),  # JSON: what the reader needs besides
        ("file_bytes", pa.int64()),
        ("file_mtime_ns", pa.int64()),
    ]
)

COLUMNS = tuple(SCHEMA.names)
SCHEMA_VERSION = 1
"""Raised with every column that is added; files of older versions are read for ever."""

ADDED: dict[str, int] = {}
"""The version in which a column came; those of version 1 are not named. Older files have nulls there."""

_VERSION_KEY = b"reshim.schema"
_RECORD_FIELDS = tuple(field.name for field in fields(ScanRecord) if field.name != "extra")
_KEPT_APART = ("folder", "reader")


def row_of(record: ScanRecord, **bookkeeping: Any) -> dict[str, Any]:
    """A record as a row; `bookkeeping` fills the columns that a record does not have."""
    row = {name: getattr(record, name) for name in _RECORD_FIELDS}
    extra = {key: value for key, value in record.extra.items() if key not in _KEPT_APART}
    row["spacing_mm"] = None if record.spacing_mm is None else list(record.spacing_mm)
    row["extra"] = json.dumps(extra, sort_keys=True) if extra else None
    row["protocol"] = scrubbed(record.protocol)
    row["reader"] = record.extra.get("reader", "fastmri")
    row["split_from"] = None if record.split is None else "file"
    return row | bookkeeping


def record_of(row: dict[str, Any], folder: str | None) -> ScanRecord:
    """The record of a row whose root lies at `folder` on this machine."""
    known = {name: row[name] for name in _RECORD_FIELDS}
    known["spacing_mm"] = None if row["spacing_mm"] is None else tuple(row["spacing_mm"])
    extra = json.loads(row["extra"]) if row["extra"] else {}
    return ScanRecord(**known, extra={**extra, "folder": folder, "reader": row["reader"]})


def table_of(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as a table in the catalog's order: by root, path and scan."""
    ordered = sorted(rows, key=lambda row: (row["root"], row["path"], row["scan_id"]))
    return pa.Table.from_pylist(ordered, schema=SCHEMA)


def versioned(table: pa.Table) -> pa.Table:
    """The table, saying which version of the columns it has."""
    known = {**(table.schema.metadata or {}), _VERSION_KEY: str(SCHEMA_VERSION).encode()}
    return table.replace_schema_metadata(known)


def as_current(table: pa.Table) -> pa.Table:
    """A table of this or an older version with all columns of this one, in their order.

    Raises
    ------
    KeyError
        If it lacks a column that its version has; the names are its argument.
    """
    written = int((table.schema.metadata or {}).get(_VERSION_KEY, b"1"))
    missing = [name for name in COLUMNS if name not in table.column_names]
    wrong = [name for name in missing if ADDED.get(name, 1) <= written]
    if wrong:
        raise KeyError(wrong)
    for name in missing:
        column = pa.nulls(table.num_rows, SCHEMA.field(name).type)
        table = table.append_column(SCHEMA.field(name), column)
    rest = [name for name in table.column_names if name not in COLUMNS]
    return table.select([*COLUMNS, *rest])
