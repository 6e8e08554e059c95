"""Emulated scans as acquisitions: what DICOM, NIfTI and arrays of images share.

The noise added is known, so its covariance is; the reference `clean` is the image before phase, coils and
noise. `docs/scans.md` says what such scans can and cannot show.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans.emulation import Emulation, extent_of, level_of
from reshim.types import Acquisition

SLICES_LOOKED_AT = 8
_extents: dict[tuple[Path, int, int], tuple[int, int]] = {}


def emulation_of(sidecar: dict[str, Any]) -> Emulation:
    """The settings that a sidecar gives."""
    keep = sidecar.get("content") == "images"
    return Emulation(sidecar.get("coils", 8), float(sidecar.get("noise", 0.02)), keep)


def true_extent(path: Path, images: Callable[[], np.ndarray]) -> tuple[int, int]:
    """`extent_of` the middle slices of a file, remembered for as long as it keeps its size and time."""
    status = path.stat()
    key = (path, status.st_size, status.st_mtime_ns)
    if key not in _extents:
        volume = images()
        first = max(0, len(volume) // 2 - SLICES_LOOKED_AT // 2)
        if len(_extents) > 4096:
            _extents.clear()
        _extents[key] = extent_of(volume[first : first + SLICES_LOOKED_AT])
    return _extents[key]


def emulated_acquisition(
    images: np.ndarray,
    extent: tuple[int, int],
    chosen: tuple[int, ...],
    seed_name: str,
    name: str,
    emulation: Emulation,
) -> Acquisition:
    """Some slices of a volume of images as raw data; `seed_name` draws phase, coils and noise."""
    level = level_of(images)
    clean = emulated_clean(images, extent, chosen, emulation).to(torch.complex64)
    largest = clean.abs().flatten(1).amax(1) if len(chosen) else clean.new_zeros(0).real
    for index, value in zip(chosen, largest.tolist(), strict=True):
        if not np.isfinite(value):
            raise BadScanError(f"{name}, slice {index}: the image holds NaN or infinity; export it again")
    return Acquisition(
        kspace=emulation.kspace(clean, level, seed_name, chosen),
        name=name,
        slices=chosen,
        crop=extent,
        acquirable=torch.ones(1, 1, 1, extent[1], dtype=torch.bool),
        noise_covariance=torch.eye(emulation.coils, dtype=torch.complex64) * emulation.noise_std(level) ** 2
        if emulation.noise
        else None,
        noise_std=emulation.noise_std(level) or None,
    )


def emulated_clean(
    images: np.ndarray, extent: tuple[int, int], chosen: tuple[int, ...], emulation: Emulation
) -> Tensor:
    """The images that an emulated scan was made of: real magnitudes, or complex where the phase was kept."""
    clean = emulation.clean(images[list(chosen)], extent)
    return clean if emulation.keep_phase else clean.real.contiguous()


@lru_cache(maxsize=2)
def remembered(read: Callable[[Path], np.ndarray], path: Path, size: int, mtime_ns: int) -> np.ndarray:
    """`read(path)`, kept for the slices that are asked for next."""
    return read(path)
