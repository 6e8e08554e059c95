"""CG-SENSE: least squares over the acquired samples with a ridge, argmin_x ||A x - y||^2 + ridge ||x||^2.

Source: K. P. Pruessmann et al., Magn. Reson. Med. 46:638 (2001); several sets of maps (soft-SENSE) as in
M. Uecker et al., Magn. Reson. Med. 71:990 (2014).
Ours differs: no density compensation and no intensity correction (Cartesian samples, maps of unit length).
The ridge needs no scaling: with such maps no eigenvalue of A^H A exceeds 1, whatever the units of the data.
"""

from dataclasses import dataclass

import torch

from reshim.physics.gram import prepared_gram
from reshim.physics.maps import default_estimator
from reshim.physics.sense import SenseOperator, SetImage
from reshim.solvers import conjugate_gradient
from reshim.types import Image, MapEstimator, Measurement


@dataclass(frozen=True)
class Sense:
    """CG-SENSE with a ridge."""

    ridge: float = 0.01
    """Weight of ||x||^2 against the acquired samples' misfit; dimensionless. Tuned on simulated knees."""

    iterations: int = 30
    """Steps of conjugate gradients, from zero."""

    tolerance: float = 1e-4
    """Stop when the residual is below this share of the right-hand side; 0 takes all iterations."""

    estimate_maps: MapEstimator = default_estimator
    """Used where the measurement has no maps yet."""

    def __post_init__(self) -> None:
        if self.ridge < 0:
            raise ValueError(f"ridge is {self.ridge}; a weight is at least 0")

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Image:
        """Return the image (batch, row, column) in the measurement's units."""
        measurement = measurement.with_maps(self.estimate_maps)
        operator = SenseOperator.of(measurement)
        rhs = operator.adjoint(torch.where(measurement.mask, measurement.kspace, 0))
        gram = prepared_gram(operator)
        images = conjugate_gradient(
            lambda image: gram(image) + self.ridge * image,
            rhs,
            self.iterations,
            tolerance=self.tolerance,
            item_dims=3,
        )
        return shown(images)


def shown(images: SetImage) -> Image:
    """One image of several sets: the magnitude of all, the phase of the first."""
    if images.shape[-3] == 1:
        return images[..., 0, :, :]
    size = images.abs().square().sum(-3).sqrt()
    return torch.polar(size, images[..., 0, :, :].angle())
