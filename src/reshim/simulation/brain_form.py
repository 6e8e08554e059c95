"""The form of one subject's head: smooth fields in boxes of the body, ready to be read on any slice."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from reshim.seeds import generator_of
from reshim.simulation.brain_base import shape_arteries, shape_face, shape_head, shape_hindbrain
from reshim.simulation.brain_canvas import Canvas, Region
from reshim.simulation.brain_cerebrum import shape_cortex, shape_deep
from reshim.simulation.lattice import Lattice
from reshim.simulation.shapes import Points, Triple

Corner = Triple

# Name: lowest and highest atlas corner, spacing of the lattice in mm, what fills it.
REGIONS: dict[str, tuple[Corner, Corner, float, Callable[[Region], None]]] = {
    "head": ((-86.0, -118.0, -108.0), (86.0, 120.0, 94.0), 3.5, shape_head),
    "cerebrum": ((-76.0, -72.0, -46.0), (76.0, 108.0, 80.0), 3.0, shape_cortex),
    "deep": ((-38.0, -37.0, -26.0), (38.0, 76.0, 32.0), 2.5, shape_deep),
    "hindbrain": ((-62.0, 0.0, -108.0), (62.0, 98.0, 6.0), 3.0, shape_hindbrain),
    "arteries": ((-46.0, -36.0, -66.0), (46.0, 42.0, 14.0), 2.5, shape_arteries),
    "face": ((-84.0, -112.0, -108.0), (84.0, 44.0, 2.0), 3.0, shape_face),
}


class Part(NamedTuple):
    """The fields of one region."""

    lattice: Lattice
    names: tuple[str, ...]
    values: Tensor


class Form:
    """All that is known of one head; `parts` by region, `grain` the fine noise of its texture."""

    def __init__(self, subject: int, seed: int) -> None:
        canvas = Canvas(subject, seed)
        self.name, self.traits = canvas.name, canvas.traits
        self.parts: dict[str, Part] = {}
        for name, (low, high, spacing_mm, shape) in REGIONS.items():
            region = canvas.region(low, high, spacing_mm)
            shape(region)
            values = torch.stack(list(region.fields.values()))
            self.parts[name] = Part(region.lattice, tuple(region.fields), values)
        head = self.parts["head"].lattice
        x, y, z = (round(count * head.spacing_mm / 2.1) for count in head.counts)
        self.grain_lattice = Lattice(head.start_mm, 2.1, (x, y, z))
        self.grain = torch.randn(1, z, y, x, generator=generator_of(*self.name, "grain"))

    def read(self, part: str, axes: Points) -> dict[str, Tensor]:
        """The fields of one region on the product grid of three coordinate vectors, each (z, y, x)."""
        lattice, names, values = self.parts[part]
        return dict(zip(names, lattice.read(values, axes).unbind(0), strict=True))


@lru_cache(maxsize=2)
def form_of(subject: int, seed: int) -> Form:
    """The form of a subject; the last two are kept, as several contrasts are drawn of one head."""
    return Form(subject, seed)
