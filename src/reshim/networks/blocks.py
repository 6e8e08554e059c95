"""The two blocks that U-nets are built of: convolve, normalise each channel, leaky ReLU.

Source: J. Zbontar et al., arXiv:1811.08839 (fastMRI); the normalisation is D. Ulyanov et al.,
arXiv:1607.08022.
Ours differs: the same numbers from the same weights, in less time. A group norm with one channel a group is
an instance norm, and on a CPU three to five times quicker. Where the channels of large images lie last in
memory, a CPU convolves few of them in half the time, and pools and upsamples in a fifth of it; PyTorch's own
norm errs by 1e-4 there and its gradient is slow, so that both are written anew. Without AVX-512 the gradient
for the weights of many channels takes two to four times as long in that layout: there such networks are
trained in the other one.
"""

from dataclasses import dataclass
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

MANY = 16
"""Channels of a network from which their layout decides over the gradient's time on CPUs without AVX-512."""

SLOW_GRADIENTS = ("AVX2",)
"""What torch calls CPUs on which the weights' gradient was seen to be slow with channels last."""

Rows = Float[Tensor, "batch row along"]
Factor = Float[Tensor, "batch channel"]


def laid_out(image: Tensor, channels: int) -> Tensor:
    """The same image as the device likes it for a network of so many channels and more.

    On a CPU a large one with its channels last; but for gradients of `MANY` channels not on every CPU.
    """
    n_channels, n_rows, n_columns = image.shape[1:]
    if image.device.type != "cpu" or n_rows * n_columns < LARGE:
        return image
    if channels >= MANY and torch.is_grad_enabled() and _gradients_are_slow():
        return image
    image = image.contiguous(memory_format=torch.channels_last)
    # One channel lies both ways; its strides have to say which is meant.
    steps = (n_channels * n_rows * n_columns, 1, n_channels * n_columns, n_channels)
    return image.as_strided(image.shape, steps) if n_channels == 1 else image


def _gradients_are_slow() -> bool:
    return torch.backends.cpu.get_cpu_capability() in SLOW_GRADIENTS


def normalise_and_activate_(image: Tensor) -> Tensor:
    """Zero mean and unit deviation for each channel of each item, then leaky ReLU; `image` is used up."""
    if _is_ours(image):
        activated: Tensor = _NormaliseAndActivate.apply(image)
        return activated
    return functional.leaky_relu_(functional.group_norm(image, image.shape[1], eps=EPSILON), SLOPE)


def _is_ours(image: Tensor) -> bool:
    """Where our own norm is quicker than PyTorch's, or its gradient keeps half as much."""
    if image.dtype == torch.float16 or torch.compiler.is_compiling():
        return False
    if _lies_channels_last(image):
        # PyTorch's norm is quick in bfloat16, its gradient is not; what it errs by is less than the rounding.
        return image.dtype != torch.bfloat16 or torch.is_grad_enabled()
    large = image.device.type == "cpu" and image.shape[-2] * image.shape[-1] >= LARGE
    return large and torch.is_grad_enabled() and image.dtype != torch.bfloat16


def _lies_channels_last(image: Tensor) -> bool:
    """Not where there is one channel or one pixel, for then both layouts are the same."""
    return image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()


class _NormaliseAndActivate(torch.autograd.Function):
    """With y the result, s the slope at it and d the deviation, the gradient of g is

        (s g - mean(s g) - (y / s) mean(g y)) / d

    y alone is kept, which the next convolution keeps as well; the plain layers keep their input too. What is
    in bfloat16 is summed in single precision, and its gradient takes a twentieth of PyTorch's time.
    """  # fmt: skip

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        layout = ctx.layout = (
            _ChannelsLast(*image.shape) if _lies_channels_last(image) else _ChannelsFirst(*image.shape)
        )
        with torch.autocast(image.device.type, enabled=False):
            rows = layout.rows(_summed_exactly(image))
            rows.sub_(layout.along(layout.mean(rows)))
            inverse = (layout.mean_of_product(rows, rows) + EPSILON).rsqrt_()
            functional.leaky_relu_(rows.mul_(layout.along(inverse)), SLOPE)
        if image.dtype == torch.bfloat16:
            image = layout.image(rows).to(image.dtype)
        else:
            ctx.mark_dirty(image)
        ctx.save_for_backward(image, inverse)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (image, inverse), layout = ctx.saved_tensors, ctx.layout
        with torch.autocast(image.device.type, enabled=False):
            result, upper = layout.rows(_summed_exactly(image)), layout.rows(_summed_exactly(gradient))
            alike = layout.mean_of_product(upper, result)
            upper = torch.ops.aten.leaky_relu_backward(upper, result, SLOPE, True)
            offset = layout.mean(upper)
            found = functional.leaky_relu(result, 1 / SLOPE).mul_(layout.along(-alike * inverse))
            found.sub_(layout.along(offset * inverse)).addcmul_(upper, layout.along(inverse))
        return layout.image(found).to(gradient.dtype)


def _summed_exactly(image: Tensor) -> Tensor:
    return image.float() if image.dtype == torch.bfloat16 else image


@dataclass(frozen=True)
class _ChannelsFirst:
    """How one reckons with images whose every channel lies in one piece."""

    n_batch: int
    n_channels: int
    n_rows: int
    n_columns: int

    def rows(self, image: Tensor) -> Rows:
        """A channel's pixels as one axis."""
        return image.contiguous().view(self.n_batch, self.n_channels, -1)

    def image(self, rows: Rows) -> Tensor:
        """Back."""
        return rows.view(self.n_batch, self.n_channels, self.n_rows, self.n_columns)

    def mean(self, rows: Rows) -> Factor:
        """The mean of each channel."""
        return rows.mean(-1)

    def mean_of_product(self, first: Rows, second: Rows) -> Factor:
        """The same of a product."""
        return torch.linalg.vecdot(first, second) / first.shape[-1]

    def along(self, factor: Factor) -> Float[Tensor, "batch channel 1"]:
        """A factor for each channel."""
        return factor.unsqueeze(-1)


@dataclass(frozen=True)
class _ChannelsLast:
    """The same of images of which each pixel's channels lie together."""

    n_batch: int
    n_channels: int
    n_rows: int
    n_columns: int

    def rows(self, image: Tensor) -> Rows:
        """A row of pixels as one axis: a factor a channel, repeated along it, is applied at full speed."""
        image = image.contiguous(memory_format=torch.channels_last)
        return image.permute(0, 2, 3, 1).view(self.n_batch, self.n_rows, -1)

    def image(self, rows: Rows) -> Tensor:
        """Back."""
        laid = rows.view(self.n_batch, self.n_rows, self.n_columns, self.n_channels)
        return laid.permute(0, 3, 1, 2)

    def mean(self, rows: Rows) -> Factor:
        """The mean of each channel; over rows by a matrix product, the quickest sum along that axis."""
        n_rows = rows.shape[1]
        weights = rows.new_full((self.n_batch, 1, n_rows), 1 / (n_rows * self.n_columns))
        return torch.bmm(weights, rows).view(self.n_batch, -1, self.n_channels).sum(1)

    def mean_of_product(self, first: Rows, second: Rows) -> Factor:
        """Strip upon strip of products, in the cache, so that no sum is long.

        Every channel with every other by one matrix product needs no strips, but of up to eleven channels it
        sums all pixels in sequence, and errs by 1e-5.
        """
        strip, *firsts = first.split(STRIP, 1)
        other, *seconds = second.split(STRIP, 1)
        strip = strip * other
        for one, other in zip(firsts, seconds, strict=True):
            strip[:, : one.shape[1]].addcmul_(one, other)
        return self.mean(strip) * (strip.shape[1] / self.n_rows)

    def along(self, factor: Factor) -> Float[Tensor, "batch 1 along"]:
        """A factor for each channel."""
        return factor.repeat(1, self.n_columns).unsqueeze(1)


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
