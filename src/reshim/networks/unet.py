"""The U-net: an encoder and a decoder with skip connections, from the zero-filled image to the image.

Source: O. Ronneberger et al., MICCAI 2015, in the form and sizes of J. Zbontar et al., arXiv:1811.08839
(fastMRI), and of K. Lin and R. Heckel, ICML 2024, who train it on many distributions.
Ours differs: `UNetCore` computes what fastMRI's `Unet` computes and takes its weights by the same names, in
less time; around it, `ImageToImage` offers a complex input form beside the published magnitude form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reshim.networks.blocks import ConvolutionBlock, UpsamplingBlock, laid_out
from reshim.networks.image_to_image import ImageToImage
from reshim.networks.inputs import Channels


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
    fold
        Work on squares of `fold` x `fold` pixels as channels: so many times less work, a wider view.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 32,
        poolings: int = 4,
        dropout: float = 0.0,
        fold: int = 1,
    ) -> None:
        super().__init__()
        self.fold, self.channels = fold, channels
        widths = [channels * 2**level for level in range(poolings + 1)]
        # The attributes carry fastMRI's names, so that its state dicts load as they are.
        self.down_sample_layers = nn.ModuleList(
            ConvolutionBlock(narrow, wide, dropout)
            for narrow, wide in zip([in_channels * fold**2, *widths[:-2]], widths[:-1], strict=True)
        )
        self.conv = ConvolutionBlock(widths[-2], widths[-1], dropout)
        self.up_conv = nn.ModuleList()
        self.up_transpose_conv = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.up_transpose_conv.append(UpsamplingBlock(2 * width, width))
            self.up_conv.append(ConvolutionBlock(2 * width, width, dropout))
        leave = nn.Conv2d(channels, out_channels * fold**2, kernel_size=1)
        self.up_conv[-1] = nn.Sequential(self.up_conv[-1], leave)
        self.smallest_side = fold * 2 ** (poolings + 1)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.parameters()).dtype

    @property
    def last(self) -> nn.Module:
        """The convolution that makes the output."""
        return self.up_conv[-1][1]  # type: ignore[index]

    def side(self, length: int) -> int:
        """Any length in whole squares from which the deepest level keeps two of them."""
        return -(-max(length, self.smallest_side) // self.fold) * self.fold

    def forward(self, image: Channels) -> Channels:
        """Sides of at least 2^poolings (one of them twice that, in training), in whole squares."""
        skipped: list[Tensor] = []
        if self.fold > 1:
            image = functional.pixel_unshuffle(image, self.fold)
        image = laid_out(image, self.channels)
        for block in self.down_sample_layers:
            image = block(image)
            skipped.append(image)
            image = functional.avg_pool2d(image, 2)
        image = self.conv(image)
        for upsample, block in zip(self.up_transpose_conv, self.up_conv, strict=True):
            skip = skipped.pop()
            image = block(torch.cat([_grown_to(upsample(image), skip), skip], dim=1))
        return functional.pixel_shuffle(image, self.fold) if self.fold > 1 else image.contiguous()


def _grown_to(image: Tensor, other: Tensor) -> Tensor:
    """Halving an odd side lost a row or a column: reflect one back."""
    rows, columns = (other.shape[axis] - image.shape[axis] for axis in (-2, -1))
    return functional.pad(image, (0, columns, 0, rows), "reflect") if rows or columns else image


class UNet(ImageToImage):
    """Reconstructor: an image of the measurement, the U-net, an image.

    Parameters
    ----------
    channels, poolings, dropout, fold
        As in `UNetCore`.
    input, residual, clip, start, ridge, iterations
        As in `ImageToImage`.
    """

    def __init__(
        self,
        input: str = "magnitude",  # noqa: A002  (the word of the command line)
        channels: int = 32,
        poolings: int = 4,
        dropout: float = 0.0,
        fold: int = 1,
        residual: bool = False,
        clip: float | None = None,
        start: str = "adjoint",
        ridge: float = 0.02,
        iterations: int = 8,
    ) -> None:
        super().__init__(
            lambda n_channels: UNetCore(n_channels, n_channels, channels, poolings, dropout, fold),
            input,
            residual,
            clip,
            start,
            ridge,
            iterations,
        )
        self.settings |= {"channels": channels, "poolings": poolings, "dropout": dropout, "fold": fold}
