"""Digital breasts, hanging as the patient lies prone: fat, glandular tissue, skin, the chest behind.

Coordinates from between the breasts, at the breastbone's front. Share of glandular tissue after the four
classes of the ACR BI-RADS atlas, 5th edition (2013).
Ours differs: ducts are a random labyrinth that converges on the nipple, not a tree.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reshim.seeds import generator_of, numpy_generator_of
from reshim.simulation import torso
from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.shapes import Ellipsoid, PlaneWaves, Points, Triple, Tube, membership, smooth_union
from reshim.simulation.sketch import Finding, Sketch, anatomy_of, grain_of
from reshim.simulation.torso import Trunk, long_bone

TISSUES = (*torso.TISSUES, "gland", "blood", "myocardium", "lung", "liver", "lesion")


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
    """The breasts and chest of one woman on the grid of `geometry`; see `geometry.Draw`."""
    trunk = Trunk.drawn("breast", subject, seed, (166.0, 104.0), (0.0, 92.0))
    findings = _findings(subject, seed, float(lesions)) if lesions else ()
    grain = grain_of("breast", subject, seed)
    return anatomy_of(TISSUES, geometry, grain, _painter(trunk, subject, seed), findings, torso.GRAIN)


def _form(subject: int, seed: int) -> tuple[Triple, Triple, float]:
    """Centre of the left breast's base, its radii, and how dense it is, 0 to 1."""
    rng = numpy_generator_of("breast", "form", seed, subject)
    size = float(rng.normal(1, 0.13))
    center = (float(rng.normal(80, 4)), 10.0, float(rng.normal(0, 5)))
    return (
        center,
        (60 * size, (62 + 45 * float(rng.uniform(0, 1))) * size, 62 * size),
        float(rng.uniform(0, 1)),
    )


def _painter(trunk: Trunk, subject: int, seed: int) -> Callable[[Sketch], None]:
    center, radii, dense = _form(subject, seed)
    generator = generator_of("breast waves", seed, subject)
    lobes, ducts = PlaneWaves.drawn(generator, 30.0, 14), PlaneWaves.drawn(generator, 13.0, 14)
    rng = numpy_generator_of("breast", seed, subject)
    other = float(rng.normal(1, 0.06))
    skin = float(rng.uniform(1.6, 2.6))
    pectoral = float(rng.uniform(8, 15))

    def breasts(points: Points) -> Tensor:
        x, y, z = points
        # One is a little larger than the other; both taper to the nipple.
        side = torch.where(x > 0, 1.0, other)
        tip = center[1] - radii[1]
        nipple = Tube(((center[0], tip + 2, center[2]), (center[0], tip - 5, center[2])), (8.0, 4.5))
        folded = (x.abs() / side, y / side, z / side)
        return smooth_union(Ellipsoid(center, radii, power=1.9)(folded), nipple(folded), 8.0)

    def glands(points: Points) -> Tensor:
        x, y, z = points
        folded = (x.abs(), y, z)
        # A cone that opens from the nipple to the chest, ragged at its rim.
        inner = Ellipsoid(
            (center[0], center[1] - 0.22 * radii[1], center[2]),
            tuple(radius * (0.46 + 0.3 * dense) for radius in radii),  # type: ignore[arg-type]
        )(folded)
        return inner + 7 * lobes(points) + 2.5 * ducts(points)

    def paint(sketch: Sketch) -> None:
        edge = sketch.edge_mm
        bent = trunk.bent(sketch.coarse)
        hanging = sketch.everywhere(breasts, bent)
        chest = sketch.everywhere(trunk.outline, bent)
        depth = smooth_union(hanging, chest, 18.0)
        sketch.put(membership(-depth, edge))
        grain = sketch.grain(1)
        sketch.put(membership(skin - depth, edge), skin=1)
        gland = sketch.everywhere(glands, bent)
        before = membership(pectoral + 4 - chest, 2.0) * membership(hanging - 6, 3.0)
        streaks = membership(0.25 + 0.55 * dense + 0.9 * grain, 0.7)
        sketch.put(before * membership(gland, 2.5) * streaks, gland=0.92, fat=0.08)
        # Ligaments hold the fat's lobes.
        lobules = sketch.everywhere(lobes, bent)
        sheets = membership(0.06 - lobules.abs(), 0.1) * membership(0.4 + grain, 0.5)
        sketch.put(0.5 * before * sheets, gland=1)
        front = membership(sketch.everywhere(lambda points: trunk.axis_y - 20 - points[1], bent), 20.0)
        layer = membership(chest - 4, edge) * membership(4 + pectoral - chest, edge) * front
        sketch.put(layer * (0.93 - (0.2 * grain).clamp(0, 0.2)), muscle=1)
        sketch.put(membership(4 - chest, edge) * membership(hanging, edge), fat=1)
        _chest(sketch, trunk, bent, pectoral)
        trunk.wall(sketch, chest)
        sketch.put(torch.ones_like(depth), fat=1)

    return paint


def _chest(sketch: Sketch, trunk: Trunk, bent: Points, pectoral: float) -> None:
    """Breastbone, ribs, heart, lungs, spine."""
    front = trunk.axis_y - trunk.half_depth + pectoral + 10
    long_bone(sketch, Ellipsoid((0.0, front, 0.0), (17, 6, 120)), bent, 1.3)
    for side in (-1.0, 1.0):
        for level in range(-3, 4):
            z = 27.0 * level
            rib = Tube(
                (
                    (side * 18, front + 2, z + 8),
                    (side * 80, front + 14, z - 6),
                    (side * 128, front + 62, z + 14),
                ),
                (5.0, 5.0, 4.5),
            )
            long_bone(sketch, rib, bent, 1.3)
    heart = (28.0, front + 52, -8.0)
    sketch.paint(Ellipsoid((heart[0] + 8, heart[1] + 4, heart[2]), (22, 26, 32), (0, 0, 30)), bent, blood=1)
    sketch.paint(Ellipsoid((heart[0] - 24, heart[1] - 6, heart[2]), (22, 24, 34)), bent, blood=1)
    sketch.paint(Ellipsoid(heart, (56, 42, 48), (0, 0, 20)), bent, myocardium=1)
    sketch.paint(Ellipsoid(heart, (61, 46, 54), (0, 0, 20)), bent, fat=1)
    sketch.paint(Ellipsoid((-62.0, front + 75, -120.0), (85, 70, 70)), bent, liver=1)
    trunk.spine(sketch, trunk.axis_y + 42)
    sketch.paint(
        Tube(((16, trunk.axis_y + 26, -200), (16, trunk.axis_y + 26, 200)), (11.0, 11.0)), bent, vessel=1
    )
    for side in (-1.0, 1.0):
        lung = Ellipsoid((side * 78, front + 76, 15.0), (56, 66, 150), power=2.3)
        sketch.paint(lung, bent, lung=0.96, vessel=0.04)


def _findings(subject: int, seed: int, size: float) -> tuple[Finding, ...]:
    """One or two masses in the breasts, each with a ragged or a smooth neighbourhood."""
    rng = numpy_generator_of("breast findings", seed, subject)
    center, radii, _ = _form(subject, seed)
    found = []
    for _ in range(1 + int(rng.random() < 0.5)):
        side = float(rng.choice((-1, 1)))
        place = (
            side * (center[0] + float(rng.uniform(-0.35, 0.35)) * radii[0]),
            center[1] - float(rng.uniform(0.35, 0.65)) * radii[1],
            center[2] + float(rng.uniform(-0.35, 0.35)) * radii[2],
        )
        radius = float(rng.uniform(4, 11))
        body = Ellipsoid(place, (radius, radius * float(rng.uniform(0.7, 1)), radius))
        found.append(Finding("Mass", body, ("gland", "fat")))
    return tuple(finding.stretched(size) for finding in found)
