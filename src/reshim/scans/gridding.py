"""Radial k-space onto a Cartesian grid: density-compensated interpolation with a Kaiser-Bessel kernel.

Source: J. I. Jackson et al., IEEE Trans. Med. Imaging 10:473 (1991); kernel width and shape after P. J.
Beatty et al., IEEE Trans. Med. Imaging 24:799 (2005). Ours differs: the density is the analytic one of a
radial trajectory (|k|, the innermost sample shared by all spokes), not one that is iterated.
"""

import math

import numpy as np
import torch
from torch import Tensor

from reshim.physics.fourier import center_crop, to_image

OVERSAMPLING = 2
WIDTH = 4
GOLDEN_ANGLE = math.pi * 2 / (1 + math.sqrt(5))
"""Step between spokes, 111.25 degrees."""


def radial_trajectory(n_spokes: int, n_samples: int) -> np.ndarray:
    """Frequencies (spoke, sample, 2) of row and column in cycles over the image; readout oversampled twofold.

    Spoke n lies at n golden angles from the column axis.
    """
    radius = (np.arange(n_samples) - n_samples // 2) / 2
    angle = np.arange(n_spokes)[:, None] * GOLDEN_ANGLE
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], -1)


def radial_image(samples: np.ndarray, size: int) -> Tensor:
    """The coil images (coil, size, size) of samples (coil, spoke, sample), in the scale of a full k-space."""
    n_coils, n_spokes, n_samples = samples.shape
    places = radial_trajectory(n_spokes, n_samples)
    radius = np.abs(np.arange(n_samples) - n_samples // 2) / 2
    # An annulus of width 1/2 is shared by all spokes twice over; the middle is a disc of radius 1/4.
    density = np.where(radius > 0, math.pi * radius / (2 * n_spokes), math.pi / 16 / n_spokes)
    grid_size = OVERSAMPLING * size
    at = places.reshape(-1, 2) * OVERSAMPLING + grid_size // 2
    weighted = torch.from_numpy((samples * density).reshape(n_coils, -1).astype(np.complex64))
    grid = torch.zeros(n_coils, grid_size * grid_size, dtype=torch.complex64)
    first = np.ceil(at - WIDTH / 2).astype(np.int64)
    for step in np.ndindex(WIDTH + 1, WIDTH + 1):
        index = first + np.asarray(step)
        weight = _kernel(index - at).prod(-1)
        inside = ((index >= 0) & (index < grid_size)).all(-1) & (weight > 0)
        flat = torch.from_numpy(index[inside] @ np.array([grid_size, 1]))
        grid.index_add_(1, flat, weighted[:, inside] * torch.from_numpy(weight[inside].astype(np.float32)))
    images = center_crop(to_image(grid.reshape(n_coils, grid_size, grid_size)), (size, size))
    # One sample of the grid stands for 1/4 of a frequency's square; the transform counts grid samples.
    return images * OVERSAMPLING / _apodisation(size)


def _beta() -> float:
    ratio = WIDTH / OVERSAMPLING * (OVERSAMPLING - 0.5)
    return math.pi * math.sqrt(ratio**2 - 0.8)


def _kernel(distance: np.ndarray) -> np.ndarray:
    inside = np.clip(1 - (2 * distance / WIDTH) ** 2, 0, None)
    return np.where(np.abs(distance) <= WIDTH / 2, np.i0(_beta() * np.sqrt(inside)), 0.0)


def _apodisation(size: int) -> Tensor:
    """What the kernel does to the image: its own transform, by sums."""
    fine = np.linspace(-WIDTH / 2, WIDTH / 2, 513)
    x = (np.arange(size) - size // 2) / (OVERSAMPLING * size)
    profile = (_kernel(fine) * np.cos(2 * math.pi * x[:, None] * fine)).mean(1) * WIDTH
    return torch.from_numpy(np.outer(profile, profile).astype(np.float32))
