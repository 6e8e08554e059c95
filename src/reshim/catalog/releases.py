"""Releases of a catalog: a version once made is read for ever and never overwritten.

A release is a folder of two files: the table in Parquet, and a manifest with counts, the digest of the table,
a fingerprint of every scan, and what changed since the version before. It is written beside and renamed in
one step, so nobody meets half of one.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reshim.catalog.catalog import Catalog
from reshim.catalog.table import SCHEMA_VERSION
from reshim.errors import UserError
from reshim.scans.fingerprint import sha256

FORMAT = 1
TABLE, MANIFEST = "catalog.parquet", "manifest.json"
VERSION = re.compile(r"v?\d{1,9}(\.\d{1,9}){0,3}")
COUNTED = ("dataset", "data_kind", "anatomy", "split")


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a catalog, as it was found or made."""

    version: str
    folder: Path
    manifest: dict[str, Any]

    def read(self, roots: Mapping[str, str | Path] | None = None) -> Catalog:
        """The catalog of this version.

        Raises
        ------
        UserError
            If the table is not the one that was released.
        """
        path = self.folder / TABLE
        stated = self.manifest["table"]["sha256"]
        if not path.is_file() or sha256(path) != stated:
            raise UserError(f"{path} is not the table that was released; copy the release again")
        return Catalog.read(path, roots)


def release(catalog: Catalog, folder: Path | str, version: str) -> Release:
    """Write a version of a catalog under `folder`, in a folder of the version's name.

    Raises
    ------
    UserError
        If the version exists, is none, or cannot be written.
    """
    folder = Path(folder)
    if not VERSION.fullmatch(version):
        raise UserError(f"the version is {version!r}; a version is numbers and dots, e.g. 1.2.0")
    final = folder / version
    known = versions(folder)
    if final.exists() or any(_numbers(version) == _numbers(other) for other in known):
        raise UserError(f"{final} exists already; a release is never changed: choose a higher version")
    before = [other for other in known if _numbers(other) < _numbers(version)]
    previous = read_release(folder, before[-1]) if before else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error}); name another folder") from None
    try:
        return _write(catalog, beside, final, version, previous)
    except OSError as error:
        raise UserError(f"{final} cannot be written ({error}); no release was made") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def versions(folder: Path | str) -> list[str]:
    """The versions under a folder, oldest first."""
    folder = Path(folder)
    found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    complete = [name for name in found if VERSION.fullmatch(name) and (folder / name / MANIFEST).is_file()]
    return sorted(complete, key=_numbers)


def read_release(folder: Path | str, version: str | None = None) -> Release:
    """A version under a folder, the newest unless told.

    Raises
    ------
    UserError
        If there is no such version, or its manifest cannot be read.
    """
    folder, known = Path(folder), versions(folder)
    if not known or version not in (None, *known):
        raise UserError(f"{folder} has no release {version or ''}; it has {', '.join(known) or 'none'}")
    chosen = version or known[-1]
    path = folder / chosen / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        written = int(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({str(error)[:100]}); copy the release again") from None
    if written > FORMAT:
        raise UserError(f"{path} is of format {written}; this reads up to {FORMAT}: update reshim")
    return Release(chosen, folder / chosen, manifest)


def _write(catalog: Catalog, beside: Path, final: Path, version: str, previous: Release | None) -> Release:
    catalog.write(beside / TABLE, home=final)
    fingerprints = dict(
        zip(
            catalog.table["scan_id"].to_pylist(),
            zip(catalog.table["fingerprint"].to_pylist(), catalog.table["split"].to_pylist(), strict=True),
            strict=True,
        )
    )
    manifest = {
        "format": FORMAT,
        "version": version,
        "schema_version": SCHEMA_VERSION,
        "columns": {field.name: str(field.type) for field in catalog.table.schema},
        "table": {
            "file": TABLE,
            "bytes": (beside / TABLE).stat().st_size,
            "sha256": sha256(beside / TABLE),
            "rows": len(catalog),
        },
        "content_sha256": _content(fingerprints),
        "counts": {
            **next(iter(catalog.by()), {"subjects": 0, "volumes": 0, "slices": 0}),
            **{name: _counts(catalog, name) for name in COUNTED},
        },
        "lists": catalog.lists,
        "previous": None if previous is None else previous.version,
        "changes": _changes(fingerprints, previous),
        "scans": {
            name: {"fingerprint": mark, "split": split} for name, (mark, split) in fingerprints.items()
        },
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    with (beside / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    for path in (beside / TABLE, beside / MANIFEST):
        path.chmod(0o444)
    beside.chmod(0o755)
    # Refused by the system where another process made the same version in the meantime.
    beside.rename(final)
    return Release(version, final, manifest)


def _changes(now: Mapping[str, tuple[str, str | None]], previous: Release | None) -> dict[str, list[str]]:
    """Scans by what became of them since; a scan whose bytes changed may have moved as well."""
    scans = {} if previous is None else previous.manifest["scans"]
    was = {name: (about["fingerprint"], about["split"]) for name, about in scans.items()}
    both = sorted(set(now) & set(was))
    return {
        "added": sorted(set(now) - set(was)),
        "removed": sorted(set(was) - set(now)),
        "changed": [name for name in both if now[name][0] != was[name][0]],
        "split_changed": [name for name in both if now[name][1] != was[name][1]],
    }


def _content(fingerprints: Mapping[str, tuple[str, str | None]]) -> str:
    """One digest of all scans and their splits: equal where two releases hold the same, on any machine."""
    return hashlib.sha256(json.dumps(sorted(fingerprints.items())).encode()).hexdigest()


def _counts(catalog: Catalog, column: str) -> dict[str, int]:
    counted = Counter(str(value or "unknown") for value in catalog.table[column].to_pylist())
    return dict(sorted(counted.items()))


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.removeprefix("v").split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
