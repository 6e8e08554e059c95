"""A three-dimensional scan seen from any of its axes: views are read, never written as copies.

Cutting a 3D scan into slices along one axis means an inverse transform along that axis alone; the other two
stay the k-space that was measured, so no image is made and transformed back, and no "inverse crime" with it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reshim.physics.fourier import to_image, to_kspace

AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class Volume:
    """Samples (coil, x, y, z); x is the readout, y and z are phase encoded."""

    samples: np.ndarray
    in_image_space: tuple[str, ...] = ()
    """Axes along which the file is transformed already."""

    def view(self, axis: str) -> Tensor:
        """K-space (slice, coil, row, column): slices along `axis`, the other two in their order."""
        samples = torch.from_numpy(np.ascontiguousarray(self.samples, dtype=np.complex64))
        for number, name in enumerate(AXES, 1):
            if name == axis and name not in self.in_image_space:
                samples = to_image(samples, (number - 4,))
            elif name != axis and name in self.in_image_space:
                samples = to_kspace(samples, (number - 4,))
        return samples.movedim(AXES.index(axis) + 1, 0)


def matrix_of(shape: tuple[int, int, int], axis: str) -> tuple[int, int, int]:
    """Slices, rows and columns of a view of an (x, y, z) matrix."""
    rest = [n for name, n in zip(AXES, shape, strict=True) if name != axis]
    return shape[AXES.index(axis)], rest[0], rest[1]


def crop_of(recon: tuple[int, int, int], axis: str) -> tuple[int, int]:
    """Rows and columns that are scored in a view."""
    return matrix_of(recon, axis)[1:]


def spacing_of(spacing_mm: tuple[float, float, float], axis: str) -> tuple[float, float, float]:
    """Slice, row and column spacing of a view, from that of x, y, z."""
    rest = [mm for name, mm in zip(AXES, spacing_mm, strict=True) if name != axis]
    return spacing_mm[AXES.index(axis)], rest[0], rest[1]
