"""The bones of the knee and the cartilage on them, as depths in mm.

Source: proportions from the anatomy texts and the morphometry named in `knee_subject`.
Ours differs: condyles are rounded discs (their sagittal outline is close to circles), the trochlea is a disc
with a groove, the metaphyses are tubes whose width follows a sigmoid along the shaft.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.simulation.knee_subject import Subject
from reshim.simulation.shapes import Ellipsoid, Points, Tube, smooth_intersection, smooth_union

CONDYLE_BOX = ((-50.0, -42.0, -1.0), (50.0, 42.0, 64.0))
FEMUR_BOX = ((-50.0, -42.0, -1.0), (50.0, 42.0, 140.0))
TIBIA_BOX = ((-45.0, -40.0, -140.0), (45.0, 36.0, 14.0))
FIBULA_BOX = ((18.0, 4.0, -140.0), (52.0, 38.0, -4.0))
PATELLA_BOX = ((-30.0, -68.0, 8.0), (32.0, -26.0, 70.0))

_DISTAL = 4.2
"""Height of the lowest point of the femoral condyles' bone above the tibial plateau."""


@dataclass(frozen=True)
class Disc:
    """A disc that stands on its edge in the sagittal plane, with rounded rims; its depth is exact."""

    center: tuple[float, float, float]
    radius: float
    half_width: float
    rounding: float
    skew: float = 0.0
    """How much further lateral it lies for each mm further posterior."""

    def __call__(
        self, points: Points, thicker: float, narrower: float, deepening: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Depth in the disc, and in one that is `thicker` along the radius and `narrower` across.

        `deepening` takes from the radius of both, point by point.
        """
        u, v, w = (axis - c for axis, c in zip(points, self.center, strict=True))
        spoke = length(v, w) - (self.radius - self.rounding) + deepening
        side = (u - self.skew * v).abs_() - (self.half_width - self.rounding)
        return self._rounded(spoke, side), self._rounded(spoke - thicker, side + narrower)

    def _rounded(self, spoke: Tensor, side: Tensor) -> Tensor:
        outside = length(spoke.clamp_min(0), side.clamp_min(0))
        return self.rounding - outside - torch.maximum(spoke, side).clamp_max_(0)


_POSTERIOR_DISCS = (
    Disc((21.5, 12, _DISTAL + 20), 20, 13.5, 12, skew=0.08),
    Disc((-23, 12.5, _DISTAL + 19.5), 20.5, 14, 12, skew=-0.14),
)
_DISTAL_DISCS = (
    Disc((22, 0, _DISTAL + 26.5), 26.5, 13.5, 12, skew=0.05),
    Disc((-22.5, 0, _DISTAL + 26), 27, 14, 12.5, skew=-0.12),
)
_TROCHLEA = Disc((2, -12, 34), 21, 28, 16)


def length(first: Tensor, second: Tensor) -> Tensor:
    """The hypotenuse; a good deal faster than `torch.hypot`, which guards against overflow."""
    return (first * first).addcmul(second, second).sqrt_()


def ellipse(u: Tensor, v: Tensor, half_u: Tensor | float, half_v: Tensor | float) -> Tensor:
    """First-order depth in an ellipse whose half axes may vary along the leg."""
    a, b = u / half_u, v / half_v
    norm = length(a, b).clamp_min_(1e-3)
    return (norm - norm * norm).div_(length(a / half_u, b / half_v).clamp_min_(1e-4))


def femoral_shaft(points: Points, subject: Subject) -> Tensor:
    """Depth in the femur without its condyles: a tube that widens to the epicondyles."""
    u, v, w = points
    narrow = torch.sigmoid((57 - w) / 10)
    half_u = 16 * subject.shafts + (37.5 - 16 * subject.shafts) * narrow
    half_v = 15 * subject.shafts + 8 * torch.sigmoid((52 - w) / 11)
    shaft = ellipse(u, v + 6.5, half_u, half_v)
    return smooth_intersection(shaft, w - 18, 10)


def condyles(points: Points, shaft: Tensor, subject: Subject) -> tuple[Tensor, Tensor]:
    """Depths in the femur, given its shaft, and in its cartilage with the bone behind it."""
    u, v, w = points
    for center in ((35.0, 4.0, 28.0), (-35.0, 3.0, 30.0)):
        shaft = smooth_union(shaft, Ellipsoid(center, (7.0, 10.0, 11.0))(points), 8)
    # The trochlea has a groove in the middle, and its lateral facet is the higher one.
    groove = 3.6 * torch.exp(-((u - 1) / 10).square()) - 0.05 * u
    thick = subject.femoral_cartilage
    surface, coat = _TROCHLEA(points, thick, 1.0, groove)
    for disc in (*_POSTERIOR_DISCS, *_DISTAL_DISCS):
        disc_surface, disc_coat = disc(points, thick, 1.0)
        surface, coat = smooth_union(surface, disc_surface, 3), smooth_union(coat, disc_coat, 3)
    # Blumensaat's line: the roof of the notch rises to posterior.
    roof = (14 + 0.85 * (v + 12) - w) * 0.76
    outside_notch = -smooth_intersection(roof, subject.notch_half_width - u.abs(), 8)
    bone = smooth_intersection(smooth_union(shaft, surface, 5), outside_notch, 2)
    # Cartilage ends above the condyles behind and at the upper rim of the trochlea in front.
    limit = 40 + 12 * torch.sigmoid(-(v + 4) / 3) - w
    return bone, torch.minimum(smooth_intersection(coat, limit, 3), outside_notch)


def plateau(points: Points) -> Tensor:
    """Height of the tibia's articular bone: it slopes to posterior, hollow medially and domed laterally."""
    u, v, _ = points
    medial = torch.exp(-((u + 21) / 13).square() - ((v - 2) / 18).square())
    lateral = torch.exp(-((u - 21) / 12).square() - ((v - 1) / 14).square())
    return 0.3 - 0.07 * (v - 2) - 2.2 * medial - 0.8 * lateral


def tibia(points: Points, top: Tensor, subject: Subject) -> Tensor:
    """Depth in the tibia below the plateau at height `top`."""
    u, v, w = points
    flare = torch.nn.functional.softplus(-(w + 10) / 5) * 4.5
    lobes = smooth_union(
        ellipse(u + 17.5, v - 3, 20.5, 25.0) - flare, ellipse(u - 18, v - 1.5, 20.0, 22.5) - flare, 9
    )
    half_u = 14 * subject.shafts + 22 * torch.sigmoid((w + 24) / 9)
    half_v = 15 * subject.shafts + 9 * torch.sigmoid((w + 26) / 9)
    shaft = ellipse(u, v + 3, half_u, half_v)
    bone = smooth_union(lobes, shaft, 12)
    bone = smooth_intersection(bone, top - w, 3)
    bone = smooth_union(bone, Ellipsoid((3.0, -22.0, -36.0), (9.0, 8.0, 13.0))(points), 8)
    for center, radii in (((-6.0, 3.0, -1.0), (4.5, 8.0, 8.5)), ((6.0, 4.0, -1.0), (4.0, 7.0, 7.0))):
        bone = smooth_union(bone, Ellipsoid(center, radii)(points), 4)
    return bone


def tibial_cartilage(points: Points, top: Tensor, subject: Subject) -> Tensor:
    """Depth in the two lenses of cartilage on the plateau."""
    u, v, w = points
    medial = 1 - ((u + 21) / 15.5).square() - ((v - 2) / 21).square()
    lateral = 1 - ((u - 21) / 15).square() - ((v - 1) / 18).square()
    rim = torch.maximum(medial, lateral)
    thickness = subject.tibial_cartilage * rim.clamp_min(0).sqrt()
    return torch.minimum(torch.minimum(top + thickness - w, w - top + 1), 8 * rim)


def fibula(points: Points) -> Tensor:
    """Depth in the fibula: head, neck, shaft."""
    corners = ((36.0, 21.0, -23.0), (37.5, 20.0, -36.0), (38.0, 17.0, -50.0), (38.0, 14.0, -150.0))
    return Tube(corners, (9.5, 6.5, 5.0, 6.0))(points)


def patella(points: Points, subject: Subject) -> tuple[Tensor, Tensor]:
    """Depths in the patella and in its cartilage with the bone in front of it."""
    u, v, w = (axis - shift for axis, shift in zip(points, subject.patella_shift, strict=True))
    # Two facets that meet in a keel, which rides in the trochlea's groove.
    facets = (-32.5 - 0.33 * torch.sqrt((u + 1).square() + 4) - v) * 0.95
    body = Ellipsoid((0.0, -39.5, 40.0), (22.0, 14.0, 21.5), power=2.4)((u, v, w))
    bone = smooth_intersection(body, facets, 4)
    # Thickest in the middle, none at the lower pole.
    bare = ((w - 43) / 19).square() + (u / 24).square()
    thickness = subject.patellar_cartilage * (1.15 - bare).clamp(0, 1).sqrt()
    face = smooth_intersection(facets + thickness, body + 1.5, 2)
    return bone, torch.minimum(face, 8 * (1.1 - bare))


def growth_plate_scar(points: Points) -> Tensor:
    """Signed distance from the sheets where femur and tibia once grew; wavy, far from it in between."""
    u, v, w = points
    femoral = w - 40 - 2.5 * torch.cos(u / 7) + 0.12 * v + 0.006 * u.square() + torch.sin(v / 3.5 + u / 9)
    tibial = w + 14.5 - 1.5 * torch.cos(u / 9) - 0.003 * u.square() + 0.8 * torch.sin(v / 4 - u / 5)
    return torch.where(w > 10, femoral, tibial)
