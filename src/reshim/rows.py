"""The format of results: one row a slice, method and metric, in Parquet. No torch in here.

The columns are those that scripts rely on; a study may add columns, never change these.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reshim.beside import beside

SCHEMA = pa.schema(
    [
        ("scan_id", pa.string()),
        ("dataset", pa.string()),
        ("data_kind", pa.string()),
        ("subject", pa.string()),
        ("split", pa.string()),
        ("slice", pa.int32()),
        ("view", pa.string()),
        ("anatomy", pa.string()),
        ("contrast", pa.string()),
        ("vendor", pa.string()),
        ("field_tesla", pa.float64()),
        ("mask", pa.string()),
        ("acceleration", pa.float64()),  # nominal
        ("effective_acceleration", pa.float64()),  # acquirable samples over acquired
        ("center_lines", pa.int32()),
        ("mask_seed", pa.string()),
        ("mask_sha256", pa.string()),
        ("method", pa.string()),
        ("method_sha256", pa.string()),
        ("train_seed", pa.int64()),
        ("adapt", pa.string()),  # the mode asked for
        ("adapted", pa.bool_()),  # what was done
        ("target", pa.string()),
        ("region", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("seconds", pa.float64()),  # wall time of the call over its slices, adaptation included
        ("seen_in_training", pa.bool_()),  # True only where --allow-seen let it through
        ("key", pa.string()),  # digest of scan, mask, method and settings: what is stored once
    ]
)

RECORDED = (
    "scan_id",
    "dataset",
    "data_kind",
    "subject",
    "split",
    "view",
    "anatomy",
    "contrast",
    "vendor",
    "field_tesla",
)
"""Columns that the scan's record knows."""


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as Parquet, beside first and then renamed. A column that a row lacks is null."""
    table = pa.Table.from_pylist(list(rows), schema=_schema_for(rows))
    write_table(path, table)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table beside `path`, then rename: a reader never meets half a file."""
    with beside(path) as own:
        pq.write_table(table, own)


def read_rows(path: Path) -> pa.Table:
    """Read rows.

    Raises
    ------
    ValueError
        If the file lacks one of the columns that rows have.
    """
    table = pq.read_table(path)
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise ValueError(f"{path} is no file of rows: it lacks the columns {missing}")
    return table


def _schema_for(rows: Iterable[Mapping[str, Any]]) -> pa.Schema:
    schema = SCHEMA
    if isinstance(rows, list):
        for name in sorted({key for row in rows for key in row} - set(SCHEMA.names)):
            values = [row[name] for row in rows if row.get(name) is not None]
            schema = schema.append(pa.field(name, pa.array(values[:1000]).type if values else pa.string()))
    return schema
