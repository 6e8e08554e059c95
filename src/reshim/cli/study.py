"""``reshim study``: one question of the papers, from data to page."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

NAME = "study"
HELP = "Answer one question of the papers, from data to page; run again, it goes on where it was."

STYLES = {"holds": "green", "contradicted": "red"}

EXAMPLE = """\
examples:
  reshim study --list
  reshim study first-look --out runs/first-look
  reshim study first-look --tiny --out runs/tiny          a minute or so: shows that it runs, proves nothing
  reshim study diverse-field --processes 2                two networks are trained at a time
  reshim study iqm-segmentation --with l1-wavelet runs/mine    outlines in images of these methods, too
  reshim study adversarial --with runs/mine                    my own network, attacked beside the others
  reshim study similarity --option patch=16 neighbours=3
  reshim study diverse-large --catalog fastmri.parquet --full --device cuda --out runs/large

FOLDER gets rows.parquet, summary.json (the claims) and index.html (the page).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name every study and its question")
    parser.add_argument("--catalog", type=Path, help="your own scans; without it, simulated ones")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/NAME")
    parser.add_argument(
        "--shared",
        type=Path,
        metavar="FOLDER",
        help="scans, models and rows of all studies; default: runs/shared, with --out that folder",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="train N networks side by side, each with its share of the threads (default: 1)",
    )
    parser.add_argument(
        "--with",
        dest="methods",
        nargs="+",
        action="extend",
        default=[],
        metavar="METHOD",
        help="methods or RUN folders that are asked about too, where the study takes any (adversarial, "
        "iqm-segmentation, natural-shift, small-features, stress)",
    )
    parser.add_argument(
        "--option",
        dest="options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="what the study lets you change (similarity: embedding, neighbours, patch, aggregate)",
    )
    parser.add_argument(
        "--train-only",
        action="store_true",
        help="train what the study needs and no other process is at just now, and stop",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="diverse-*, ssdu-vs-supervised, distributional-overfitting: train N times, seeds --seed, "
        "--seed + 1, …; intervals are over them too (default: as often as the study says)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--tiny", action="store_true", help="the smallest form that runs every step")
    size.add_argument(
        "--full", action="store_true", help="the papers' networks and budgets; a GPU's work (--device cuda)"
    )


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """SIGTERM ends a study as an error does: what it took so far is noted."""

    def leave(number: int, _: FrameType | None) -> None:
        print("reshim study: asked to end; run it again to go on", file=sys.stderr)
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread, where signals cannot be met
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(arguments: argparse.Namespace) -> int:
    """Run the study, or list them all."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from reshim.errors import UserError
    from reshim.studies import STUDIES, question_of, recipe_of

    console = Console(markup=False)
    if arguments.list:
        table = Table("study", "question", box=None)
        for name in sorted(STUDIES):
            table.add_row(name, question_of(name))
        console.print(table)
        return 0
    if arguments.name is None:
        raise UserError("name a study; `reshim study --list` shows them")
    if arguments.name not in STUDIES:
        raise UserError(f"there is no study {arguments.name!r}; there are {sorted(STUDIES)}")
    if arguments.seeds is not None:
        _check_seeds(arguments.name, arguments.seeds)

    from reshim.training.memory import keep_freed_memory

    keep_freed_memory()
    from reshim.methods import checked_device
    from reshim.studies.engine.asked import Asked
    from reshim.studies.engine.beside import checked_processes, train_what_is_free
    from reshim.studies.engine.run import run_study
    from reshim.studies.engine.scale import Scale

    out = arguments.out or Path("runs") / arguments.name
    shared = arguments.shared or (Path("runs/shared") if arguments.out is None else out)
    recipe = recipe_of(arguments.name)
    asked = Asked(
        arguments.name,
        recipe,
        out,
        catalog=arguments.catalog,
        scale=Scale.TINY if arguments.tiny else Scale.FULL if arguments.full else Scale.EMBEDDED,
        seed=arguments.seed,
        shared=shared,
        device=checked_device(arguments.device),
        seeds=arguments.seeds,
        methods=arguments.methods,
        options=arguments.options,
    )
    if arguments.train_only:
        checked_processes(recipe, 2)
        train_what_is_free(asked.study(), recipe)
        return 0
    with _ending_in_order():
        result = run_study(asked, checked_processes(recipe, arguments.processes))
    table = Table("claim", "verdict", "value", "95 % interval", "rule", box=None)
    for claim in result.claims:
        table.add_row(
            claim["claim"],
            Text(claim["verdict"], style=STYLES.get(claim["verdict"], "")),
            _number(claim["value"], claim["unit"]),
            f"{_number(claim['low'], claim['unit'])} … {_number(claim['high'], claim['unit'])}",
            claim["rule"],
        )
    console.print(table)
    console.print(f"page     {result.page}\nrows     {out / 'rows.parquet'}\nsummary  {out / 'summary.json'}")
    for line in result.left_out:
        console.print(f"left out {line}", style="yellow")
    return 3 if result.left_out else 0


def _check_seeds(name: str, seeds: int) -> None:
    from reshim.errors import UserError
    from reshim.studies import REPEATED

    if seeds < 1:
        raise UserError(f"--seeds is {seeds}; give at least 1")
    if name not in REPEATED:
        raise UserError(
            f"--seeds {seeds} is for {', '.join(REPEATED)}; {name} trains each network once: run it "
            "again with --seed 1, --seed 2, … and an --out for each"
        )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" if unit in ("share", "%") else f"{value:.4f}"
