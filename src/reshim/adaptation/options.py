"""``--adapt-option NAME=VALUE``: settings of a fit as the command line spells them."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from reshim.errors import UserError

Method = TypeVar("Method")

NOT_SETTINGS = ("base", "fallback", "scope", "estimate", "budget_seconds", "train_seed", "on_snapshot")
"""Fields that are networks or callables, or that other options of the command line set."""


def with_options(method: Method, options: Sequence[str], mode: str) -> Method:
    """The method with some settings changed; `mode` is what an error calls it.

    Raises
    ------
    UserError
        For an option without a name or a value, an unknown name, or a value that the setting cannot take.
    """
    kinds = get_type_hints(type(method))
    known = {
        field.name: getattr(method, field.name)
        for field in fields(method)  # type: ignore[arg-type]
        if field.name not in NOT_SETTINGS
    }
    changes = {}
    for option in options:
        name, equals, text = option.partition("=")
        name, text = name.strip().replace("-", "_"), text.strip()
        if not equals or not text:
            raise UserError(f"--adapt-option {option!r} is no NAME=VALUE; give one, e.g. seed=1")
        if name not in known:
            settings = ", ".join(f"{key}={value}" for key, value in known.items())
            raise UserError(f"--adapt {mode} has no setting {name!r}; it has, with its values: {settings}")
        changes[name] = value_of("--adapt-option", name, text, kinds[name])
    try:
        return replace(method, **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise UserError(f"--adapt-option: {error}") from error


def value_of(option: str, name: str, text: str, kind: Any) -> Any:
    """The value of a text, as the annotation of the setting wants it; `option` is what an error names.

    Raises
    ------
    UserError
        If the setting cannot take it.
    """
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if NoneType in choices and text.lower() == "none":
        return None
    for choice in choices:
        if get_origin(choice) is Literal and text in get_args(choice):
            return text
        if choice is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if choice in (int, float):
            try:
                value = choice(text)
            except ValueError:
                continue
            if math.isfinite(value):
                return value
    raise UserError(f"{option} {name}={text}: {name} takes {' or '.join(map(_named, choices))}")


def _named(choice: Any) -> str:
    if get_origin(choice) is Literal:
        return ", ".join(get_args(choice))
    return {bool: "true or false", int: "a whole number", float: "a number", NoneType: "none"}[choice]
