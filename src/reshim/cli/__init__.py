"""The door: one file a command, argument parsing and nothing else."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from reshim import __version__
from reshim.errors import UserError

COMMANDS = (
    "simulate",
    "index",
    "list",
    "train",
    "calibrate",
    "evaluate",
    "reconstruct",
    "import_weights",
    "study",
    "report",
    "serve",
    "doctor",
)

SPINS = "10000"
"""Turns of an empty loop; GNU's OpenMP makes 300,000 of them unless told."""

DESCRIPTION = """\
Accelerated-MRI reconstruction that stays good on scans it has not seen, measures whether it does, and repairs
it per scan. A first look, on simulated scans, in about twenty minutes:

  reshim study first-look --out runs/first-look
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on unusable arguments or input, 3 where something was left out."""
    _wait_briefly()
    parser, commands = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 2
    _limit_threads(arguments.threads)
    try:
        return int(commands[arguments.command].run(arguments))
    except UserError as error:
        print(f"reshim {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"reshim {arguments.command}: stopped; run it again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone, e.g. `reshim list ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> tuple[argparse.ArgumentParser, dict[str, ModuleType]]:
    """The parser of all commands, and the module behind each name."""
    parser = argparse.ArgumentParser(
        prog="reshim", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"reshim {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands = {}
    for name in COMMANDS:
        module = importlib.import_module(f"reshim.cli.{name}")
        sub = subparsers.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        _add_common(sub)
        commands[module.NAME] = module
    return parser, commands


def _add_common(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("common options")
    taken = {option for action in parser._actions for option in action.option_strings}
    if "--seed" not in taken:
        common.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    if "--device" not in taken:
        common.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default cpu)")
    if "--threads" not in taken:
        common.add_argument("--threads", type=int, default=None, help="processor threads (default: all)")


def _wait_briefly() -> None:
    """Let threads that wait for each other spin for microseconds, not milliseconds, before they sleep.

    Beside other work on the same cores a training step of a small network is twice as quick by it, and alone
    about as quick as before (LOG.md, 2026-11-23). It counts where torch is not loaded yet.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def _limit_threads(threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise SystemExit(f"reshim: --threads is {threads}; give at least 1")
    # Before torch is imported: afterwards the pools are already made.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
