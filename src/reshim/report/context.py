"""What the blocks of a page draw from: the files of one study folder, read once."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reshim.errors import UserError
from reshim.evaluation.quantities import Average, Quantity, Rows, Score, score
from reshim.evaluation.statistics import Interval
from reshim.report.blocks import Where
from reshim.report.svg import MARKS
from reshim.rows import SCHEMA, read_rows

N_COLOURS = 8


@dataclass
class Context:
    """The rows, the summary, and the colour that each label has all over the page."""

    folder: Path
    rows: Rows
    summary: dict[str, Any]
    colours: dict[str, int] = field(default_factory=dict)

    def colour(self, label: str) -> int:
        """The same index for the same label, in order of appearance."""
        return self.colours.setdefault(label, len(self.colours))

    def style(self, label: str) -> str:
        """The class that gives a label its colour."""
        return f"c{self.colour(label) % N_COLOURS}"

    def legend(self, labels: Iterable[str], marks: bool = True) -> list[dict[str, str]]:
        """Name, colour and shape of each label."""
        return [
            {
                "label": label,
                "style": self.style(label),
                "mark": MARKS[self.colour(label) % len(MARKS)] if marks else "",
            }
            for label in labels
        ]

    def leaf(self, label: str, *wheres: Where) -> Score:
        """A score of the rows that all these filters choose; the last word counts."""
        merged: Where = {}
        for where in wheres:
            merged |= where
        return score(label or "these rows", **merged)

    def averaged(self, label: str, each: str, *wheres: Where) -> Quantity:
        """The mean of the scores that each value of a column has by itself, where several are chosen."""
        merged = dict(self.leaf(label, *wheres).where)
        values = merged.get(each)
        if not isinstance(values, list | tuple):
            return self.leaf(label, merged)
        return Average(tuple(self.leaf(label, merged, {each: value}) for value in values))

    def interval(self, label: str, *wheres: Where) -> Interval:
        """The mean of the rows that all these filters choose."""
        return self.rows.interval(self.leaf(label, *wheres))

    def distinct(self, column: str) -> list[Any]:
        """The values of a column, without null, sorted."""
        if column not in self.rows.table.column_names:
            return []
        return sorted(value for value in pc.unique(self.rows.table[column]).to_pylist() if value is not None)


def open_folder(folder: Path) -> Context:
    """Read what a study wrote.

    Raises
    ------
    UserError
        If the folder has neither rows nor a summary, or one of them cannot be read.
    """
    summary_path = folder / "summary.json"
    tables = _tables(folder)
    if not tables and not summary_path.exists():
        raise UserError(
            f"{folder} has no rows (*.parquet) and no summary.json; give the folder that `reshim study` or "
            "`reshim evaluate` wrote"
        )
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8")) if summary_path.exists() else {}
    except ValueError as error:
        raise UserError(f"{summary_path} is no JSON ({error}); run the study again") from None
    table = pa.concat_tables(tables, promote_options="default") if tables else SCHEMA.empty_table()
    return Context(folder, Rows(table), summary)


def _tables(folder: Path) -> list[pa.Table]:
    own = folder / "rows.parquet"
    if own.exists():
        return [_read(own)]
    tables = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            table = read_rows(path)
        except ValueError:
            continue  # another table that lies here, a catalog perhaps
        if not table.num_rows or table["target"].null_count < table.num_rows:
            tables.append(table)  # else the quality of scans, which is no method's score
    return tables


def _read(path: Path) -> pa.Table:
    try:
        return read_rows(path)
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({error}); run the study again") from None
