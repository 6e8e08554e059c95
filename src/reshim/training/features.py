"""What a slice looks like in a few numbers, for a shift alarm to compare with training.

All come from acquired samples alone and none changes when the scan is multiplied by a number: radial
log-power of k-space relative to the whole (how fast signal falls off: contrast, anatomy, resolution),
eigenvalues of the coils' correlation (the coil array and what lies in it), how far the centre stands above
the outermost samples (signal-to-noise ratio); of the zero-filled image its tones, how bright its darker and
brighter pixels are against the mean (contrast: fluid is dark in T1, bright in T2), and its depths, how bright
the body is below its edge and further in (fat under the skin, suppressed or not).
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.physics.fourier import to_image
from reshim.types import Measurement

RINGS = 12
"""Rings of equal width from frequency 0 to the nearest edge of k-space; the corners join the last."""

EIGENVALUES = 4
"""Largest shares of the coils' correlation; missing coils count 0."""

TONES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
"""Quantiles of the zero-filled magnitude among the pixels that are brighter than a tenth of the brightest."""

DEPTHS = (0.0, 0.1, 0.2, 0.4, 1.0)
"""Bounds of the shells of the body, over its largest depth."""

BODY = 0.3
"""Of the brightest pixels' magnitude, from which on a pixel is the body's edge."""

KSPACE = RINGS + EIGENVALUES + 1
PARTS = (KSPACE, len(TONES) + 1, len(DEPTHS) - 1)
"""Features of k-space, tones and depths, in this order; a run made earlier has the first or the first two."""

Features = Float[Tensor, "batch feature"]


def features(measurement: Measurement) -> Features:
    """The features of each slice: log-power of each ring, coil shares, dynamic range, tones, depths."""
    kspace = measurement.kspace
    power = torch.view_as_real(kspace).double().square().sum((-1, -4))
    acquired = (measurement.mask & measurement.acquirable).squeeze(-3).expand(power.shape)
    rings = _rings(power.shape[-2:], power.device)
    means = torch.stack([_mean(power, acquired & (rings == ring)) for ring in range(RINGS)], -1)
    total = _mean(power, acquired)[:, None]
    tiny = torch.finfo(means.dtype).tiny
    radial = torch.log10((means / total.clamp_min(tiny)).clamp_min(1e-12))
    spread = radial.amax(-1, keepdim=True) - radial[:, -3:].amin(-1, keepdim=True)
    images = _zero_filled(measurement)
    tones = torch.stack([_tones(pixels) for pixels in images.flatten(1)])
    depths = torch.stack([_depths(image) for image in images])
    return torch.cat([radial, _coil_shares(kspace), spread, tones, depths], -1).float()


def _zero_filled(measurement: Measurement) -> Float[Tensor, "batch row column"]:
    kspace = torch.where(measurement.mask & measurement.acquirable, measurement.kspace, 0)
    return to_image(kspace).abs().square().sum(1).sqrt().double()


def _tones(pixels: Float[Tensor, " pixel"]) -> Tensor:
    body = pixels[pixels >= 0.1 * pixels.quantile(0.99)]
    quantiles = body.quantile(torch.tensor(TONES, dtype=pixels.dtype, device=pixels.device))
    tiny = torch.finfo(pixels.dtype).tiny
    relative = torch.cat(
        [quantiles / body.mean().clamp_min(tiny), quantiles.new_tensor([body.numel() / pixels.numel()])]
    )
    return torch.log10(relative.clamp_min(1e-12))


def _depths(image: Float[Tensor, "row column"]) -> Tensor:
    """Brightness of each shell against the body's mean; 0 where a shell is empty."""
    depth = depth_of(image >= BODY * image.quantile(0.99)).to(image.dtype)
    depth = depth / depth.max().clamp_min(1)
    tiny = torch.finfo(image.dtype).tiny
    mean = image[depth > 0].mean().clamp_min(tiny) if (depth > 0).any() else image.new_tensor(tiny)
    logs = []
    for low, high in pairwise(DEPTHS):
        shell = image[(depth > low) & (depth <= high)]
        logs.append(torch.log10((shell.mean() / mean).clamp_min(1e-3)) if len(shell) else mean.new_zeros(()))
    return torch.stack(logs)


def depth_of(body: Tensor) -> Tensor:
    """Pixels from a body's edge along row or column, whichever is nearer; what it surrounds is inside."""
    along = []
    for axis in (0, 1):
        begun = body.long().cumsum(axis) > 0
        left = body.flip(axis).long().cumsum(axis).flip(axis) > 0
        inside = (begun & left).long()
        along.append(torch.minimum(inside.cumsum(axis), inside.flip(axis).cumsum(axis).flip(axis)) * inside)
    return torch.minimum(*along)


def _rings(shape: torch.Size, device: torch.device) -> Tensor:
    rows, columns = (
        (torch.arange(size, device=device) - size // 2).double().abs() / max(size / 2, 1) for size in shape
    )
    radius = (rows[:, None].square() + columns[None].square()).sqrt()
    return (radius * RINGS).long().clamp_max(RINGS - 1)


def _mean(power: Tensor, where: Tensor) -> Tensor:
    return (power * where).sum((-2, -1)) / where.sum((-2, -1)).clamp_min(1)


def _coil_shares(kspace: Tensor) -> Tensor:
    flat = kspace.flatten(-2).to(torch.complex128)
    values = torch.linalg.eigvalsh(flat @ flat.mH).flip(-1).clamp_min(0)
    shares = values / values.sum(-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    return torch.nn.functional.pad(shares, (0, max(EIGENVALUES - shares.shape[-1], 0)))[:, :EIGENVALUES]
