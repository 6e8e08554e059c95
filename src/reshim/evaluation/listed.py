"""Test sets that are lists of slices, as published evaluations name them; each is a test set of its own.

Source: K. Lin, A. Krainovic, K. Wang and R. Heckel, arXiv:2508.13822, whose evaluation is 48 such lists with
the unweighted mean over them. Ours differs: a slice that a list names twice is scored once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from reshim.catalog import Catalog
from reshim.catalog.lists import NamedList, read_list, select_list
from reshim.errors import UserError
from reshim.evaluation.run import Evaluation, LeftOut
from reshim.types import ScanRecord

Scoring: TypeAlias = Callable[[Sequence[ScanRecord], Evaluation], tuple[list[tuple[str, str]], list[LeftOut]]]
"""Gives the finished rows as (key, method) and the scans that were left out."""


@dataclass(frozen=True)
class TestSet:
    """The slices of a list that a catalog has."""

    __test__ = False  # for pytest: it only sounds like a test

    name: str
    scans: tuple[tuple[ScanRecord, tuple[int, ...] | None], ...]
    """Each with its slices; None takes all."""

    missing: tuple[str, ...]
    """Files that the list names and the catalog does not have."""

    otherwise: tuple[str, ...]
    """Of these, those that it has as scans of another data set, in words, with the remedy."""

    beyond: tuple[LeftOut, ...]
    """Scans that have fewer slices than the list names."""

    @property
    def records(self) -> list[ScanRecord]:
        """The scans."""
        return [record for record, _ in self.scans]


def test_sets(catalog: Catalog, lists: Sequence[NamedList]) -> list[TestSet]:
    """A test set of every list, under the list's name.

    Raises
    ------
    UserError
        If a list cannot be read, names a split, or has nothing that the catalog has; or for two of one name.
    """
    found = [_test_set(catalog, each) for each in lists]
    names = [each.name for each in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(
            f"two slice lists are called {twice[0]!r}; rename a file, so that rows can tell them apart"
        )
    return found


def _test_set(catalog: Catalog, named: NamedList) -> TestSet:
    if named.split is not None:
        raise UserError(
            f"--slice-list {named.file}: a list of slices to score has no split; leave out ={named.split}"
        )
    listed = read_list(named.path, named.name)
    matched = select_list(catalog, listed)
    otherwise = _otherwise(catalog, {each.filename: each.dataset for each in listed}, matched.missing)
    scans, beyond = [], []
    for record in matched.catalog.records():
        numbers = _slices(record, matched.repeats)
        last = matched.last.get(record.scan_id, -1)
        if last >= record.n_slices:
            reason = f"the list names slice {last}, and the scan's last one is {record.n_slices - 1}"
            beyond.append(LeftOut(record.scan_id, reason))
        else:
            scans.append((record, numbers))
    name = named.name or Path(named.file).stem
    if not scans:
        wanted = ", ".join(matched.missing[:3]) or "no file"
        raise UserError(
            f"the list {name} names {wanted} …, and the catalog has none of its slices; "
            + ("; ".join(otherwise) or "index the folder that holds them")
        )
    return TestSet(name, tuple(scans), matched.missing, otherwise, tuple(beyond))


def _otherwise(catalog: Catalog, wanted: Mapping[str, str | None], missing: Sequence[str]) -> tuple[str, ...]:
    rows = catalog.table.select(["path", "dataset"]).to_pylist()
    known = {row["path"].rpartition("/")[2]: row["dataset"] for row in rows}
    pairs = [(known[name], wanted[name]) for name in missing if name in known]
    return tuple(
        f"{pairs.count(pair)} of them are there as scans of {pair[0]!r}, and the list means {pair[1]!r}: if "
        f"they are the same, index their folder as {pair[1]}=FOLDER"
        for pair in dict.fromkeys(pairs)
    )


def _slices(record: ScanRecord, repeats: Mapping[tuple[str, int], float]) -> tuple[int, ...] | None:
    known = [n for n in range(record.n_slices) if (record.scan_id, n) in repeats]
    return tuple(n for n in known if repeats[record.scan_id, n]) if known else None


def evaluate_sets(
    sets: Sequence[TestSet], score: Scoring, evaluation: Evaluation
) -> tuple[list[tuple[str, dict[str, Any]]], list[LeftOut]]:
    """Score every test set; rows say in the column ``test`` which one it is.

    Parameters
    ----------
    score
        Scores scans by an evaluation, as `reshim.evaluation.run.evaluate` does once it knows the methods.
    """
    finished: list[tuple[str, dict[str, Any]]] = []
    left_out: list[LeftOut] = []
    for each in sets:
        left_out += each.beyond
        for record, numbers in each.scans:
            done, bad = score([record], replace(evaluation, slices=numbers))
            finished += [(key, {"method": method, "test": each.name}) for key, method in done]
            left_out += bad
    return finished, left_out
