"""What decides how long a training takes and what comes out, as the command line says it.

`reshim train` carries it out, `reshim doctor` foretells it.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reshim.errors import UserError
from reshim.key_values import key_values

if TYPE_CHECKING:
    from reshim.catalog import Catalog
    from reshim.training.objectives import Objective
    from reshim.training.sampling import Group
    from reshim.training.settings import TrainingSettings
    from reshim.types import ScanRecord


def add_plan(parser: argparse.ArgumentParser, *, needs_data: bool) -> None:
    """What decides how long a run takes and what comes out; `reshim doctor` takes the same."""
    _add_data(parser.add_argument_group("data"), needs_data)
    _add_network(parser.add_argument_group("network and objective"))
    _add_budget(parser.add_argument_group("budget and schedule"))
    memory = parser.add_argument_group("memory")
    memory.add_argument(
        "--pool-gib",
        type=float,
        default=8.0,
        metavar="N",
        help="of slices, references and maps that each process keeps (default 8)",
    )
    memory.add_argument(
        "--cache-gib",
        type=float,
        default=0.0,
        metavar="N",
        help="of references and maps kept in RUN/prepared until the run ends (default 0)",
    )
    scheme = parser.add_argument_group("undersampling")
    scheme.add_argument("--mask", default="equispaced", metavar="NAME", help="default equispaced")
    scheme.add_argument(
        "--acceleration",
        type=float,
        nargs="+",
        default=[4.0],
        metavar="R",
        help="of several, each batch draws one",
    )
    scheme.add_argument(
        "--fixed-mask",
        action="store_true",
        help="one mask for every slice and epoch, drawn from --seed, as in the release of test-time "
        "training: the network meets this one only; else each slice has a new one each epoch",
    )
    scheme.add_argument("--center-lines", type=int, metavar="N", help="fully sampled centre columns")
    scheme.add_argument(
        "--center-fraction", type=float, metavar="F", help="the same as a share of the columns"
    )


def _add_data(group: argparse._ArgumentGroup, required: bool) -> None:
    group.add_argument(
        "--where",
        action="append",
        required=required,
        metavar="SQL",
        help="filter; several are one group each",
    )
    group.add_argument(
        "--weight",
        action="append",
        type=float,
        metavar="W",
        help="how often each --where is seen, in their order",
    )
    group.add_argument(
        "--subset",
        action="append",
        metavar="SHARE",
        help="share of the subjects, e.g. 1/8; smaller ones are nested, and --seed draws others. Once for "
        "all, or one for each --where in their order: all of one distribution and a sixteenth of another",
    )
    group.add_argument(
        "--watch",
        action="append",
        metavar="SQL",
        help="scored each epoch on its split 'val' to look at on the run's page, no more",
    )
    group.add_argument("--target", default="mvue", choices=("mvue", "rss", "clean"), help="default mvue")


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--network", metavar="NAME", help="a network's name; with --from, that run's unless given"
    )
    group.add_argument(
        "--input",
        choices=("magnitude", "complex"),
        help="of U-net and ViT (default magnitude; complex where the objective compares k-space, and a "
        "VarNet then gets output=mvue maps=given)",
    )
    group.add_argument(
        "--network-option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="its other settings",
    )
    group.add_argument("--from", dest="start", type=Path, metavar="RUN", help="start from this run's weights")
    group.add_argument(
        "--fallback", type=Path, metavar="RUN", help="handed out where adaptation shows no gain"
    )
    group.add_argument("--objective", default="supervised", metavar="NAME", help="default supervised")
    group.add_argument(
        "--loss", choices=("ssim", "l1", "ssim+l1"), help="between images (default: the objective's)"
    )
    group.add_argument(
        "--objective-option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="its other settings",
    )


def _add_budget(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the training slices (default 20)")
    group.add_argument("--samples", type=int, metavar="N", help="slices seen in all, in place of --epochs")
    group.add_argument(
        "--stop",
        choices=("early", "never"),
        default="never",
        help="early: end when validation has levelled off for 20 epochs, as `reshim study "
        "distributional-overfitting` chose the rule; for long trainings",
    )
    group.add_argument("--batch", type=int, default=4, metavar="N", help="slices a step (default 4)")
    group.add_argument(
        "--accumulation", type=int, default=1, metavar="N", help="parts a batch is worked off in"
    )
    group.add_argument(
        "--learning-rate", type=float, default=1e-3, metavar="X", help="largest rate (default 1e-3)"
    )
    group.add_argument(
        "--warm-up", type=float, metavar="SHARE", help="of the steps, while the rate rises (default 0.01)"
    )
    group.add_argument(
        "--schedule",
        choices=("one-cycle", "constant"),
        default="one-cycle",
        help="one-cycle rises to --learning-rate and falls again over the whole budget; constant stays there "
        "from first to last, as in the release of test-time training (default one-cycle)",
    )
    group.add_argument("--validation-slices", type=int, metavar="N", help="at most so many (default all)")
    group.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="of convolutions and matrix products; transforms stay in single precision",
    )
    group.add_argument(
        "--bf16", dest="precision", action="store_const", const="bf16", help="the same as --precision bf16"
    )
    group.add_argument(
        "--compile", action="store_true", help="compile the network where this machine can; slow to start"
    )
    group.add_argument(
        "--fsdp", action="store_true", help="deal the weights out over the processes of torchrun"
    )
    group.add_argument(
        "--training-option",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings without an option of their own, e.g. clip=none keep_epochs=false; a key that does not "
        "exist lists those that do",
    )
    group.add_argument(
        "--tensorboard", action="store_true", help="write events beside the log (extra 'tensorboard')"
    )


def bounds_of(arguments: argparse.Namespace) -> tuple[int, int]:
    """Bytes that may be kept in memory and on disk."""
    for name, gib in (("--pool-gib", arguments.pool_gib), ("--cache-gib", arguments.cache_gib)):
        if not 0 <= gib < float("inf"):
            raise UserError(f"{name} is {gib:g}; it is a number of GiB, 0 or more")
    return int(arguments.pool_gib * 2**30), int(arguments.cache_gib * 2**30)


def settings_of(arguments: argparse.Namespace) -> "TrainingSettings":
    """The settings that the options say."""
    from reshim.acquire import Scheme
    from reshim.cli.training_options import training_options
    from reshim.training.settings import TrainingSettings

    if arguments.center_lines is not None and arguments.center_fraction is not None:
        raise UserError("--center-lines and --center-fraction say the same thing; give one")
    centre = {"center_lines": arguments.center_lines, "center_fraction": arguments.center_fraction}
    if arguments.schedule == "constant" and arguments.warm_up is not None:
        raise UserError(
            "--warm-up says how the rate rises, and --schedule constant keeps it; give one of them"
        )
    if arguments.fixed_mask and len(arguments.acceleration) > 1:
        raise UserError(
            f"--fixed-mask takes one mask for all, and --acceleration has {len(arguments.acceleration)} "
            "rates; give one rate"
        )
    more, rule = training_options(arguments)
    if arguments.warm_up is not None:
        more["warm_up"] = arguments.warm_up
    epochs = 20 if arguments.epochs is None and arguments.samples is None else arguments.epochs
    return TrainingSettings(
        objective=_objective(arguments),
        epochs=epochs,
        samples=arguments.samples,
        batch_size=arguments.batch,
        accumulation=arguments.accumulation,
        learning_rate=arguments.learning_rate,
        **more,
        target=arguments.target,
        fixed_mask=arguments.fixed_mask,
        schemes=tuple(Scheme(arguments.mask, rate, **centre) for rate in arguments.acceleration),
        validation_slices=arguments.validation_slices,
        early_stop=rule,
        bf16=arguments.precision == "bf16",
        seed=arguments.seed,
    )


def _objective(arguments: argparse.Namespace) -> "Objective":
    from reshim.training.settings import objective_from

    plain: dict[str, Any] = {
        "name": arguments.objective,
        **_options("--objective-option", arguments.objective_option),
    }
    if arguments.loss is not None:
        if arguments.objective == "supervised":
            plain["loss"] = arguments.loss
        else:
            plain["supervised"] = {"loss": arguments.loss}
    return objective_from(plain)


def network_of(arguments: argparse.Namespace, objective: "Objective") -> tuple[str, dict[str, Any]]:
    """The network's name, and what is changed of its settings."""
    from reshim.training.run_folder import RunFolder

    changes = _options("--network-option", arguments.network_option)
    if arguments.input is not None:
        changes["input"] = arguments.input
    if arguments.start is not None and arguments.network is None:
        found = RunFolder(arguments.start).read_settings()["network"]
        if found["name"] is None:
            raise UserError(f"{arguments.start} was made from a module without a name; give --network")
        return found["name"], found["settings"] | changes
    if arguments.network is None:
        raise UserError("--network is missing; name one, or start from a run with --from")
    return arguments.network, (_with_phase(arguments.network) if objective.needs_phase else {}) | changes


def _with_phase(network: str) -> dict[str, Any]:
    """The form in which a network returns complex images that fit the measurement's coil maps."""
    if network.startswith(("unet", "vit")):
        return {"input": "complex"}
    if network.startswith("varnet"):
        # With maps of its own the phase would be split between maps and image in a way nobody else knows.
        return {"output": "mvue", "maps": "given"}
    return {}


def scans_of(catalog: "Catalog", arguments: argparse.Namespace) -> tuple[list["Group"], list["ScanRecord"]]:
    """Groups to train on, and scans that choose the checkpoint."""
    validation = [r for where in arguments.where for r in catalog.where(where).part("val").records()]
    return _groups(catalog, arguments), list({record.scan_id: record for record in validation}.values())


def _groups(catalog: "Catalog", arguments: argparse.Namespace) -> list["Group"]:
    from reshim.training.sampling import Group, nested_subset

    weights = arguments.weight or [None] * len(arguments.where)
    if len(weights) != len(arguments.where):
        raise UserError(
            f"{len(weights)} --weight for {len(arguments.where)} --where; give one to each, or none"
        )
    shares = [_share(text) for text in arguments.subset or ["1"]]
    shares = shares * len(arguments.where) if len(shares) == 1 else shares
    if len(shares) != len(arguments.where):
        raise UserError(
            f"{len(shares)} --subset for {len(arguments.where)} --where; give one for all, or one to each"
        )
    groups = []
    for where, weight, share in zip(arguments.where, weights, shares, strict=True):
        records = catalog.where(where).part("train").records()
        if not records:
            raise UserError(
                f"no scan with split 'train' fits {where!r}; look with: reshim list {arguments.catalog}"
            )
        groups.append(Group(where, nested_subset(records, share, arguments.seed), weight))
    return groups


def _share(text: str) -> float:
    top, _, bottom = text.partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(f"--subset is {text!r}; it is a share such as 1/8 or 0.125") from error


def _options(option: str, pairs: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs; a value is JSON where it can be, else a word."""
    options: dict[str, Any] = {}
    for key, text in key_values(option, pairs).items():
        try:
            options[key] = json.loads(text)
        except json.JSONDecodeError:
            options[key] = text
    return options
