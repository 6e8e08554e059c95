"""L1-wavelet compressed sensing: argmin_x 1/2 ||A x - y||^2 + weight ||W x||_1, by FISTA.

Source: M. Lustig, D. Donoho and J. M. Pauly, Magn. Reson. Med. 58:1182 (2007); random shifts:
M. A. T. Figueiredo and R. D. Nowak, IEEE Trans. Image Process. 12:906 (2003).
Ours differs: the weight is a multiple of the measurement's noise, the coarsest averages are not shrunk, and
images whose sides the pyramid does not divide carry a border of free pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.classical.sense import Sense, is_volume, shown, slice_by_slice
from reshim.classical.wavelet import Wavelet, padded_size
from reshim.physics.fourier import center_crop, center_pad
from reshim.physics.gram import prepared_gram
from reshim.physics.maps import default_estimator
from reshim.physics.noise_level import noise_level, relative_noise
from reshim.physics.scaling import intensity_scale, per_item
from reshim.physics.sense import SenseOperator
from reshim.seeds import numpy_generator_of
from reshim.solvers import conjugate_gradient, fista
from reshim.types import Image, MapEstimator, Measurement


@dataclass(frozen=True)
class L1Wavelet:
    """FISTA on the image, its wavelet coefficients shrunk under a fresh shift at each step."""

    weight: float = 0.8
    """Threshold over the noise's deviation. Tuned on P."""

    times_noise: bool = True
    """False makes `weight` a multiple of the intensity scale instead."""

    iterations: int = 50
    """FISTA steps."""

    order: int = 4
    """Vanishing moments of the Daubechies wavelet; 1 is Haar's."""

    levels: int = 4
    """Of the pyramid; fewer where the image is small."""

    shifts: bool = True
    """Shrink under a random circular shift, without which the wavelet's grid shows."""

    shrink_coarsest: bool = False
    """Shrink the coarsest averages too, as SigPy does."""

    start: int = 10
    """Conjugate-gradient steps of ridge SENSE to start from; 0 starts from zero."""

    estimate_maps: MapEstimator = default_estimator
    """Used where the measurement has no maps yet."""

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Image:
        """Return the image (batch, row, column) in the measurement's units."""
        if is_volume(measurement):
            return slice_by_slice(self, measurement)
        return self.solve(measurement)

    def solve(self, measurement: Measurement) -> Image:
        """The same with a gradient of the k-space through every iteration; maps and weight are constants."""
        measurement = measurement.with_maps(self.estimate_maps)
        gram, rhs = _normal_equations(measurement)
        return self._minimise(
            measurement,
            gram,
            rhs,
            starting_point(measurement, gram, rhs, self.start),
            self._threshold(measurement),
        )

    @torch.no_grad()
    def near(self, measurement: Measurement, image: Image, closeness: float) -> Image:
        """argmin_x 1/2 ||A x - y||^2 + closeness/2 ||x - image||^2 + weight ||W x||_1, starting at `image`.

        `closeness` is a multiple of the measurement's relative noise. Of several sets of maps the image
        belongs to the first; the others are held near zero.
        """
        measurement = measurement.with_maps(self.estimate_maps)
        gram, rhs = _normal_equations(measurement)
        pull = per_item(closeness * relative_noise(measurement), 3)
        others = image.new_zeros(image.shape[0], rhs.shape[-3] - 1, *image.shape[-2:])
        anchor = torch.cat((image.unsqueeze(-3), others), -3)
        # The whole divided by 1 + pull, so that a step of 1 is right whatever the pull.
        return self._minimise(
            measurement,
            lambda x: (gram(x) + pull * x) / (1 + pull),
            (rhs + pull * anchor) / (1 + pull),
            anchor,
            self._threshold(measurement) / (1 + pull),
        )

    def _minimise(
        self,
        measurement: Measurement,
        normal: Callable[[Tensor], Tensor],
        rhs: Tensor,
        start: Tensor,
        threshold: Tensor,
    ) -> Image:
        shape = (rhs.shape[-2], rhs.shape[-1])
        levels = min(self.levels, max(1, min(shape).bit_length() - 4))
        padded = (padded_size(shape[0], levels), padded_size(shape[1], levels))

        images = fista(
            lambda image: center_pad(normal(center_crop(image, shape)) - rhs, padded),
            self._shrink(measurement.name, threshold, padded, levels),
            center_pad(start, padded),
            self.iterations,
        )
        return shown(center_crop(images, shape))

    def _threshold(self, measurement: Measurement) -> Tensor:
        return threshold_of(measurement, self.weight, self.times_noise)

    def _shrink(
        self, name: str, threshold: Tensor, shape: tuple[int, int], levels: int
    ) -> Callable[[Tensor, int], Tensor]:
        wavelet = Wavelet(levels, self.order)
        generator = numpy_generator_of(name, "l1-wavelet")
        offsets = generator.integers(0, 2**levels, (self.iterations, 2)).tolist()
        averages = (shape[0] >> levels, shape[1] >> levels)

        def shrink(images: Tensor, iteration: int) -> Tensor:
            offset = offsets[iteration] if self.shifts else (0, 0)
            moved = images.roll(offset, (-2, -1))
            parts = wavelet.analyse(torch.stack((moved.real, moved.imag)))
            # Clamped before the root: there the gradient at 0 is 0, and not 0 times infinity.
            size = parts.square().sum(0).clamp_min(torch.finfo(parts.dtype).tiny).sqrt()
            factor = (1 - threshold / size).clamp_min(0)
            if not self.shrink_coarsest:
                factor[..., : averages[0], : averages[1]] = 1
            shrunk = torch.complex(*wavelet.synthesise(parts * factor))
            return shrunk.roll((-offset[0], -offset[1]), (-2, -1))

        return shrink


def _normal_equations(measurement: Measurement) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A^H A and A^H y."""
    operator = SenseOperator.of(measurement)
    rhs = operator.adjoint(torch.where(measurement.mask, measurement.kspace, 0))
    return prepared_gram(operator), rhs


@torch.no_grad()
def threshold_of(measurement: Measurement, weight: float, times_noise: bool) -> Tensor:
    """The weight in file units, shaped to meet (batch, set, row, column)."""
    unit = noise_level(measurement) if times_noise else intensity_scale(measurement)
    return per_item(weight * unit, 3)


def starting_point(
    measurement: Measurement, gram: Callable[[Tensor], Tensor], rhs: Tensor, iterations: int
) -> Tensor:
    """A few steps of ridge SENSE: nearer to the answer than zero for a fraction of the time."""
    if iterations == 0:
        return torch.zeros_like(rhs)
    ridge = Sense().weight(measurement)
    return conjugate_gradient(lambda image: gram(image) + ridge * image, rhs, iterations, item_dims=3)
