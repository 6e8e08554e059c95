"""A body made of balls, for tests of the scanner: fat around muscle around fluid, and one lesion."""

import pytest
import torch

from reshim.simulation.geometry import Anatomy, Draw, Geometry, Lesion


def draw_balls(subject: int, geometry: Geometry, seed: int = 0, lesions: bool = False) -> Anatomy:
    """Nested balls of radius 70, 60 and 25 mm, the innermost off the centre."""
    slices = []
    for index in range(geometry.n_slices):
        x, y, z = geometry.points(index)
        outer, middle = ((x**2 + y**2 + z**2).sqrt() < radius for radius in (70.0, 60.0))
        inner = ((x - 20 - subject) ** 2 + y**2 + z**2).sqrt() < 25
        slices.append(torch.stack([outer & ~middle, middle & ~inner, inner]).float())
    fractions = torch.stack(slices)
    found = (Lesion("ball", 0, (60.0, 70.0, 80.0, 100.0)),) if lesions else ()
    return Anatomy(("fat", "muscle", "fluid"), fractions, torch.ones_like(fractions[:, 0]), found)


@pytest.fixture
def balls() -> Draw:
    return draw_balls
