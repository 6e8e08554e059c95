"""The table of all scans: read it, filter it with SQL, split it by subject, count it, get its records."""

import contextlib
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
from reshim.catalog.table import SCHEMA, as_current, record_of, row_of, table_of, versioned
from reshim.errors import UserError
from reshim.types import ScanRecord

if TYPE_CHECKING:
    from reshim.catalog.index import Indexed
    from reshim.catalog.releases import Release

_ROOTS_KEY = b"reshim.roots"
_LISTS_KEY = b"reshim.lists"


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
        try:
            table = as_current(table)
        except (KeyError, ValueError) as error:
            missing = error.args[0]
            raise UserError(f"{path} is no catalog: it lacks the columns {missing}; index again") from None
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

    @property
    def lists(self) -> list[dict[str, Any]]:
        """The published lists that splits were taken from: name, digest, how many scans they named."""
        found: list[dict[str, Any]] = json.loads((self.table.schema.metadata or {}).get(_LISTS_KEY, b"[]"))
        return found

    def with_lists(self, lists: Sequence[Mapping[str, Any]]) -> "Catalog":
        """The catalog, remembering these lists."""
        known = {**(self.table.schema.metadata or {}), _LISTS_KEY: json.dumps(list(lists)).encode()}
        return replace(self, table=self.table.replace_schema_metadata(known))

    def release(self, folder: Path | str, version: str) -> "Release":
        """Write this catalog as a version under `folder` that is never overwritten.

        See `reshim.catalog.releases`.
        """
        from reshim.catalog.releases import release

        return release(self, folder, version)

    def write(self, path: Path | str, home: Path | None = None) -> None:
        """Write beside, then rename: nobody meets half a catalog, and a full disk leaves the old one.

        `home` is the folder that the file will be moved to, where another.

        Raises
        ------
        UserError
            If the folder cannot be written or the disk is full.
        """
        path = Path(path)
        place = path if home is None else home / path.name
        roots = json.dumps(roots_of.remembered(self.roots, place)).encode()
        table = versioned(self.table)
        table = table.replace_schema_metadata({**table.schema.metadata, _ROOTS_KEY: roots})
        beside = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, beside)
            beside.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
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
