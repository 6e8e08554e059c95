"""A digital male pelvis about its prostate: zones, nodules, seminal vesicles, bladder, rectum.

Coordinates from the prostate's middle. Zones after J. E. McNeal, Prostate 2:35 (1981).
Ours differs: nodules of the inner gland are balls; nerves and the sphincter are left out.
"""

from collections.abc import Callable

import numpy as np
import torch

from reshim.seeds import numpy_generator_of
from reshim.simulation import torso
from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.pelvis import bones, bowel_end, muscles
from reshim.simulation.shapes import Ellipsoid, Triple, Tube, membership
from reshim.simulation.sketch import Finding, Sketch, anatomy_of, grain_of
from reshim.simulation.torso import Trunk

TISSUES = (*torso.TISSUES, "prostate_inner", "prostate_outer", "urine", "ligament", "lesion", "tumour")
_GRAIN = torso.GRAIN | {"prostate_outer": 0.08, "prostate_inner": 0.10}


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
    """The pelvis of one man on the grid of `geometry`; see `geometry.Draw`."""
    trunk = Trunk.drawn("prostate", subject, seed, (178.0, 112.0), (0.0, 4.0))
    findings = _findings(subject, seed, float(lesions)) if lesions else ()
    grain = grain_of("prostate", subject, seed)
    return anatomy_of(TISSUES, geometry, grain, _painter(trunk, subject, seed), findings, _GRAIN)


def _gland(subject: int, seed: int) -> tuple[Triple, float]:
    """Radii of the prostate, and how much of it the inner gland takes: more with age."""
    rng = numpy_generator_of("prostate", "gland", seed, subject)
    age = float(rng.uniform(0, 1))
    size = float(rng.normal(0.95 + 0.3 * age, 0.06))
    return (26 * size, 17.5 * size, 23 * size), 0.56 + 0.22 * age


def _painter(trunk: Trunk, subject: int, seed: int) -> Callable[[Sketch], None]:
    rng = numpy_generator_of("prostate", seed, subject)
    radii, share = _gland(subject, seed)
    full, rectum, gas = rng.uniform(0.7, 1.4), rng.uniform(11, 21), rng.uniform(0.1, 0.7)
    inner: Triple = (radii[0] * share * 1.1, radii[1] * share, radii[2] * 0.82)
    nodules = _nodules(rng, inner, radii[1])

    def paint(sketch: Sketch) -> None:
        bent, depth = trunk.begin(sketch)
        urethra = Tube(((0, -2, 26), (0, 1, 0), (0, -2, -40)), (2.5, 2.8, 2.5))
        sketch.paint(urethra, bent, urine=0.4, muscle=0.6)
        bladder = Ellipsoid((0.0, -16.0, 24 + 24 * full), (42 * full, 30 * full, 25 * full), (-8, 0, 0), 2.2)
        sketch.paint(bladder, bent, 3.5, urine=1)
        sketch.paint(bladder, bent, muscle=1)
        for nodule, bright in nodules:
            sketch.paint(nodule, bent, 1.0, prostate_outer=bright, prostate_inner=1 - bright)
            sketch.paint(nodule, bent, ligament=0.7, prostate_inner=0.3)
        core = Ellipsoid((0.0, -0.18 * radii[1], 2.0), inner, (0, 0, 0), 2.3)
        sketch.paint(core, bent, 1.2, prostate_inner=0.85, muscle=0.15)
        sketch.paint(core, bent, ligament=0.8, prostate_inner=0.2)
        sketch.paint(Ellipsoid((0.0, -0.85 * radii[1], 4.0), (10, 4.5, 16)), bent, muscle=0.8, ligament=0.2)
        outer = Ellipsoid((0.0, 0.0, 0.0), radii, (0, 0, 0), 2.2)
        sketch.paint(outer, bent, 1.0, prostate_outer=1)
        sketch.paint(outer, bent, ligament=0.8, fat=0.2)
        _vesicles(sketch, radii)
        bowel_end(sketch, bent, float(rectum), float(gas), radii[1] + float(rectum) + 3)
        # Veins around the gland.
        veins = sketch.depth(Ellipsoid((0.0, -6.0, 0.0), (radii[0] + 9, radii[1] + 8, radii[2])))
        if veins is not None:
            shallow, window = veins
            grain = sketch.grain(1)[window]
            sketch.put(
                0.6 * membership(shallow, 3.0) * membership(grain - 0.4, 0.4), window, urine=0.7, fat=0.3
            )
        bones(sketch, bent)
        muscles(sketch, bent)
        trunk.wall(sketch, depth)
        trunk.inside(sketch, depth, bowel=0.25)

    return paint


def _nodules(rng: np.random.Generator, inner: Triple, depth: float) -> list[tuple[Ellipsoid, float]]:
    """Balls in the inner gland, each with its share of bright glandular tissue."""
    found = []
    for _ in range(int(rng.integers(3, 9))):
        place = rng.uniform(-0.6, 0.6, 3) * inner
        radius = float(rng.uniform(0.18, 0.42) * inner[1])
        center = (float(place[0]), float(place[1]) - 0.18 * depth, float(place[2]))
        found.append((Ellipsoid(center, (radius, radius, radius)), float(rng.uniform(0, 0.9))))
    return found


def _vesicles(sketch: Sketch, radii: Triple) -> None:
    """Two bright pouches with folds, above and behind."""
    for side in (-1.0, 1.0):
        shape = Tube(
            ((side * 4, radii[1] * 0.6, radii[2] * 0.8), (side * 38, radii[1] + 6, radii[2] + 12)), (4.0, 8.0)
        )
        found = sketch.depth(shape)
        if found is not None:
            depth, window = found
            folds = torch.sin(4 * sketch.grain(0)[window] + depth)
            part = membership(depth, sketch.edge_mm)
            sketch.put(part * membership(0.45 + folds, 0.8), window, urine=0.8, muscle=0.2)
            sketch.put(part, window, ligament=0.6, muscle=0.4)


def _findings(subject: int, seed: int, size: float) -> tuple[Finding, ...]:
    """One or two tumours, most of them in the outer zone, behind and to a side."""
    rng = numpy_generator_of("prostate findings", seed, subject)
    radii, share = _gland(subject, seed)
    found = []
    for _ in range(1 + int(rng.random() < 0.4)):
        angle = float(rng.uniform(-1.1, 1.1))
        far = 0.5 * (1 + share) if rng.random() < 0.75 else 0.4
        x, y = far * radii[0] * np.sin(angle), far * radii[1] * np.cos(angle)
        radius = float(rng.uniform(3.5, 8))
        body = Ellipsoid(
            (float(x), float(y), float(rng.uniform(-0.5, 0.5) * radii[2])), (radius, 0.7 * radius, radius)
        )
        hosts = ("prostate_outer", "prostate_inner", "ligament")
        found.append(Finding("Prostate tumour", body, hosts, "tumour", 1.2))
    return tuple(finding.stretched(size) for finding in found)
