"""Where a subject's head is worked out: traits, the atlas frame, and regions of the body with their fields.

A region is a box with a lattice of its own, so that an eye costs an eye's nodes and a slice at the vertex
does not read it. Atlas coordinates: x to the left, y to posterior, z to the head, in mm from the anterior
commissure of an adult of average size; the body's are those of `reshim.simulation.geometry`.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from reshim.seeds import generator_of, numpy_generator_of
from reshim.simulation.lattice import Lattice
from reshim.simulation.shapes import PlaneWaves, Points, Triple, rotation, turned

CENTER: Triple = (0.0, 16.0, 8.0)
"""The atlas point that body coordinates call the organ's centre."""

COARSE = Lattice((-107.0, -147.0, -137.0), 9.7, (23, 30, 28))
"""Slow noise is worked out here, once, and read where it is needed."""

MARGIN_MM = 7.0
"""A region's box is widened by this, as noise bends what is in it."""


@dataclass(frozen=True)
class Traits:
    """What differs between subjects, beside the noise that bends everything."""

    scale: Triple
    """Size along x, y, z relative to the atlas."""

    tilt_degrees: Triple
    """How the head lies in the scanner."""

    ventricles: float
    """Size of the ventricles; 0.8 is a young adult, 1.5 an old one."""

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
    """How much narrower the front of the head is than its back."""

    @classmethod
    def drawn(cls, subject: int, seed: int) -> "Traits":
        """Traits of a subject of the random population `seed`."""
        rng = numpy_generator_of("brain", "traits", seed, subject)
        size = np.clip(rng.normal(0.95, 0.022), 0.9, 0.99)
        age = rng.uniform(0, 1)
        x, y, z = (float(size * rng.normal(1, 0.012)) for _ in range(3))
        return cls(
            scale=(x, y, z),
            tilt_degrees=(float(rng.normal(0, 3)), float(rng.normal(0, 1.2)), float(rng.normal(0, 1.8))),
            ventricles=float(np.clip(0.75 + 0.5 * age + rng.normal(0, 0.12), 0.65, 1.5)),
            atrophy=float(np.clip(age + rng.normal(0, 0.15), 0, 1)),
            ribbon_mm=float(np.clip(rng.normal(2.65 - 0.2 * age, 0.1), 2.2, 2.9)),
            skull_mm=float(np.clip(rng.normal(6.2, 0.7), 4.5, 8)),
            scalp_mm=float(np.clip(rng.normal(5.5, 1.0), 3.5, 8.5)),
            gyrus_mm=float(np.clip(rng.normal(12.0, 0.6), 10.5, 13.5)),
            cephalic=float(np.clip(rng.normal(0.12, 0.03), 0.04, 0.2)),
        )


class Canvas:
    """One subject's frame and noise, from which regions are cut."""

    def __init__(self, subject: int, seed: int) -> None:
        self.name = ("brain", seed, subject)
        self.traits = Traits.drawn(subject, seed)
        self._slow: dict[str, Tensor] = {}

    def waves(self, owner: str, wavelength_mm: float, n_waves: int = 16, spread: float = 0.25) -> PlaneWaves:
        """Noise that belongs to this subject and this part of the body."""
        return PlaneWaves.drawn(generator_of(*self.name, owner), wavelength_mm, n_waves, spread)

    def slow(self, owner: str, wavelength_mm: float) -> Tensor:
        """Noise of at least 30 mm at the nodes of `COARSE`."""
        if owner not in self._slow:
            self._slow[owner] = self.waves(owner, wavelength_mm)(COARSE.points())
        return self._slow[owner]

    def region(self, low: Triple, high: Triple, spacing_mm: float) -> "Region":
        """The box of the body that holds everything between two atlas corners."""
        matrix, scale = rotation(self.traits.tilt_degrees).tolist(), self.traits.scale
        corners = [
            [s * (atlas - c) for atlas, s, c in zip(corner, scale, CENTER, strict=True)]
            for corner in product(*zip(low, high, strict=True))
        ]
        body = [
            [sum(m * c for m, c in zip(row, corner, strict=True)) for corner in corners] for row in matrix
        ]
        first = [math.floor((min(axis) - MARGIN_MM) / spacing_mm) for axis in body]
        last = [math.ceil((max(axis) + MARGIN_MM) / spacing_mm) for axis in body]
        x, y, z = (f * spacing_mm for f in first)
        nx, ny, nz = (end - start + 1 for start, end in zip(first, last, strict=True))
        return Region(self, Lattice((x, y, z), spacing_mm, (nx, ny, nz)))


class Region:
    """A box of the body: its nodes in atlas coordinates, and the fields that shapes leave there."""

    def __init__(self, canvas: Canvas, lattice: Lattice) -> None:
        self.canvas, self.lattice, self.traits = canvas, lattice, canvas.traits
        x, y, z = lattice.points()
        self._axes = (x.flatten(), y.flatten(), z.flatten())
        points = turned((x, y, z), self.traits.tilt_degrees)
        x, y, z = (
            axis / scale
            + center
            + 0.8 * self.noise(f"bend{index}", 90)
            + 0.3 * self.noise(f"wave{index}", 42)
            for index, (axis, scale, center) in enumerate(zip(points, self.traits.scale, CENTER, strict=True))
        )
        # Heads are wider behind than in front.
        self.points: Points = (x * (1 + self.traits.cephalic * (17 - y) / 87), y, z)
        self.fields: dict[str, Tensor] = {}

    @property
    def side(self) -> Points:
        """The nodes folded onto the left half: a shape read here is on both sides."""
        return self.points[0].abs(), self.points[1], self.points[2]

    def noise(self, owner: str, wavelength_mm: float) -> Tensor:
        """Slow noise (30 mm or more) at the nodes, the same in every region that asks the same owner."""
        return COARSE.read(self.canvas.slow(owner, wavelength_mm)[None], self._axes)[0]

    def waves(self, owner: str, wavelength_mm: float, n_waves: int = 16, spread: float = 0.25) -> Tensor:
        """Faster noise at the nodes."""
        return self.canvas.waves(owner, wavelength_mm, n_waves, spread)(self.points)

    def none(self) -> Tensor:
        """A coordinate that is 0 at every node: what an endless shape sees along its axis."""
        return torch.zeros(1)
