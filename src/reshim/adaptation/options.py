"""``--adapt-option NAME=VALUE``: settings of a fit as the command line spells them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar, get_type_hints

from reshim.errors import UserError
from reshim.key_values import key_values, setting, value_of

Method = TypeVar("Method")

NOT_SETTINGS = ("base", "fallback", "scope", "estimate", "budget_seconds", "train_seed", "on_snapshot")
"""Fields that are networks or callables, or that other options of the command line set."""


def with_options(method: Method, options: Sequence[str], mode: str) -> Method:
    """The method with some settings changed; `mode` is what an error calls it.

    Raises
    ------
    UserError
        For an option without a name or a value, a name that is unknown or given twice, or a value that the
        setting cannot take.
    """
    kinds = get_type_hints(type(method))
    known = {
        field.name: getattr(method, field.name)
        for field in fields(method)  # type: ignore[arg-type]
        if field.name not in NOT_SETTINGS
    }
    changes = {}
    for name, text in key_values("--adapt-option", options, setting).items():
        if name not in known:
            settings = ", ".join(f"{key}={value}" for key, value in known.items())
            raise UserError(f"--adapt {mode} has no setting {name!r}; it has, with its values: {settings}")
        changes[name] = value_of("--adapt-option", name, text, kinds[name])
    try:
        return replace(method, **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise UserError(f"--adapt-option: {error}") from error
