"""``reshim index``: folders of scans into a catalog."""

import argparse
from pathlib import Path

NAME = "index"
HELP = "Index folders of scans into a catalog, one row a volume, from the headers alone."
EXAMPLE = """\
example:
  reshim index /data/fastmri site-b=/data/clinic --out scans.parquet
  reshim index /data --out scans.parquet --split-list all_data.csv lists.json#knee_test=test --release 1.0.0

Run again, it reads only what changed. Files that cannot be read are named and left out; the exit status is 3.
Splits come from published lists, from folder names (multicoil_train, val, test), or are drawn by subject.
Lists are looked for as named and under RESHIM_SPLIT_LISTS; in archives as lists.zip/inside/list.csv.
A release is a version of the catalog with a manifest of what changed; it is never overwritten.
A root that moves is named by RESHIM_ROOT_NAME=FOLDER.
What a file does not say (axes, anatomy, field) goes into FILE.toml beside it, or scans.toml for a folder.
"""

MOST_LINES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = EXAMPLE
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a folder of scans, or NAME=FOLDER")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="CATALOG", help="the Parquet file to write"
    )
    parser.add_argument("--hash", choices=["full"], help="also digest all bytes of every file (sha256)")
    parser.add_argument(
        "--duplicates", action="store_true", help="mark scans that repeat another (reads one slice a file)"
    )
    parser.add_argument(
        "--split",
        default="60/20/20",
        metavar="A/B/C",
        help="shares of train, val and test (default 60/20/20)",
    )
    parser.add_argument(
        "--split-list",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE[#NAME][=SPLIT]",
        help="published lists (CSV, JSON) whose splits to take; =SPLIT puts all of a list in one",
    )
    parser.add_argument(
        "--split-by",
        nargs="+",
        default=["anatomy"],
        metavar="COLUMN",
        help="strata of the split (default anatomy)",
    )
    parser.add_argument(
        "--redraw", action="store_true", help="draw splits anew instead of keeping those drawn before"
    )
    parser.add_argument(
        "--release", metavar="VERSION", help="also keep the catalog as this version, for ever"
    )
    parser.add_argument(
        "--releases",
        type=Path,
        metavar="FOLDER",
        help="where versions lie (default: CATALOG's name-releases)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read (default: by need)")


def run(arguments: argparse.Namespace) -> int:
    """Index; 3 where files were left out."""
    from rich.console import Console
    from rich.progress import Progress

    from reshim.catalog import Catalog
    from reshim.catalog.duplicates import mark_duplicates
    from reshim.catalog.splits import parse_shares

    shares = parse_shares(arguments.split)
    console = Console(markup=False, stderr=True, soft_wrap=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading headers", total=None)
        indexed = Catalog.index(
            arguments.folders,
            arguments.out,
            hash=arguments.hash,
            shares=shares,
            by=arguments.split_by,
            seed=arguments.seed,
            redraw=arguments.redraw,
            lists=arguments.split_list,
            workers=arguments.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
        catalog = indexed.catalog
        if arguments.duplicates:
            task = progress.add_task("comparing scans", total=len(catalog))
            catalog = mark_duplicates(
                catalog, on_progress=lambda done, total: progress.update(task, completed=done)
            )
            catalog.write(arguments.out)
    if arguments.duplicates:
        repeated = catalog.where("duplicate_of IS NOT NULL")
        for record, first in zip(repeated.records(), repeated.table["duplicate_of"].to_pylist(), strict=True):
            console.print(f"repeats another: {record.scan_id}: {first}", highlight=False)
    for note in indexed.notes:
        console.print(f"note: {note}", highlight=False)
    missing = _what_is_missing(catalog)
    for line in missing[:MOST_LINES]:
        console.print(f"missing: {line}", highlight=False)
    if len(missing) > MOST_LINES:
        console.print(f"missing: the like of {len(missing) - MOST_LINES} more files")
    for path, reason in indexed.skipped:
        console.print(f"skipped: {path}: {reason}", highlight=False)
    for path, reason in indexed.left_out:
        console.print(f"left out: {path}: {reason}", highlight=False)
    counts = catalog.by()[0] if len(catalog) else {"subjects": 0, "volumes": 0, "slices": 0}
    print(
        f"{counts['volumes']} volumes of {counts['subjects']} subjects, {counts['slices']} slices, "
        f"in {arguments.out}; "
        f"{indexed.n_read} files read, {len(indexed.left_out)} left out, {len(indexed.skipped)} skipped"
    )
    if arguments.release:
        folder = arguments.releases or arguments.out.with_name(f"{arguments.out.stem}-releases")
        made = catalog.release(folder, arguments.release)
        changes = ", ".join(f"{len(scans)} {what}" for what, scans in made.manifest["changes"].items())
        print(f"release {made.version} in {made.folder}: {changes.replace('_', ' ')}")
    return 3 if indexed.left_out else 0


def _what_is_missing(catalog) -> list[str]:  # type: ignore[no-untyped-def]
    """A line for every file of one's own of which something is not known."""
    from reshim.scans.own import what_is_missing

    lines = {record.path: what_is_missing(record) for record in catalog.records()}
    return [line for line in lines.values() if line is not None]
