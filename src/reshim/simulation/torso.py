"""What the anatomies of the trunk share: outline, skin, fat, the muscles of the wall, the spine, the bowel.

Coordinates are those of the body, in mm: x to the left, y to posterior, z to the head, from the organ's
centre; each anatomy says where the trunk's axis and its spine lie from there.
Ours differs from an atlas: a trunk is a squared ellipse, nearly straight over the slices of a scan, bent by
smooth noise; muscles of the wall are layers, not named ones.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.seeds import generator_of, numpy_generator_of
from reshim.simulation.shapes import Box, Ellipsoid, PlaneWaves, Points, Tube, membership, shell
from reshim.simulation.sketch import Sketch

TISSUES = ("skin", "fat", "muscle", "cortical_bone", "marrow", "disc", "csf", "vessel", "bowel")
"""What the trunk itself is made of."""

GRAIN = {"fat": 0.05, "muscle": 0.09, "marrow": 0.10, "bowel": 0.25, "liver": 0.05, "gland": 0.12}
"""Deviation of the proton density's texture."""


@dataclass(frozen=True)
class Trunk:
    """The body around an organ, of one subject."""

    half_width: float
    half_depth: float
    axis_y: float
    """Where the trunk's middle lies from the organ, along y."""

    axis_x: float
    fat_mm: float
    """Under the skin."""

    wall_mm: float
    """Muscle under the fat."""

    bend: tuple[PlaneWaves, PlaneWaves, PlaneWaves]
    folds: PlaneWaves
    lean: float

    @classmethod
    def drawn(
        cls, owner: str, subject: int, seed: int, size: tuple[float, float], axis: tuple[float, float]
    ) -> "Trunk":
        """A trunk of about `size` (half width, half depth), its axis `axis` (x, y) away from the organ."""
        rng = numpy_generator_of("trunk", owner, seed, subject)
        generator = generator_of("trunk waves", owner, seed, subject)
        bulk = float(rng.normal(1, 0.05))
        # Who is wider has more fat.
        fat = max(float(rng.normal(20, 5) + 140 * (bulk - 1)), 7.0)
        bend = tuple(PlaneWaves.drawn(generator, length, 10) for length in (110.0, 110.0, 130.0))
        return cls(
            half_width=size[0] * bulk * float(rng.normal(1, 0.03)),
            half_depth=size[1] * bulk * float(rng.normal(1, 0.04)),
            axis_x=axis[0],
            axis_y=axis[1],
            fat_mm=fat,
            wall_mm=float(rng.uniform(12, 18)),
            bend=bend,  # type: ignore[arg-type]
            folds=PlaneWaves.drawn(generator, 34.0, 12),
            lean=float(rng.normal(0, 0.03)),
        )

    def bent(self, points: Points, amount_mm: float = 2.5) -> Points:
        """The points pushed about by smooth noise: no two bodies' ellipses are alike."""
        x, y, z = (axis + amount_mm * wave(points) for axis, wave in zip(points, self.bend, strict=True))
        return x, y, z

    def outline(self, points: Points) -> Tensor:
        """Depth below the skin, to first order."""
        x, y, z = points
        across = ((x - self.axis_x) / self.half_width).abs().clamp_min(1e-4)
        back = (y - self.axis_y - self.lean * z) / self.half_depth
        # Flatter behind than in front.
        back = (back * (1 + 0.06 * back.clamp(-1.5, 1.5))).abs().clamp_min(1e-4)
        norm = (across.pow(2.5) + back.pow(2.5)).pow(0.4)
        steps = (across / norm).pow(1.5) / self.half_width, (back / norm).pow(1.5) / self.half_depth
        return (1 - norm) / (steps[0].square() + steps[1].square()).sqrt()

    def begin(self, sketch: Sketch) -> tuple[Points, Tensor]:
        """Set the air aside; the bent coarse points and the depth below the skin on the fine grid."""
        bent = self.bent(sketch.coarse)
        depth = sketch.everywhere(self.outline, bent)
        sketch.put(membership(-depth, sketch.edge_mm))
        return bent, depth

    def wall(self, sketch: Sketch, depth: Tensor, septa: float = 0.35) -> None:
        """Skin, fat with a few septa, and muscle under it; what lies deeper is left."""
        edge = sketch.edge_mm
        grain = sketch.grain(1, (1.5, 1.5, 3.0))
        sketch.put(membership(2.2 - depth, edge), skin=1)
        turns = depth / 9 + 1.1 * grain
        sheets = membership(0.05 - (turns - turns.round()).abs(), 0.14) * septa
        sketch.put(membership(self.fat_mm - depth, edge) * sheets, skin=1)
        sketch.put(membership(self.fat_mm - depth, edge), fat=1)
        inner = self.fat_mm + self.wall_mm
        layer = shell(depth, self.fat_mm, inner, edge)
        planes = (depth - self.fat_mm) / (self.wall_mm / 3)
        between = membership(0.06 - (planes - planes.round()).abs(), 0.2) * membership(planes - 0.5, 0.2)
        sketch.put(layer * (0.75 * between + (0.25 * grain).clamp(0, 0.3)), fat=1)
        sketch.put(layer, muscle=1)

    def spine(self, sketch: Sketch, y: float, disc_at: float = 0.0, bent: Points | None = None) -> None:
        """Vertebrae with discs each 34 mm, canal, arch and the long muscles of the back."""
        x = self.axis_x
        sketch.paint(Tube(((x, y + 27, -400), (x, y + 27, 400)), (5.0, 5.0)), bent, csf=0.4, muscle=0.6)
        sketch.paint(Tube(((x, y + 27, -400), (x, y + 27, 400)), (9.0, 9.0)), bent, csf=1)
        found = sketch.refined(
            Ellipsoid((x, y, 0.0), (24.0, 18.0, 9e3), power=2.4),
            self._near(sketch, (x, y), 40),
            sketch.coarse,
        )
        if found is not None:
            depth, window = found
            z = sketch.points[2][:, window[0], window[1]]
            level = (z - disc_at) / 34
            disc = membership(4.5 - (level - level.round()).abs() * 34, sketch.edge_mm)
            inner = membership(depth - 1.5, sketch.edge_mm)
            sketch.put(inner * disc, window, disc=1)
            sketch.put(inner, window, marrow=0.7, muscle=0.3)
            sketch.put(membership(depth, sketch.edge_mm), window, cortical_bone=0.8, marrow=0.2)
        for side in (-1, 1):
            wing = Tube(((x, y + 40, 0), (x + side * 34, y + 36, 0)), (7.0, 4.0))
            sketch.paint(wing, bent, inset_mm=1.5, marrow=1)
            sketch.paint(wing, bent, cortical_bone=1)
            sketch.paint(
                Ellipsoid((x + side * 34, y + 42, 0), (28, 21, 400)), bent, 1.0, muscle=0.93, fat=0.07
            )
            sketch.paint(Ellipsoid((x + side * 42, y + 4, 0), (17, 19, 400)), bent, 1.0, muscle=1)
        sketch.paint(Tube(((x, y + 40, 0), (x, y + 68, 0)), (4.0, 4.0)), bent, cortical_bone=0.5, marrow=0.5)

    def inside(self, sketch: Sketch, depth: Tensor, bowel: float = 0.6) -> None:
        """Loops of bowel in fat fill what is left; `bowel` is how much of it they take."""
        loops = sketch.everywhere(self.folds)
        wall = sketch.grain(1)
        level = 0.9 - 1.8 * bowel
        body = membership((loops - level) * 8, sketch.edge_mm) * membership(
            depth - self.fat_mm - self.wall_mm - 4, 3.0
        )
        sketch.put(body * membership((loops - level - 1.1) * 8 + 1.5 * wall, 3.0), bowel=0.45)
        sketch.put(body * membership((loops - level - 0.35) * 8, sketch.edge_mm), bowel=1)
        sketch.put(body, muscle=0.9, fat=0.1)
        twigs = membership(0.12 - torch.hypot(wall, sketch.grain(0, (1.0, 1.0, 2.0))), 0.16)
        sketch.put(0.7 * twigs, vessel=1)
        sketch.put(torch.ones_like(depth), fat=1)

    @staticmethod
    def _near(sketch: Sketch, axis: tuple[float, float], reach: float) -> Tensor:
        """Where a line along z runs within reach, on the coarse grid."""
        x, y, _ = sketch.coarse
        return ((x - axis[0]).square() + (y - axis[1]).square() < reach**2).any(0)


def pair(x: float, y: float, z: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """A place on the right and the same place on the left."""
    return (-x, y, z), (x, y, z)


def long_bone(
    sketch: Sketch, shape: Tube | Ellipsoid | Box, bent: Points | None = None, cortex_mm: float = 2.0
) -> None:
    """Marrow within cortex."""
    sketch.paint(shape, bent, cortex_mm, marrow=0.95, cortical_bone=0.05)
    sketch.paint(shape, bent, cortical_bone=1)


def ring(
    center: tuple[float, float], half: tuple[float, float], step_deg: float
) -> list[tuple[float, float, float]]:
    """(x, y, angle) of places around an ellipse, the first in front."""
    angles = [math.radians(step_deg * number - 90) for number in range(round(360 / step_deg))]
    return [(center[0] + half[0] * math.cos(a), center[1] + half[1] * math.sin(a), a) for a in angles]
