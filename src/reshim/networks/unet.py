"""The U-net: an encoder and a decoder with skip connections, from the zero-filled image to the image.

Source: O. Ronneberger et al., MICCAI 2015, in the form and sizes of J. Zbontar et al., arXiv:1811.08839
(fastMRI), and of K. Lin and R. Heckel, ICML 2024, who train it on many distributions.
Ours differs: `UNetCore` computes what fastMRI's `Unet` computes and takes its weights by the same names;
around it, a complex input form (SENSE-combined, two channels, one real scale an item, so that the phase
is kept) stands beside the published magnitude form, and the network may add its input to its output.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reshim.networks.blocks import ConvolutionBlock, UpsamplingBlock
from reshim.networks.inputs import (
    Channels,
    checked,
    mean_and_deviation,
    real_to_complex,
    root_mean_square,
    root_sum_of_squares,
    safe,
    sense_combined,
    sense_solved,
    to_channels,
    to_complex,
    with_default_maps,
)
from reshim.physics.fourier import center_crop, center_pad
from reshim.types import Image, Measurement

INPUT_FORMS = ("magnitude", "complex")
STARTS = ("adjoint", "sense")


class UNetCore(nn.Module):
    """Tensors in, tensors out: fastMRI's U-net, weight for weight.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    channels
        Channels after the first convolution; they double at each pooling.
    poolings
        How often the image is halved.
    dropout
        Share of channels dropped in training.
    """

    def __init__(
        self, in_channels: int, out_channels: int, channels: int = 32, poolings: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(poolings + 1)]
        # The attributes carry fastMRI's names, so that its state dicts load as they are.
        self.down_sample_layers = nn.ModuleList(
            ConvolutionBlock(narrow, wide, dropout)
            for narrow, wide in zip([in_channels, *widths[:-2]], widths[:-1], strict=True)
        )
        self.conv = ConvolutionBlock(widths[-2], widths[-1], dropout)
        self.up_conv = nn.ModuleList()
        self.up_transpose_conv = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.up_transpose_conv.append(UpsamplingBlock(2 * width, width))
            self.up_conv.append(ConvolutionBlock(2 * width, width, dropout))
        self.up_conv[-1] = nn.Sequential(self.up_conv[-1], nn.Conv2d(channels, out_channels, kernel_size=1))
        self.smallest_side = 2 ** (poolings + 1)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.parameters()).dtype

    def forward(self, image: Channels) -> Channels:
        """Any size of at least 2^poolings on each side (twice that on one of them, in training)."""
        skipped: list[Tensor] = []
        for block in self.down_sample_layers:
            image = block(image)
            skipped.append(image)
            image = functional.avg_pool2d(image, 2)
        image = self.conv(image)
        for upsample, block in zip(self.up_transpose_conv, self.up_conv, strict=True):
            skip = skipped.pop()
            image = block(torch.cat([_grown_to(upsample(image), skip), skip], dim=1))
        return image


def _grown_to(image: Tensor, other: Tensor) -> Tensor:
    """Halving an odd side lost a row or a column: reflect one back."""
    rows, columns = (other.shape[axis] - image.shape[axis] for axis in (-2, -1))
    return functional.pad(image, (0, columns, 0, rows), "reflect") if rows or columns else image


class UNet(nn.Module):
    """Reconstructor: zero-filled image, U-net, image.

    Parameters
    ----------
    input
        ``"magnitude"``: root sum of squares of the zero-filled coil images, cut to `measurement.crop`, one
        channel, zero mean and unit deviation; the answer has no phase. ``"complex"``: the SENSE-combined
        zero-filled image on the full matrix, two channels, one real scale; needs maps and estimates them
        where the measurement has none.
    channels, poolings, dropout
        As in `UNetCore`.
    residual
        Add the input to the output, so that the network learns what is missing.
    clip
        Limit of the normalised magnitude, in deviations; fastMRI's public weights were trained with 6.
    start
        Of a complex input: ``"adjoint"``, the zero-filled image A^H y, or ``"sense"``, the CG-SENSE image, so
        that the network repairs what parallel imaging leaves: noise and residual aliasing.
    ridge, iterations
        Of that CG-SENSE; dimensionless.
    """

    def __init__(
        self,
        input: str = "magnitude",  # noqa: A002  (the word of the command line)
        channels: int = 32,
        poolings: int = 4,
        dropout: float = 0.0,
        residual: bool = False,
        clip: float | None = None,
        start: str = "adjoint",
        ridge: float = 0.02,
        iterations: int = 8,
    ) -> None:
        super().__init__()
        if input not in INPUT_FORMS:
            raise ValueError(f"input is {input!r}; a U-net takes 'magnitude' or 'complex'")
        if clip is not None and input == "complex":
            raise ValueError(f"clip is {clip}, which has no effect on a complex input; leave it out")
        if start not in STARTS or (start == "sense" and input == "magnitude"):
            raise ValueError(f"start is {start!r} with {input} input; it is 'adjoint', or 'sense' with complex input")
        self.settings = {
            "input": input,
            "channels": channels,
            "poolings": poolings,
            "dropout": dropout,
            "residual": residual,
            "clip": clip,
            "start": start,
            "ridge": ridge,
            "iterations": iterations,
        }
        self.start, self.ridge, self.iterations = start, ridge, iterations
        self.residual = residual
        self.limit = math.inf if clip is None else clip
        self.has_phase = self.needs_maps = input == "complex"
        n_channels = 2 if self.has_phase else 1
        self.core = UNetCore(n_channels, n_channels, channels, poolings, dropout)

    def forward(self, measurement: Measurement) -> Image:
        """(batch, row, column), complex, in file units, on the full matrix."""
        measurement = checked(measurement)
        return self._complex(measurement) if self.has_phase else self._magnitude(measurement)

    def _magnitude(self, measurement: Measurement) -> Image:
        zero_filled = root_sum_of_squares(measurement)
        matrix = (zero_filled.shape[-2], zero_filled.shape[-1])
        image = center_crop(zero_filled, _within(measurement.crop, matrix))
        mean, deviation = mean_and_deviation(image)
        normalised = ((image - mean) / safe(deviation)).clamp(-self.limit, self.limit)
        image = self._restore(normalised.unsqueeze(1))[:, 0] * deviation + mean
        image = image if self.training else image.clamp_min(0)
        return real_to_complex(center_pad(image, matrix))

    def _complex(self, measurement: Measurement) -> Image:
        measurement = with_default_maps(measurement)
        image = (
            sense_combined(measurement)
            if self.start == "adjoint"
            else sense_solved(measurement, self.ridge, self.iterations)
        )
        scale = root_mean_square(image)
        return to_complex(self._restore(to_channels(image / safe(scale)))) * scale

    def _restore(self, image: Channels) -> Channels:
        padded = _at_least(image, self.core.smallest_side)
        output = self.core(padded.to(self.core.dtype)).to(image.dtype)
        output = center_crop(output, (image.shape[-2], image.shape[-1]))
        return image + output if self.residual else output


def _within(crop: tuple[int, int], matrix: tuple[int, int]) -> tuple[int, int]:
    return min(crop[0], matrix[0]), min(crop[1], matrix[1])


def _at_least(image: Tensor, side: int) -> Tensor:
    rows, columns = image.shape[-2:]
    return center_pad(image, (max(rows, side), max(columns, side)))
