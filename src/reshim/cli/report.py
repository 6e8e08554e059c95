"""`reshim report`: pages drawn again from finished rows."""

import argparse
from pathlib import Path

NAME = "report"
HELP = "the page of finished rows, drawn again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Folders and where the overview goes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Draw index.html of study folders from their files alone. A folder without rows, but with study\n"
        "folders inside, gets a page for each and an overview of all their claims. A training run gets a\n"
        "page of its curves."
    )
    parser.epilog = (
        "example:\n  reshim report runs/first-look\n  reshim report runs\n"
        "  reshim report scores --compare-to sense"
    )
    parser.add_argument(
        "folder", nargs="+", type=Path, metavar="FOLDER", help="what a study, `evaluate` or `train` wrote"
    )
    parser.add_argument(
        "--compare-to",
        default="",
        metavar="METHOD",
        help="tables give every other method's paired difference to it, and p by sign flips, corrected by "
        "Holm over the table",
    )
    parser.add_argument(
        "--overview",
        type=Path,
        metavar="PAGE.html",
        help="also one page that lists all of them with their claims",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw the pages; 0, or 3 where one of several could not be drawn."""
    from reshim.errors import UserError
    from reshim.report.overview import overview
    from reshim.report.page import draw
    from reshim.report.run_page import draw_run, is_run

    drawn: list[Path] = []
    failed: list[str] = []
    studies: list[Path] = []
    out: Path | None = arguments.overview
    for folder in arguments.folder:
        if is_run(folder):
            print(draw_run(folder))
            continue
        inside = _studies_inside(folder)
        studies += inside or [folder]
        if inside and len(arguments.folder) == 1 and out is None:
            out = folder / "index.html"
    for study in studies:
        try:
            drawn.append(draw(study, arguments.compare_to).parent)
            print(study / "index.html")
        except UserError as error:
            if len(studies) == 1:
                raise
            failed.append(f"{study}: {error}")
    if out is not None and drawn:
        print(overview(drawn, out))
    for line in failed:
        print(f"left out: {line}")
    return 3 if failed else 0


def _studies_inside(folder: Path) -> list[Path]:
    """Study folders right inside a folder that is none itself."""
    from reshim.errors import UserError

    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the one that `reshim study` wrote")
    if (folder / "summary.json").exists() or any(folder.glob("*.parquet")):
        return []
    return sorted(each.parent for each in folder.glob("*/summary.json"))
