"""``reshim list``: what a catalog holds."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from reshim.errors import UserError

if TYPE_CHECKING:
    from reshim.catalog import Catalog

NAME = "list"
HELP = "Show what a catalog holds, with counts of subjects, volumes and slices."
EXAMPLE = """\
example:
  reshim list scans.parquet --where "anatomy = 'knee' AND model != 'Skyra'" --by dataset contrast field_tesla
  reshim list scans.parquet --report 3f2a91c0 --annotations knee.csv
  reshim list scans.parquet --quality quality.parquet

A case report tells all that is known of one subject, boxes of findings included, and names no file.
The quality file has a row for every scan and image-quality metric: MRQy's twenty, as that program computes
them of grey values up to 4095 (method "quality mrqy") and as they are meant (method "quality corrected"). Its
columns are those of the rows of reshim evaluate; join both on dataset and scan_id.
"""
DEFAULT_COLUMNS = ("dataset", "anatomy", "contrast", "field_tesla", "split")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = EXAMPLE
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="catalog made by reshim index")
    parser.add_argument("--where", metavar="SQL", help="filter over the catalog's columns")
    parser.add_argument(
        "--by", nargs="+", metavar="COLUMN", help=f"count by these (default {' '.join(DEFAULT_COLUMNS)})"
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--report", metavar="SUBJECT", help="the report of one subject's case instead")
    parser.add_argument(
        "--annotations",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="findings for the report: our CSV or XML, or fastMRI+'s CSV",
    )
    parser.add_argument(
        "--quality", type=Path, metavar="FILE", help="measure the scans' image quality into this Parquet file"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the counts or a case, or measure quality."""
    from reshim.catalog import Catalog

    catalog = Catalog.read(arguments.catalog)
    if arguments.where:
        catalog = catalog.where(arguments.where)
    if arguments.report is not None:
        return _print_report(catalog, arguments)
    if arguments.annotations:
        raise UserError("--annotations belongs to a case; name the subject with --report")
    if arguments.quality is not None:
        return _write_quality(catalog, arguments.quality)
    columns = tuple(arguments.by or DEFAULT_COLUMNS)
    counts = catalog.by(columns)
    total = next(iter(catalog.by()), {"subjects": 0, "volumes": 0, "slices": 0})
    if arguments.json:
        print(json.dumps({"catalog": str(arguments.catalog), "total": total, "groups": counts}, indent=1))
    else:
        _print_table(columns, counts, total)
    return 0


def _print_report(catalog: "Catalog", arguments: argparse.Namespace) -> int:
    from reshim.catalog.case import case_report
    from reshim.scans.annotation_files import read_annotations

    annotations = [read_annotations(path) for path in arguments.annotations]
    print(case_report(catalog, arguments.report, annotations), end="")
    return 0


def _write_quality(catalog: "Catalog", path: Path) -> int:
    """Scans that cannot be read are named, and the status is 3."""
    from rich.console import Console

    from reshim.progress import steps
    from reshim.quality.of_catalog import quality_table
    from reshim.rows import write_table

    records = catalog.records()
    with steps("measuring image quality", len(records)) as tick:
        table, left_out = quality_table(records, on_progress=tick)
    write_table(path, table)
    console = Console(markup=False)
    console.print(f"{table.num_rows} rows of {len(records) - len(left_out)} scans in {path}")
    for line in left_out:
        console.print(f"left out {line}", style="yellow")
    return 3 if left_out else 0


def _print_table(columns: tuple[str, ...], counts: list[dict], total: dict) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(markup=False, width=240)  # a file or a pipe has no edge to cut words at
    table = Table(show_footer=True)
    for number, name in enumerate(columns):
        table.add_column(name, footer="all" if number == 0 else "")
    for name in ("subjects", "volumes", "slices"):
        table.add_column(name, justify="right", footer=str(total[name]))
    for row in counts:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    console.print(table)
