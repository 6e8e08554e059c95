"""A digital abdomen: liver, spleen, kidneys, stomach, great vessels in a trunk.

Coordinates from a point between the kidneys' upper poles, 45 mm before the spine. Sizes after the reference
adult of ICRP publication 89 (2002).
Ours differs: breath is held, for ever; lobes of the liver are ellipsoids joined and bent, and the pancreas is
a band.
"""

from collections.abc import Callable

from torch import Tensor

from reshim.seeds import numpy_generator_of
from reshim.simulation import torso
from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.shapes import Ellipsoid, Points, Triple, Tube, membership, smooth_union
from reshim.simulation.sketch import Finding, Sketch, anatomy_of, grain_of
from reshim.simulation.torso import Trunk, long_bone, ring

TISSUES = (*torso.TISSUES, "liver", "spleen", "kidney", "urine", "lung", "lesion")


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
    """The abdomen of one subject on the grid of `geometry`; see `geometry.Draw`."""
    trunk = Trunk.drawn("abdomen", subject, seed, (165.0, 108.0), (0.0, 0.0))
    findings = _findings(subject, seed, float(lesions)) if lesions else ()
    grain = grain_of("abdomen", subject, seed)
    return anatomy_of(TISSUES, geometry, grain, _painter(trunk, subject, seed), findings, torso.GRAIN)


def _painter(trunk: Trunk, subject: int, seed: int) -> Callable[[Sketch], None]:
    rng = numpy_generator_of("abdomen", seed, subject)
    size, left, kidney = rng.normal(1, 0.06), rng.uniform(0.7, 1.25), rng.normal(1, 0.07)
    high, stomach = rng.normal(0, 9), rng.uniform(0.6, 1.2)

    def liver(points: Points) -> Tensor:
        right = Ellipsoid((-72.0, 0.0, 30.0 + high), (66 * size, 80 * size, 88 * size), (0, 15, 10), 2.3)
        other = Ellipsoid((10.0, -48.0, 50.0 + high), (75 * left, 30 * size, 38 * size), (0, -8, 0))
        whole = smooth_union(right(points), other(points), 25.0)
        # The kidney and the hilum press into it from below and behind.
        hilum = Ellipsoid((-28.0, 20.0, 0.0 + high), (26, 34, 46))
        return -smooth_union(-whole, hilum(points), 14.0)

    def paint(sketch: Sketch) -> None:
        bent, depth = trunk.begin(sketch)
        trunk.spine(sketch, 46.0, disc_at=float(high))
        for across, radius in ((8.0, 9.5), (-18.0, 11.0)):  # aorta, vena cava
            sketch.paint(Tube(((across, 14, -300), (across, 14, 300)), (radius, radius)), bent, vessel=1)
        # Portal vein and the liver's veins, then the liver around them.
        for corners, radii in (
            (((0, -2, -10), (-30, -8, 20 + high), (-80, 0, 35 + high)), (6.5, 6.0, 2.5)),
            (((-30, -8, 20 + high), (30, -45, 45 + high)), (4.5, 2.0)),
            (((-15, 12, 95 + high), (-60, 0, 70 + high), (-105, 10, 45 + high)), (6.0, 4.0, 2.0)),
            (((-15, 12, 95 + high), (-40, -40, 60 + high)), (5.0, 2.0)),
        ):
            sketch.paint(Tube(corners, radii), bent, vessel=1)
        sketch.paint(
            Ellipsoid((-48.0, -38.0, 4.0 + high), (13, 26, 15), (20, 0, 25)), bent, urine=0.9, liver=0.1
        )
        sketch.put(membership(sketch.everywhere(liver, bent), sketch.edge_mm), liver=1)
        sketch.paint(
            Ellipsoid((98.0, 38.0, 42.0 + high), (24 * size, 42, 50 * size), (0, 20, -25)), bent, spleen=1
        )
        for x, turn in ((-62.0, 25.0), (62.0, -25.0)):
            center: Triple = (x, 38.0, -20.0 + (8 if x > 0 else 0))
            sketch.paint(
                Ellipsoid((x * 0.82, 34, center[2]), (11 * kidney, 13, 22)), bent, fat=0.6, urine=0.4
            )
            for down in (-26, -9, 9, 26):
                sketch.paint(
                    Ellipsoid((x * 0.97, 37, center[2] + down), (8.5, 7, 5.5)), bent, urine=0.35, kidney=0.65
                )
            sketch.paint(
                Ellipsoid(center, (25 * kidney, 28 * kidney, 54 * kidney), (0, 0, turn)), bent, kidney=1
            )
        pouch = Ellipsoid((55.0, -30.0, 38.0 + high), (46 * stomach, 34 * stomach, 40), (0, 20, 20))
        sketch.paint(pouch, bent, 4.0, bowel=0.55)
        sketch.paint(pouch, bent, muscle=1)
        sketch.paint(
            Tube(((-25, -12, -5), (5, -18, 3), (70, 20, 25)), (12.0, 8.0, 7.0)), bent, liver=0.85, fat=0.15
        )
        _ribs(sketch, trunk, bent)
        trunk.wall(sketch, depth)
        trunk.inside(sketch, depth, bowel=0.62)

    return paint


def _ribs(sketch: Sketch, trunk: Trunk, bent: Points) -> None:
    """Cut across, as ribs slope down: short stretches in the muscle of the wall."""
    half = (
        trunk.half_width - trunk.fat_mm - trunk.wall_mm / 2,
        trunk.half_depth - trunk.fat_mm - trunk.wall_mm / 2,
    )
    for x, y, angle in ring((trunk.axis_x, trunk.axis_y), half, 24.0):
        if y < trunk.axis_y + 0.75 * half[1]:
            slope = 34 * (1 if x > 0 else -1)
            z = 60 + 20 * angle
            rib = Tube(((x - 12, y, z - slope), (x, y, z), (x + 2, y + 8, z + 16)), (4.5, 5.0, 5.0))
            long_bone(sketch, rib, bent, 1.3)


def _findings(subject: int, seed: int, size: float) -> tuple[Finding, ...]:
    """One to three lesions of the liver; now and then a cyst of a kidney."""
    rng = numpy_generator_of("abdomen findings", seed, subject)
    found = []
    for _ in range(int(rng.integers(1, 4))):
        center = (float(rng.uniform(-105, -45)), float(rng.uniform(-40, 30)), float(rng.uniform(-5, 70)))
        radii = (float(rng.uniform(5, 15)), float(rng.uniform(5, 15)), float(rng.uniform(5, 15)))
        found.append(Finding("Liver lesion", Ellipsoid(center, radii), ("liver", "vessel")))
    if rng.random() < 0.5:
        side = float(rng.choice((-1, 1)))
        radius = float(rng.uniform(6, 16))
        body = Ellipsoid((side * 80, 40.0, float(rng.uniform(-45, 5))), (radius, radius, radius))
        found.append(Finding("Renal cyst", body, ("kidney", "fat", "bowel", "muscle"), "urine"))
    return tuple(finding.stretched(size) for finding in found)
