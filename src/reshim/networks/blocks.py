"""The two blocks that U-nets are built of: convolve, normalise each channel, leaky ReLU.

Source: J. Zbontar et al., arXiv:1811.08839 (fastMRI); the normalisation is D. Ulyanov et al.,
arXiv:1607.08022.
Ours differs: the same numbers from the same weights, in less time. A group norm with one channel a group is
an instance norm, and on a CPU three to five times quicker. Where the channels of large images lie last in
memory, a CPU convolves few of them in half the time, and pools and upsamples in a fifth of it; PyTorch's own
norm errs by 1e-4 there and its gradient is slow, so that both are written anew.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
EPSILON = 1e-5
STRIP = 32
"""Rows of pixels that are multiplied at a time."""

LARGE = 160 * 160
"""Pixels from which the layout pays; on fewer, our norm's many small steps cost more than it saves."""

Rows = Float[Tensor, "batch row along"]
Factor = Float[Tensor, "batch channel"]


def laid_out(image: Tensor) -> Tensor:
    """The same image as the device likes it: on a CPU a large one with its channels last."""
    n_channels, n_rows, n_columns = image.shape[1:]
    if image.device.type != "cpu" or n_rows * n_columns < LARGE:
        return image
    image = image.contiguous(memory_format=torch.channels_last)
    # One channel lies both ways; its strides have to say which is meant.
    steps = (n_channels * n_rows * n_columns, 1, n_channels * n_columns, n_channels)
    return image.as_strided(image.shape, steps) if n_channels == 1 else image


def normalise_and_activate_(image: Tensor) -> Tensor:
    """Zero mean and unit deviation for each channel of each item, then leaky ReLU; `image` is used up."""
    if _lies_channels_last(image):
        activated: Tensor = _NormaliseAndActivate.apply(image)
        return activated
    return functional.leaky_relu_(functional.group_norm(image, image.shape[1], eps=EPSILON), SLOPE)


def _lies_channels_last(image: Tensor) -> bool:
    """Not where there is one channel or one pixel, for then both layouts are the same."""
    last = image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
    # PyTorch's norm is quick in bfloat16, its gradient is not, and what it errs by is less than the rounding.
    quick = image.dtype == torch.bfloat16 and not torch.is_grad_enabled()
    return last and not quick and image.dtype != torch.float16 and not torch.compiler.is_compiling()


class _NormaliseAndActivate(torch.autograd.Function):
    """With y the result, s the slope at it and d the deviation, the gradient of g is

        (s g - mean(s g) - (y / s) mean(g y)) / d

    y alone is kept, which the next convolution keeps as well; the plain layers keep their input too. What is
    in bfloat16 is summed in single precision, and its gradient takes a twentieth of PyTorch's time.
    """  # fmt: skip

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            rows, n_channels = _rows(_summed_exactly(image)), image.shape[1]
            rows.sub_(_along_row(_mean(rows, n_channels), rows))
            inverse = (_mean_of_product(rows, rows, n_channels) + EPSILON).rsqrt_()
            functional.leaky_relu_(rows.mul_(_along_row(inverse, rows)), SLOPE)
        if image.dtype == torch.bfloat16:
            image = _as_image(rows, image).to(image.dtype)
        else:
            ctx.mark_dirty(image)
        ctx.save_for_backward(image, inverse)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        image, inverse = ctx.saved_tensors
        n_channels = image.shape[1]
        with torch.autocast(image.device.type, enabled=False):
            result, upper = _rows(_summed_exactly(image)), _rows(_summed_exactly(gradient))
            alike = _mean_of_product(upper, result, n_channels)
            upper = torch.ops.aten.leaky_relu_backward(upper, result, SLOPE, True)
            offset = _mean(upper, n_channels)
            found = functional.leaky_relu(result, 1 / SLOPE).mul_(_along_row(-alike * inverse, result))
            found.sub_(_along_row(offset * inverse, result)).addcmul_(upper, _along_row(inverse, result))
        return _as_image(found, image).to(gradient.dtype)


def _summed_exactly(image: Tensor) -> Tensor:
    return image.float() if image.dtype == torch.bfloat16 else image


def _as_image(rows: Rows, image: Tensor) -> Tensor:
    return rows.view(image.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)


def _rows(image: Tensor) -> Rows:
    """A row of pixels as one axis: a factor a channel, repeated along it, is then applied at full speed."""
    n_batch, n_channels, n_rows, n_columns = image.shape
    image = image.contiguous(memory_format=torch.channels_last)
    return image.permute(0, 2, 3, 1).view(n_batch, n_rows, n_columns * n_channels)


def _mean(rows: Rows, n_channels: int) -> Factor:
    """The mean of each channel; over rows by a matrix product, the quickest sum along that axis."""
    n_batch, n_rows, length = rows.shape
    weights = rows.new_full((n_batch, 1, n_rows), n_channels / (n_rows * length))
    return torch.bmm(weights, rows).view(n_batch, -1, n_channels).sum(1)


def _mean_of_product(first: Rows, second: Rows, n_channels: int) -> Factor:
    """Strip upon strip of products, in the cache, so that no sum is long.

    Every channel with every other by one matrix product needs no strips, but of up to eleven channels it sums
    all pixels in sequence, and errs by 1e-5.
    """
    strip, *firsts = first.split(STRIP, 1)
    other, *seconds = second.split(STRIP, 1)
    strip = strip * other
    for one, other in zip(firsts, seconds, strict=True):
        strip[:, : one.shape[1]].addcmul_(one, other)
    return _mean(strip, n_channels) * (strip.shape[1] / first.shape[1])


def _along_row(factor: Factor, rows: Rows) -> Float[Tensor, "batch 1 along"]:
    return factor.repeat(1, rows.shape[2] // factor.shape[1]).unsqueeze(1)


class ConvolutionBlock(nn.Module):
    """Twice: 3x3 convolution without bias, instance norm, leaky ReLU, dropout of whole channels."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        # The keys are the places of the convolutions among fastMRI's layers.
        self.layers = nn.ModuleDict(
            {"0": _convolution(in_channels, out_channels), "4": _convolution(out_channels, out_channels)}
        )
        self.dropout = dropout

    def forward(self, image: Tensor) -> Tensor:
        """Same rows and columns, `out_channels` channels."""
        for convolution in self.layers.values():
            image = normalise_and_activate_(convolution(image))
            if self.dropout:
                image = functional.dropout2d(image, self.dropout, self.training)
        return image


class UpsamplingBlock(nn.Module):
    """2x2 transposed convolution of stride 2 without bias, instance norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        transposed = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2, bias=False)
        self.layers = nn.ModuleDict({"0": transposed})

    def forward(self, image: Tensor) -> Tensor:
        """Twice the rows and columns."""
        return normalise_and_activate_(self.layers["0"](image))


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
