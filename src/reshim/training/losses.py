"""Differences that training minimises: one number a batch item, scale-free, differentiable.

``l1``    sum |image - reference| / sum |reference|, as in M. Z. Darestani, J. Liu, R. Heckel, ICML 2022.
``ssim``  1 - SSIM with the volume's range, as in K. Lin and R. Heckel, ICML 2024.
Ours differs: each is taken item by item and averaged afterwards (the published l1 is a quotient of two sums
over the whole batch, so that bright slices outweigh dark ones), and images are divided by their range before
SSIM, whose fourth powers underflow single precision in the units of some files.
"""

from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.metrics import ssim
from reshim.physics.fourier import to_kspace
from reshim.types import Image, KSpace, Maps, Mask, RealImage

ImageLoss = Literal["l1", "ssim", "ssim+l1"]
PerItem = Float[Tensor, "batch"]


def image_losses(
    image: RealImage, reference: RealImage, data_range: PerItem, kind: ImageLoss
) -> dict[str, PerItem]:
    """The parts of a loss between magnitudes, by name; their sum is the loss."""
    parts: dict[str, PerItem] = {}
    if "ssim" in kind:
        parts["ssim"] = one_minus_ssim(image, reference, data_range)
    if "l1" in kind:
        parts["l1"] = relative_l1(image, reference)
    return parts


def one_minus_ssim(image: RealImage, reference: RealImage, data_range: PerItem) -> PerItem:
    """1 - SSIM of each item; 0 where the volume has no signal at all."""
    usable = data_range > 0
    scale = torch.where(usable, data_range, torch.ones_like(data_range))[:, None, None]
    value = 1 - ssim(image / scale, reference / scale, torch.ones_like(data_range))
    return torch.where(usable, value, torch.zeros_like(value))


def relative_l1(predicted: Tensor, wanted: Tensor) -> PerItem:
    """Sum of absolute differences over the sum of what was wanted, item by item; complex moduli.

    An item of which nothing was wanted has no relative error; it counts 0 and moves nothing.
    """
    axes = tuple(range(1, wanted.ndim))
    error, energy = (predicted - wanted).abs().sum(axes), wanted.abs().sum(axes)
    usable = energy > 0
    quotient = error / torch.where(usable, energy, torch.ones_like(energy))
    return torch.where(usable, quotient, torch.zeros_like(quotient))


def released_l1(predicted: Tensor, wanted: Tensor) -> Float[Tensor, ""]:
    """The released form: one quotient for the tensor, real and imaginary parts as entries of their own."""
    if wanted.is_complex():
        predicted, wanted = torch.view_as_real(predicted), torch.view_as_real(wanted)
    return (predicted - wanted).abs().sum() / wanted.abs().sum()


def predicted_kspace(image: Image, maps: Maps, mask: Mask) -> KSpace:
    """M F S x with the first set of maps: what the scanner would have acquired of this image."""
    return torch.where(mask, to_kspace(maps[..., 0, :, :, :] * image.unsqueeze(-3)), 0)


def split_norm(
    predicted: Complex[Tensor, "batch coil row column"],
    wanted: Complex[Tensor, "batch coil row column"],
    norm: Literal["sample", "batch"] = "sample",
) -> PerItem:
    """Half the relative l2 plus half the relative l1 misfit: the loss of SSDU.

    Source: B. Yaman et al., Magn. Reson. Med. 84:3172 (2020). Its l1 counts real and imaginary parts apart.
    With ``norm = "batch"`` the norms run over the batch as released; every item then gets that number.
    """
    error, energy = torch.view_as_real(predicted - wanted), torch.view_as_real(wanted)
    axes = tuple(range(1, error.ndim)) if norm == "sample" else tuple(range(error.ndim))
    tiny = torch.finfo(energy.dtype).tiny
    # The gradient of a root at 0 is infinite; an item that fits exactly must not make the step NaN.
    l2 = (error.square().sum(axes) + tiny).sqrt() / energy.square().sum(axes).sqrt().clamp_min(tiny)
    l1 = error.abs().sum(axes) / energy.abs().sum(axes).clamp_min(tiny)
    value = 0.5 * l2 + 0.5 * l1
    usable = energy.abs().sum(axes) > 0
    value = torch.where(usable, value, torch.zeros_like(value))
    return value if norm == "sample" else value.expand(predicted.shape[0])
