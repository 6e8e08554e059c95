"""How noisy a measurement is, from its own acquired samples: what regularisation weights are multiples of.

Source: the tail of a calibration matrix's singular values is noise (M. Uecker et al., Magn. Reson. Med.
71:990 (2014) cut it off; here it is measured).
Ours differs: the mean of the smaller half of the squared singular values, scaled once by what simulated scans
of known noise showed. It is right to about a third, which a weight does not feel.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.physics.espirit import Block, calibration_block, calibration_windows, central_part
from reshim.physics.maps import ENOUGH_SAMPLES, FEWEST_SAMPLES
from reshim.physics.one_each import one_each
from reshim.physics.scaling import intensity_scale
from reshim.types import Measurement

SMALLER_HALF = 0.85
"""Estimate over truth on simulated knees of 1.5 and 3 T: 0.76 to 0.90 at 8 to 24 calibration columns."""
BORDER = 0.9
"""Without a calibration block, samples farther out than this share of either axis count as noise."""


@torch.no_grad()
def noise_level(measurement: Measurement) -> Float[Tensor, "*batch"]:
    """Deviation of the real part of one sample's noise, in file units: as stated, or else estimated."""
    batch = measurement.kspace.shape[:-3]
    if measurement.noise_std is not None:
        return measurement.noise_std.to(measurement.kspace.real.dtype).expand(batch)
    if min(measurement.calibration.shape) < FEWEST_SAMPLES:
        return _of_the_border(measurement)
    return _of_the_windows(central_part(calibration_block(measurement), 24))


def relative_noise(measurement: Measurement) -> Float[Tensor, "*batch"]:
    """Noise over the intensity of bright tissue: dimensionless, the same whatever the file's units."""
    return noise_level(measurement) / intensity_scale(measurement)


def _of_the_windows(block: Block) -> Float[Tensor, "*batch"]:
    windows = calibration_windows(block, 6 if min(block.shape[-2:]) >= ENOUGH_SAMPLES else 4)
    scale = windows.abs().amax((-2, -1), keepdim=True)
    # Squared singular values of noise are a millionth of the signal's: too little for single precision.
    windows = (windows / torch.where(scale > 0, scale, 1)).to(torch.complex128)
    tall = windows.shape[-2] >= windows.shape[-1]
    gram = windows.mH @ windows if tall else windows @ windows.mH
    each = list(one_each(torch.linalg.eigvalsh, gram.flatten(0, -3) if gram.ndim > 2 else gram[None]))
    energies = torch.stack(each).reshape(gram.shape[:-1]).clamp_min(0)
    smaller = energies[..., : energies.shape[-1] // 2].mean(-1) / max(windows.shape[-2:])
    return ((smaller / 2).sqrt() / SMALLER_HALF).to(scale.dtype) * scale[..., 0, 0]


def _of_the_border(measurement: Measurement) -> Float[Tensor, "*batch"]:
    shape = measurement.kspace.shape[-2:]
    rows, columns = (_distance(size, measurement.kspace) for size in shape)
    outside = torch.maximum(rows[:, None], columns) > BORDER
    everywhere = measurement.mask.expand(*measurement.mask.shape[:-2], *shape)
    chosen = (everywhere & measurement.acquirable & outside).expand(measurement.kspace.shape).flatten(-3)
    energies = measurement.kspace.flatten(-3).abs().square()
    median = torch.where(chosen, energies, torch.nan).nanmedian(-1).values
    # The median of a complex Gaussian's energy is 2 ln 2 times the variance of its real part.
    return (median / (2 * torch.log(torch.tensor(2.0)))).sqrt().nan_to_num(0.0)


def _distance(size: int, like: Tensor) -> Tensor:
    return (torch.arange(size, device=like.device) - size // 2).abs() / (size / 2)
