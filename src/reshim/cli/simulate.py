"""`reshim simulate`: scans of the simulated scanners, as files."""

import argparse

NAME = "simulate"
HELP = "simulated scans of named protocols as fastMRI-layout HDF5, one file a volume"

EXAMPLE = """\
example:
  reshim simulate scans --protocol brain-t2-3t --protocol knee-pd-3t --subjects 4 --slices 8
  reshim simulate moved --protocol knee-pd-3t --motion 1.5 --lesions --lesion-size 1.5
  reshim simulate --list

Without --protocol, a small version of all: two subjects of each anatomy, 4 slices of 96 pixels a side.
Run again, it makes what is missing and leaves the rest.
"""

SMALL_MATRIX, SMALL_SLICES = 96, 4
"""Without --protocol, unless told."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.epilog = EXAMPLE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "out", nargs="?", metavar="OUT", help="folder for the files; made where it is missing"
    )
    parser.add_argument(
        "--protocol", action="append", nargs="+", metavar="NAME", help="protocols to scan; may be repeated"
    )
    parser.add_argument("--subjects", type=int, default=2, help="subjects of each anatomy (default 2)")
    parser.add_argument("--first-subject", type=int, default=0, help="number of the first one (default 0)")
    parser.add_argument("--matrix", type=int, help="pixels a side, even (default 128; 96 without --protocol)")
    parser.add_argument(
        "--slices", type=int, help="slices a volume (default: the protocol's; 4 without --protocol)"
    )
    parser.add_argument("--lesions", action="store_true", help="plant lesions, boxes beside")
    parser.add_argument(
        "--lesion-size",
        type=float,
        default=1.0,
        metavar="X",
        help="times the size drawn (default 1)",
    )
    parser.add_argument(
        "--lesion-contrast",
        type=float,
        default=1.0,
        metavar="X",
        help="share of the tissue that a lesion replaces, up to 1 (default 1)",
    )
    parser.add_argument(
        "--motion",
        type=float,
        default=0.0,
        metavar="X",
        help="motion between lines: pixels and degrees",
    )
    parser.add_argument(
        "--spikes",
        type=float,
        default=0.0,
        metavar="X",
        help="three spikes a slice, X times its maximum",
    )
    parser.add_argument(
        "--wrap", type=float, default=0.0, metavar="X", help="missing share of the field of view, up to 0.5"
    )
    parser.add_argument("--list", action="store_true", help="print the protocols; scan nothing")


def run(arguments: argparse.Namespace) -> int:
    """Make the scans, then say where they lie."""
    from reshim.errors import UserError
    from reshim.progress import steps
    from reshim.simulation.artefacts import Artefacts
    from reshim.simulation.protocols import PROTOCOLS, protocol_of
    from reshim.simulation.write import simulate

    if arguments.list:
        for card in PROTOCOLS.values():
            print(f"{card.name:21} {card.imitates}; {card.coils.n_coils} coils, SNR {card.snr:g}")
        return 0
    if arguments.out is None:
        raise UserError("no folder is given; say where the files should lie: reshim simulate OUT")
    if arguments.subjects < 1 or arguments.first_subject < 0:
        raise UserError(
            f"--subjects is {arguments.subjects} and --first-subject {arguments.first_subject}; "
            "ask for at least one subject, counted from 0"
        )
    names = [name for group in arguments.protocol or [] for name in group]
    cards = [protocol_of(name) for name in names or PROTOCOLS]
    matrix = arguments.matrix or (128 if names else SMALL_MATRIX)
    slices = arguments.slices if arguments.slices is not None or names else SMALL_SLICES
    first = arguments.first_subject
    total = arguments.subjects * sum(card.repetitions for card in cards)
    with steps("simulating", total) as progress:
        paths = simulate(
            arguments.out,
            cards,
            range(first, first + arguments.subjects),
            matrix,
            slices,
            arguments.seed,
            arguments.lesions and arguments.lesion_size,
            progress,
            lesion_contrast=arguments.lesion_contrast,
            artefacts=Artefacts(arguments.motion, arguments.spikes, arguments.wrap),
        )
    print(f"{len(paths)} simulated volumes in {arguments.out}")
    return 0
