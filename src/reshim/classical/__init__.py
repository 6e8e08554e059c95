"""Reconstructors without learned weights, by name; the defaults were tuned on simulated knees.

``METHODS["sense"]()`` gives one ready to call. Files are imported when a method is made.
"""

import importlib
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reshim.types import Reconstructor

CLASSES = {
    "zero-filled": ("zero_filled", "ZeroFilled"),
    "sense": ("sense", "Sense"),
    "l1-wavelet": ("l1_wavelet", "L1Wavelet"),
    "total-variation": ("total_variation", "TotalVariation"),
    "grappa": ("grappa", "Grappa"),
    "raki": ("raki", "Raki"),
    "rraki": ("raki", "Raki.with_linear_branch"),
}
"""Name: file, and what makes one."""


def _make(name: str, **changes: Any) -> "Reconstructor":
    file, kind = CLASSES[name]
    return attrgetter(kind)(importlib.import_module(f"reshim.classical.{file}"))(**changes)


METHODS: "dict[str, Callable[..., Reconstructor]]" = {name: partial(_make, name) for name in CLASSES}
"""Name to a factory that needs no arguments; settings may be changed by keyword."""
