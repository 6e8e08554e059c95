"""What foretells the quality of an image: numbers from the measurement and the un-adapted image alone.

Two scores of the same network on the same scan differ by what the samples that it did not see say of it, by
the noise and by the rate; each is measured here without a reference. None changes when the scan is multiplied
by a number.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reshim.acquire import seen_through
from reshim.adaptation.beside import beside
from reshim.adaptation.folds import split_folds
from reshim.adaptation.misfits import fold_error, unit_energies
from reshim.classical.sense import Sense
from reshim.metrics import ssim, support
from reshim.physics.fourier import center_crop
from reshim.physics.noise_level import relative_noise
from reshim.types import Image, Measurement

NAMES = (
    "noise",
    "acceleration",
    "shift score",
    "residual",
    "held-out error",
    "held-out gain over CG-SENSE",
    "difference from CG-SENSE",
    "instability",
    "roughness",
)
"""Logarithms all: of the relative noise; of acquirable over acquired samples; of the shift score; of the
misfit on samples that were seen, and on columns that were not; of how much better those are predicted than by
CG-SENSE; of 1 - SSIM between both images; of the image's change when the columns are withheld; of the mean
step between neighbouring pixels over the mean pixel."""


@torch.no_grad()
def foretelling(
    measurement: Measurement,
    method: Callable[[Measurement], Image],
    shift_score: float,
    image: Image | None = None,
) -> Tensor:
    """The features of one scan in double precision, means over its slices, in the order of `NAMES`.

    `image` is the method's own on the whole measurement, if it is at hand.

    Raises
    ------
    ValueError
        If too few columns lie outside the calibration block to hold any out.
    """
    folds = split_folds(measurement, 0.1, 0.15)
    shown = seen_through(measurement, folds.fit | folds.stop)
    withheld, sense = method(shown), beside(method, Sense())
    image = method(measurement) if image is None else image
    gain = torch.log(
        unit_energies(sense(shown), measurement, folds.judge)
        / unit_energies(withheld, measurement, folds.judge)
    ).mean()
    mask = (measurement.mask & measurement.acquirable).expand(
        measurement.kspace.shape[0], *measurement.mask.shape[1:]
    )
    found = (
        _log(relative_noise(measurement)),
        _log(torch.tensor(_rate(measurement))),
        _log(torch.tensor(shift_score)),
        _log(fold_error(image, measurement, mask)),
        _log(fold_error(withheld, measurement, folds.judge)),
        gain,
        _log(_difference(image, sense(measurement), measurement.crop)),
        _log((withheld - image).abs().sum((-2, -1)) / _total(image)),
        _log((image.abs().diff(dim=-1).abs().sum((-2, -1))) / _total(image)),
    )
    return torch.stack([each.double().mean() for each in found])


def _rate(measurement: Measurement) -> float:
    shape = torch.broadcast_shapes(measurement.mask.shape, measurement.acquirable.shape)
    acquired = (measurement.mask & measurement.acquirable).expand(shape).sum()
    return float(measurement.acquirable.expand(shape).sum() / acquired.clamp_min(1))


def _difference(image: Image, other: Image, crop: tuple[int, int]) -> Tensor:
    """1 - SSIM inside the body of the two magnitudes, each slice; neither of them is the truth."""
    first, second = (center_crop(each, crop).abs().double() for each in (image, other))
    top = second.max().expand(second.shape[0])
    value = ssim(first, second, top, support(second, top))
    return (1 - value)[torch.isfinite(value)]


def _total(image: Image) -> Tensor:
    return image.abs().sum((-2, -1)).clamp_min(torch.finfo(image.real.dtype).tiny)


def _log(value: Tensor) -> Tensor:
    return torch.log(value.double().clamp_min(1e-9))
