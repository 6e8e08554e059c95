"""Smooth fields kept at the nodes of a coarse lattice and read, cubically, on any plane grid.

Source: R. G. Keys, IEEE Trans. Acoust. Speech Signal Process. 29:1153 (1981), cubic convolution.
Ours differs: the grid that is asked for is a product of axes, so the three-dimensional interpolation is three
small matrix products. An anatomy costs its shapes once a subject at 3 mm, and a slice costs only this; what
is sharp (a skull, a cortical ribbon) is cut from the interpolated depths afterwards, pixel by pixel.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.simulation.shapes import Points, Triple


@dataclass(frozen=True)
class Lattice:
    """Where the nodes lie: spacing × (0, 1, …) from `start_mm` along x, y and z."""

    start_mm: Triple
    spacing_mm: float
    counts: tuple[int, int, int]
    """Nodes along x, y and z."""

    def points(self) -> Points:
        """The nodes as x, y, z that broadcast to (z, y, x)."""
        x, y, z = (
            torch.arange(count, dtype=torch.float32) * self.spacing_mm + start
            for count, start in zip(self.counts, self.start_mm, strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def read(self, values: Float[Tensor, "field nz ny nx"], axes: Points) -> Float[Tensor, "field z y x"]:
        """The fields on the product grid of three coordinate vectors (x, y, z), in mm, in any order.

        Beyond the outermost nodes a field keeps its outermost value.
        """
        weights = []
        for axis, start, count, dim in zip(axes, self.start_mm, self.counts, (3, 2, 1), strict=True):
            first, weight = _cubic_weights((axis - start) / self.spacing_mm, count)
            values = values.narrow(dim, first, weight.shape[1])
            weights.append((dim, weight))
        # The shortest axis first (the slice normal): it makes the other products small.
        for dim, weight in sorted(weights, key=lambda pair: len(pair[1])):
            values = _contract(values, weight, dim)
        return values


def _cubic_weights(position: Tensor, count: int) -> tuple[int, Tensor]:
    """First node needed and the matrix (coordinate, node) of cubic convolution weights."""
    position = position.clamp(0, count - 1)
    below = position.floor().clamp(max=count - 2)
    t = position - below
    kernel = torch.stack(
        (
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
    )
    nodes = (below.long() + torch.arange(-1, 3)[:, None]).clamp(0, count - 1)
    first = int(nodes.min())
    matrix = torch.zeros(len(position), int(nodes.max()) - first + 1)
    for row, weight in zip(nodes - first, kernel, strict=True):
        matrix[torch.arange(len(position)), row] += weight
    return first, matrix


def _contract(values: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Multiply `values` (field, z, y, x) by a matrix along one of its last three axes."""
    if dim == 3:
        return values @ weight.T
    if dim == 2:
        return weight @ values
    return (weight @ values.flatten(2)).unflatten(2, values.shape[2:])


def gradient(values: Float[Tensor, "nz ny nx"], spacing_mm: float) -> Points:
    """Derivatives along x, y and z of one field at the nodes, central inside and one-sided at the rim."""
    z, y, x = torch.gradient(values, spacing=spacing_mm)
    return x, y, z


def distance_to_zero(
    values: Float[Tensor, "nz ny nx"], spacing_mm: float, least_slope: float
) -> Float[Tensor, "nz ny nx"]:
    """Signed distance in mm, to first order, from the sheets on which a smooth field is 0.

    `least_slope` (in units a mm) keeps the flat places, where the field has no sheet near, finite.
    """
    x, y, z = gradient(values, spacing_mm)
    return values / (x.square() + y.square() + z.square() + least_slope**2).sqrt()
