"""``--option KEY=VALUE``: what a recipe lets its users change."""

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, get_type_hints

from reshim.errors import UserError
from reshim.key_values import key_values, setting, value_of


def options_of(name: str, recipe: ModuleType, pairs: Sequence[str]) -> Any:
    """A recipe's ``OPTIONS``, a frozen dataclass of defaults, with these changes; None where it has none.

    Raises
    ------
    UserError
        For a recipe without options, a pair that is none, an unknown or repeated key, or a value that the
        setting cannot take.
    """
    defaults = getattr(recipe, "OPTIONS", None)
    if defaults is None:
        if pairs:
            raise UserError(f"{name} has no options, and --option names {pairs[0]!r}; leave it out")
        return None
    kinds, found = get_type_hints(type(defaults)), {}
    for key, text in key_values("--option", pairs, setting).items():
        if key not in kinds:
            raise UserError(f"{name} has no option {key!r}; it has {', '.join(kinds)}")
        found[key] = value_of("--option", key, text, kinds[key])
    return replace(defaults, **found)
