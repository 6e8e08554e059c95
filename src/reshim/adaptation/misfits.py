"""How far an image is from samples: the errors that fits are stopped and judged by.

Every one is of a fold, some of the acquired samples, and sees no others.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.physics.sense import SenseOperator
from reshim.types import Image, Mask, Measurement


def gain_of(image: Image, before: Image, measurement: Measurement, fold: Mask) -> tuple[float, float]:
    """How much better one image predicts the samples of a fold than another, and the standard error of that.

    The unit is one held-out column (or sample) of one slice, so that a single slice has an error too; its
    gain is the logarithm of the ratio of the misfits' energies, so that columns near and far from frequency 0
    count alike.
    """
    gain = torch.log(unit_energies(before, measurement, fold) / unit_energies(image, measurement, fold))
    if gain.numel() < 2:
        return gain.mean().item(), 0.0
    return gain.mean().item(), (gain.std() / gain.numel() ** 0.5).item()


def fold_error(image: Image, measurement: Measurement, fold: Mask) -> Tensor:
    """||M (A x - y)||_1 / ||M y||_1 for each slice, M a fold; complex magnitudes."""
    wanted = torch.where(fold, measurement.kspace, 0)
    misfit = _misfit(image, measurement, fold).abs().sum((-3, -2, -1))
    return misfit / wanted.abs().sum((-3, -2, -1)).clamp_min(torch.finfo(misfit.dtype).tiny)


def misfit_over_noise(
    image: Image, measurement: Measurement, fold: Mask, noise: Float[Tensor, "*batch"]
) -> float:
    """Root mean square of M (A x - y) over that of its noise, M a fold; 1 where noise alone is left.

    `noise` is the deviation of one sample's real part, for each slice; energies are averaged over slices.
    """
    misfit = _misfit(image, measurement, fold)
    energy = misfit.abs().double().square().sum((-3, -2, -1))
    n_samples = fold.expand_as(misfit).sum((-3, -2, -1))
    expected = (2 * noise.double().square() * n_samples).clamp_min(torch.finfo(torch.float64).tiny)
    return (energy / expected).mean().sqrt().item()


def unit_energies(image: Image, measurement: Measurement, fold: Mask) -> Tensor:
    """Energy of the misfit in each held-out column (or, of a 2-D mask, sample) of each slice, flattened."""
    misfit = _misfit(image, measurement, fold)
    by_column = fold.shape[-2] == 1
    energy = misfit.abs().square().sum((-3, -2) if by_column else -3)
    held = (fold.squeeze(-2) if by_column else fold).squeeze(1)
    return energy[held].clamp_min(torch.finfo(energy.dtype).tiny)


def _misfit(image: Image, measurement: Measurement, fold: Mask) -> Tensor:
    """M (A x - y), (slice, coil, row, column)."""
    operator = SenseOperator(measurement.maps, fold)  # type: ignore[arg-type]
    return operator.forward(image.unsqueeze(-3)) - torch.where(fold, measurement.kspace, 0)
