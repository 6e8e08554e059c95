"""Findings that a radiologist boxes in a knee: oedema of the marrow, meniscal tear, cartilage defect, cyst.

Names follow the labels of fastMRI+ (R. Zhao et al., Sci. Data 9:152, 2022).
Ours differs: how much of a pixel a finding takes is known, so its box is exact.
"""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from reshim.seeds import numpy_generator_of
from reshim.simulation.shapes import Ellipsoid, Points, Triple

_BOX_SHARE = 0.05
"""A pixel is in the finding's box if it holds at least this much of it."""


@dataclass(frozen=True)
class Finding:
    """One finding: an ellipsoid that takes what it covers of some tissue."""

    name: str
    host: str
    """The tissue that it replaces; `any` is whatever lies there."""

    center: Triple
    radii: Triple
    degrees: Triple
    fade_mm: float
    """Over what length it fades out."""

    strength: float
    """What share of a pixel it takes at most."""

    @property
    def box(self) -> tuple[Triple, Triple]:
        """A box that contains it, in the knee's coordinates."""
        reach = max(self.radii) + self.fade_mm
        low = (self.center[0] - reach, self.center[1] - reach, self.center[2] - reach)
        return low, (low[0] + 2 * reach, low[1] + 2 * reach, low[2] + 2 * reach)

    def stretched(self, size: float) -> "Finding":
        """The same finding, larger or smaller about its centre."""
        if size == 1:
            return self
        x, y, z = (size * radius for radius in self.radii)
        return replace(self, radii=(x, y, z))

    def __call__(self, points: Points) -> Tensor:
        """Depth in mm."""
        return Ellipsoid(self.center, self.radii, self.degrees)(points)


def findings_of(subject: int, seed: int, size: float = 1.0) -> tuple[Finding, ...]:
    """What this subject has: at least one finding, at most one of a kind; `size` stretches them."""
    draw = numpy_generator_of("knee findings", subject, seed)
    side = float(draw.choice((-1, 1)))

    def between(low: float, high: float) -> float:
        return float(draw.uniform(low, high))

    radius = between(6, 12)
    oedema = Finding(
        "Bone- Subchondral edema", "marrow_fat",
        (side * between(16, 28), between(-12, 14), float(draw.choice((11, -8)))),
        (radius, radius * between(0.8, 1.4), radius * between(0.6, 1.0)),
        (0, between(-30, 30), between(-40, 40)), 6.0, between(0.45, 0.8),
    )  # fmt: skip
    angle = math.radians(between(20, 75))
    ring = 14.0
    tear = Finding(
        "Meniscus Tear", "meniscus",
        (side * (20 + ring * math.cos(angle)), 2 + 1.25 * ring * math.sin(angle), 3.0),
        (between(5, 8), between(5, 8), between(0.5, 0.9)),
        (between(-35, 35), side * between(-40, 40), 0), 0.8, 0.95,
    )  # fmt: skip
    defect = Finding(
        "Cartilage - Partial Thickness loss/defect", "cartilage",
        (-side * between(17, 27), between(-8, 10), 3.0),
        (between(2.5, 6), between(2.5, 6), between(3, 5)), (0, 0, between(-60, 60)), 0.8, 1.0,
    )  # fmt: skip
    size = between(0.7, 1.3)
    cyst = Finding(
        "Periarticular cysts", "any",
        (-27, 36 + 4 * size, between(0, 16)), (6 * size, 5 * size, 13 * size),
        (between(-12, 12), between(-12, 12), 0), 0.8, 1.0,
    )  # fmt: skip
    all_kinds = (oedema, tear, defect, cyst)
    present = draw.random(4) < 0.5
    present[int(draw.integers(4))] = True
    return tuple(finding.stretched(size) for finding, has in zip(all_kinds, present, strict=True) if has)


def box_of(share: Tensor, spacing_mm: tuple[float, float]) -> tuple[float, float, float, float] | None:
    """(row0, column0, row1, column1) in mm around a finding's share of the pixels, None if it has none."""
    inside = share > _BOX_SHARE
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    if not len(rows):
        return None
    return (
        float(rows[0]) * spacing_mm[0],
        float(columns[0]) * spacing_mm[1],
        (float(rows[-1]) + 1) * spacing_mm[0],
        (float(columns[-1]) + 1) * spacing_mm[1],
    )
