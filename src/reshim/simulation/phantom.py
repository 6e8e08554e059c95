"""A resolution phantom: a cylinder of doped water with bars, pins, a wedge and discs of known size.

After the American College of Radiology's accreditation phantom (Phantom Test Guidance, 2018) in spirit: what
it holds is of the same kind, its places and sizes are ours. It is the same object for every subject but for
how it was put down: turned by a few degrees, with an air bubble on top.
"""

import math

import torch
from torch import Tensor

from reshim.seeds import numpy_generator_of
from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.shapes import Box, Ellipsoid, Points, membership, turned
from reshim.simulation.sketch import Finding, Sketch, anatomy_of, grain_of

TISSUES = ("doped_water", "fat", "urine", "muscle", "lesion")
RADIUS_MM = 85.0
HALF_LENGTH_MM = 70.0
BARS_MM = (4.0, 3.0, 2.0, 1.5, 1.0)
"""Widths of the plates of each group, and of the gaps between them."""

PINS_MM = (2.5, 2.0, 1.5, 1.0)
"""Diameters of the pins of each block; they stand twice as far apart."""

VIALS = (("fat", -66.0, 8.0), ("urine", 66.0, 8.0), ("muscle", 0.0, -63.0))
"""Tubes of other contents, 18 mm wide, and where they stand (x, y)."""


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False) -> Anatomy:
    """The phantom as it lies in one exam; `lesions` adds two balls of little contrast."""
    rng = numpy_generator_of("phantom", seed, subject)
    turn = (0.0, 0.0, float(rng.uniform(-12, 12)))
    bubble = float(rng.uniform(3, 9))
    findings = _findings(turn, float(lesions)) if lesions else ()
    grain = grain_of("phantom", 0, 0)

    def paint(sketch: Sketch) -> None:
        points = turned(sketch.points, turn)
        x, y, z = sketch.points
        depth = torch.minimum(RADIUS_MM - torch.hypot(x, y), HALF_LENGTH_MM - z.abs())
        sketch.put(membership(-depth, sketch.edge_mm))
        sketch.put(membership(bubble - RADIUS_MM - y, sketch.edge_mm))
        _plates(sketch, points)
        for tissue, across, down in VIALS:
            away = torch.hypot(points[0] - across, points[1] - down)
            sketch.put(membership(9 - away, sketch.edge_mm), None, **{tissue: 1.0})
            sketch.put(membership(10.5 - away, sketch.edge_mm))
        sketch.put(torch.ones_like(depth), doped_water=1)

    return anatomy_of(TISSUES, geometry, grain, paint, findings, dict.fromkeys(TISSUES, 0.0))


def _plates(sketch: Sketch, points: Points) -> None:
    """What is solid gives no signal: plates, pins, and a wedge with a slanted edge."""
    solid = Box((0.0, 62.0, 0.0), (30.0, 7.0, 200.0), 0.0, (0.0, 0.0, 6.0))(points)
    start = -48.0
    for width in BARS_MM:
        for number in range(4):
            center = start + (2 * number + 0.5) * width
            solid = torch.maximum(solid, Box((center, -34.0, 0.0), (width / 2, 13.0, 200.0))(points))
        start += 7 * width + 4
    start = -40.0
    for diameter in PINS_MM:
        solid = torch.maximum(solid, _pins(points, (start + 3 * diameter, 8.0), diameter))
        start += 9 * diameter + 6
    sketch.put(membership(solid, sketch.edge_mm))


def _pins(points: Points, center: tuple[float, float], diameter: float) -> Tensor:
    """Four by four pins along z, twice their diameter apart."""
    x, y, _ = points
    u, v = (x - center[0]) / (2 * diameter), (y - center[1]) / (2 * diameter)
    u, v = (axis - (axis - 0.5).round().clamp(-2, 1) - 0.5 for axis in (u, v))
    return diameter / 2 - 2 * diameter * torch.hypot(u, v)


def _findings(turn: tuple[float, float, float], size: float) -> tuple[Finding, ...]:
    angle = math.radians(turn[2])
    found = []
    for x, y, radius in ((28.0, 36.0, 7.0), (52.0, 34.0, 4.0)):
        place = (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle), 0.0)
        ball = Ellipsoid(place, (radius, radius, radius))
        found.append(Finding("Ball", ball, ("doped_water",)).stretched(size))
    return tuple(found)
