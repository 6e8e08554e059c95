"""``reshim evaluate``: scores of methods on scans, as rows."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reshim.cli.adapting import add_adapting
from reshim.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from reshim.types import ScanRecord

NAME = "evaluate"
HELP = "Score methods on fully sampled scans that are undersampled here; one row a slice, method and metric."

EXAMPLE = """\
examples:
  reshim evaluate knee.parquet --where "contrast = 'PD'" --with zero-filled sense runs/knee \\
      --acceleration 4 --out rows.parquet
  reshim evaluate brain.parquet --where true --with sense runs/knee --adapt volume --budget 60 \\
      --adapt-option steps=100 --out rows.parquet
  reshim evaluate brain.parquet --where true --with sense runs/knee --compare-to sense --out rows.parquet
  reshim evaluate all.parquet --where true --with sense runs/knee --slice-list evals/*.json --out rows.parquet

Scans of the filter's test split are scored; with --slice-list the slices that each list names, of whichever
split, every list a test set of its own (column test) and the unweighted mean over lists at the end. Subjects
that a RUN was trained on are refused (exit 2). --adapt, --budget and --adapt-option reach the methods that
heed them; one that none heeds is refused. A budget is wall time, so its rows depend on the machine.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="catalog made by reshim index")
    parser.add_argument("--where", required=True, metavar="SQL", help="filter over the catalog's columns")
    parser.add_argument(
        "--with",
        dest="methods",
        nargs="+",
        action="extend",
        required=True,
        metavar="METHOD",
        help="methods or RUN folders; RUN@12 takes the weights of epoch 12",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="ROWS.parquet")
    parser.add_argument(
        "--split",
        help="split that is scored (default test, with --slice-list all); 'all' takes every scan",
    )
    parser.add_argument(
        "--slice-list",
        dest="slice_lists",
        nargs="+",
        action="extend",
        default=[],
        metavar="LIST",
        help="published lists of slices to score, FILE or FILE#NAME, as reshim index takes lists of splits; "
        "*.json takes all of a folder, of one in an archive too",
    )
    add_adapting(parser)
    parser.add_argument("--targets", nargs="+", default=["mvue", "rss"], choices=("mvue", "rss", "clean"))
    parser.add_argument("--metrics", nargs="+", default=["ssim", "psnr", "nmse"], metavar="METRIC")
    parser.add_argument(
        "--allow-seen", action="store_true", help="score training subjects too, and mark the rows"
    )
    parser.add_argument(
        "--compare-to",
        metavar="METHOD",
        help="also print each other method's paired difference to this one, with p corrected by Holm",
    )
    add_scheme(parser)


def add_scheme(parser: argparse.ArgumentParser) -> None:
    """The options that say how a scan is undersampled, equal in every command."""
    scheme = parser.add_argument_group("undersampling")
    scheme.add_argument("--mask", default="equispaced", metavar="NAME")
    scheme.add_argument("--acceleration", type=float, default=4, metavar="R")
    scheme.add_argument("--center-lines", type=int, metavar="N", help="fully sampled centre columns")
    scheme.add_argument(
        "--center-fraction", type=float, metavar="F", help="the same as a share of the columns"
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; 3 where scans were left out."""
    from rich.console import Console

    from reshim.training.memory import keep_freed_memory

    keep_freed_memory()
    from reshim.acquire import Scheme
    from reshim.catalog import Catalog
    from reshim.catalog.lists import named_lists
    from reshim.evaluation.listed import evaluate_sets, test_sets
    from reshim.evaluation.run import Evaluation, LeftOut, evaluate
    from reshim.evaluation.store import Store
    from reshim.methods import checked_device, methods_of, short_name
    from reshim.progress import steps
    from reshim.training.provenance import unknown_of

    catalog = Catalog.read(arguments.catalog)
    chosen = catalog.where(arguments.where)
    split = arguments.split or ("all" if arguments.slice_lists else "test")
    if split != "all":
        chosen = chosen.where(f"split = '{split}'")
    sets = test_sets(chosen, named_lists(arguments.slice_lists))
    records = [record for each in sets for record in each.records] if sets else chosen.records()
    methods = methods_of(
        arguments.methods,
        arguments.adapt,
        checked_device(arguments.device),
        arguments.budget,
        tuple(arguments.adapt_option),
    )
    if arguments.compare_to is not None and short_name(arguments.compare_to) not in methods:
        raise UserError(
            f"--compare-to is {arguments.compare_to}, which is not evaluated; name one of "
            f"{', '.join(methods)}"
        )
    runs = runs_behind(arguments.methods)
    for path, content in runs.items():
        for reason in unknown_of(content):
            print(f"{path}: who it was trained on is not all known ({reason}); none of those can be refused")
    seen = _seen_subjects(runs) & {(record.dataset, record.subject) for record in records}
    if seen and not arguments.allow_seen:
        raise UserError(
            f"{len(seen)} of these subjects were trained on, e.g. {min(seen)[1]!r}; filter them out, or give "
            "--allow-seen and read the scores as training scores"
        )
    if arguments.center_lines is not None and arguments.center_fraction is not None:
        raise UserError("--center-lines and --center-fraction say the same thing; give one")
    scheme = Scheme(arguments.mask, arguments.acceleration, arguments.center_fraction, arguments.center_lines)
    evaluation = Evaluation(scheme=scheme, targets=tuple(arguments.targets), metrics=tuple(arguments.metrics))
    store = Store(arguments.out.with_suffix(".store"))
    finished: Sequence[tuple[str, str | Mapping[str, Any]]]
    with steps("evaluating", len(records) * len(methods)) as tick:

        def score(
            records: Sequence["ScanRecord"], evaluation: Evaluation
        ) -> tuple[list[tuple[str, str]], list[LeftOut]]:
            return evaluate(
                records,
                methods,
                evaluation,
                store,
                adapt=arguments.adapt,
                on_progress=tick,
                seen=frozenset(seen),
            )

        finished, left_out = evaluate_sets(sets, score, evaluation) if sets else score(records, evaluation)
    if not finished:
        raise UserError(
            "no scan could be scored:\n" + "\n".join(f"  {x.scan_id}: {x.reason}" for x in left_out)
        )
    table = store.collect(finished, arguments.out)
    console = Console(markup=False)
    n_scans = len(table["scan_id"].unique())
    console.print(f"{table.num_rows} rows of {n_scans} scans in {arguments.out}")
    if arguments.compare_to is not None:
        print(_compared(arguments.out, short_name(arguments.compare_to)))
    if sets:
        console.print(over_lists(table))
    for each in sets:
        if each.missing:
            found = f"files that are not in the catalog: {len(each.missing)}, e.g. {each.missing[0]}"
            told = "; ".join((found, *each.otherwise))
            console.print(f"list {each.name}: {told}", style="yellow")
    for scan in left_out:
        console.print(f"left out {scan.scan_id}: {scan.reason}", style="yellow")
    return 3 if left_out or any(each.missing for each in sets) else 0


def over_lists(rows: "pa.Table") -> "Table":
    """Every method's mean over lists of the mean of each, for every score of the rows."""
    from rich.table import Table

    score = ["metric", "target", "region"]
    means = rows.group_by(["method", "test", *score]).aggregate([("value", "mean")])
    overall = means.group_by(["method", *score]).aggregate([("value_mean", "mean"), ("test", "count")])
    shown = Table("method", "metric", "reference", "region", "lists", "mean over lists", box=None)
    for row in sorted(overall.to_pylist(), key=lambda row: [row[name] for name in (*score, "method")]):
        values = [row["metric"], row["target"], row["region"], str(row["test_count"])]
        shown.add_row(row["method"], *values, f"{row['value_mean_mean']:.4f}")
    return shown


def _compared(rows: Path, compare_to: str) -> str:
    """The table as Markdown, which a terminal shows and a report takes."""
    from reshim.report.page import compared
    from reshim.rows import read_rows

    score, table = compared(read_rows(rows), compare_to)
    return f"{score}\n\n{table.markdown()}"


def runs_behind(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings of every RUN among the METHOD names, one that only lends its weights included."""
    from reshim.methods import SELF_TRAINED, run_named
    from reshim.training.run_folder import RunFolder

    parts = (name.partition(":") for name in names)
    folders = (start if kind in SELF_TRAINED else kind + sign + start for kind, sign, start in parts)
    runs = (run_named(folder) for folder in folders if folder)
    return {str(run[0]): RunFolder(run[0]).read_settings() for run in runs if run is not None}


def _seen_subjects(runs: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    from reshim.training.provenance import subjects_of

    return {subject for content in runs.values() for subject in subjects_of(content)}
