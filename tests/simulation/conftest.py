"""A body made of balls, for tests of the scanner: fat around muscle around fluid, and one lesion."""

import pytest
import torch

from reshim.simulation.geometry import Anatomy, Draw, Geometry, Lesion

LESION = (-30.0, -25.0, 9.0)
"""x, y and radius in mm; its centre lies at z = 0."""


def draw_balls(subject: int, geometry: Geometry, seed: int = 0, lesions: bool = False) -> Anatomy:
    """Nested balls of radius 70, 60 and 25 mm, the innermost off the centre; axial."""
    slices = []
    for index in range(geometry.n_slices):
        x, y, z = geometry.points(index)
        outer, middle = ((x**2 + y**2 + z**2).sqrt() < radius for radius in (70.0, 60.0))
        inner = ((x - 25 - subject) ** 2 + y**2 + z**2).sqrt() < 25
        found = ((x - LESION[0]) ** 2 + (y - LESION[1]) ** 2 + z**2).sqrt() < LESION[2] * lesions
        slices.append(torch.stack([outer & ~middle, middle & ~inner & ~found, inner & ~found, found]).float())
    fractions = torch.stack(slices)
    boxes = (Lesion("ball", 0, lesion_box_mm(geometry)),) if lesions else ()
    return Anatomy(("fat", "muscle", "fluid", "lesion"), fractions, torch.ones_like(fractions[:, 0]), boxes)


def lesion_box_mm(geometry: Geometry) -> tuple[float, float, float, float]:
    """Around the lesion, from the top left corner of an axial grid, whose centre is a cell's middle."""
    x, y, radius = LESION
    row = y - geometry.center_mm[0] + (geometry.rows // 2 + 0.5) * geometry.spacing_mm[0]
    column = x - geometry.center_mm[1] + (geometry.columns // 2 + 0.5) * geometry.spacing_mm[1]
    return row - radius, column - radius, row + radius, column + radius


@pytest.fixture
def balls() -> Draw:
    return draw_balls
