"""Total variation: argmin_x 1/2 ||A x - y||^2 + weight sum |grad x|, by primal-dual hybrid gradients.

Source: L. I. Rudin, S. Osher and E. Fatemi, Physica D 60:259 (1992); K. T. Block, M. Uecker and J. Frahm,
Magn. Reson. Med. 57:1086 (2007).
Ours differs from SigPy's: isotropic (rows and columns of a pixel shrink together), no difference across the
image's border, and the weight is a multiple of the measurement's noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.classical.l1_wavelet import starting_point, threshold_of
from reshim.classical.sense import is_volume, shown, slice_by_slice
from reshim.physics.gram import prepared_gram
from reshim.physics.maps import default_estimator
from reshim.physics.sense import SenseOperator
from reshim.solvers import primal_dual
from reshim.types import Image, MapEstimator, Measurement


@dataclass(frozen=True)
class TotalVariation:
    """Piecewise smooth images from few samples."""

    weight: float = 0.5
    """Weight of the variation over the noise's deviation. Tuned on P."""

    times_noise: bool = True
    """False makes `weight` a multiple of the intensity scale instead."""

    iterations: int = 80
    """Primal-dual steps."""

    balance: float = 0.3
    """Dual over primal step length: moves the path, not the end."""

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
        operator = SenseOperator.of(measurement)
        rhs = operator.adjoint(torch.where(measurement.mask, measurement.kspace, 0))
        gram = prepared_gram(operator)
        limit = threshold_of(measurement, self.weight, self.times_noise).unsqueeze(0)
        images = primal_dual(
            lambda image: gram(image) - rhs,
            differences,
            differences_adjoint,
            lambda multiplier: to_ball(multiplier, limit),
            starting_point(measurement, gram, rhs, self.start),
            self.iterations,
            lipschitz=1.0,
            norm_squared=8.0,
            balance=self.balance,
        )
        return shown(images)


def differences(images: Tensor) -> Tensor:
    """(axis, ..., row, column): the step to the next row and to the next column, 0 at the last."""
    down = torch.zeros_like(images)
    down[..., :-1, :] = images.diff(dim=-2)
    right = torch.zeros_like(images)
    right[..., :-1] = images.diff(dim=-1)
    return torch.stack((down, right))


def differences_adjoint(steps: Tensor) -> Tensor:
    """The adjoint of `differences`: minus the divergence."""
    down, right = steps[0, ..., :-1, :], steps[1, ..., :-1]
    images = torch.zeros_like(steps[0])
    images[..., :-1, :] -= down
    images[..., 1:, :] += down
    images[..., :-1] -= right
    images[..., 1:] += right
    return images


def to_ball(multiplier: Tensor, limit: Tensor) -> Tensor:
    """Shorten each pixel's vector to `limit` where it is longer."""
    energy = (multiplier.real.square() + multiplier.imag.square()).sum(0, keepdim=True)
    # Clamped before the root: there the gradient at 0 is 0, and not 0 times infinity.
    size = energy.clamp_min(torch.finfo(energy.dtype).tiny).sqrt()
    return multiplier * (limit / torch.maximum(size, limit))
