"""The options that say how a method meets the scan at hand, equal in every command that has them."""

import argparse

from reshim.adaptation import MODES


def add_adapting(parser: argparse.ArgumentParser) -> None:
    """Declare ``--adapt``, ``--budget`` and ``--adapt-option``."""
    parser.add_argument(
        "--adapt",
        default="none",
        choices=MODES,
        help="how a RUN meets a scan: reconcile moves no weight and takes one solve, slice and volume fit "
        "the weights first, auto does what an unusual scan needs (default none)",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="wall time that --adapt, conv-decoder or zs-ssl may take for a scan; what does not fit is left "
        "out",
    )
    parser.add_argument(
        "--adapt-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of slice, volume or reference, e.g. learning_rate=1e-4; may be repeated, and a name "
        "that does not exist lists those that do, with their values",
    )
