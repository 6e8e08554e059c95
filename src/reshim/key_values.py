"""``KEY=VALUE``: settings as a command line spells them."""

import math
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from reshim.errors import UserError


def key_values(option: str, pairs: Sequence[str], spelt: Callable[[str], str] = str) -> dict[str, str]:
    """The texts by their keys; `option` is what an error names, and `spelt` how keys are written in code.

    Raises
    ------
    UserError
        For a pair without a key or a value, or a key that is named twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, _, text = (part.strip() for part in pair.partition("="))
        if not key or not text:
            raise UserError(f"{option} {pair!r} has no {'value' if key else 'key'}; write KEY=VALUE")
        if spelt(key) in found:
            raise UserError(f"{option} names {spelt(key)} twice; give one value")
        found[spelt(key)] = text
    return found


def setting(key: str) -> str:
    """A field's name, which a command line may write with hyphens."""
    return key.replace("-", "_")


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
