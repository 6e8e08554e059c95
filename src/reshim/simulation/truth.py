"""What is known of a simulated slice besides its image: labels and lesion boxes at the scan's pixels."""

import math

import torch
from jaxtyping import UInt8
from torch import Tensor

from reshim.simulation.geometry import Anatomy, Geometry


def pixel_positions(geometry: Geometry, matrix: int, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Where the centres of a scan's pixels lie on the fine grid, as fractional rows and columns."""
    fineness = geometry.columns / matrix
    rows = matrix if rows is None else rows
    down = (torch.arange(rows) - rows // 2) * fineness + geometry.rows // 2
    across = (torch.arange(matrix) - matrix // 2) * fineness + geometry.columns // 2
    return down, across


def labels_of(anatomy: Anatomy, geometry: Geometry, matrix: int) -> UInt8[Tensor, "slice row column"]:
    """The largest fraction at the centre of each pixel: 0 air, else 1 + index of the tissue."""
    rows, columns = (positions.round().long() for positions in pixel_positions(geometry, matrix))
    fractions = anatomy.fractions[:, :, rows[:, None], columns[None, :]]
    most, index = fractions.max(1)
    return torch.where(most > 1 - fractions.sum(1), index + 1, 0).to(torch.uint8)


def boxes_of(
    anatomy: Anatomy, geometry: Geometry, matrix: int
) -> tuple[tuple[str, int, int, int, int, int], ...]:
    """Lesion boxes in pixels of the cut image, clipped to it; those outside are left out."""
    boxes = []
    fineness = geometry.columns / matrix
    for lesion in anatomy.lesions:
        edges = []
        for axis in (0, 1):
            centre = (geometry.rows, geometry.columns)[axis] // 2
            cells = [lesion.box_mm[side + axis] / geometry.spacing_mm[axis] - 0.5 for side in (0, 2)]
            low, high = ((cell - centre) / fineness + matrix // 2 + 0.5 for cell in cells)
            edges.append((max(math.floor(low), 0), min(math.ceil(high), matrix)))
        (row0, row1), (column0, column1) = edges
        if row0 < row1 and column0 < column1:
            boxes.append((lesion.name, lesion.slice, row0, column0, row1, column1))
    return tuple(boxes)
