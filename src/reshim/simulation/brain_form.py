"""The shape of one subject's head: smooth fields on a 3 mm lattice, from which slices are cut.

Source: proportions after J. Talairach and P. Tournoux, Co-planar Stereotaxic Atlas (1988), in coordinates of
the anterior commissure; cortical thickness after B. Fischl and A. Dale, PNAS 97:11050 (2000).
Ours differs: nothing is traced. The head is a handful of ellipsoids and tubes, bent by smooth noise; sulci
are the zero set of waves read on the brain's hull: they run inwards, and gyri narrow with depth.

Atlas coordinates: x to the left, y to posterior, z to the head, in mm of an adult of average size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from reshim.seeds import generator_of, numpy_generator_of
from reshim.simulation.lattice import Lattice, distance_to_zero, gradient
from reshim.simulation.shapes import (
    Ellipsoid,
    PlaneWaves,
    Points,
    Triple,
    Tube,
    smooth_intersection,
    smooth_union,
    turned,
)

LATTICE = Lattice((-93.0, -126.0, -105.0), 3.0, (63, 83, 68))
COARSE = Lattice((-97.0, -130.0, -109.0), 9.7, (21, 28, 24))
FINE = Lattice((-93.0, -126.0, -105.0), 2.2, (86, 114, 93))
CENTER: Triple = (0.0, 16.0, 8.0)
"""The atlas point that body coordinates call the organ's centre."""

FAR = -30.0
"""Depth given to a local structure outside the box in which it is worked out."""


@dataclass(frozen=True)
class Traits:
    """What differs between subjects, beside the noise that bends everything."""

    scale: Triple
    """Size along x, y, z relative to the atlas."""

    tilt_degrees: Triple
    """How the head lies in the scanner."""

    ventricles: float
    """Size of the ventricles; 1 is a young adult, 1.6 an old one."""

    atrophy: float
    """Widening of sulci and subarachnoid space; 0 young, 1 old."""

    ribbon_mm: float
    """Mean thickness of the cortex."""

    skull_mm: float
    """Mean thickness of the skull's vault."""

    scalp_mm: float
    """Mean thickness of skin and fat over the vault."""

    gyrus_mm: float
    """Mean distance of neighbouring primary sulci."""

    cephalic: float
    """Width of the front of the head relative to its back."""

    @classmethod
    def drawn(cls, subject: int, seed: int) -> "Traits":
        """Traits of a subject of the random population `seed`."""
        rng = numpy_generator_of("brain", "traits", seed, subject)
        size = rng.normal(0.945, 0.025)
        age = rng.uniform(0, 1)
        return cls(
            scale=tuple(float(size * rng.normal(1, 0.018)) for _ in range(3)),  # type: ignore[arg-type]
            tilt_degrees=(float(rng.normal(0, 3)), float(rng.normal(0, 1.5)), float(rng.normal(0, 2))),
            ventricles=float(np.clip(0.85 + 0.5 * age + rng.normal(0, 0.12), 0.7, 1.6)),
            atrophy=float(np.clip(age + rng.normal(0, 0.15), 0, 1)),
            ribbon_mm=float(np.clip(rng.normal(2.75 - 0.25 * age, 0.1), 2.2, 3.0)),
            skull_mm=float(np.clip(rng.normal(6.0, 0.7), 4.5, 8)),
            scalp_mm=float(np.clip(rng.normal(5.5, 1.0), 3.5, 8.5)),
            gyrus_mm=float(np.clip(rng.normal(12.0, 0.6), 10.5, 13.5)),
            cephalic=float(np.clip(rng.normal(0.12, 0.03), 0.04, 0.2)),
        )


class Form:
    """Fields of one head on `LATTICE`, by name; see `fields_of` for how a slice reads them."""

    def __init__(self, subject: int, seed: int) -> None:
        self.name = ("brain", seed, subject)
        self.traits = Traits.drawn(subject, seed)
        self.points = self._atlas_points()
        self.fields: dict[str, Tensor] = {}
        for part in (_hulls, _midline, _cortex, _deep, _hindbrain, _vessels, _face):
            part(self)
        self.names = tuple(self.fields)
        self.stack = torch.stack([self.fields[name] for name in self.names])
        self.fine = torch.randn(FINE.counts[::-1], generator=generator_of(*self.name, "fine"))

    def waves(self, owner: str, wavelength_mm: float, n_waves: int = 16, spread: float = 0.25) -> PlaneWaves:
        """Noise that belongs to this subject and this part of the body."""
        return PlaneWaves.drawn(generator_of(*self.name, owner), wavelength_mm, n_waves, spread)

    def noise(self, owner: str, wavelength_mm: float) -> Tensor:
        """Slow noise at the nodes, worked out on a coarser lattice (so at least 30 mm long)."""
        x, y, z = LATTICE.points()
        coarse = self.waves(owner, wavelength_mm)(COARSE.points())
        return COARSE.read(coarse[None], (x.flatten(), y.flatten(), z.flatten()))[0]

    def local(self, low: Triple, high: Triple, depth: Callable[[Points], Tensor]) -> Tensor:
        """A depth worked out only between two atlas corners (the box is widened by what noise may bend)."""
        whole = torch.full(LATTICE.counts[::-1], FAR)
        cut = []
        for axis in range(3):
            scale, start = self.traits.scale[axis], LATTICE.start_mm[axis]
            first = ((low[axis] - CENTER[axis]) * scale - 15 - start) / LATTICE.spacing_mm
            last = ((high[axis] - CENTER[axis]) * scale + 15 - start) / LATTICE.spacing_mm
            cut.append(slice(max(math.floor(first), 0), max(math.ceil(last), 1)))
        box = (cut[2], cut[1], cut[0])
        x, y, z = (axis[box] for axis in self.points)
        whole[box] = depth((x, y, z)).clamp_min(FAR)
        return whole

    def _atlas_points(self) -> Points:
        """The nodes in atlas coordinates: scaled, turned, bent by smooth noise."""
        traits = self.traits
        points = turned(LATTICE.points(), traits.tilt_degrees)
        bent = [
            axis / scale
            + center
            + 1.2 * self.noise(f"bend{index}", 90)
            + 0.5 * self.noise(f"wave{index}", 42)
            for index, (axis, scale, center) in enumerate(zip(points, traits.scale, CENTER, strict=True))
        ]
        x, y, z = bent
        # Heads are wider behind than in front.
        return x * (1 + traits.cephalic * (17 - y) / 87), y, z


@lru_cache(maxsize=2)
def form_of(subject: int, seed: int) -> Form:
    """The form of a subject; the last two are kept, as several contrasts are drawn of one head."""
    return Form(subject, seed)


def _both(shape: Callable[[Points], Tensor]) -> Callable[[Points], Tensor]:
    """The same shape on both sides: it sees |x|."""
    return lambda points: shape((points[0].abs(), points[1], points[2]))


def _hulls(form: Form) -> None:
    """Cerebrum, posterior fossa, the cavity that holds them, and the skin around everything."""
    points, traits = form.points, form.traits
    x, y, z = points
    a = x.abs()
    vault = Ellipsoid((0.0, 17.0, 7.0), (68.0, 87.0, 71.0), power=2.2)(points)
    floor = (
        -21 + 16 * torch.exp(-(((y - 48) / 28).square()) - (a / 34).square()) + 0.03 * (y - 17).clamp_min(0)
    )
    temporal = Ellipsoid((43.5, 12.0, -20.0), (24.0, 40.0, 25.0), (-14.0, 0.0, 6.0), 2.3)((a, y, z))
    cerebrum = smooth_union(smooth_intersection(vault, z - floor, 10.0), temporal, 6.0)
    cerebellum = smooth_union(
        Ellipsoid((25.0, 63.0, -38.0), (29.0, 33.0, 25.0), (0.0, 0.0, -10.0), 2.3)((a, y, z)),
        Ellipsoid((0.0, 60.0, -26.0), (15.0, 27.0, 25.0))(points),
        5.0,
    )
    gap = 1.6 + 1.2 * traits.atrophy + 0.7 * form.noise("gap", 45) + 1.5 * torch.sigmoid((z - 45) / 8)
    fossa = Ellipsoid((0.0, 54.0, -38.0), (54.0, 44.0, 30.0), power=2.3)(points)
    canal = Tube(((0.0, 34.0, -55.0), (0.0, 42.0, -120.0)), (15.0, 12.0))(points)
    cisterns = Ellipsoid((0.0, 10.0, -22.0), (20.0, 22.0, 11.0))(points)
    cavity = smooth_union(cerebrum + gap.clamp_min(0.6), smooth_union(fossa, canal, 8.0), 8.0)
    cavity = smooth_union(cavity, cisterns, 8.0)
    temples = torch.exp(-(((y + 25) / 24).square()) - ((z + 18) / 22).square())
    scalp = traits.skull_mm + traits.scalp_mm + 1.2 * form.noise("scalp", 60) + 11 * temples
    head = Ellipsoid((0.0, 17.0, 0.0), (70.0, 90.0, 76.0), power=2.15)(points) + scalp
    face = Ellipsoid((0.0, -40.0, -62.0), (62.0, 62.0, 66.0), (12.0, 0.0, 0.0), 2.6)(points)
    nose = Tube(((0.0, -92.0, -28.0), (0.0, -112.0, -62.0)), (7.0, 12.0))(points)
    neck = Tube(((0.0, 55.0, -50.0), (0.0, 62.0, -130.0)), (58.0, 56.0))(points)
    outer = smooth_union(smooth_union(smooth_union(head, cavity + scalp, 6.0), face, 22.0), neck, 18.0)
    form.fields |= {
        "outer": smooth_union(outer, nose, 12.0),
        "cavity": cavity,
        "cerebrum": cerebrum,
        "cerebellum": cerebellum,
        "skull": (traits.skull_mm * (1 + 0.18 * form.noise("skull", 40))).clamp_min(2.5)
        * (0.45 + 0.55 * torch.sigmoid((z + 18) / 8)),
    }


def _midline(form: Form) -> None:
    """The plane between the hemispheres, the arch of the corpus callosum, the tentorium."""
    x, y, z = form.points
    wobble = 1.0 * form.noise("midline", 50)
    # Depth inside the region where the hemispheres are joined, seen from the side.
    arch = Ellipsoid((0.0, 5.0, 2.0), (1e3, 37.0, 27.0), power=2.1)((torch.zeros(1), y, z))
    below = Ellipsoid((0.0, 18.0, -10.0), (1e3, 22.0, 22.0))((torch.zeros(1), y, z))
    form.fields |= {
        "midline": x + wobble,
        "joined": smooth_union(arch, below, 6.0),
        "arch": arch,
        "tentorium": z
        + 12
        - 14 * torch.exp(-(((y - 45) / 25).square()) - (x / 30).square())
        + 0.08 * (y - 50),
    }


def _cortex(form: Form) -> None:
    """Sheets of sulci: how far a node is from each, and how far beyond its inner end."""
    (x, y, z), traits = form.points, form.traits
    a = x.abs()
    fields = form.fields
    fissure = (fields["midline"].square() + fields["joined"].clamp_min(0).square() + 1).sqrt()
    slant = (z - 1 - 0.5 * y - 1.5 * form.noise("sylvian", 35)) / 1.118
    reach = torch.maximum(torch.maximum(37 - a, -24 - y), y - 36)
    island = a - 37 - 1.2 * form.noise("insula", 35)
    rim = -Ellipsoid((0.0, -2.0, 3.0), (1e3, 21.0, 15.0))((torch.zeros(1), y, z))
    sylvian = (slant.square() + reach.clamp_min(0).square() + 1).sqrt()
    surface = smooth_intersection(smooth_intersection(fissure, sylvian, 4.0), fields["cerebrum"], 6.0)
    fields |= _folds(form, surface)
    depth = form.noise("depth1", 36), form.noise("depth2", 30)
    fields |= {
        "beyond1": surface - (15 + 5 * depth[0]).clamp(2, 24),
        "beyond2": surface - (4.5 + 3.5 * depth[1]).clamp(0, 11),
        "surface": surface,
        "slant": slant,
        "reach": reach,
        "island": island,
        "rim": rim,
        "ribbon": traits.ribbon_mm * (1 + 0.1 * form.noise("ribbon", 32)),
        "width": 0.7 + 0.9 * traits.atrophy + 0.35 * form.noise("width", 32),
    }


def _folds(form: Form, surface: Tensor) -> dict[str, Tensor]:
    """Signed distance from the sheets of primary and of secondary sulci."""
    inside = (surface > -4) & (surface < 34)
    outwards = gradient(surface, LATTICE.spacing_mm)
    length = sum((n.square() for n in outwards), torch.zeros(1)).sqrt().clamp_min(0.3)
    out = 0.85 * surface.clamp(0, 26) / length
    # Waves are read where the node's normal meets the hull, and wander a little so that walls are not flat.
    x, y, z = (
        (p - n * out)[inside] + 1.3 * form.waves(f"wander{i}", 26)(_masked(form.points, inside))
        for i, (p, n) in enumerate(zip(form.points, outwards, strict=True))
    )
    folds = {}
    for index, (wavelength, waves) in enumerate(((2.0, 30), (1.35, 24)), 1):
        values = torch.zeros_like(surface)
        values[inside] = form.waves(f"fold{index}", wavelength * form.traits.gyrus_mm, waves, 0.3)((x, y, z))
        least = 0.25 * 2 * math.pi / (wavelength * form.traits.gyrus_mm)
        distance = distance_to_zero(values, LATTICE.spacing_mm, least)
        folds[f"fold{index}"] = torch.where(inside, distance, 20.0)
    return folds


def _masked(points: Points, inside: Tensor) -> Points:
    """The points where a mask is True, as three lists."""
    return points[0][inside], points[1][inside], points[2][inside]


def _deep(form: Form) -> None:
    """Ventricles and nuclei."""
    size = form.traits.ventricles
    low, high = (-48.0, -45.0, -32.0), (48.0, 85.0, 42.0)

    def ventricles(points: Points) -> Tensor:
        x, y, z = points
        a = x.abs()
        tall = (a, y, 0.62 * z)
        horn = Tube(
            (
                (15.0, -33.0, 0.62 * 6),
                (9.5, -22.0, 0.62 * 12),
                (8.5, -6.0, 0.62 * 18),
                (11.0, 16.0, 0.62 * 23),
            ),
            (1.5 * size, 4.0 * size, 4.0 * size, 4.0 * size),
        )(tall)
        body = Tube(
            ((11.0, 16.0, 22.0), (19.0, 32.0, 18.0), (25.0, 43.0, 9.0), (26.0, 52.0, 7.0), (24.0, 72.0, 5.0)),
            (4.2 * size, 4.6 * size, 5.8 * size, 4.0 * size, 1.5 * size),
        )((a, y, z))
        temporal = Tube(
            ((26.0, 44.0, 8.0), (33.0, 32.0, -6.0), (34.0, 14.0, -15.0), (31.0, -2.0, -20.0)),
            (4.6 * size, 2.2 * size, 1.9 * size, 1.6 * size),
        )((a, y, z))
        third = Ellipsoid((0.0, 10.0, -2.0), (1.3 + 1.5 * (size - 0.7), 16.0, 11.0), power=2.6)(points)
        lateral = smooth_union(smooth_union(horn, body, 3.0), temporal, 3.0)
        return torch.maximum(lateral, third)

    def striatum(points: Points) -> Tensor:
        x, y, z = points
        side = (x.abs(), y, z)
        head = Ellipsoid((13.5, -14.0, 7.0), (5.8, 12.0, 10.5), (0.0, 0.0, -18.0))(side)
        tail = Tube(
            ((15.0, -4.0, 16.0), (18.0, 12.0, 20.0), (23.0, 28.0, 19.0), (29.0, 40.0, 10.0)),
            (4.0, 2.8, 2.0, 1.4),
        )(side)
        putamen = Ellipsoid((26.5, -1.0, 1.0), (5.6, 17.0, 11.5), (0.0, -14.0, -14.0), 2.2)(side)
        return torch.maximum(smooth_union(head, tail, 3.0), putamen)

    form.fields |= {
        "ventricles": form.local(low, high, ventricles),
        "striatum": form.local(low, high, striatum),
        "pallidum": form.local(
            low, high, _both(Ellipsoid((20.0, 3.0, 0.0), (4.6, 10.0, 7.5), (0.0, -14.0, -22.0)))
        ),
        "thalamus": form.local(
            low, high, _both(Ellipsoid((11.5, 18.0, 7.0), (8.6, 14.5, 9.5), (0.0, 0.0, -26.0), 2.2))
        ),
    }


def _hindbrain(form: Form) -> None:
    """Brainstem, fourth ventricle, and the phase of the cerebellum's folia."""
    x, y, z = form.points

    def stem(points: Points) -> Tensor:
        px, py, pz = points
        pons = Ellipsoid((0.0, 25.0, -32.0), (17.0, 13.0, 14.0), (-15.0, 0.0, 0.0), 2.3)(points)
        midbrain = Ellipsoid((0.0, 25.0, -11.0), (17.0, 14.0, 14.0))(points)
        peduncle = Tube(((7.0, 20.0, -18.0), (15.0, 12.0, -2.0)), (7.0, 8.0))((px.abs(), py, pz))
        medulla = Tube(((0.0, 28.0, -42.0), (0.0, 36.0, -62.0), (0.0, 42.0, -125.0)), (10.0, 7.5, 6.0))(
            points
        )
        return smooth_union(smooth_union(smooth_union(pons, midbrain, 5.0), medulla, 6.0), peduncle, 4.0)

    def arms(points: Points) -> Tensor:
        px, py, pz = points
        return Tube(((12.0, 27.0, -34.0), (22.0, 46.0, -36.0), (26.0, 62.0, -37.0)), (8.0, 7.0, 8.0))(
            (px.abs(), py, pz)
        )

    def fourth(points: Points) -> Tensor:
        floor = Ellipsoid((0.0, 42.0, -33.0), (8.5, 4.5, 10.0))(points)
        aqueduct = Tube(((0.0, 39.0, -26.0), (0.0, 31.0, -10.0), (0.0, 24.0, -3.0)), (1.6, 1.0, 1.2))(points)
        return torch.maximum(floor, aqueduct)

    # Folia fan out from the roof of the fourth ventricle, and bow forward at the sides.
    back = y - 42 + 0.008 * x.square()
    angle = torch.atan2(z + 34 + 0.8 * form.noise("folia", 30), torch.maximum(back, torch.tensor(4.0)))
    form.fields |= {
        "stem": form.local((-24.0, 0.0, -110.0), (24.0, 48.0, 10.0), stem),
        "arms": form.local((-40.0, 15.0, -50.0), (40.0, 75.0, -18.0), arms),
        "fourth": form.local((-20.0, 15.0, -50.0), (20.0, 55.0, 5.0), fourth),
        "folia": angle * 58 + 1.2 * form.noise("leaves", 30),
    }


def _vessels(form: Form) -> None:
    """Large arteries as tubes; the venous sinuses follow from midline, cavity and tentorium."""

    def arteries(points: Points) -> Tensor:
        x, y, z = points
        side = (x.abs(), y, z)
        carotid = Tube(
            ((24.0, 16.0, -60.0), (22.0, 8.0, -40.0), (13.0, -6.0, -26.0), (11.0, -3.0, -15.0)),
            (2.6, 2.5, 2.2, 2.0),
        )(side)
        middle = Tube(
            (
                (11.0, -3.0, -15.0),
                (24.0, -4.0, -13.0),
                (36.0, -4.0, -7.0),
                (39.0, 6.0, 4.0),
                (42.0, 20.0, 11.0),
            ),
            (1.7, 1.5, 1.4, 1.1, 0.8),
        )(side)
        front = Tube(((11.0, -3.0, -15.0), (2.0, -12.0, -13.0), (1.8, -32.0, -2.0)), (1.3, 1.2, 1.0))(side)
        basilar = Tube(
            ((3.0, 24.0, -62.0), (0.5, 11.0, -46.0), (0.0, 8.0, -30.0), (0.0, 9.0, -18.0)), (1.9,) * 4
        )(points)
        posterior = Tube(((0.0, 9.0, -18.0), (14.0, 18.0, -16.0), (22.0, 38.0, -6.0)), (1.3, 1.3, 1.0))(side)
        return torch.stack((carotid, middle, front, basilar, posterior)).amax(0)

    form.fields["arteries"] = form.local((-45.0, -35.0, -65.0), (45.0, 45.0, 15.0), arteries)
    veins = form.noise("veins", 31)
    form.fields["veins"] = distance_to_zero(veins, LATTICE.spacing_mm, 0.05)


def _face(form: Form) -> None:
    """Eyes in their fat, muscles, air spaces."""

    def side(*shapes: Callable[[Points], Tensor]) -> Callable[[Points], Tensor]:
        def depth(points: Points) -> Tensor:
            x, y, z = points
            return torch.stack([shape((x.abs(), y, z)) for shape in shapes]).amax(0)

        return depth

    def orbit(points: Points) -> Tensor:
        x, y, z = points
        return Tube(((33.0, -66.0, -34.0), (31.0, -50.0, -34.0), (15.0, -18.0, -26.0)), (16.0, 14.0, 4.0))(
            (x.abs(), y, z)
        )

    air = side(
        Ellipsoid((7.0, -62.0, -48.0), (5.5, 34.0, 22.0), power=2.6),
        Ellipsoid((9.0, -48.0, -34.0), (8.0, 24.0, 9.0), power=3.0),
        Ellipsoid((29.0, -52.0, -62.0), (13.0, 15.0, 14.0), power=2.6),
        Ellipsoid((8.0, -10.0, -36.0), (9.0, 11.0, 9.0), power=2.6),
        Ellipsoid((13.0, -81.0, -8.0), (12.0, 3.5, 9.0)),
        Ellipsoid((58.0, 34.0, -44.0), (6.0, 9.0, 10.0)),
        Tube(((42.0, 20.0, -40.0), (78.0, 16.0, -42.0)), (3.0, 3.0)),
        Tube(((0.0, -20.0, -60.0), (0.0, 4.0, -130.0)), (9.0, 11.0)),
    )
    rectus = side(
        Tube(((16.0, -22.0, -28.0), (22.0, -46.0, -34.0), (22.0, -58.0, -35.0)), (1.5, 2.6, 1.2)),
        Tube(((17.0, -22.0, -28.0), (41.0, -44.0, -35.0), (45.0, -56.0, -35.0)), (1.5, 2.4, 1.2)),
        Tube(((16.0, -20.0, -27.0), (31.0, -46.0, -35.0)), (1.8, 2.0)),
    )
    eye = _both(Ellipsoid((33.0, -60.0, -35.0), (12.0, 12.2, 12.0)))
    bundles = form.waves("muscle", 17, 20, 0.3)(form.points)
    form.fields |= {
        "eye": form.local((-52.0, -80.0, -52.0), (52.0, -40.0, -18.0), eye),
        "orbit": form.local((-55.0, -84.0, -56.0), (55.0, -14.0, -12.0), orbit),
        "rectus": form.local((-52.0, -66.0, -46.0), (52.0, -16.0, -20.0), rectus),
        "air": form.local((-80.0, -110.0, -125.0), (80.0, 50.0, 8.0), air),
        "bundles": distance_to_zero(bundles, LATTICE.spacing_mm, 0.1),
    }
