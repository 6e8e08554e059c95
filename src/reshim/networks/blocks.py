"""The two blocks that U-nets are built of: convolve, normalise each channel, leaky ReLU.

Source: J. Zbontar et al., arXiv:1811.08839 (fastMRI); the normalisation is D. Ulyanov et al.,
arXiv:1607.08022.
Ours differs: the same numbers from the same weights, in less time. A group norm with one channel a group is
an instance norm, and on a CPU three to five times quicker. Where nothing is to be differentiated, a CPU
upsamples by a matrix product: its transposed convolution leaves a layout that the norm has to copy.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2


def normalise_and_activate(image: Tensor) -> Tensor:
    """Zero mean and unit deviation for each channel of each item, then leaky ReLU."""
    return functional.leaky_relu_(functional.group_norm(image, image.shape[1]), SLOPE)


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
            image = normalise_and_activate(convolution(image))
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
        if torch.is_grad_enabled() or image.device.type != "cpu":
            return normalise_and_activate(self.layers["0"](image))
        n_batch, _, rows, columns = image.shape
        # By attribute: where weights are opened in part, `weight` is computed and no parameter.
        weight: Tensor = self.layers["0"].weight.flatten(1).t()  # type: ignore[operator,union-attr]
        quarters = torch.matmul(weight, image.flatten(2))
        # The statistics of a channel do not depend on where its pixels will lie.
        channels = normalise_and_activate(quarters.view(n_batch, -1, 4 * rows, columns))
        return functional.pixel_shuffle(channels.view(n_batch, -1, rows, columns), 2)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
