"""The two blocks that U-nets are built of: convolve, normalise each channel, leaky ReLU.

Source: J. Zbontar et al., arXiv:1811.08839 (fastMRI); the normalisation is D. Ulyanov et al.,
arXiv:1607.08022.
Ours differs: weights and results are fastMRI's.
"""

from torch import Tensor, nn

SLOPE = 0.2


class ConvolutionBlock(nn.Module):
    """Twice: 3x3 convolution without bias, instance norm, leaky ReLU, dropout of whole channels."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolve(in_channels, out_channels, dropout), *_convolve(out_channels, out_channels, dropout)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Same rows and columns, `out_channels` channels."""
        return self.layers(image)


class UpsamplingBlock(nn.Module):
    """2x2 transposed convolution of stride 2 without bias, instance norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2, bias=False),
            nn.InstanceNorm2d(out_channels),
            nn.LeakyReLU(SLOPE, inplace=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Twice the rows and columns."""
        return self.layers(image)


def _convolve(in_channels: int, out_channels: int, dropout: float) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.InstanceNorm2d(out_channels),
        nn.LeakyReLU(SLOPE, inplace=True),
        nn.Dropout2d(dropout),
    )
