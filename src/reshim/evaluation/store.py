"""Finished rows, one file a piece of work, named by the digest of everything that made them.

Work that stands in the store is never done again, and two studies share what they have in common.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reshim.beside import beside
from reshim.rows import write_rows, write_table


@dataclass(frozen=True)
class Store:
    """A folder of finished rows."""

    folder: Path

    def path(self, key: str) -> Path:
        """Where the rows of a key lie."""
        return self.folder / key[:2] / f"{key}.parquet"

    def has(self, key: str) -> bool:
        """True where the work of this key is finished."""
        return self.path(key).exists()

    def keys(self) -> frozenset[str]:
        """Of all work that is finished."""
        return frozenset(path.stem for path in self.folder.glob("*/*.parquet"))

    def put(self, key: str, rows: list[dict[str, Any]]) -> None:
        """Keep finished rows; beside first, then renamed."""
        write_rows(self.path(key), rows)

    def image_path(self, key: str) -> Path:
        """Where the images of a key lie, if they were kept."""
        return self.path(key).with_suffix(".npz")

    def put_images(self, key: str, images: np.ndarray, reference: np.ndarray) -> None:
        """Keep the magnitudes (slice, row, column) of a volume and its reference, as half-precision parts."""
        peak = float(reference.max()) or 1.0
        kept, known = (np.clip(array / peak, 0, 6e4).astype(np.float16) for array in (images, reference))
        with beside(self.image_path(key)) as own, own.open("wb") as file:
            np.savez_compressed(file, images=kept, reference=known)

    def collect(self, finished: Iterable[tuple[str, str | Mapping[str, Any]]], out: Path) -> pa.Table:
        """Join the rows of some (key, columns) into one file and return them.

        The columns are what the rows are called here, at least ``method`` (a plain string is the method):
        another study may have called the same method or the same test set otherwise.
        """
        tables = []
        for key, called in finished:
            table = pq.read_table(self.path(key))
            columns = {"method": called} if isinstance(called, str) else called
            for name, value in columns.items():
                table = _with_column(table, name, value)
            tables.append(table)
        if not tables:
            raise ValueError("there are no finished rows to collect; every scan was left out")
        table = pa.concat_tables(tables, promote_options="permissive")
        write_table(out, table)
        return table


def _with_column(table: pa.Table, name: str, value: Any) -> pa.Table:
    column = pa.array([value] * table.num_rows)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)
