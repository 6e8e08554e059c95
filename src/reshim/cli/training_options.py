"""``--training-option KEY=VALUE``: settings of a training that have no option of their own."""

import argparse
from collections.abc import Sequence
from typing import Any, get_type_hints

from reshim.errors import UserError
from reshim.key_values import key_values, setting, value_of
from reshim.training.settings import EarlyStop, TrainingSettings

FLAGS = {
    "objective": "--objective",
    "epochs": "--epochs",
    "samples": "--samples",
    "batch_size": "--batch",
    "accumulation": "--accumulation",
    "learning_rate": "--learning-rate",
    "warm_up": "--warm-up",
    "target": "--target",
    "schemes": "--mask and --acceleration",
    "fixed_mask": "--fixed-mask",
    "validation_slices": "--validation-slices",
    "early_stop": "--stop",
    "bf16": "--precision",
    "seed": "--seed",
}
"""Settings that have one."""

STOP = {"stop_share": "share", "stop_window": "window"}
"""Keys of the rule that ends training early."""

ENDS = ("start_divisor", "final_divisor")
"""What makes the rate rise and fall."""


def settings_without_flag() -> dict[str, Any]:
    """Every key that --training-option takes, with its kind."""
    own = {name: kind for name, kind in get_type_hints(TrainingSettings).items() if name not in FLAGS}
    rule = get_type_hints(EarlyStop)
    return own | {key: rule[name] for key, name in STOP.items()}


def training_options(arguments: argparse.Namespace) -> tuple[dict[str, Any], EarlyStop | None]:
    """Changes of `TrainingSettings`, and the rule of --stop.

    Raises
    ------
    UserError
        For a pair that is none, an unknown key, a value that the setting cannot take, or one that another
        option says already or leaves without effect.
    """
    changes = _values(arguments.training_option)
    rule = {STOP[key]: changes.pop(key) for key in STOP if key in changes}
    if rule and arguments.stop != "early":
        raise UserError(
            f"--training-option stop_{next(iter(rule))} changes the rule of --stop early, and --stop is "
            f"{arguments.stop}; give --stop early, or leave it out"
        )
    if arguments.schedule == "constant":
        if given := [key for key in ENDS if key in changes]:
            raise UserError(
                f"--training-option {given[0]} says how the rate rises or falls, and --schedule constant "
                "keeps it; give one of them"
            )
        changes |= dict.fromkeys(ENDS, 1.0)
    return changes, EarlyStop(**rule) if arguments.stop == "early" else None


def _values(pairs: Sequence[str]) -> dict[str, Any]:
    kinds = settings_without_flag()
    found = {}
    for key, text in key_values("--training-option", pairs, setting).items():
        if key in FLAGS:
            raise UserError(
                f"--training-option {key}={text}: {key} has an option of its own; give {FLAGS[key]}"
            )
        if key not in kinds:
            raise UserError(f"--training-option has no key {key!r}; it has {', '.join(kinds)}")
        found[key] = value_of("--training-option", key, text, kinds[key])
    return found
