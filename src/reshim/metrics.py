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
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the name the field uses
from jaxtyping import Bool, Float
from torch import Tensor

from reshim.compiled_ssim import LARGE, compiled_ssim_map, installed
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
    scale = data_range[..., None, None]
    if image.ndim == 3 and not (torch.is_grad_enabled() and (image.requires_grad or reference.requires_grad)):
        if image.numel() >= LARGE and _is_plain(image, reference) and installed():
            volume, truth = (each.detach().contiguous().numpy() for each in (image, reference))
            ranges = data_range.detach().expand(len(image)).numpy()
            return torch.from_numpy(compiled_ssim_map(volume, truth, ranges, torch.get_num_threads()))
        # A slice at a time stays in the processor's cache.
        scales = scale.expand(len(image), 1, 1)
        parts = zip(image, reference, scales, strict=True)
        return torch.stack([_ssim_map_in_place(*part) for part in parts])
    return _ssim_map(image, reference, scale)


def _is_plain(*images: Tensor) -> bool:
    return all(each.device.type == "cpu" and each.dtype == torch.float32 for each in images)


def _ssim_map(image: Tensor, reference: Tensor, scale: Tensor) -> Tensor:
    ratio = WINDOW**2 / (WINDOW**2 - 1)  # sample covariance
    # Variances are needed as their sum alone: four means in place of five.
    squares = image * image + reference * reference
    stack = torch.stack((image, reference, squares, image * reference))
    mean_x, mean_y, both, xy = _BoxSum.apply(_BoxSum.apply(stack, -2), -1) / WINDOW**2
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    products, energies = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    variances, covariance = ratio * (both - energies), ratio * (xy - products)
    return ((2 * products + c1) * (2 * covariance + c2)) / ((energies + c1) * (variances + c2))


def _ssim_map_in_place(image: Tensor, reference: Tensor, scale: Tensor) -> Tensor:
    """The same without gradients: half the time, for most of it goes into moving memory."""
    count = WINDOW**2
    ratio = count / (count - 1)
    stack = torch.empty((4, *image.shape), dtype=image.dtype, device=image.device)
    stack[0], stack[1] = image, reference
    torch.mul(image, image, out=stack[2]).addcmul_(reference, reference)
    torch.mul(image, reference, out=stack[3])
    sum_x, sum_y, both, xy = _box_sum(_box_sum(stack, -2), -1)
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    products, energies = sum_x * sum_y, sum_x.square_().addcmul_(sum_y, sum_y)
    covariance = xy.mul_(2 * ratio / count).sub_(products, alpha=2 * ratio / count**2).add_(c2)
    variances = both.mul_(ratio / count).sub_(energies, alpha=ratio / count**2).add_(c2)
    luminance = products.mul_(2 / count**2).add_(c1)
    return luminance.mul_(covariance).div_(energies.div_(count**2).add_(c1).mul_(variances))


class _BoxSum(torch.autograd.Function):
    """Sums of seven neighbours along an axis, from sums of two and of four; the gradient likewise."""

    @staticmethod
    def forward(context: Any, values: Tensor, axis: int) -> Tensor:
        """As many fewer values as the window is long, less one."""
        context.axis = axis
        return _box_sum(values, axis)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Each value stood in seven sums."""
        margin = [WINDOW - 1] * 2
        padded = F.pad(gradient, margin if context.axis == -1 else [0, 0, *margin])
        return _BoxSum.apply(padded, context.axis), None


def _box_sum(values: Tensor, axis: int) -> Tensor:
    length = values.shape[axis]
    two = values.narrow(axis, 0, length - 1) + values.narrow(axis, 1, length - 1)
    four = two.narrow(axis, 0, length - 3) + two.narrow(axis, 2, length - 3)
    six = four.narrow(axis, 0, length - 6).add_(two.narrow(axis, 4, length - 6))
    return six.add_(values.narrow(axis, 6, length - 6))


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
