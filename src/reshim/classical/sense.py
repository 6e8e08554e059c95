"""CG-SENSE: least squares over the acquired samples with a ridge, argmin_x ||A x - y||^2 + ridge ||x||^2.

Source: K. P. Pruessmann et al., Magn. Reson. Med. 46:638 (2001); several sets of maps (soft-SENSE) as in
M. Uecker et al., Magn. Reson. Med. 71:990 (2014).
Ours differs: no density compensation and no intensity correction (Cartesian samples, maps of unit length),
and the ridge is a multiple of the measurement's relative noise: the best ridge of a clean scan is ten times
smaller than that of a noisy one, while the best multiple is the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.physics.gram import prepared_gram
from reshim.physics.maps import default_estimator
from reshim.physics.noise_level import relative_noise
from reshim.physics.scaling import per_item
from reshim.physics.sense import SenseOperator, SetImage
from reshim.solvers import conjugate_gradient
from reshim.types import Image, MapEstimator, Measurement, Reconstructor


@dataclass(frozen=True)
class Sense:
    """CG-SENSE with a ridge."""

    ridge: float = 1.3
    """Weight of ||x||^2 against the acquired samples' misfit, times `relative_noise`. Tuned on P."""

    times_noise: bool = True
    """False takes `ridge` as it is; A^H A has no eigenvalue above 1, whatever the units of the data."""

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
        if is_volume(measurement):
            return slice_by_slice(self, measurement)
        return self.solve(measurement)

    def solve(self, measurement: Measurement) -> Image:
        """The same with a gradient of the k-space through every iteration; maps and weight are constants."""
        measurement = measurement.with_maps(self.estimate_maps)
        operator = SenseOperator.of(measurement)
        rhs = operator.adjoint(torch.where(measurement.mask, measurement.kspace, 0))
        gram = prepared_gram(operator)
        ridge = self.weight(measurement)
        images = conjugate_gradient(
            lambda image: gram(image) + ridge * image,
            rhs,
            self.iterations,
            tolerance=self.tolerance,
            item_dims=3,
        )
        return shown(images)

    @torch.no_grad()
    def weight(self, measurement: Measurement) -> Tensor:
        """The ridge of each batch item, shaped to meet (batch, set, row, column)."""
        if self.ridge == 0 or not self.times_noise:
            return measurement.kspace.real.new_tensor(self.ridge)
        return per_item(self.ridge * relative_noise(measurement), 3)


def shown(images: SetImage) -> Image:
    """One image of several sets: the magnitude of all, the phase of the first."""
    if images.shape[-3] == 1:
        return images[..., 0, :, :]
    size = images.abs().square().sum(-3).sqrt()
    return torch.polar(size, images[..., 0, :, :].angle())


def is_volume(measurement: Measurement) -> bool:
    """Several slices on a processor, where one at a time is as fast and holds one slice's memory."""
    return measurement.kspace.shape[0] > 1 and measurement.kspace.device.type == "cpu"


def slice_by_slice(reconstruct: Reconstructor, measurement: Measurement) -> Image:
    """The image of a volume whose slices meet one at a time whatever the method needs."""
    return torch.cat([reconstruct(measurement.item(i)) for i in range(measurement.kspace.shape[0])])
