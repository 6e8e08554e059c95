"""``reshim reconstruct``: images of one scan, or of several."""

import argparse
from pathlib import Path

from reshim.cli.adapting import add_adapting

NAME = "reconstruct"
HELP = (
    "Reconstruct a scan of any readable format; with --accelerate, undersample it first and score the result."
)

EXAMPLE = """\
examples:
  reshim reconstruct scan.h5 --with sense --out out                    an undersampled scan, with its own mask
  reshim reconstruct full.h5 --with sense --accelerate 4 --out out     undersampled, scored against itself
  reshim reconstruct scan.h5 --with runs/knee --adapt auto --out out   a trained network, mended if need be
  reshim reconstruct scan.h5 --with runs/knee --adapt volume --adapt-option steps=100 \\
      --adapt-option parameters=last-stage --budget 60 --out out       one fitted otherwise, for a minute

FOLDER/<stem>.h5 holds `reconstruction`; FOLDER/card.json says what was done and why. Several FILEs get a
folder each below FOLDER; one that cannot be read is named and left out (exit 3).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument(
        "--with",
        dest="method",
        default="default",
        metavar="METHOD",
        help="method or RUN folder; RUN@12 takes the weights of epoch 12",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    add_adapting(parser)
    parser.add_argument(
        "--accelerate", type=float, metavar="R", help="undersample a fully sampled scan first"
    )
    parser.add_argument("--mask", default="equispaced", metavar="NAME", help="mask of --accelerate")
    parser.add_argument("--center-lines", type=int, metavar="N", help="fully sampled centre columns")
    parser.add_argument(
        "--center-fraction", type=float, metavar="F", help="the same as a share of the columns"
    )
    parser.add_argument("--format", default="h5,png", metavar="h5,nii,dcm,png")
    parser.add_argument("--complex", action="store_true", help="keep the phase: reconstruction_complex")


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct; 3 where files were left out, 2 where none could be read."""
    from rich.console import Console

    from reshim.training.memory import keep_freed_memory

    keep_freed_memory()
    from reshim.acquire import Scheme
    from reshim.errors import BadScanError, UserError
    from reshim.methods import checked_device
    from reshim.progress import steps
    from reshim.reconstruction import Request, formats_of, reconstruct_file

    scheme = None
    if arguments.accelerate is not None:
        scheme = Scheme(
            arguments.mask, arguments.accelerate, arguments.center_fraction, arguments.center_lines
        )
    elif arguments.center_lines is not None or arguments.center_fraction is not None:
        raise UserError("--center-lines and --center-fraction shape the mask of --accelerate; give that too")
    request = Request(
        method=arguments.method,
        adapt=arguments.adapt,
        adapt_options=tuple(arguments.adapt_option),
        budget_seconds=arguments.budget,
        scheme=scheme,
        formats=formats_of(arguments.format),
        keep_complex=arguments.complex,
        device=checked_device(arguments.device),
    )
    console, failed = Console(markup=False), []
    several = len(arguments.files) > 1
    with steps("reconstructing", len(arguments.files)) as tick:
        for path in arguments.files:
            folder = arguments.out / path.stem if several else arguments.out
            try:
                card = reconstruct_file(path, request, folder)
                console.print(_summary(path, folder, card), highlight=False)
            except (BadScanError, ValueError) as error:
                if not several:
                    raise UserError(str(error)) from error
                failed.append(f"{path}: {error}")
            tick(path.name)
    for line in failed:
        console.print(f"left out {line}", style="yellow")
    if len(failed) == len(arguments.files):
        return 2
    return 3 if failed else 0


def _summary(path: Path, folder: Path, card: object) -> str:
    lines = [f"{path.name} → {folder} ({card.method}, {card.seconds:.1f} s)"]  # type: ignore[attr-defined]
    scores = card.scores  # type: ignore[attr-defined]
    if scores:
        lines.append(
            "  against its own reference (mvue, support): "
            + ", ".join(f"{k} {v:.4f}" for k, v in scores.items())
        )
    counts = card.adapt["counts"]  # type: ignore[attr-defined]
    if card.adapt["asked"] != "none":  # type: ignore[attr-defined]
        lines.append("  slices: " + ", ".join(f"{n} {action}" for action, n in counts.items() if n))
    lines += [f"  warning: {text}" for text in card.warnings]  # type: ignore[attr-defined]
    return "\n".join(lines)
