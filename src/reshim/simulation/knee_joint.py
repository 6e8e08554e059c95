"""What holds the joint together: menisci, ligaments, tendons, and the fluid between them; depths in mm.

Ours differs from the body in that a meniscus is a wedge cut from the gap that the bones leave (bones and
cartilage are painted over it), so that it fits under the condyles of every subject.
"""

import torch
from torch import Tensor

from reshim.simulation.knee_frame import FAR_MM
from reshim.simulation.knee_subject import Subject
from reshim.simulation.shapes import Points, Tube

Triple = tuple[float, float, float]

_RINGS = {
    # Middle (lateral, posterior), half axes of the outer rim, side.
    "medial": (-20.5, 2.5, 18.5, 23.5, -1.0),
    "lateral": (20.5, 1.0, 17.5, 20.0, 1.0),
}

MENISCUS_BOX = ((-42.0, -26.0, -8.0), (42.0, 30.0, 12.0))


def menisci(points: Points, top: Tensor, subject: Subject) -> Tensor:
    """Depth in the two C-shaped wedges that lie on the plateau at height `top`."""
    u, v, w = points
    depth = torch.full_like(u, FAR_MM)
    for middle_u, middle_v, half_u, half_v, side in _RINGS.values():
        outward, back = (u - middle_u) * side, v - middle_v
        inside = (1 - torch.hypot(outward / half_u, back / half_v)) * half_u
        height = subject.meniscus_height * (1 - inside / (subject.meniscus_width + 1)) + 0.4
        # The C is open towards the spines; its horns end in the roots.
        opening = 0.75 * back.abs() + 0.66 * outward + 2.0
        wedge = torch.minimum(torch.minimum(inside, subject.meniscus_width - inside), opening)
        over = w - top
        depth = torch.maximum(depth, torch.minimum(torch.minimum(wedge, height - over), over + 1))
    return depth


def _strap(
    points: Points, corners: tuple[Triple, ...], half_width: float, half_thickness: float, thin: Triple
) -> Tensor:
    """Depth in a flat band along a curve, thin along the unit vector `thin`."""
    scale = half_width / half_thickness
    along = sum(axis * t for axis, t in zip(points, thin, strict=True))
    u, v, w = (axis + (scale - 1) * along * t for axis, t in zip(points, thin, strict=True))
    flat = [_stretched(corner, scale, thin) for corner in corners]
    # The flattened space is stretched along `thin`, where the band's surface is close.
    return Tube(flat, [half_width] * len(flat))((u, v, w)) / scale


def _stretched(corner: Triple, scale: float, thin: Triple) -> Triple:
    """The corner after the space is stretched along the unit vector `thin`."""
    along = sum(axis * t for axis, t in zip(corner, thin, strict=True))
    u, v, w = (axis + (scale - 1) * along * t for axis, t in zip(corner, thin, strict=True))
    return u, v, w


ANTERIOR_CRUCIATE = (((-1.0, -10.0, 1.0), (3.0, 2.0, 9.0), (8.5, 15.0, 21.0)), (4.0, 3.8, 4.2))
POSTERIOR_CRUCIATE = (
    ((-8.0, 0.0, 17.0), (-5.0, 12.0, 19.0), (-2.0, 21.0, 9.0), (0.0, 27.0, -9.0)),
    (5.0, 4.8, 4.4, 4.2),
)
LATERAL_COLLATERAL = (((43.0, 5.0, 28.0), (45.0, 14.0, 6.0), (43.0, 22.0, -16.0)), (2.2, 2.0, 2.2))
MEDIAL_COLLATERAL = (
    (-43.0, 3.0, 30.0),
    (-43.0, 2.0, 8.0),
    (-40.0, 0.0, -10.0),
    (-33.0, -2.0, -30.0),
    (-25.0, -3.0, -48.0),
)
ILIOTIBIAL = ((50.0, -6.0, 90.0), (48.0, -10.0, 30.0), (42.0, -16.0, 4.0), (32.0, -20.0, -10.0))

STRIPES = {
    # Box of each, and what computes its depth.
    "ACL": ((-8, -16, -4), (16, 22, 28), lambda p, s: Tube(*ANTERIOR_CRUCIATE)(p)),
    "PCL": ((-16, -8, -16), (8, 34, 26), lambda p, s: Tube(*POSTERIOR_CRUCIATE)(p)),
    "LCL": ((36, 0, -22), (50, 28, 34), lambda p, s: Tube(*LATERAL_COLLATERAL)(p)),
    "MCL": ((-50, -14, -56), (-18, 16, 40), lambda p, s: _strap(p, MEDIAL_COLLATERAL, 7, 1.3, (1, 0, 0))),
    "ITB": ((24, -32, -18), (60, 10, 140), lambda p, s: _strap(p, ILIOTIBIAL, 11, 1.0, (1, 0, 0))),
}


def _patellar(points: Points, subject: Subject) -> Tensor:
    shift_u, _, shift_w = subject.patella_shift
    corners = (
        (shift_u, -52.0, 32.0 + shift_w),
        (shift_u, -47.0, 18.0 + shift_w),
        (3.0, -34.0, -30.0),
        (3.0, -30.0, -44.0),
    )
    return _strap(points, corners, 13, 2.4, (0, 0.96, 0.28))


def _quadriceps(points: Points, subject: Subject) -> Tensor:
    shift_u, _, shift_w = subject.patella_shift
    corners = ((shift_u, -50.0, 56.0 + shift_w), (shift_u, -49.0, 75.0 + shift_w), (2.0, -50.0, 140.0))
    return _strap(points, corners, 14, 3.4, (0, 1, 0))


TENDONS = {
    "patellar": ((-16, -60, -52), (22, -24, 44), _patellar),
    "quadriceps": ((-20, -58, 46), (24, -38, 140), _quadriceps),
    "popliteus": (
        (26, 0, -8),
        (46, 34, 22),
        lambda p, s: Tube(((40.0, 4.0, 18.0), (40.0, 16.0, 5.0), (30.0, 28.0, -4.0)), (2.2, 2.4, 2.0))(p),
    ),
    "biceps": (
        (36, 14, -22),
        (50, 32, 34),
        lambda p, s: Tube(((44.0, 25.0, 30.0), (43.0, 22.0, -16.0)), (1.8, 2.4))(p),
    ),
    "semitendinosus": (
        (-48, 20, -30),
        (-18, 52, 40),
        lambda p, s: Tube(((-25.0, 46.0, 34.0), (-36.0, 36.0, 2.0), (-38.0, 20.0, -28.0)), (2.0, 1.9, 1.7))(
            p
        ),
    ),
    "semimembranosus": (
        (-42, 14, -16),
        (-26, 38, 24),
        lambda p, s: Tube(((-33.0, 32.0, 20.0), (-35.0, 26.0, -4.0), (-33.0, 20.0, -12.0)), (2.2, 2.8, 2.6))(
            p
        ),
    ),
    "gracilis": (
        (-50, 10, -30),
        (-32, 38, 34),
        lambda p, s: Tube(((-43.0, 32.0, 30.0), (-41.0, 14.0, -26.0)), (1.5, 1.5))(p),
    ),
}


def recess(points: Points, subject: Subject) -> Tensor:
    """Depth in the fluid of the suprapatellar recess, in front of the femur above the patella."""
    u, v, w = points
    middle = -34.0 - 0.22 * (w - 52)
    # Its rim thins out.
    rim = 1 - ((u - 3) / 20).square() - ((w - 60) / 16).square()
    return subject.recess * rim.clamp(-1, 1) - (v - middle).abs()


RECESS_BOX = ((-22.0, -46.0, 40.0), (26.0, -24.0, 80.0))
