"""`reshim import-weights`: a public state dict to a RUN folder."""

import argparse
import json
from typing import Any

NAME = "import-weights"
HELP = "a public state dict of fastMRI's U-net or VarNet as a RUN folder; runs nothing that the file holds"

EXAMPLE = """\
example:
  reshim import-weights knee_leaderboard_state_dict.pt --network varnet-l --out runs/fastmri-varnet
  reshim import-weights knee_mc_leaderboard_state_dict.pt --network unet-l --setting channels=256 \\
      --setting clip=6 --out runs/fastmri-unet

Whom the network was trained on is not in such a file, so evaluation cannot refuse those subjects.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.epilog = EXAMPLE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "file", metavar="FILE", help="state dict or Lightning checkpoint, as torch.save wrote it"
    )
    parser.add_argument("--network", required=True, metavar="NAME", help="e.g. unet-s, varnet-l")
    parser.add_argument("--out", required=True, metavar="RUN", help="folder to make")
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting that differs from the named network's, e.g. channels=256; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Import, then say where the folder lies."""
    from reshim.networks.import_weights import import_weights

    settings = dict(_setting(text) for text in arguments.setting)
    out = import_weights(arguments.file, arguments.network, arguments.out, settings)
    print(f"{out}: weights of {arguments.network}; use it with --with {out}")
    return 0


def _setting(text: str) -> tuple[str, Any]:
    from reshim.errors import UserError

    key, sign, value = text.partition("=")
    if not sign or not key:
        raise UserError(f"--setting is {text!r}; give KEY=VALUE, e.g. channels=256")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
