"""Receive coils: circular loops around the body, their field by Biot and Savart, their noise covariance.

Sources: the closed form of a loop's field, J. Simpson et al., NASA TM-2001-210966 (2001); reciprocity,
D. I. Hoult, Concepts Magn. Reson. 12:173 (2000); noise correlation, P. B. Roemer et al., Magn. Reson. Med.
16:192 (1990). Ours differs: quasi-static, so nothing depends on the frequency; the noise correlation of two
loops falls as a Gaussian of their distance where Roemer integrates the electric fields over the sample.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.seeds import generator_of

_HALVINGS = 6  # of the arithmetic-geometric mean: enough for double precision up to k² = 1 - 1e-9


@dataclass(frozen=True)
class CoilArray:
    """Rings of loops on an elliptic cylinder around the body's z axis, facing it."""

    rings: tuple[int, ...]
    """Loops in each ring, from foot to head."""

    ring_positions_mm: tuple[float, ...]
    """z of each ring."""

    semi_axes_mm: tuple[float, float]
    """Of the cylinder, along x and y."""

    loop_radius_mm: float

    ring_scales: tuple[float, ...] = ()
    """Shrinks the cylinder ring by ring, as a helmet does; empty for 1."""

    jitter_mm: float = 4.0
    """Standard deviation of each loop's place, and of the whole array's, from subject to subject."""

    coupling: float = 0.45
    """Noise correlation that two loops in the same place would have."""

    center_mm: tuple[float, float] = (0.0, 0.0)
    """x and y of the cylinder's axis: an organ need not lie in the middle of the body."""

    def __post_init__(self) -> None:
        n_rings = len(self.rings)
        if len(self.ring_positions_mm) != n_rings or len(self.ring_scales) not in (0, n_rings):
            raise ValueError(
                f"{n_rings} rings have {len(self.ring_positions_mm)} positions and "
                f"{len(self.ring_scales)} scales; give one of each for every ring"
            )

    @property
    def n_coils(self) -> int:
        """Number of loops."""
        return sum(self.rings)

    def loops(self, *owner: object) -> "Loops":
        """The loops as they lie around one subject; `owner` seeds the jitter."""
        generator = generator_of("coils", *owner)
        centres, normals = [], []
        for ring, (count, height) in enumerate(zip(self.rings, self.ring_positions_mm, strict=True)):
            scale = self.ring_scales[ring] if self.ring_scales else 1.0
            angles = 2 * math.pi * (torch.arange(count, dtype=torch.float64) + 0.5 * (ring % 2)) / count
            x, y = torch.cos(angles), torch.sin(angles)
            flat = torch.full_like(x, height)
            a, b = (scale * axis for axis in self.semi_axes_mm)
            centres.append(torch.stack([a * x + self.center_mm[0], b * y + self.center_mm[1], flat], -1))
            normals.append(-torch.stack([x / a, y / b, torch.zeros_like(x)], -1))
        noise = torch.randn(self.n_coils + 1, 3, generator=generator, dtype=torch.float64) * self.jitter_mm
        tilt = torch.randn(self.n_coils, 3, generator=generator, dtype=torch.float64) * 0.08
        facing = torch.nn.functional.normalize(torch.cat(normals), dim=-1) + tilt
        return Loops(
            centres_mm=torch.cat(centres) + noise[:-1] + noise[-1:],
            normals=torch.nn.functional.normalize(facing, dim=-1),
            radius_mm=self.loop_radius_mm,
        )


@dataclass(frozen=True)
class Loops:
    """Circular loops of one radius, in body coordinates."""

    centres_mm: Float[Tensor, "coil xyz"]
    normals: Float[Tensor, "coil xyz"]
    radius_mm: float

    def sensitivity(self, points_mm: Float[Tensor, "*points xyz"]) -> Complex[Tensor, "coil *points"]:
        """B1- = Bx - i By of each loop with unit current; 1 is the field in the middle of a loop.

        A wire's own field has no bound, so points closer to it than a twentieth of the radius see it from
        there.
        """
        trailing = (1,) * (points_mm.ndim - 1)
        normals = self.normals.reshape(-1, *trailing, 3)
        offset = points_mm.to(torch.float64) - self.centres_mm.reshape(-1, *trailing, 3)
        height = (offset * normals).sum(-1)
        outward = offset - height[..., None] * normals
        distance = outward.norm(dim=-1).clamp_min(1e-4 * self.radius_mm)
        axial, radial = loop_field(distance, height, self.radius_mm)
        field = axial[..., None] * normals + (radial / distance)[..., None] * outward
        return torch.complex(field[..., 0], -field[..., 1])

    def noise_correlation(self, coupling: float) -> Float[Tensor, "coil coil"]:
        """1 on the diagonal; neighbours that face the same way share noise; positive definite."""
        apart = torch.cdist(self.centres_mm, self.centres_mm) / (2 * self.radius_mm)
        alike = torch.exp(-(apart**2)) * (self.normals @ self.normals.T)
        return coupling * alike + (1 - coupling) * torch.eye(len(alike), dtype=alike.dtype)


def loop_field(
    distance: Float[Tensor, "*points"], height: Float[Tensor, "*points"], radius: float
) -> tuple[Float[Tensor, "*points"], Float[Tensor, "*points"]]:
    """Axial and radial field of a loop, in units of the field in its middle.

    Parameters
    ----------
    distance
        From the axis, above 0, in the unit of `radius`.
    height
        Above the loop's plane.
    radius
        Of the loop.
    """
    squares = radius**2 + distance**2 + height**2
    near = (squares - 2 * radius * distance).clamp_min((0.05 * radius) ** 2)
    far = squares + 2 * radius * distance
    first, second = elliptic_integrals((1 - near / far).clamp(0, 1 - 1e-9))
    scale = radius / (math.pi * near * far.sqrt())
    axial = scale * ((radius**2 - distance**2 - height**2) * second + near * first)
    radial = scale * height / distance * (squares * second - near * first)
    return axial, radial


def elliptic_integrals(
    parameter: Float[Tensor, "*points"],
) -> tuple[Float[Tensor, "*points"], Float[Tensor, "*points"]]:
    """Complete elliptic integrals K and E of the parameter k² in [0, 1), by the arithmetic-geometric mean.

    Source: M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions, section 17.6.
    """
    a, b = torch.ones_like(parameter), (1 - parameter).sqrt()
    lost, weight = parameter / 2, 0.5
    for _ in range(_HALVINGS):
        a, b, c = (a + b) / 2, (a * b).sqrt(), (a - b) / 2
        weight *= 2
        lost = lost + weight * c**2
    first = math.pi / (2 * a)
    return first, first * (1 - lost)
