"""`reshim simulate`: scans of the simulated scanners, as files."""

import argparse

NAME = "simulate"
HELP = "simulated scans of named protocols as fastMRI-layout HDF5, one file a volume"

EXAMPLE = """\
example:
  reshim simulate scans --protocol brain-t2-3t --protocol knee-pd-3t --subjects 4 --slices 8
  reshim simulate --list

Without --protocol, all of them. Run again, it makes what is missing and leaves the rest.
"""


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
    parser.add_argument("--matrix", type=int, default=128, help="pixels a side, even (default 128)")
    parser.add_argument("--slices", type=int, default=None, help="slices a volume (default: the protocol's)")
    parser.add_argument("--lesions", action="store_true", help="plant lesions, boxes beside")
    parser.add_argument("--list", action="store_true", help="print the protocols; scan nothing")


def run(arguments: argparse.Namespace) -> int:
    """Make the scans, then say where they lie."""
    from reshim.errors import UserError
    from reshim.progress import steps
    from reshim.simulation.protocols import PROTOCOLS
    from reshim.simulation.write import simulate

    if arguments.list:
        for card in PROTOCOLS.values():
            print(f"{card.name:20} {card.imitates}; {card.coils.n_coils} coils, SNR {card.snr:g}")
        return 0
    if arguments.out is None:
        raise UserError("no folder is given; say where the files should lie: reshim simulate OUT")
    if arguments.subjects < 1 or arguments.first_subject < 0:
        raise UserError(
            f"--subjects is {arguments.subjects} and --first-subject {arguments.first_subject}; "
            "ask for at least one subject, counted from 0"
        )
    names = [name for group in arguments.protocol or [] for name in group] or None
    first = arguments.first_subject
    total = arguments.subjects * len(names or PROTOCOLS)
    with steps("simulating", total) as progress:
        paths = simulate(
            arguments.out,
            names,
            range(first, first + arguments.subjects),
            arguments.matrix,
            arguments.slices,
            arguments.seed,
            arguments.lesions,
            progress,
        )
    print(f"{len(paths)} simulated volumes in {arguments.out}")
    return 0
