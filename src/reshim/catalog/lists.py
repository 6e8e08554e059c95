"""Published lists of volumes and slices, so that a study's split is reproduced by naming its file.

Sources: mri_data_diversity (CSV: filename, start_slice, end_slice, split), data_filtering (JSON: files,
slices, freq), the test-time-training lists (JSON of lists of file and slice), meddlr (JSON like COCO's).
Ours differs: files are found by their name in any catalog; the authors' absolute paths are dropped.
A list inside an archive is named as ``archive.zip/inside/list.csv``, and a list's place is looked for in the
folder that ``RESHIM_SPLIT_LISTS`` names as well, so that one name means the same list on every machine.
"""

import ast
import csv
import fnmatch
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from reshim.catalog.catalog import Catalog
from reshim.catalog.splits import SPLITS
from reshim.errors import UserError

MAX_BYTES = 256 << 20

CALLED = {"fastmri_prostate_T2": "fastmri_prostate", "m4raw_gre_rot": "m4raw_gre"}
"""What catalogs call data sets that lists call otherwise; the latter of these are M4Raw's images rotated."""

WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Listed:
    """One volume of a list, or some of its slices."""

    filename: str
    dataset: str | None = None
    split: str | None = None
    slices: tuple[int, ...] | None = None
    """None means all."""

    repeats: tuple[int, ...] = ()
    """How often each of the slices is seen; empty means once."""


@dataclass(frozen=True, slots=True)
class Matched:
    """A catalog in which a list was looked up."""

    catalog: Catalog
    missing: tuple[str, ...]
    """Files of the list that the catalog does not have."""

    repeats: dict[tuple[str, int], float]
    """How often each slice (scan_id, slice) is seen, for `Loader.repeats`; empty where all are, once."""

    last: dict[str, int] = field(default_factory=dict)
    """The highest slice that the list names of a scan (scan_id), whether the scan has it or not."""


@dataclass(frozen=True, slots=True)
class NamedList:
    """A list as it is named: ``FILE``, ``FILE#NAME`` for one of several in a file, ``…=SPLIT`` for all."""

    file: str
    name: str | None = None
    split: str | None = None

    @classmethod
    def parse(cls, text: str) -> "NamedList":
        """A list from its text.

        Raises
        ------
        UserError
            If the text names no file, or a split that there is none of.
        """
        rest, equals, split = text.rpartition("=")
        if equals and split not in SPLITS:
            raise UserError(
                f"--split-list {text!r} names the split {split!r}; splits are {', '.join(SPLITS)}"
            )
        file, _, name = (rest if equals else text).partition("#")
        if not file:
            raise UserError(f"--split-list {text!r} names no file; write FILE, FILE#NAME or FILE#NAME=SPLIT")
        return cls(file, name or None, split or None if equals else None)

    @property
    def path(self) -> Path:
        """Where the list lies: as it is named, or so under the folder of ``RESHIM_SPLIT_LISTS``."""
        shared = os.environ.get("RESHIM_SPLIT_LISTS")
        under = None if shared is None else Path(shared) / self.file
        lies_here = any(place.is_file() for place in (Path(self.file), *Path(self.file).parents))
        return Path(self.file) if lies_here or under is None else under


def named_lists(texts: Sequence[str]) -> list[NamedList]:
    """Lists from their texts; ``*``, ``?`` and ``[]`` in a file's name stand for all that fit.

    They do so inside archives, too.

    Raises
    ------
    UserError
        As `NamedList.parse` does, and where nothing fits.
    """
    return [each for text in texts for each in _fitting(NamedList.parse(text))]


def _fitting(named: NamedList) -> list[NamedList]:
    folder, _, pattern = named.file.rpartition("/")
    if not WILDCARDS & set(pattern):
        return [named]
    place = replace(named, file=folder or ".").path
    archive = _archive_of(place)
    if archive is None:
        names = [path.name for path in place.glob(pattern)]
    else:
        with _opened(archive) as opened:
            inside = place.relative_to(archive)
            members = [PurePosixPath(name) for name in opened.namelist() if not name.endswith("/")]
        names = [each.name for each in members if each.parent == PurePosixPath(inside.as_posix())]
        names = fnmatch.filter(names, pattern)
    if not names:
        raise UserError(f"{named.file}: no list fits {pattern!r} in {place}")
    start = f"{folder}/" if folder else ""
    return [replace(named, file=start + name) for name in sorted(names)]


def take_splits(catalog: Catalog, lists: Sequence[NamedList]) -> tuple[Catalog, list[dict[str, Any]]]:
    """The catalog with the splits of published lists, the later before the earlier, and what they named.

    Where a list places a scan, splits that were drawn for other scans of its subject are drawn anew, so that
    a list tears no subject apart that it does not tear itself.

    Raises
    ------
    UserError
        If a list cannot be read, or has no splits and none is given.
    """
    about = []
    for each in lists:
        listed = read_list(each.path, each.name)
        if each.split is None and not any(entry.split for entry in listed):
            raise UserError(f"{each.file} says no split; write which it is: --split-list {each.file}=train")
        matched = assign_list(catalog, listed, each.split)
        catalog = matched.catalog
        about.append(
            {
                "list": each.file if each.name is None else f"{each.file}#{each.name}",
                "split": each.split,
                "sha256": hashlib.sha256(_text(each.path).encode()).hexdigest(),
                "named": len(_by_name(listed)),
                "missing": len(matched.missing),
            }
        )
    keys = ("list", "sha256", "split")
    again = [[one[key] for key in keys] for one in about]
    before = [one for one in catalog.lists if [one[key] for key in keys] not in again]
    return _undrawn_beside_lists(catalog).with_lists([*before, *about]), about


def _undrawn_beside_lists(catalog: Catalog) -> Catalog:
    rows = catalog.table.select(["subject", "split", "split_from"]).to_pylist()
    placed = {row["subject"] for row in rows if row["split_from"] == "list"}
    free = [row["split_from"] == "drawn" and row["subject"] in placed for row in rows]
    return catalog._with(
        split=[None if undo else row["split"] for undo, row in zip(free, rows, strict=True)],
        split_from=[None if undo else row["split_from"] for undo, row in zip(free, rows, strict=True)],
    )


def read_list(path: Path | str, name: str | None = None) -> list[Listed]:
    """The volumes of a list; `name` picks one of several lists in a file.

    Raises
    ------
    UserError
        If the file is missing, too large, or in none of the four forms.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix.lower() == ".csv":
        return _from_csv(text, path)
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path.name} is no JSON ({str(error)[:100]})") from None
    return _from_json(content, path, name)


def assign_list(catalog: Catalog, listed: Iterable[Listed], split: str | None = None) -> Matched:
    """The catalog with the list's splits (or all of it in `split`); other rows stay as they are."""
    by_name = _by_name(listed)
    rows = catalog.table.select(["path", "dataset", "split", "split_from"]).to_pylist()
    splits, sources, seen = [], [], set()
    for row in rows:
        entry = _entry(row, by_name)
        wanted = None if entry is None else split or entry.split
        if entry is not None:
            seen.add(entry.filename)
        if wanted is not None and wanted not in SPLITS:
            raise UserError(f"the list has the split {wanted!r}; splits are {', '.join(SPLITS)}")
        splits.append(wanted or row["split"])
        sources.append("list" if wanted else row["split_from"])
    changed = catalog._with(split=splits, split_from=sources)
    return Matched(changed, tuple(sorted(set(by_name) - seen)), {})


def select_list(catalog: Catalog, listed: Iterable[Listed]) -> Matched:
    """The scans that the list names, and how often each of their slices is seen."""
    by_name = _by_name(listed)
    rows = catalog.table.select(["scan_id", "path", "dataset", "n_slices"]).to_pylist()
    keep, repeats, last, seen = [], {}, {}, set()
    for row in rows:
        entry = _entry(row, by_name)
        keep.append(entry is not None)
        if entry is None:
            continue
        seen.add(entry.filename)
        if entry.slices is not None:
            counts = dict(zip(entry.slices, entry.repeats or (1,) * len(entry.slices), strict=True))
            repeats.update({(row["scan_id"], n): float(counts.get(n, 0)) for n in range(row["n_slices"])})
            last[row["scan_id"]] = max(counts, default=-1)
    chosen = Catalog(catalog.table.filter(keep), catalog.roots)
    return Matched(chosen, tuple(sorted(set(by_name) - seen)), repeats, last)


def _entry(row: dict[str, Any], by_name: dict[str, Listed]) -> Listed | None:
    entry = by_name.get(row["path"].rsplit("/", 1)[-1])
    if entry is None or entry.dataset is None:
        return entry
    return entry if row["dataset"] in (entry.dataset, CALLED.get(entry.dataset)) else None


def _by_name(listed: Iterable[Listed]) -> dict[str, Listed]:
    """One entry a file: lists that name slices one by one are gathered."""
    merged: dict[str, Listed] = {}
    for entry in listed:
        former = merged.get(entry.filename)
        if former is None or former.slices is None or entry.slices is None:
            merged[entry.filename] = entry if former is None else former
            continue
        counts: dict[int, int] = {}
        for one in (former, entry):
            for number, times in zip(
                one.slices or (), one.repeats or (1,) * len(one.slices or ()), strict=True
            ):
                counts[number] = counts.get(number, 0) + times
        merged[entry.filename] = Listed(
            entry.filename, former.dataset, former.split, tuple(counts), tuple(counts.values())
        )
    return merged


def _from_csv(text: str, path: Path) -> list[Listed]:
    reader = csv.DictReader(io.StringIO(text))
    if not {"filename", "start_slice", "end_slice"} <= set(reader.fieldnames or ()):
        raise UserError(
            f"{path.name} has the columns {reader.fieldnames}; a list has filename, start_slice, end_slice"
        )
    listed = []
    for number, row in enumerate(reader, 2):
        try:
            slices = tuple(range(int(row["start_slice"]), int(row["end_slice"])))
        except (TypeError, ValueError):
            raise UserError(
                f"{path.name}, line {number}: start_slice and end_slice are whole numbers"
            ) from None
        dataset = row.get("datasetName") or None
        listed.append(Listed(_base(row["filename"]), dataset, row.get("split") or None, slices))
    return listed


def _from_json(content: Any, path: Path, name: str | None) -> list[Listed]:
    if isinstance(content, dict) and isinstance(content.get("files"), dict):
        return [_from_filtering(file, entry) for file, entry in content["files"].items()]
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        split = path.stem if path.stem in SPLITS else None
        return [Listed(_base(image["file_name"]), split=split) for image in content["images"]]
    if isinstance(content, dict) and content and all(isinstance(value, list) for value in content.values()):
        if name not in content:
            raise UserError(f"{path.name} holds the lists {sorted(content)}; name one of them, not {name!r}")
        return [_from_literal(entry, path) for entry in content[name]]
    raise UserError(f"{path.name} is in none of the known forms of a list (files, images, or named lists)")


def _from_filtering(file: str, entry: dict[str, Any]) -> Listed:
    slices = entry.get("slices")
    numbers = None if slices is None else tuple(int(number) for number in slices)
    repeats = () if slices is None else tuple(int(about.get("freq", 1)) for about in slices.values())
    return Listed(_base(file), entry.get("dataset_name"), entry.get("split"), numbers, repeats)


def _from_literal(entry: Any, path: Path) -> Listed:
    try:
        known = ast.literal_eval(entry) if isinstance(entry, str) else entry
        return Listed(_base(known["filename"]), slices=(int(known["slice"]),))
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise UserError(
            f"{path.name} has the entry {str(entry)[:80]!r}; expected a file name and a slice"
        ) from None


def _base(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _archive_of(path: Path) -> Path | None:
    """The archive that a path leads into, or is."""
    places = (path, *path.parents)
    return next((place for place in places if place.suffix == ".zip" and place.is_file()), None)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive} cannot be read ({error})") from None


def _text(path: Path) -> str:
    archive = _archive_of(path.parent)
    try:
        if archive is None:
            if path.stat().st_size > MAX_BYTES:
                raise UserError(
                    f"{path.name} has {path.stat().st_size} bytes; a list has at most {MAX_BYTES}"
                )
            return path.read_text(encoding="utf-8")
        with zipfile.ZipFile(archive) as opened:
            member = path.relative_to(archive).as_posix()
            if opened.getinfo(member).file_size > MAX_BYTES:
                raise UserError(f"{member} unpacks to more than {MAX_BYTES} bytes")
            return opened.read(member).decode("utf-8")
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
