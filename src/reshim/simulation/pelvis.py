"""A digital female pelvis: uterus, bladder, rectum within the bones and muscles of the pelvis.

Coordinates from the uterus' isthmus. `bones` and `muscles` serve the male pelvis of `prostate` too.
Ours differs: sacrum and hip bones are ellipsoids and tubes; ovaries and the vagina's wall are simple.
"""

from collections.abc import Callable

from reshim.seeds import numpy_generator_of
from reshim.simulation import torso
from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.shapes import Ellipsoid, Points, Triple, Tube
from reshim.simulation.sketch import Finding, Sketch, anatomy_of, grain_of
from reshim.simulation.torso import Trunk, long_bone, pair

TISSUES = (*torso.TISSUES, "uterus", "urine", "ligament", "lesion", "tumour")


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
    """The pelvis of one woman on the grid of `geometry`; see `geometry.Draw`."""
    trunk = Trunk.drawn("pelvis", subject, seed, (182.0, 112.0), (0.0, 8.0))
    findings = _findings(subject, seed, float(lesions)) if lesions else ()
    grain = grain_of("pelvis", subject, seed)
    return anatomy_of(TISSUES, geometry, grain, _painter(trunk, subject, seed), findings, torso.GRAIN)


def _uterus(subject: int, seed: int) -> tuple[Triple, Triple, Triple]:
    """Centre, radii and turn of the womb's body; it leans forwards, or sometimes back."""
    rng = numpy_generator_of("uterus", seed, subject)
    size, lean = rng.normal(1, 0.12), float(rng.choice((55, 55, 55, -25)) + rng.normal(0, 10))
    center = (float(rng.normal(0, 5)), -14.0 if lean > 0 else 16.0, 22.0)
    return center, (24 * size, 21 * size, 36 * size), (lean, 0.0, float(rng.normal(0, 8)))


def _painter(trunk: Trunk, subject: int, seed: int) -> Callable[[Sketch], None]:
    rng = numpy_generator_of("pelvis", seed, subject)
    full, rectum, gas = rng.uniform(0.7, 1.35), rng.uniform(11, 20), rng.uniform(0.1, 0.6)
    center, radii, turn = _uterus(subject, seed)

    def paint(sketch: Sketch) -> None:
        bent, depth = trunk.begin(sketch)
        bladder = Ellipsoid((0.0, -48.0, 8.0), (36 * full, 25 * full, 24 * full), (-10, 0, 0), 2.2)
        sketch.paint(bladder, bent, 3.0, urine=1)
        sketch.paint(bladder, bent, muscle=1)
        for shrink, mixture in (
            (0.18, {"urine": 0.5, "uterus": 0.5}),  # endometrium
            (0.42, {"muscle": 0.75, "uterus": 0.25}),  # junctional zone
            (1.0, {"uterus": 1.0}),
        ):
            along = 0.62 if shrink < 0.3 else 0.72 if shrink < 0.5 else 1.0
            layer = (radii[0] * shrink, radii[1] * shrink, radii[2] * along)
            sketch.paint(Ellipsoid(center, layer, turn), bent, **mixture)
        cervix = Tube(((center[0], center[1] * 0.3, 2), (0, 4, -28)), (13.0, 12.0))
        sketch.paint(Tube(cervix.corners, (2.5, 2.5)), bent, urine=0.6, uterus=0.4)
        sketch.paint(cervix, bent, muscle=0.55, uterus=0.45)
        for place in pair(46.0, 0.0, 18.0):
            for follicle in (-7.0, 0.0, 6.0):
                spot = (place[0] + follicle, place[1] + 0.6 * follicle, place[2] + follicle)
                sketch.paint(Ellipsoid(spot, (3.6, 3.6, 3.6)), bent, urine=1)
            sketch.paint(Ellipsoid(place, (15, 10, 13)), bent, uterus=0.8, muscle=0.2)
        bowel_end(sketch, bent, float(rectum), float(gas), 34.0)
        bones(sketch, bent)
        muscles(sketch, bent)
        trunk.wall(sketch, depth)
        trunk.inside(sketch, depth, bowel=0.5)

    return paint


def bowel_end(sketch: Sketch, bent: Points, radius: float, gas: float, y: float) -> None:
    """Rectum: its content, partly gas, within its wall and the fat around."""
    path = ((0.0, y + 4, -60.0), (0.0, y, -20.0), (4.0, y + 3, 15.0), (-6.0, y + 16, 50.0), (25.0, y, 85.0))
    sketch.paint(Tube(path, (3.0, *[radius - 3.5] * 4)), bent, bowel=1 - gas)
    sketch.paint(Tube(path, (9.0, *[radius] * 4)), bent, muscle=0.85, fat=0.15)


def bones(sketch: Sketch, bent: Points) -> None:
    """Femora, hip bones, pubis, sacrum with coccyx."""
    for side in (-1.0, 1.0):
        head = Ellipsoid((side * 90, 4, 0), (24.5, 24.5, 24.5))
        neck = Tube(((side * 90, 4, 0), (side * 132, 16, -24), (side * 140, 14, -90)), (15.0, 19.0, 16.0))
        # A dark line of joint cartilage and cortex parts the head from its socket.
        long_bone(sketch, head, bent)
        long_bone(sketch, neck, bent)
        cup = Ellipsoid((side * 84, 6, 8), (33, 33, 38))
        sketch.paint(cup, bent, 6.0, cortical_bone=0.5, muscle=0.5)
        sketch.paint(cup, bent, 2.0, marrow=0.9, muscle=0.1)
        sketch.paint(cup, bent, cortical_bone=1)
        long_bone(sketch, Tube(((side * 70, 28, -12), (side * 62, 42, -60)), (13.0, 15.0)), bent)
        pubis = ((side * 78, -22, 0), (side * 40, -52, -16), (side * 8, -62, -28))
        long_bone(sketch, Tube(pubis, (11.0, 8.0, 10.0)), bent)  # fmt: skip
        long_bone(sketch, Tube(((side * 10, -58, -38), (side * 52, -8, -72)), (8.0, 8.0)), bent)
        ilium = ((side * 86, 12, 40), (side * 98, 30, 75), (side * 92, 20, 140))
        long_bone(sketch, Tube(ilium, (12.0, 10.0, 9.0)), bent)  # fmt: skip
    sketch.paint(Ellipsoid((0.0, -62.0, -30.0), (4.5, 11.0, 18.0)), bent, disc=0.4, ligament=0.6)
    sacrum = Tube(((0, 62, -28), (0, 84, 0), (0, 88, 40), (0, 66, 90)), (6.0, 12.0, 19.0, 27.0))
    sketch.paint(Tube(((0, 92, 0), (0, 98, 40), (0, 88, 90)), (3.0, 6.0, 8.0)), bent, csf=0.6, fat=0.4)
    long_bone(sketch, sacrum, bent, 1.5)


def muscles(sketch: Sketch, bent: Points) -> None:
    """Around the hip: obturators, levators, gluteal muscles, iliopsoas, thigh; and the great vessels."""
    for side in (-1.0, 1.0):
        for y, radius in ((-52, 5.0), (-50, 6.0)):
            x = side * (64 if radius < 5.5 else 53)
            sketch.paint(
                Tube(((x, y - 12, -80), (x, y, 0), (side * 52, 10, 100)), (radius,) * 3), bent, vessel=1
            )
        for shape in (
            Ellipsoid((side * 52, 4, -14), (9, 34, 36), (0, 0, side * -14)),
            Ellipsoid((side * 72, -46, 20), (23, 19, 90), (-12, 0, 0)),
            Ellipsoid((side * 76, 86, -6), (66, 27, 85), (0, 0, side * 22)),
            Ellipsoid((side * 128, 42, 40), (27, 34, 60), (0, side * -14, side * -30)),
            Ellipsoid((side * 118, -40, 0), (24, 17, 80), (0, 0, side * 30)),
            Ellipsoid((side * 150, -12, 0), (9, 26, 70)),
            Ellipsoid((side * 40, -20, -66), (30, 34, 34)),
            Ellipsoid((side * 36, 74, 24), (34, 9, 20), (0, 0, side * -22)),
        ):
            sketch.paint(shape, bent, 1.0, muscle=0.95, fat=0.05)
        levator = Tube(((side * 44, -10, -4), (side * 27, 22, -24), (side * 10, 46, -40)), (3.0, 3.2, 3.5))
        sketch.paint(levator, bent, muscle=1)
        sketch.paint(Ellipsoid((side * 20, -70, 60), (24, 7, 120)), bent, muscle=1)


def _findings(subject: int, seed: int, size: float) -> tuple[Finding, ...]:
    """A fibroid or a tumour of the womb, sometimes a cyst of an ovary."""
    rng = numpy_generator_of("pelvis findings", seed, subject)
    center, radii, _ = _uterus(subject, seed)
    x, y, z = (c + float(rng.uniform(-0.4, 0.4)) * r for c, r in zip(center, radii, strict=True))
    radius = float(rng.uniform(6, 14))
    tissue, name = ("muscle", "Fibroid") if rng.random() < 0.5 else ("tumour", "Mass")
    hosts = tuple(name for name in ("uterus", "urine", "muscle", "fat", "bowel") if name != tissue)
    found = [Finding(name, Ellipsoid((x, y, z), (radius, radius * 0.9, radius)), hosts, tissue)]
    if rng.random() < 0.5:
        side, cyst = float(rng.choice((-1, 1))), float(rng.uniform(8, 18))
        body = Ellipsoid((side * 48, -2.0, 22.0), (cyst, cyst, cyst))
        found.append(Finding("Cyst", body, ("uterus", "muscle", "fat", "bowel", "vessel"), "urine", 0.8))
    return tuple(finding.stretched(size) for finding in found)
