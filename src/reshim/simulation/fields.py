"""Coil fields over a volume: Biot and Savart on a coarse grid, cubic interpolation between.

Source of the interpolation: R. G. Keys, IEEE Trans. Acoust. Speech 29:1153 (1981).
Ours differs: it is written as one matrix for each axis, which is what makes it cheap for many coils.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.simulation.coils import Loops
from reshim.simulation.geometry import Geometry

GRID_MM = 6.0
"""Between samples of the coarse grid. Tissue is 15 mm and more from a wire, so the field is smooth there."""


@dataclass(frozen=True)
class CoilFields:
    """The fields of all coils in all slices of one volume, at any point of its fine grid."""

    coarse: Complex[Tensor, "slice coil coarse_row coarse_column"]
    spacing_mm: tuple[float, float]

    @classmethod
    def of(cls, loops: Loops, geometry: Geometry) -> "CoilFields":
        """Biot and Savart for every slice, with room around the grid for the interpolation."""
        planes = [_coarse_points(geometry, index) for index in range(geometry.n_slices)]
        fields = [loops.sensitivity(points).to(torch.complex64) for points in planes]
        return cls(torch.stack(fields), geometry.spacing_mm)

    def at(
        self, index: int, rows: Float[Tensor, "rows"], columns: Float[Tensor, "columns"]
    ) -> Complex[Tensor, "coil rows columns"]:
        """The fields in one slice at fractional rows and columns of the fine grid."""
        coarse = self.coarse[index]
        down, across = (
            interpolation_matrix(count, positions * spacing / GRID_MM + 1)
            for count, positions, spacing in zip(
                coarse.shape[-2:], (rows, columns), self.spacing_mm, strict=True
            )
        )
        real, imaginary = down @ (torch.stack([coarse.real, coarse.imag]) @ across.T)
        return torch.complex(real, imaginary)


def _coarse_points(geometry: Geometry, index: int) -> Float[Tensor, "coarse_row coarse_column xyz"]:
    """Body coordinates of the coarse grid: one sample before the fine grid, two or more behind it."""
    x, y, z = geometry.points(index)
    corner, below, beside = (
        torch.stack([axis[at] for axis in (x, y, z)]) for at in ((0, 0), (-1, 0), (0, -1))
    )
    steps, directions = [], []
    for end in (below, beside):
        count = math.ceil((end - corner).norm().item() / GRID_MM) + 4
        steps.append(torch.arange(-1, count - 1) * GRID_MM)
        directions.append(torch.nn.functional.normalize(end - corner, dim=0))
    return corner + steps[0][:, None, None] * directions[0] + steps[1][None, :, None] * directions[1]


def interpolation_matrix(coarse: int, positions: Float[Tensor, "fine"]) -> Float[Tensor, "fine coarse"]:
    """Cubic interpolation from samples at 0, 1, ... to `positions` (in samples), as a matrix.

    Source: R. G. Keys, IEEE Trans. Acoust. Speech 29:1153 (1981). Positions must leave one sample beyond
    them on the left and two on the right.
    """
    base = positions.floor()
    t = positions - base
    weights = torch.stack(
        [
            -0.5 * t + t**2 - 0.5 * t**3,
            1 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2 * t**2 - 1.5 * t**3,
            -0.5 * t**2 + 0.5 * t**3,
        ],
        dim=-1,
    )
    columns = base.long()[:, None] + torch.arange(-1, 3)
    return torch.zeros(len(positions), coarse, dtype=positions.dtype).scatter_(1, columns, weights)
