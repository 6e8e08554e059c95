"""The table of all scans: read it, filter it with SQL, split it by subject, count it, get its records."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reshim.catalog import roots as roots_of
from reshim.catalog import splits
from reshim.catalog.sql import matching_rows
from reshim.catalog.table import COLUMNS, SCHEMA, record_of, row_of, table_of
from reshim.errors import UserError
from reshim.types import ScanRecord

if TYPE_CHECKING:
    from reshim.catalog.index import Indexed

_ROOTS_KEY = b"reshim.roots"


@dataclass(frozen=True)
class Catalog:
    """Scans as rows; every filter gives a catalog again."""

    table: pa.Table
    """One row a scan, columns of `table.SCHEMA`."""

    roots: Mapping[str, str] = field(default_factory=dict)
    """The folder of every root on this machine."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @classmethod
    def read(cls, path: Path | str, roots: Mapping[str, str | Path] | None = None) -> "Catalog":
        """The catalog in a Parquet file; `roots` says where a root lies that has moved.

        Raises
        ------
        UserError
            If there is no such file, or it is no catalog.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such catalog; make one: reshim index FOLDER --out {path}")
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is no Parquet file ({str(error)[:120]}); index again") from None
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise UserError(f"{path} is no catalog: it lacks the columns {missing}; index again")
        written = json.loads((table.schema.metadata or {}).get(_ROOTS_KEY, b"{}"))
        return cls(table, roots_of.resolve(written, path, roots))

    @classmethod
    def of(cls, records: Iterable[ScanRecord]) -> "Catalog":
        """A catalog of records that are at hand, e.g. of scans opened one by one."""
        records = list(records)
        roots = {record.root: record.extra["folder"] for record in records if record.extra.get("folder")}
        return cls(table_of(row_of(record) for record in records), roots)

    @classmethod
    def index(
        cls,
        folders: Sequence[Path | str],
        out: Path | str,
        hash: str | None = None,  # noqa: A002  (the option's own name)
        **options: Any,
    ) -> "Indexed":
        """Index folders into the catalog `out`; see `reshim.catalog.index.index` for the options."""
        from reshim.catalog.index import index

        return index(folders, Path(out), hash=hash, **options)

    def write(self, path: Path | str) -> None:
        """Write beside, then rename: nobody meets half a catalog, and a full disk leaves the old one.

        Raises
        ------
        UserError
            If the folder cannot be written or the disk is full.
        """
        path = Path(path)
        roots = json.dumps(roots_of.remembered(self.roots, path)).encode()
        table = self.table.replace_schema_metadata({**(self.table.schema.metadata or {}), _ROOTS_KEY: roots})
        beside = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, beside)
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise UserError(
                f"{path} cannot be written ({error}); what stood there before is untouched: free space or "
                "name another --out"
            ) from None

    def where(self, condition: str) -> "Catalog":
        """The scans that satisfy an SQL condition over the columns, e.g. ``anatomy = 'knee'``."""
        return replace(self, table=self.table.take(pa.array(matching_rows(self.table, condition))))

    def part(self, split: str) -> "Catalog":
        """The scans of one split."""
        if split not in splits.SPLITS:
            raise UserError(f"there is no split {split!r}; splits are {', '.join(splits.SPLITS)}")
        return replace(self, table=self.table.filter(pc.equal(self.table["split"], split)))

    def split(
        self,
        shares: Mapping[str, float] = splits.DEFAULT_SHARES,
        by: Sequence[str] = ("anatomy",),
        seed: int = 0,
        keep: bool = True,
    ) -> "Catalog":
        """With every subject in train, val or test; see `splits.assign`."""
        columns = dict.fromkeys(("subject", "split", *by))
        rows = self.table.select(list(columns)).to_pylist()
        chosen = splits.assign(rows, shares, by, seed, keep)
        old = self.table["split_from"].to_pylist()
        source = [
            was if keep and row["split"] is not None else "drawn" for row, was in zip(rows, old, strict=True)
        ]
        return self._with(split=chosen, split_from=source)

    def records(self) -> list[ScanRecord]:
        """The scans' records, knowing where their files lie."""
        return [record_of(row, self.roots.get(row["root"])) for row in self.table.to_pylist()]

    def subjects(self) -> list[str]:
        """The subjects' names, sorted."""
        return sorted(set(self.table["subject"].to_pylist()))

    def by(self, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Counts of subjects, volumes and slices for every combination of the columns' values.

        Raises
        ------
        UserError
            If the catalog has no such column.
        """
        unknown = [name for name in columns if name not in self.table.column_names]
        if unknown:
            raise UserError(
                f"there is no column {unknown[0]!r}; columns are {', '.join(self.table.column_names)}"
            )
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        wanted = list(dict.fromkeys((*columns, "subject", "n_slices")))
        for row in self.table.select(wanted).to_pylist():
            values = tuple(tuple(v) if isinstance(v, list) else v for v in (row[name] for name in columns))
            groups.setdefault(values, []).append(row)
        return [
            {
                **dict(zip(columns, values, strict=True)),
                "subjects": len({row["subject"] for row in rows}),
                "volumes": len(rows),
                "slices": sum(row["n_slices"] for row in rows),
            }
            for values, rows in sorted(
                groups.items(), key=lambda item: [(v is None, str(v)) for v in item[0]]
            )
        ]

    def require(self, what: str) -> "Catalog":
        """The catalog itself, or an error that says what was looked for where it has no scan."""
        if len(self) == 0:
            raise UserError(
                f"no scan for {what}; see what there is: reshim list CATALOG --by dataset anatomy split"
            )
        return self

    def _with(self, **columns: Sequence[Any]) -> "Catalog":
        table = self.table
        for name, values in columns.items():
            position = table.schema.get_field_index(name)
            table = table.set_column(position, SCHEMA.field(name), pa.array(values, SCHEMA.field(name).type))
        return replace(self, table=table)
