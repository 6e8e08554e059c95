"""Folders into a catalog: headers alone, in parallel, and again only what changed since.

A file that no reader can use is named and left out; the others go on. What has been read is written down
every half minute, so an interrupted run continues.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

from reshim.catalog.catalog import Catalog
from reshim.catalog.lists import named_lists, take_splits
from reshim.catalog.splits import DEFAULT_SHARES, straddling
from reshim.catalog.table import row_of, table_of
from reshim.errors import BadScanError, UserError
from reshim.scans import SUFFIXES, open_scans
from reshim.scans.fingerprint import sha256
from reshim.scans.sidecar import stamp, why_skipped

Row = dict[str, Any]

BATCH = 32
SECONDS_BETWEEN_WRITES = 30.0
WORTH_A_PROCESS = 400
"""Files below which starting processes costs more than it saves: a header takes about 2 ms."""


@dataclass(frozen=True)
class Indexed:
    """A catalog, what was left out of it, and what its reader should know."""

    catalog: Catalog
    left_out: tuple[tuple[str, str], ...]
    """Path and reason of every file that no reader could use."""

    notes: tuple[str, ...]
    n_read: int
    """Files whose headers were read in this run; the others had not changed."""

    skipped: tuple[tuple[str, str], ...] = ()
    """Path and reason of every file that a sidecar calls no scan."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    folder: Path
    root: str
    size: int
    mtime_ns: int


def index(
    folders: Sequence[Path | str],
    out: Path,
    hash: str | None = None,  # noqa: A002  (the option's own name)
    shares: Mapping[str, float] = DEFAULT_SHARES,
    by: Sequence[str] = ("anatomy",),
    seed: int = 0,
    redraw: bool = False,
    lists: Sequence[str] = (),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Indexed:
    """Index every scan under the folders and write the catalog to `out`.

    A folder may be given a root's name as ``NAME=FOLDER``; else its own name is taken. Rows of files whose
    size and time have not changed are kept, with their splits; with `redraw`, splits that were drawn (not
    given by folder or list) are drawn anew. Splits of published `lists` (``FILE#NAME=SPLIT``) come before
    all others.

    Raises
    ------
    UserError
        If a folder does not exist, a list cannot be read, `hash` is neither None nor ``full``, or the catalog
        cannot be written.
    """
    named = named_lists(lists)
    if hash not in (None, "full"):
        raise UserError(f"--hash is {hash!r}; it is 'full', or left out")
    roots = named_roots(folders)
    unfinished = out.with_name(out.name + ".unfinished")
    known = _known_rows(out) | _known_rows(unfinished)
    files = list(_files(roots))
    rows: list[Row] = []
    changed = []
    for file in files:
        kept = known.get((file.root, _relative(file)), [])
        if kept and all(_unchanged(row, file, hash == "full") for row in kept):
            rows.extend(kept)
        else:
            changed.append(file)
    left_out: list[tuple[str, str]] = []
    written = monotonic()
    if on_progress:
        on_progress(len(files) - len(changed), len(files))
    done = len(files) - len(changed)
    for found, bad in _read_all(changed, hash == "full", workers):
        for row in found:
            former = known.get((row["root"], row["path"]), [])
            _keep_drawn_split(row, former)
            rows.append(row)
        left_out.extend(bad)
        done = min(done + BATCH, len(files))
        if on_progress:
            on_progress(done, len(files))
        if monotonic() - written > SECONDS_BETWEEN_WRITES:
            Catalog(table_of(rows), roots).write(unfinished)
            written = monotonic()
    if on_progress:
        on_progress(len(files), len(files))
    if redraw:
        rows = [
            row | {"split": None, "split_from": None} if row["split_from"] == "drawn" else row for row in rows
        ]
    catalog = Catalog(table_of(rows), roots)
    remembered = _remembered_lists(out)
    catalog, taken = take_splits(catalog.with_lists(remembered), named)
    notes = (*_notes(catalog.table.to_pylist()), *map(_list_note, taken))
    catalog = catalog.split(shares, by, seed)
    catalog.write(out)
    unfinished.unlink(missing_ok=True)
    return Indexed(catalog, tuple(sorted(left_out)), notes, len(changed), _skipped(changed, rows))


def _skipped(files: Sequence[_File], rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    used = {(row["root"], row["path"]) for row in rows}
    without = (file.path for file in files if (file.root, _relative(file)) not in used)
    return tuple((str(path), why) for path in without if (why := why_skipped(path)))


def _remembered_lists(out: Path) -> list[dict[str, Any]]:
    try:
        return Catalog.read(out).lists if out.is_file() else []
    except UserError:
        return []


def _list_note(about: Mapping[str, Any]) -> str:
    found = about["named"] - about["missing"]
    return f"{about['list']} names {about['named']} files, {found} of them in this catalog"


def named_roots(folders: Sequence[Path | str]) -> dict[str, str]:
    """A name for every folder, its own unless given as ``NAME=FOLDER``; the second of a name gets a number.

    Raises
    ------
    UserError
        If a folder does not exist.
    """
    roots: dict[str, str] = {}
    for given in folders:
        name, _, rest = str(given).partition("=")
        folder = Path(rest) if rest and not Path(str(given)).exists() else Path(given)
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; name folders that hold scans")
        folder = folder.absolute()
        if any(str(folder) == other for other in roots.values()):
            continue
        wanted = name if rest and folder == Path(rest).absolute() else folder.name or "root"
        unique, number = wanted, 2
        while unique in roots:
            unique, number = f"{wanted}-{number}", number + 1
        roots[unique] = str(folder)
    return roots


def _files(roots: Mapping[str, str]) -> Iterator[_File]:
    for name, folder in roots.items():
        visited: set[str] = set()
        for parent, inner, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(parent)
            # A link back to a folder above would be walked for ever.
            if real in visited:
                inner.clear()
                continue
            visited.add(real)
            inner[:] = sorted(entry for entry in inner if not entry.startswith("."))
            for entry in sorted(names):
                if entry.startswith(".") or not entry.lower().endswith(SUFFIXES):
                    continue
                path = Path(parent) / entry
                try:
                    yield _File(path, Path(folder), name, *stamp(path))
                except OSError:
                    yield _File(path, Path(folder), name, -1, -1)


def _relative(file: _File) -> str:
    return file.path.relative_to(file.folder).as_posix()


def _known_rows(path: Path) -> dict[tuple[str, str], list[Row]]:
    known: dict[tuple[str, str], list[Row]] = {}
    if path.is_file():
        try:
            rows = Catalog.read(path).table.to_pylist()
        except UserError:
            return {}
        for row in rows:
            known.setdefault((row["root"], row["path"]), []).append(row)
    return known


def _unchanged(row: Row, file: _File, full_hash: bool) -> bool:
    same = (row["file_bytes"], row["file_mtime_ns"]) == (file.size, file.mtime_ns)
    return same and (not full_hash or row["sha256"] is not None)


def _undrawn(row: Row) -> Row:
    return row | {"split": None, "split_from": None} if row["split_from"] == "drawn" else row


def _keep_drawn_split(row: Row, former: Sequence[Row]) -> None:
    """A file that changed keeps the split that was drawn for its subject, or that a list gave it."""
    for old in former:
        keeps = row["split"] is None or old["split_from"] == "list"
        if old["subject"] == row["subject"] and keeps and old["split"] is not None:
            row["split"], row["split_from"] = old["split"], old["split_from"]


def _read_all(
    files: Sequence[_File], full_hash: bool, workers: int | None
) -> Iterator[tuple[list[Row], list[tuple[str, str]]]]:
    batches = [list(files[start : start + BATCH]) for start in range(0, len(files), BATCH)]
    if workers is None:
        workers = min(len(os.sched_getaffinity(0)), 8) if len(files) >= WORTH_A_PROCESS else 1
    if workers < 2:
        for batch in batches:
            yield _read_batch(batch, full_hash)
        return
    retry = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_read_batch, batch, full_hash): batch for batch in batches}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                retry.extend(futures[future])
    for file in retry:
        yield _read_alone(file, full_hash)


def _read_alone(file: _File, full_hash: bool) -> tuple[list[Row], list[tuple[str, str]]]:
    """One file in a process of its own: whichever killed the pool is found, and the others are read."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_read_batch, [file], full_hash).result()
    except BrokenProcessPool:
        return [], [(str(file.path), "the library that reads it crashed; the file is damaged: copy it again")]


def _read_batch(files: Sequence[_File], full_hash: bool) -> tuple[list[Row], list[tuple[str, str]]]:
    rows: list[Row] = []
    left_out = []
    for file in files:
        try:
            scans = open_scans(file.path, file.folder, file.root)
            digest = sha256(file.path) if full_hash else None
        except (BadScanError, OSError) as error:
            left_out.append((str(file.path), str(error)))
            continue
        except Exception as error:  # a file that breaks a library in a new way must not end the others
            reason = f"cannot be read ({type(error).__name__}: {str(error)[:200]}); copy it again"
            left_out.append((str(file.path), reason))
            continue
        bookkeeping = {"file_bytes": file.size, "file_mtime_ns": file.mtime_ns, "sha256": digest}
        rows.extend(row_of(scan.record, **bookkeeping) for scan in scans)
    return rows, left_out


def _notes(rows: Sequence[Row]) -> tuple[str, ...]:
    notes = []
    apart = straddling(rows)
    if apart:
        notes.append(
            f"{len(apart)} subjects stand in several of the given splits, {apart[0]} among them; the "
            f"folders or "
            "lists say so, and nothing was moved"
        )
    for column in ("anatomy", "contrast", "field_tesla"):
        unknown = sum(row[column] is None for row in rows)
        if unknown:
            notes.append(f"{unknown} of {len(rows)} scans do not say their {column}")
    return tuple(notes)
