"""A vision transformer from the zero-filled image to the image: patches in, patches out.

Source: K. Lin and R. Heckel, MIDL 2022, in the sizes of K. Lin and R. Heckel, ICML 2024; the transformer is
A. Dosovitskiy et al., ICLR 2021.
Ours differs: attention by PyTorch's fused kernel; the complex input form and the added input of
`ImageToImage`. As there, an image is padded with zeros to whole patches before it is normalised, and the grid
of positions, learned for one size, is interpolated to any other.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reshim.networks.image_to_image import ImageToImage
from reshim.networks.inputs import Channels


class Attention(nn.Module):
    """Self-attention with several heads, no bias on queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, token, width) to the same."""
        shape = tokens.shape
        parts = self.queries_keys_values(tokens).view(*shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.project(attended.transpose(1, 2).reshape(shape))


class Block(nn.Module):
    """Attention, then two layers on each token, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int, expansion: int = 4) -> None:
        super().__init__()
        self.first_norm, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.second_norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, token, width) to the same."""
        tokens = tokens + self.attention(self.first_norm(tokens))
        return tokens + self.layers(self.second_norm(tokens))


class ViTCore(nn.Module):
    """Tensors in, tensors out.

    Parameters
    ----------
    n_channels
        Channels of input and output.
    patch
        Side of a patch, in pixels.
    width, heads, depth
        Size of a token, heads of attention, blocks.
    positions
        Side of the learned grid of positions, in patches.
    """

    def __init__(
        self, n_channels: int, patch: int, width: int, heads: int, depth: int, positions: int
    ) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Conv2d(n_channels, width, kernel_size=patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, width, positions, positions))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_channels * patch**2)

    @property
    def last(self) -> nn.Module:
        """The layer that makes the patches of the output."""
        return self.head

    def side(self, length: int) -> int:
        """A multiple of the patch."""
        return -(-length // self.patch) * self.patch

    def forward(self, image: Channels) -> Channels:
        """Sides that are multiples of the patch."""
        tokens = self.embed(image)
        rows, columns = tokens.shape[-2:]
        tokens = (tokens + self._positions(rows, columns)).flatten(2).transpose(1, 2)
        patches = self.head(self.norm(self.blocks(tokens)))
        return functional.pixel_shuffle(patches.transpose(1, 2).unflatten(2, (rows, columns)), self.patch)

    def _positions(self, rows: int, columns: int) -> Tensor:
        if self.positions.shape[-2:] == (rows, columns):
            return self.positions
        return functional.interpolate(self.positions, (rows, columns), mode="bilinear", align_corners=False)


class ViT(ImageToImage):
    """Reconstructor: an image of the measurement, the transformer, an image.

    Parameters
    ----------
    patch, width, heads, depth, positions
        As in `ViTCore`.
    input, residual, clip, start, ridge, iterations
        As in `ImageToImage`.
    """

    def __init__(
        self,
        input: str = "magnitude",  # noqa: A002  (the word of the command line)
        patch: int = 10,
        width: int = 396,
        heads: int = 9,
        depth: int = 4,
        positions: int = 32,
        residual: bool = False,
        clip: float | None = None,
        start: str = "adjoint",
        ridge: float = 0.02,
        iterations: int = 8,
    ) -> None:
        super().__init__(
            lambda n_channels: ViTCore(n_channels, patch, width, heads, depth, positions),
            input,
            residual,
            clip,
            start,
            ridge,
            iterations,
        )
        self.settings |= {
            "patch": patch,
            "width": width,
            "heads": heads,
            "depth": depth,
            "positions": positions,
        }
