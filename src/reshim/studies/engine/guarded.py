"""Rows of a guarded fit, from those of the network before it and of the fit without the guard.

The guard hands out one or the other, slice by slice; its verdict stands in the unguarded rows. So a scan is
fitted once, and what the guard costs and saves can be told apart.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from reshim.rows import read_rows
from reshim.studies.engine.study import Study

Row: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[Any, ...]
"""Scan, slice, metric, target, region."""

PLACE = ("scan_id", "slice", "metric", "target", "region")


def rows_of(study: Study, method: str, test: str) -> Mapping[Place, Row]:
    """What was scored under a method's name on a test set."""
    keys = [key for key, called in study.finished if called == {"method": method, "test": test}]
    rows = [row for key in keys for row in read_rows(study.store.path(key)).to_pylist()]
    return {tuple(row[name] for name in PLACE): row for row in rows}


def handed_out(study: Study, before: str, without: str, test: str) -> Iterator[tuple[Row, Row, Row]]:
    """For each row: before the fit, what the guard hands out, and the fit without the guard."""
    old = rows_of(study, before, test)
    for place, row in rows_of(study, without, test).items():
        verdict = bool(row["adapted"])
        yield old[place], {**(row if verdict else old[place]), "adapted": verdict}, row


def keep_guarded(study: Study, before: str, without: str, guarded: str, test: str) -> None:
    """Take the rows of what the guard hands out into the study's."""
    rows = [given for _, given, _ in handed_out(study, before, without, test)]
    study.keep(rows, method=guarded, test=test)
