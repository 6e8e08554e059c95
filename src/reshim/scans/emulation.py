"""A scan made of magnitude images: cropped to what was measured, given phase, coils and noise of its own.

Images that were interpolated, filtered or stored as magnitudes flatter every method that is tried on them:
E. Shimron et al., "Implicit data crimes", PNAS 119:e2117203119 (2022). What can be undone is undone here: an
image that was enlarged by zero-filling is cut back to the extent that its spectrum shows, phase and coil
sensitivities are added, and every coil gets noise of its own. What cannot be undone is the processing before
(denoising, filtering, lossy storage), so whatever is measured on such scans says `emulated`.
Ours differs from theirs: the extent is found in the spectrum instead of taken from the protocol.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.physics.fourier import center_crop, to_image, to_kspace
from reshim.seeds import generator_of, numpy_generator_of
from reshim.simulation.coils import CoilArray

LEAST_DROP = 4.0
"""Times that the mean power falls over the edge of what was measured; anatomy alone falls 2.5 times."""

FIELD_OF_VIEW_MM = 240.0
_MODES = 3


@dataclass(frozen=True)
class Emulation:
    """How magnitude images become raw data."""

    coils: int = 8
    """Receive loops around the image."""

    noise: float = 0.02
    """Deviation of the noise's real part, in each coil, over the 99th percentile of the image."""

    keep_phase: bool = False
    """Complex images keep their own phase."""

    def clean(self, images: np.ndarray, extent: tuple[int, int]) -> Tensor:
        """Images (slice, row, column) cut to the extent in k-space; magnitudes stay magnitudes."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is refused by name
            cut = torch.from_numpy(np.ascontiguousarray(images, dtype=np.complex64))
        if tuple(cut.shape[-2:]) != extent:
            # The mean stays what it was, though the orthonormal transform counts samples.
            scale = math.sqrt(extent[0] * extent[1] / (cut.shape[-2] * cut.shape[-1]))
            cut = scale * to_image(center_crop(to_kspace(cut), extent))
        return cut if self.keep_phase else cut.abs().to(torch.complex64)

    def kspace(
        self, clean: Complex[Tensor, "slice row column"], level: float, name: str, slices: tuple[int, ...]
    ) -> Complex[Tensor, "slice coil row column"]:
        """K-space of the images in each coil; phase, coils and noise are drawn from name and slice alone."""
        samples = []
        for image, index in zip(clean, slices, strict=True):
            phase = image.new_zeros(image.shape).real
            if not self.keep_phase:
                phase = smooth_phase(tuple(image.shape), index, name)
            in_coils = coil_maps(tuple(image.shape), self.coils, name) * (image * torch.exp(1j * phase))
            draw = torch.randn(
                *in_coils.shape, dtype=torch.complex64, generator=generator_of("emulated noise", name, index)
            )
            # A complex normal has half its variance in the real part.
            samples.append(to_kspace(in_coils) + math.sqrt(2) * self.noise_std(level) * draw)
        return torch.stack(samples).to(torch.complex64)

    def noise_std(self, level: float) -> float:
        """Deviation of the real part of one sample's noise, for images of that level."""
        return self.noise * level


def level_of(images: np.ndarray) -> float:
    """The 99th percentile of the magnitude over the volume, NaN left out: what noise is measured against."""
    with np.errstate(over="ignore", invalid="ignore"):
        magnitudes = np.abs(images)
    finite = np.isfinite(magnitudes)
    if not finite.all():  # one damaged slice must not spoil the others
        magnitudes = magnitudes[finite]
    return (float(np.percentile(magnitudes, 99)) if magnitudes.size else 0.0) or 1.0


def smooth_phase(shape: tuple[int, int], index: int, name: str) -> Float[Tensor, "row column"]:
    """A phase in radians of a few slow cosines that turn slowly from slice to slice."""
    rng = numpy_generator_of("emulated phase", name)
    order = np.add.outer(np.arange(_MODES), np.arange(_MODES))
    weights = rng.standard_normal((2, _MODES, _MODES)) * 2.5 / (1 + order)
    turned = weights[0] * math.cos(index / 20) + weights[1] * math.sin(index / 20)
    rows, columns = (
        torch.cos(math.pi * torch.arange(_MODES)[:, None] * (torch.arange(n) + 0.5) / n) for n in shape
    )
    return torch.einsum("ij,ir,jc->rc", torch.from_numpy(turned).to(torch.float32), rows, columns)


def coil_maps(shape: tuple[int, int], n_coils: int, name: str) -> Complex[Tensor, "coil row column"]:
    """Sensitivities of loops around the image, by Biot and Savart, with a root sum of squares of 1."""
    array = CoilArray((n_coils,), (0.0,), (0.6 * FIELD_OF_VIEW_MM,) * 2, 0.25 * FIELD_OF_VIEW_MM)
    longest = max(shape)
    y, x = (((torch.arange(n) - n // 2) / longest * FIELD_OF_VIEW_MM).double() for n in shape)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    points = torch.cat([grid, torch.zeros(*shape, 1, dtype=torch.float64)], -1)
    field = array.loops("emulated", name).sensitivity(points)
    return (field / field.abs().square().sum(0).sqrt().clamp_min(1e-12)).to(torch.complex64)


def extent_of(images: np.ndarray) -> tuple[int, int]:
    """Rows and columns of k-space that were measured, as the spectrum of images (slice, row, column) shows.

    Zero-filling leaves a cliff: beyond it only what taking magnitudes and rounding have spilled. Without a
    cliff the matrix itself is the answer, so smoothly filtered images are not found out.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        spectrum = np.abs(np.fft.fft2(np.asarray(images, dtype=np.complex64))) ** 2
        power = spectrum.reshape(-1, *spectrum.shape[-2:]).mean(0, dtype=np.float64)
    if not np.isfinite(power).all():
        return int(spectrum.shape[-2]), int(spectrum.shape[-1])
    rows = _extent(power.mean(1))
    return rows, _extent(power.mean(0))


def _extent(power: np.ndarray) -> int:
    """Twice the last frequency before the cliff in the power of frequencies 0, 1, …, -1; all without one."""
    n = len(power)
    half = n // 2
    both = (power[:half] + power[-np.arange(half)]) / 2
    logs = np.log(np.maximum(both, power.max() * 1e-14))
    width = max(3, n // 32)
    sums = np.concatenate([[0.0], np.cumsum(logs)])
    best, deepest = n, math.log(LEAST_DROP)
    for edge in range(max(n // 6, width), half - width - 1):
        inside = (sums[edge + 1] - sums[edge + 1 - width]) / width
        outside = (sums[edge + 1 + width] - sums[edge + 1]) / width
        # A notch is no cliff: what lies beyond stays below.
        if inside - outside > deepest and logs[edge + 2 :].max() < inside - math.log(2):
            best, deepest = 2 * edge, inside - outside
    return best
