"""The one intensity scale that every method shares, from acquired samples alone.

Source: M. Lustig et al., Magn. Reson. Med. 58:1182 (2007) divide by the maximum of the density-compensated
zero-filled image, which is what makes a regularisation weight mean the same on every scan.
Ours differs: a percentile of the tapered calibration image, so that neither the mask, the acceleration, the
matrix nor a single bright pixel moves it. `kspace / scale` gives images whose bright tissue is about 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.physics.espirit import calibration_block, central_part
from reshim.physics.fourier import to_image
from reshim.types import Measurement

WIDTH = 24
"""Samples, along each axis, that the scale is taken from."""
SHARE = 0.99
"""Of the pixels, this share is darker than the scale."""


@torch.no_grad()
def intensity_scale(measurement: Measurement) -> Float[Tensor, "*batch"]:
    """What to divide k-space (or an image in file units) by, for each batch item; 1 for an empty slice.

    Twice the data has twice the scale. Without a calibration block the central samples stand in for it,
    corrected for how many of them were acquired.
    """
    if measurement.calibration.is_empty:
        acquired = torch.where(measurement.mask, measurement.kspace, 0)
        block = central_part(acquired, WIDTH)
        mask = central_part(
            measurement.mask.expand(*measurement.mask.shape[:-2], *acquired.shape[-2:]), WIDTH
        )
    else:
        block = central_part(calibration_block(measurement), WIDTH)
        mask = torch.ones_like(block[..., :1, :, :], dtype=torch.bool)
    taper = _hann(block.shape[-2], block)[:, None] * _hann(block.shape[-1], block)
    # On the block's own small grid an orthonormal transform gives larger values than on the full matrix.
    n_block = block.shape[-2] * block.shape[-1]
    n_full = measurement.kspace.shape[-2] * measurement.kspace.shape[-1]
    magnitude = to_image(block * taper).abs().square().sum(-3).sqrt() * (n_block / n_full) ** 0.5
    acquired_share = (taper * mask).sum((-3, -2, -1)) / taper.sum()
    scale = torch.quantile(magnitude.flatten(-2), SHARE, dim=-1) / acquired_share.clamp_min(1e-6)
    return torch.where(scale > 0, scale, 1)


def per_item(scale: Float[Tensor, "*batch"], trailing: int) -> Tensor:
    """The scale shaped so that it broadcasts over `trailing` axes behind the batch."""
    return scale.reshape(*scale.shape, *[1] * trailing)


def _hann(size: int, like: Tensor) -> Float[Tensor, " size"]:
    return torch.hann_window(size + 2, periodic=False, dtype=like.real.dtype, device=like.device)[1:-1]
