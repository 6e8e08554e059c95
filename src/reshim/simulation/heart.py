"""A digital heart in its chest: chambers and walls along the heart's own axis, lungs, liver, great vessels.

Coordinates from the middle of the left ventricle; the heart's own (lateral, inferior, apex) are the
directions of `geometry`. Sizes after A. M. Maceira et al., J. Cardiovasc. Magn. Reson. 8:417 (2006).
Ours differs: it stands still at one phase between end-diastole and end-systole, drawn for each subject;
valves are open, and there is no flow but that blood is replaced between pulses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.seeds import numpy_generator_of
from reshim.simulation import torso
from reshim.simulation.geometry import TO_APEX, TO_INFERIOR, TO_LATERAL, Anatomy, Geometry
from reshim.simulation.shapes import Ellipsoid, Points, Triple, Tube, membership, smooth_intersection
from reshim.simulation.sketch import Finding, Sketch, anatomy_of, grain_of
from reshim.simulation.torso import Trunk, long_bone, ring

TISSUES = (*torso.TISSUES, "blood", "myocardium", "lung", "liver", "spleen", "lesion")
_BASE_MM = -38.0
"""Where the ventricles end and the atria begin, along the heart's axis."""


@dataclass(frozen=True)
class Form:
    """Size and phase of one heart."""

    scale: float
    wall_mm: float
    radius_mm: float
    right: float

    @classmethod
    def drawn(cls, subject: int, seed: int) -> "Form":
        """Of a number in a population."""
        rng = numpy_generator_of("heart", "form", seed, subject)
        contracted = float(rng.uniform(0, 1))  # 0 is full
        scale = float(rng.normal(1, 0.06))
        return cls(
            scale, scale * (8.5 + 4.5 * contracted), scale * (26 - 8 * contracted), float(rng.normal(1, 0.1))
        )

    def cavity(self, points: Points) -> Tensor:
        """Depth in the blood of the left ventricle."""
        return Ellipsoid((0.0, 0.0, -20.0), (self.radius_mm, self.radius_mm, 54 * self.scale))(points)

    def left(self, points: Points) -> Tensor:
        """Depth in the left ventricle, wall included."""
        across = self.radius_mm + self.wall_mm
        whole = Ellipsoid((0.0, 0.0, -20.0), (across, across, 54 * self.scale + self.wall_mm))(points)
        return smooth_intersection(whole, points[2] - _BASE_MM, 4.0)

    def ventricle(self, points: Points) -> Tensor:
        """Depth in the right ventricle, wall included: a crescent once the left one is painted."""
        radii = (36 * self.right, 42 * self.right, 58 * self.scale)
        whole = Ellipsoid((-30.0 * self.scale, -6.0, -22.0), radii)(points)
        return smooth_intersection(whole, points[2] - _BASE_MM, 4.0)


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
    """The heart and chest of one subject on the grid of `geometry`; see `geometry.Draw`."""
    trunk = Trunk.drawn("heart", subject, seed, (172.0, 112.0), (-48.0, 42.0))
    form = Form.drawn(subject, seed)
    findings = _findings(form, subject, seed, float(lesions)) if lesions else ()
    grain = grain_of("heart", subject, seed)
    return anatomy_of(TISSUES, geometry, grain, _painter(trunk, form, subject, seed), findings, torso.GRAIN)


def own(points: Points) -> Points:
    """Body coordinates as the heart's: lateral, inferior, towards the apex."""
    x, y, z = points
    u, v, w = (a * x + b * y + c * z for a, b, c in (TO_LATERAL, TO_INFERIOR, TO_APEX))
    return u, v, w


def _painter(trunk: Trunk, form: Form, subject: int, seed: int) -> Callable[[Sketch], None]:
    rng = numpy_generator_of("heart", seed, subject)
    lung, dome, pad = rng.normal(1, 0.05), float(rng.normal(0, 8)), rng.uniform(2.5, 6.5)

    def paint(sketch: Sketch) -> None:
        bent, depth = trunk.begin(sketch)
        heart = own(trunk.bent(sketch.coarse, 1.5))
        _chambers(sketch, form, heart, float(pad))
        _vessels(sketch, bent)
        trunk.spine(sketch, 104.0)
        for shape, tissue in (
            (Ellipsoid((-100.0, 42.0, -118 + dome), (92, 88, 78), power=2.2), "liver"),
            (Ellipsoid((-10.0, 2.0, -108 + dome), (70, 48, 52)), "liver"),
            (Ellipsoid((58.0, 84.0, -112 + dome), (30, 48, 50)), "spleen"),
            (Ellipsoid((42.0, 20.0, -118 + dome), (58, 60, 60)), "bowel"),
        ):
            sketch.paint(shape, bent, **{tissue: 1.0})
            sketch.paint(shape, bent, -3.0, muscle=1)
        _lungs(sketch, bent, float(lung))
        _ribs(sketch, trunk, bent)
        trunk.wall(sketch, depth)
        sketch.put(torch.ones_like(depth), fat=1)

    return paint


def _chambers(sketch: Sketch, form: Form, heart: Points, pad: float) -> None:
    """Left ventricle with its papillary muscles, right ventricle, atria, the fat around."""
    every = torch.ones(sketch.coarse[0].shape[1:], dtype=torch.bool)

    def depth(shape: Callable[[Points], Tensor]) -> Tensor:
        found = sketch.refined(shape, every, heart)
        assert found is not None
        return found[0]

    edge = sketch.edge_mm
    cavity, left, right = depth(form.cavity), depth(form.left), depth(form.ventricle)
    for turn in (0.9, 2.4):
        u, v = 0.62 * form.radius_mm * math.cos(turn), 0.62 * form.radius_mm * math.sin(turn)
        muscle = Tube(((u, v, -12.0), (0.8 * u, 0.8 * v, 22.0)), (3.6, 4.6))
        sketch.paint(muscle, heart, myocardium=1)
    rough = 0.8 * sketch.grain(0, (2.0, 2.0, 2.0))  # trabeculae
    open_base = membership(depth(lambda points: points[2] - (_BASE_MM - 6)), edge)
    sketch.put(membership(cavity + rough, edge) * open_base, blood=1)
    sketch.put(membership(left, edge), myocardium=1)
    sketch.put(membership(right - 3.8 + 2 * rough, edge), blood=1)
    sketch.put(membership(right, edge), myocardium=1)
    atria: tuple[tuple[Triple, Triple], ...] = (
        ((2.0, 6.0, -64.0), (27.0, 25.0, 24.0)),
        ((-50.0, 4.0, -58.0), (25.0, 29.0, 26.0)),
    )
    for center, radii in atria:
        sketch.paint(Ellipsoid(center, radii, (0, 0, 10)), heart, 2.0, blood=1)
        sketch.paint(Ellipsoid(center, radii, (0, 0, 10)), heart, myocardium=0.9, fat=0.1)
    # Arteries run in the fat of the grooves.
    for corners in (
        ((-18.0, -34.0, -36.0), (-20.0, -32.0, 0.0), (-10.0, -22.0, 34.0)),
        ((-48.0, 20.0, -40.0), (-24.0, 32.0, -10.0), (-10.0, 26.0, 26.0)),
    ):
        sketch.paint(Tube(corners, (1.8, 1.8, 1.2)), heart, blood=1)
    around = torch.maximum(torch.maximum(left, right), depth(Ellipsoid((-22.0, 4.0, -60.0), (55, 33, 30))))
    sketch.put(membership(around + pad, edge), fat=1)
    sketch.put(membership(around + pad + 1.2, edge), muscle=0.6, fat=0.4)


def _vessels(sketch: Sketch, bent: Points) -> None:
    """Aorta up, over and down; pulmonary artery; caval veins."""
    aorta = ((-32, 18, 10), (-42, 12, 48), (-38, 25, 82), (-18, 60, 92), (-12, 86, 60), (-16, 84, -200))
    sketch.paint(Tube(aorta, (15.0, 15.0, 14.0, 12.5, 12.0, 11.0)), bent, vessel=1)
    pulmonary = ((-18, -18, 22), (-16, 6, 50), (-30, 40, 52), (-70, 48, 46))
    sketch.paint(Tube(pulmonary, (13.0, 13.0, 11.0, 8.0)), bent, vessel=1)
    sketch.paint(Tube(((-70, 34, 120), (-72, 34, 40), (-70, 36, 5)), (9.0, 10.0, 11.0)), bent, vessel=1)
    sketch.paint(Tube(((-66, 44, -20), (-64, 52, -60), (-58, 66, -160)), (12.0, 12.0, 11.0)), bent, vessel=1)
    for end in ((42.0, 52.0, 16.0), (44.0, 58.0, -14.0), (-88.0, 62.0, 18.0), (-86.0, 64.0, -10.0)):
        sketch.paint(Tube(((-34.0, 48.0, 6.0), end), (6.5, 4.0)), bent, vessel=1)


def _lungs(sketch: Sketch, bent: Points, size: float) -> None:
    """Nearly nothing, with vessels that branch in it."""
    grain = sketch.grain(1, (1.0, 1.0, 1.4))
    vessels = membership(0.16 - torch.hypot(grain, sketch.grain(0)), 0.2)
    for shape in (
        Ellipsoid((58.0, 58.0, 22.0), (64 * size, 88 * size, 140), (0, 0, 8), 2.3),
        Ellipsoid((-140.0, 50.0, 22.0), (62 * size, 88 * size, 140), (0, 0, -8), 2.3),
        Ellipsoid((20.0, -6.0, 60.0), (40, 42, 60)),
        Ellipsoid((-110.0, -4.0, 50.0), (46, 46, 80)),
    ):
        found = sketch.depth(shape, bent)
        if found is not None:
            depth, window = found
            part = membership(depth, sketch.edge_mm)
            sketch.put(part * vessels[window], window, vessel=0.8)
            sketch.put(part, window, lung=1)


def _ribs(sketch: Sketch, trunk: Trunk, bent: Points) -> None:
    """Ribs slope down to the breastbone, cut across by any plane."""
    inset = trunk.fat_mm + trunk.wall_mm * 0.6
    half = (trunk.half_width - inset, trunk.half_depth - inset)
    for level in range(-4, 5):
        for x, y, angle in ring((trunk.axis_x, trunk.axis_y), half, 36.0)[1:]:
            z = 26.0 * level + 22 * math.sin(angle)
            beside = (x - 0.2 * (y - trunk.axis_y), y + 0.2 * (x - trunk.axis_x), z + 4)
            rib = Tube((beside, (x, y, z)), (4.5, 4.5))
            long_bone(sketch, rib, bent, 1.3)
    front = trunk.axis_y - half[1]
    long_bone(sketch, Ellipsoid((trunk.axis_x, front, 20.0), (18, 5.5, 95)), bent, 1.3)


def _findings(form: Form, subject: int, seed: int, size: float) -> tuple[Finding, ...]:
    """A scar in the left ventricle's wall, sometimes a cyst of the liver below."""
    rng = numpy_generator_of("heart findings", seed, subject)
    angle = float(rng.uniform(-1.5, 1.5))
    far = form.radius_mm + 0.5 * form.wall_mm
    u, v, w = far * math.cos(angle), far * math.sin(angle), float(rng.uniform(-18, 8))
    x, y, z = (u * a + v * b + w * c for a, b, c in zip(TO_LATERAL, TO_INFERIOR, TO_APEX, strict=True))
    radius = float(rng.uniform(5, 10))
    found = [Finding("Scar", Ellipsoid((x, y, z), (radius, radius, radius)), ("myocardium",))]
    if rng.random() < 0.5:
        radius = float(rng.uniform(6, 14))
        place = (float(rng.uniform(-110, -70)), float(rng.uniform(10, 60)), float(rng.uniform(-90, -70)))
        found.append(Finding("Liver lesion", Ellipsoid(place, (radius, radius, radius)), ("liver",)))
    return tuple(finding.stretched(size) for finding in found)
