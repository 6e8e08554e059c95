"""Repairs that cost nothing, to be tried before any weight is moved: how much of a gap do they close?

A published knee network gains 0.105 SSIM on one slice of another collection by nothing but a matched
resolution (sample notebooks of M. Z. Darestani, A. S. Chaudhari, R. Heckel, ICML 2021, arXiv:2102.06103).
Each repair is a reconstructor around a reconstructor and sees the measurement alone. The scale of the
intensities needs none: every network here divides by its own measurement's.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reshim.physics.fourier import center_crop, center_pad, to_image, to_kspace
from reshim.physics.gram import prepared_gram
from reshim.physics.maps import default_estimator
from reshim.physics.noise_level import relative_noise
from reshim.physics.scaling import per_item
from reshim.physics.sense import SenseOperator
from reshim.solvers import conjugate_gradient
from reshim.types import Calibration, Image, MapEstimator, Measurement, ReadoutAxis, Reconstructor


@dataclass(frozen=True)
class DataConsistent:
    """One solve after the network: argmin_x ||A x - y||^2 + weight ||x - network||^2."""

    base: Reconstructor

    weight: float = 1.3
    """Of the network's image, in multiples of the measurement's relative noise."""

    iterations: int = 10

    estimate: MapEstimator = default_estimator

    train_seed: int | None = None

    has_phase = True

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Image:
        """Return the image that agrees with the acquired samples and is otherwise the network's."""
        measurement = measurement.with_maps(self.estimate)
        start = self.base(measurement).unsqueeze(-3)
        operator = SenseOperator.of(measurement)
        gram = prepared_gram(operator)
        weight = per_item(self.weight * relative_noise(measurement), 3)
        sets = operator.maps.shape[-4]
        start = torch.cat((start, start.new_zeros(*start.shape[:-3], sets - 1, *start.shape[-2:])), -3)
        data = operator.adjoint(torch.where(measurement.mask, measurement.kspace, 0))
        return conjugate_gradient(
            lambda image: gram(image) + weight * image,
            data + weight * start,
            self.iterations,
            start=start,
            item_dims=3,
        )[..., 0, :, :]


@dataclass(frozen=True)
class Transposed:
    """The network is shown the scan with rows and columns exchanged, and its image is turned back."""

    base: Reconstructor
    estimate: MapEstimator = default_estimator
    train_seed: int | None = None
    has_phase = True

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image in the measurement's own orientation."""
        return self.base(transposed(measurement.with_maps(self.estimate))).transpose(-1, -2)


@dataclass(frozen=True)
class Resampled:
    """The network is shown pixels of another size: k-space is padded with zeros that nobody could acquire."""

    base: Reconstructor

    factor: float
    """Pixel size of this scan over that of the network's training scans, above 1: pixels get smaller."""

    estimate: MapEstimator = default_estimator
    train_seed: int | None = None
    has_phase = True

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor is {self.factor}; padding makes pixels smaller, so it is at least 1")

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image on the measurement's own matrix."""
        measurement = measurement.with_maps(self.estimate)
        shape = measurement.kspace.shape[-2], measurement.kspace.shape[-1]
        larger = self.base(padded(measurement, self.factor))
        return to_image(center_crop(to_kspace(larger), shape))


def transposed(measurement: Measurement) -> Measurement:
    """Rows and columns exchanged, in everything that has them."""
    calibration = measurement.calibration
    exchanged: dict[ReadoutAxis | None, ReadoutAxis | None] = {"row": "column", "column": "row", None: None}
    turned: dict[str, Tensor | None] = {
        name: None if (value := getattr(measurement, name)) is None else value.transpose(-1, -2).contiguous()
        for name in ("kspace", "mask", "acquirable", "maps")
    }
    return replace(
        measurement,
        **turned,  # type: ignore[arg-type]
        calibration=Calibration(
            calibration.column_start, calibration.column_stop, calibration.row_start, calibration.row_stop
        ),
        crop=(measurement.crop[1], measurement.crop[0]),
        readout_axis=exchanged[measurement.readout_axis],
    )


def padded(measurement: Measurement, factor: float) -> Measurement:
    """The same scan on a finer grid: the new samples of k-space are 0, not acquired and not acquirable."""
    rows, columns = measurement.kspace.shape[-2:]
    shape = _even(rows * factor, rows), _even(columns * factor, columns)

    def mask_of(mask: Tensor) -> Tensor:
        return center_pad(mask.expand(*mask.shape[:-2], rows, columns).float(), shape) > 0

    top, left = shape[0] // 2 - rows // 2, shape[1] // 2 - columns // 2
    block = measurement.calibration
    maps = measurement.maps
    if maps is not None:
        # Interpolated between pixels; the Fourier way would ring at the edge of the support.
        flat = torch.view_as_real(maps.flatten(0, -3)).movedim(-1, 1)
        finer = torch.nn.functional.interpolate(flat, shape, mode="bilinear", align_corners=False)
        maps = torch.complex(finer[:, 0], finer[:, 1]).view(*maps.shape[:-2], *shape)
        norm = torch.linalg.vector_norm(torch.view_as_real(maps), dim=(-4, -1), keepdim=True)[..., 0]
        maps = torch.where(norm > 0.5, maps / norm.clamp_min(0.5), 0)
    return replace(
        measurement,
        kspace=center_pad(torch.where(measurement.mask, measurement.kspace, 0), shape),
        mask=mask_of(measurement.mask),
        acquirable=mask_of(measurement.acquirable),
        maps=maps,
        calibration=Calibration(
            block.row_start + top, block.row_stop + top, block.column_start + left, block.column_stop + left
        ),
        crop=(round(measurement.crop[0] * shape[0] / rows), round(measurement.crop[1] * shape[1] / columns)),
    )


def _even(length: float, least: int) -> int:
    """The length whose parity is that of the old one, so that the centres meet."""
    rounded = round(length)
    return max(least, rounded + (rounded - least) % 2)
