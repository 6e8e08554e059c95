"""Reconstructors without learned weights, by name; the defaults were tuned on simulated knees.

``METHODS["sense"]()`` gives one ready to call. Files are imported when a method is made.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reshim.types import Reconstructor

CLASSES = {
    "zero-filled": ("zero_filled", "ZeroFilled"),
    "sense": ("sense", "Sense"),
    "l1-wavelet": ("l1_wavelet", "L1Wavelet"),
    "total-variation": ("total_variation", "TotalVariation"),
}
"""Name: file, class."""


def _make(name: str, **changes: Any) -> "Reconstructor":
    file, kind = CLASSES[name]
    return getattr(importlib.import_module(f"reshim.classical.{file}"), kind)(**changes)


METHODS: "dict[str, Callable[..., Reconstructor]]" = {name: partial(_make, name) for name in CLASSES}
"""Name to a factory that needs no arguments; settings may be changed by keyword."""
