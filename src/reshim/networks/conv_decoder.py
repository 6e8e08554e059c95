"""ConvDecoder: an untrained network that makes an image from fixed noise, by its structure alone.

Source: M. Z. Darestani and R. Heckel, IEEE Trans. Comput. Imaging 7:724 (2021).
Ours differs: the seed of the noise is an argument, and the geometric ladder of sizes reaches any matrix.
Fitting it to a measurement is the business of whoever holds one; here is the network.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reshim.networks.inputs import Channels
from reshim.seeds import generator_of


class ConvDecoder(nn.Module):
    """Noise, then layers of: upsample (nearest), 3x3 convolution, ReLU, batch norm; last a 1x1 convolution.

    Parameters
    ----------
    shape
        Rows and columns of the image.
    out_channels
        Channels of the image: two for each coil, or two for one combined image.
    channels, layers
        Width, and number of 3x3 convolutions. All but the last are preceded by an upsampling.
    seed_shape
        Rows and columns of the noise.
    seed
        Seeds the noise, which is uniform in [0, 1) and part of the weights; not the weights of the
        convolutions, which come from torch's global generator.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        out_channels: int,
        channels: int = 160,
        layers: int = 7,
        seed_shape: tuple[int, int] = (8, 4),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"layers is {layers}; a decoder needs 2, one of them to upsample")
        self.settings = {
            "shape": list(shape),
            "out_channels": out_channels,
            "channels": channels,
            "layers": layers,
            "seed_shape": list(seed_shape),
            "seed": seed,
        }
        self.sizes = size_ladder(seed_shape, shape, layers)
        noise = torch.rand(1, channels, *seed_shape, generator=generator_of("conv-decoder", seed))
        self.noise: Tensor
        self.register_buffer("noise", noise)
        self.layers = nn.ModuleList(_layer(channels) for _ in range(layers))
        self.leave = nn.Conv2d(channels, out_channels, kernel_size=1, bias=False)

    def forward(self) -> Channels:
        """The image, (1, `out_channels`, row, column)."""
        features = self.noise
        for size, layer in zip(self.sizes, self.layers, strict=True):
            if features.shape[-2:] != size:
                features = functional.interpolate(features, size, mode="nearest")
            features = layer(features)
        return self.leave(features)


def size_ladder(start: tuple[int, int], end: tuple[int, int], layers: int) -> list[tuple[int, int]]:
    """Sizes after each layer: a geometric ladder from `start` to `end`, whose last rung is used twice."""
    steps = layers - 1
    rungs = [
        tuple(round(low * (high / low) ** (step / steps)) for low, high in zip(start, end, strict=True))
        for step in range(1, steps + 1)
    ]
    return [(rows, columns) for rows, columns in [*rungs, rungs[-1]]]


def _layer(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
        nn.ReLU(),
        # The statistics are those of the one image there is, while it is fitted and afterwards.
        nn.BatchNorm2d(channels, track_running_stats=False),
    )
