"""What a network sees of a measurement, and the way back: coil images, coil combination, scale, channels.

Every statistic is of acquired samples alone and one for each batch item.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.networks.consistency import solver_for
from reshim.physics.fourier import to_image
from reshim.physics.sense import SenseOperator, first_set
from reshim.types import Image, Measurement, RealImage

Channels = Float[Tensor, "batch channel row column"]
PerItem = Float[Tensor, "batch 1 1"]


def checked(measurement: Measurement) -> Measurement:
    """The measurement itself, if its k-space is (batch, coil, row, column).

    Raises
    ------
    ValueError
        If the k-space has another number of axes.
    """
    if measurement.kspace.ndim != 4:
        raise ValueError(
            f"{measurement.name}: k-space of shape {tuple(measurement.kspace.shape)}; a network takes "
            "(batch, coil, row, column): add the batch axis with kspace[None]"
        )
    return measurement


def root_sum_of_squares(measurement: Measurement) -> RealImage:
    """The zero-filled root-sum-of-squares image on the full matrix, in file units."""
    coil_images = to_image(measurement.kspace)
    # Unlike a square root of a sum, the norm has a finite gradient where every coil is 0.
    return torch.linalg.vector_norm(torch.view_as_real(coil_images), dim=(-4, -1))


def sense_combined(measurement: Measurement) -> Image:
    """A^H y with the first set of maps: complex, on the full matrix, in file units."""
    return first_set(SenseOperator.of(measurement).adjoint(measurement.kspace))


def sense_solved(measurement: Measurement, ridge: float, iterations: int) -> Image:
    """The CG-SENSE image of the first set of maps: complex, on the full matrix, in file units."""
    operator = SenseOperator.of(measurement)
    adjoint = operator.adjoint(measurement.kspace)
    solve = solver_for(operator, adjoint, iterations, implicit=True)
    return first_set(solve(adjoint.real.new_tensor(ridge), torch.zeros_like(adjoint)))


def with_default_maps(measurement: Measurement) -> Measurement:
    """The measurement with maps: its own, or else those of the default estimator."""
    if measurement.maps is not None:
        return measurement
    from reshim.physics.maps import default_estimator

    return measurement.with_maps(default_estimator)


def safe(scale: Tensor) -> Tensor:
    """The scale to divide by: 1 where a silent item has scale 0.

    Multiplied by the 0 itself on the way out, silence stays silence.
    """
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def mean_and_deviation(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over rows and columns, which stay as axes of 1."""
    deviation, mean = torch.std_mean(image, dim=(-2, -1), keepdim=True)
    return mean, deviation


def root_mean_square(image: Image) -> PerItem:
    """One real number an item, so that dividing by it keeps the phase."""
    norm = torch.linalg.vector_norm(image, dim=(-2, -1), keepdim=True)
    return norm / math.sqrt(image.shape[-2] * image.shape[-1])


def to_channels(image: Image) -> Channels:
    """Complex image to two channels, real and imaginary part."""
    # A view of the pairs would be laid out channels last, where torch's norms lose a digit.
    return torch.stack((image.real, image.imag), dim=-3)


def to_complex(channels: Channels) -> Image:
    """Two channels, real and imaginary part, to a complex image."""
    return torch.complex(channels[:, 0], channels[:, 1])


def real_to_complex(image: RealImage) -> Image:
    """The same image with zero phase."""
    return torch.complex(image, torch.zeros_like(image))
