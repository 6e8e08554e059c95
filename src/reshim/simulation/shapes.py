"""Implicit shapes in space: depths in mm, blends, tubes along curves, smooth noise.

Source: the ellipsoid's depth and the polynomial blend follow the practice of implicit modelling
(J. Bloomenthal, Introduction to Implicit Surfaces, 1997; the first-order distance is G. Taubin's,
IEEE PAMI 13:1115, 1991).
Ours differs: a *depth* is positive inside a shape and negative outside, so that a larger depth is always
"more of it", a union is a maximum and an intersection a minimum.

Every function works on coordinates in mm (x, y, z tensors that broadcast against each other) in float32, and
does the same for a point whichever other points are asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Triple = tuple[float, float, float]
Points = tuple[Tensor, Tensor, Tensor]
"""x, y and z in mm; the three broadcast against each other."""


def membership(depth: Tensor, width_mm: float) -> Tensor:
    """The share of a pixel that a surface leaves inside: 0 to 1, linear over `width_mm` around depth 0.

    That is a box average over a pixel that the surface crosses squarely.
    """
    return (depth * (1 / width_mm)).add_(0.5).clamp_(0, 1)


def shell(depth: Tensor, outer_mm: float | Tensor, inner_mm: float | Tensor, width_mm: float) -> Tensor:
    """Membership of what lies deeper than `outer_mm` and less deep than `inner_mm` below a surface."""
    return (membership(depth - outer_mm, width_mm) - membership(depth - inner_mm, width_mm)).clamp_min(0)


def smooth_union(first: Tensor, second: Tensor, blend_mm: float) -> Tensor:
    """The depth of either, with the crease between them filled over about `blend_mm`."""
    overlap = (blend_mm - (first - second).abs()).clamp_min(0)
    return torch.maximum(first, second) + overlap.square() / (4 * blend_mm)


def smooth_intersection(first: Tensor, second: Tensor, blend_mm: float) -> Tensor:
    """The depth of both at once, with the edge between them rounded over about `blend_mm`."""
    return -smooth_union(-first, -second, blend_mm)


def rotation(degrees: Triple) -> Tensor:
    """Matrix that turns about x, then y, then z by these angles."""
    (cx, cy, cz), (sx, sy, sz) = zip(
        *((math.cos(math.radians(a)), math.sin(math.radians(a))) for a in degrees), strict=True
    )
    about_x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]], dtype=torch.float64)
    about_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], dtype=torch.float64)
    about_z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]], dtype=torch.float64)
    return about_z @ about_y @ about_x


def turned(points: Points, degrees: Triple, center: Triple = (0.0, 0.0, 0.0)) -> Points:
    """The points as seen from a body that sits at `center`, turned by `degrees` about x, y and z."""
    x, y, z = (axis - start for axis, start in zip(points, center, strict=True))
    if degrees == (0.0, 0.0, 0.0):
        return x, y, z
    # The transpose undoes the body's rotation.
    m = rotation(degrees).T.tolist()
    return (
        m[0][0] * x + m[0][1] * y + m[0][2] * z,
        m[1][0] * x + m[1][1] * y + m[1][2] * z,
        m[2][0] * x + m[2][1] * y + m[2][2] * z,
    )


@dataclass(frozen=True)
class Ellipsoid:
    """A (super)ellipsoid: depth exact to first order at the surface."""

    center: Triple
    radii: Triple
    degrees: Triple = (0.0, 0.0, 0.0)
    """Rotation about x, then y, then z."""

    power: float = 2.0
    """2 is an ellipsoid; more squares its shoulders."""

    def __call__(self, points: Points) -> Tensor:
        """Depth in mm at the points."""
        shares = [
            (axis / r).abs().clamp_min(1e-6)
            for axis, r in zip(turned(points, self.degrees, self.center), self.radii, strict=True)
        ]
        if self.power == 2:
            norm = (shares[0].square() + shares[1].square() + shares[2].square()).sqrt()
            steps = [s / norm for s in shares]
        else:
            norm = sum(s.pow(self.power) for s in shares).pow(1 / self.power)  # type: ignore[union-attr]
            steps = [(s / norm).pow(self.power - 1) for s in shares]
        slope = sum((s / r).square() for s, r in zip(steps, self.radii, strict=True)).sqrt()  # type: ignore[union-attr]
        return (1 - norm) / slope


@dataclass(frozen=True)
class Box:
    """A rounded box: depth exact outside, and inside near its faces."""

    center: Triple
    half_sizes: Triple
    rounding_mm: float = 0.0
    degrees: Triple = (0.0, 0.0, 0.0)

    def __call__(self, points: Points) -> Tensor:
        """Depth in mm at the points."""
        beyond = [
            axis.abs() - (half - self.rounding_mm)
            for axis, half in zip(turned(points, self.degrees, self.center), self.half_sizes, strict=True)
        ]
        x, y, z = (b.clamp_min(0) for b in beyond)
        outside = (x.square() + y.square() + z.square()).sqrt()
        inside = torch.maximum(torch.maximum(beyond[0], beyond[1]), beyond[2]).clamp_max(0)
        return self.rounding_mm - outside - inside


@dataclass(frozen=True)
class Tube:
    """A tube along a curve given by its corners, its radius interpolated between them."""

    corners: Sequence[Triple]
    radii: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.corners) != len(self.radii) or len(self.corners) < 2:
            raise ValueError(
                f"{len(self.corners)} corners and {len(self.radii)} radii; give two or more corners and one "
                "radius for each"
            )

    def __call__(self, points: Points) -> Tensor:
        """Depth in mm at the points."""
        depth = None
        for start, end, first, last in zip(
            self.corners, self.corners[1:], self.radii, self.radii[1:], strict=False
        ):
            part = _segment(points, start, end, first, last)
            depth = part if depth is None else torch.maximum(depth, part)
        assert depth is not None
        return depth


def _segment(points: Points, start: Triple, end: Triple, first_mm: float, last_mm: float) -> Tensor:
    """Depth in a cone with round ends between two corners."""
    offsets = [axis - s for axis, s in zip(points, start, strict=True)]
    along = [e - s for s, e in zip(start, end, strict=True)]
    length = max(sum(a * a for a in along), 1e-12)
    share = sum(o * (a / length) for o, a in zip(offsets, along, strict=True)).clamp(0, 1)  # type: ignore[union-attr]
    x, y, z = (o - share * a for o, a in zip(offsets, along, strict=True))
    return first_mm + share * (last_mm - first_mm) - (x.square() + y.square() + z.square()).sqrt()


@dataclass(frozen=True)
class PlaneWaves:
    """Smooth noise with a chosen wavelength: a sum of plane waves of random direction and phase.

    Mean 0, deviation 1. Between its zeros lies half a wavelength, so its zero set is a labyrinth of sheets:
    what gyri and muscle bundles are drawn from.
    """

    directions: Tensor
    """Wave vectors in radians a mm, (wave, 3)."""

    phases: Tensor

    @classmethod
    def drawn(
        cls, generator: torch.Generator, wavelength_mm: float, n_waves: int = 16, spread: float = 0.2
    ) -> "PlaneWaves":
        """Waves in all directions, their wavelengths within ± `spread` of `wavelength_mm`."""
        ways = torch.randn(n_waves, 3, generator=generator)
        ways = ways / ways.norm(dim=1, keepdim=True)
        stretch = 1 + spread * (2 * torch.rand(n_waves, 1, generator=generator) - 1)
        phases = 2 * math.pi * torch.rand(n_waves, generator=generator)
        return cls(ways * stretch * (2 * math.pi / wavelength_mm), phases)

    def __call__(self, points: Points) -> Tensor:
        """The noise at the points."""
        x, y, z = points
        total = torch.zeros(torch.broadcast_shapes(x.shape, y.shape, z.shape))
        for (kx, ky, kz), phase in zip(self.directions.tolist(), self.phases.tolist(), strict=True):
            # sin(a + b) from three short axes would be cheaper, but rounds differently for another grid.
            total += torch.sin(kx * x + ky * y + (kz * z + phase))
        return total * math.sqrt(2 / len(self.phases))
