"""Reconstruction of accelerated MRI that stays good on scans it has not seen.

``reshim.reconstruct(measurement)`` is the default method; every name below is imported when first used, so
that ``import reshim`` stays quick and the report, which needs no torch, stays without it.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Acquisition": "reshim.types",
    "Calibration": "reshim.types",
    "Catalog": "reshim.catalog",
    "Measurement": "reshim.types",
    "Reconstructor": "reshim.types",
    "Scheme": "reshim.acquire",
    "measure": "reshim.acquire",
    "reconstruct": "reshim.default",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'reshim' has no attribute {name!r}; it has {sorted(_HOMES)}")
