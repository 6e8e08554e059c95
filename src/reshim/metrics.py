"""Scores of an image against a reference: definitions that match the published ones to 1e-6.

All take real images ``(..., row, column)`` and one data range a batch item, and return one number a batch
item; all are differentiable. A metric's name says its definition:

``ssim``   7x7 uniform window, k1 0.01, k2 0.03, sample covariance, valid positions only, range of the
           volume. Z. Wang et al., IEEE Trans. Image Process. 13:600 (2004), as fastMRI computes it; equal to
           ``skimage.metrics.structural_similarity(gaussian_weights=False, win_size=7)``.
``psnr``   10 log10(range^2 / mean squared error).
``nmse``   squared norm of the error over squared norm of the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the name the field uses
from jaxtyping import Bool, Float
from torch import Tensor

from reshim.types import RealImage

Scores = Float[Tensor, "*batch"]
Region = Bool[Tensor, "*#batch row column"]

WINDOW = 7


def ssim_map(image: RealImage, reference: RealImage, data_range: Tensor) -> Tensor:
    """Structural similarity at each window that fits: ``(..., row - 6, column - 6)``.

    Raises
    ------
    ValueError
        If the images are smaller than the window.
    """
    if min(image.shape[-2:]) < WINDOW:
        raise ValueError(
            f"SSIM needs at least {WINDOW}x{WINDOW} pixels, the image has "
            f"{image.shape[-2]}x{image.shape[-1]}; enlarge the region"
        )
    image, reference = torch.broadcast_tensors(image, reference)
    ratio = WINDOW**2 / (WINDOW**2 - 1)  # sample covariance
    stack = torch.stack((image, reference, image * image, reference * reference, image * reference))
    flat = stack.reshape(-1, 1, *stack.shape[-2:])
    means = F.avg_pool2d(flat, WINDOW, stride=1).reshape(*stack.shape[:-2], stack.shape[-2] - 6, -1)
    mean_x, mean_y, xx, yy, xy = means
    scale = data_range[..., None, None]
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    var_x, var_y = ratio * (xx - mean_x * mean_x), ratio * (yy - mean_y * mean_y)
    covariance = ratio * (xy - mean_x * mean_y)
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )


def ssim(image: RealImage, reference: RealImage, data_range: Tensor, region: Region | None = None) -> Scores:
    """Mean of the SSIM map; with a region, its mean over the windows centred in the region."""
    values = ssim_map(image, reference, data_range)
    if region is None:
        return values.mean((-2, -1))
    margin = WINDOW // 2
    return _mean_over(values, region[..., margin:-margin, margin:-margin])


def psnr(image: RealImage, reference: RealImage, data_range: Tensor, region: Region | None = None) -> Scores:
    """Peak signal-to-noise ratio in decibel; the peak is the volume's range."""
    error = (image - reference) ** 2
    mean = error.mean((-2, -1)) if region is None else _mean_over(error, region)
    return 10 * torch.log10(data_range**2 / mean.clamp_min(torch.finfo(mean.dtype).tiny))


def nmse(image: RealImage, reference: RealImage, data_range: Tensor, region: Region | None = None) -> Scores:
    """Squared error norm over squared reference norm; `data_range` is not used."""
    weight = torch.ones_like(reference) if region is None else region.to(reference.dtype)
    error = (weight * (image - reference) ** 2).sum((-2, -1))
    energy = (weight * reference**2).sum((-2, -1))
    return error / energy.clamp_min(torch.finfo(energy.dtype).tiny)


METRICS: dict[str, Callable[..., Tensor]] = {"ssim": ssim, "psnr": psnr, "nmse": nmse}


def match_statistics(image: RealImage, reference: RealImage) -> RealImage:
    """The image with the reference's mean and standard deviation, slice by slice: for ``_matched`` scores."""
    mean, std = image.mean((-2, -1), keepdim=True), image.std((-2, -1), keepdim=True)
    target_mean, target_std = reference.mean((-2, -1), keepdim=True), reference.std((-2, -1), keepdim=True)
    return (image - mean) / std.clamp_min(torch.finfo(std.dtype).tiny) * target_std + target_mean


def support(reference: RealImage, volume_max: Tensor, threshold: float = 0.05, window: int = 7) -> Region:
    """Where the 7x7 mean of the reference lies above 5 % of its volume's maximum: the body, not the air."""
    padded = F.pad(reference.reshape(-1, 1, *reference.shape[-2:]), [window // 2] * 4, mode="replicate")
    mean = F.avg_pool2d(padded, window, stride=1).reshape(reference.shape)
    return mean > threshold * volume_max[..., None, None]


@dataclass(frozen=True, slots=True)
class MetricCard:
    """What a score means, to stand beside it."""

    name: str
    definition: str
    data_range: str
    source: str


CARDS = {
    "ssim": MetricCard(
        "ssim",
        "7x7 uniform window, k1 0.01, k2 0.03, sample covariance, valid windows",
        "maximum of the cropped reference over all slices of the volume",
        "Wang 2004, as fastMRI",
    ),
    "psnr": MetricCard(
        "psnr", "10 log10(range^2 / mean squared error), a slice", "as ssim", "fastMRI's, slice by slice"
    ),
    "nmse": MetricCard("nmse", "squared error norm over squared reference norm, a slice", "none", "fastMRI"),
}


def _mean_over(values: Tensor, region: Tensor) -> Tensor:
    weight = region.to(values.dtype).expand_as(values)
    # A slice without any support has no score in it: NaN, which evaluation leaves out.
    return (values * weight).sum((-2, -1)) / weight.sum((-2, -1))
