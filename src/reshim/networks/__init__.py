"""Networks by name, each a reconstructor with weights; one paper a file.

``NETWORKS["unet-s"](input="complex")`` gives the module, with settings changed by keyword. The module keeps
all its settings in ``.settings``, and ``build(name, settings)`` makes the same one again.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

TINY_UNROLLED = {
    "unrolls": 3,
    "blocks": 2,
    "channels": 32,
    "tied": False,
    "fold": 2,
    "iterations": 4,
    "implicit": True,
    "start": "sense",
    "residual": True,
}

SIZES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "unet-tiny": ("unet", "UNet", {"channels": 12, "poolings": 3, "residual": True}),
    "unet-xs": ("unet", "UNet", {"channels": 10}),
    "unet-s": ("unet", "UNet", {"channels": 32}),
    "unet-l": ("unet", "UNet", {"channels": 128}),
    "vit-tiny": (
        "vit",
        "ViT",
        {"patch": 8, "width": 128, "heads": 4, "depth": 3, "positions": 16, "residual": True},
    ),
    "vit-s": ("vit", "ViT", {}),
    "vit-l": ("vit", "ViT", {"width": 1024, "heads": 16, "depth": 10}),
    "varnet-tiny": (
        "varnet",
        "VarNet",
        {
            "cascades": 3,
            "channels": 8,
            "poolings": 3,
            "sens_channels": 4,
            "sens_poolings": 2,
            "residual": True,
        },
    ),
    "varnet-s": ("varnet", "VarNet", {"cascades": 8, "channels": 12}),
    "varnet-l": ("varnet", "VarNet", {}),
    "unrolled-tiny": ("unrolled", "Unrolled", TINY_UNROLLED),
    "unrolled": ("unrolled", "Unrolled", {}),
}
"""Name: file, class, settings that differ from the class's own defaults. The tiny ones suit two CPU cores."""


def _make(name: str, **changes: Any) -> "nn.Module":
    file, kind, settings = SIZES[name]
    return getattr(importlib.import_module(f"reshim.networks.{file}"), kind)(**{**settings, **changes})


NETWORKS: dict[str, Callable[..., "nn.Module"]] = {name: partial(_make, name) for name in SIZES}


def build(name: str, settings: Mapping[str, Any] | None = None) -> "nn.Module":
    """The module called `name`, with `settings` (a module's ``.settings``) in place of the name's own.

    Raises
    ------
    ValueError
        If there is no such network, or it has no such setting.
    """
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}; there are {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**(settings or {}))
    except TypeError as error:
        raise ValueError(f"network {name!r} has no such setting: {error}") from error
