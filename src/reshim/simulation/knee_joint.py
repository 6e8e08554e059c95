"""What holds the joint together: menisci, ligaments, tendons, and the fluid between them; depths in mm.

Ours differs from the body in that a meniscus is a wedge cut from the gap that the bones leave (bones and
cartilage are painted over it), so that it fits under the condyles of every subject.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reshim.simulation.knee_bones import length
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
    over = w - top
    for middle_u, middle_v, half_u, half_v, side in _RINGS.values():
        outward, back = (u - middle_u) * side, v - middle_v
        inside = (1 - length(outward / half_u, back / half_v)) * half_u
        height = subject.meniscus_height * (1 - inside / (subject.meniscus_width + 1)) + 1.2
        # The C is open towards the spines; its horns end in the roots.
        opening = 0.75 * back.abs() + 0.66 * outward + 2.0
        wedge = torch.minimum(torch.minimum(inside, subject.meniscus_width - inside), opening)
        depth = torch.maximum(depth, torch.minimum(torch.minimum(wedge, height - over), over + 1))
    return depth


def gap(points: Points, top: Tensor, subject: Subject) -> Tensor:
    """Depth in the joint space above the plateau: what bones, cartilage and menisci leave of it is fluid."""
    u, v, w = points
    depth = torch.full_like(u, FAR_MM)
    for middle_u, middle_v, half_u, half_v, side in _RINGS.values():
        outward, back = (u - middle_u) * side, v - middle_v
        inside = (1 - length(outward / half_u, back / half_v)) * half_u
        depth = torch.maximum(depth, inside)
    over = w - top
    return torch.minimum(torch.minimum(depth, over + 1), 2.4 + 2 * subject.fluid - over)


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


def _patellar(points: Points, subject: Subject) -> Tensor:
    shift_u, _, shift_w = subject.patella_shift
    corners = (
        (shift_u, -49.5, 32.0 + shift_w),
        (shift_u, -45.0, 18.0 + shift_w),
        (3.0, -34.0, -30.0),
        (3.0, -30.0, -44.0),
    )
    return _strap(points, corners, 13, 2.4, (0, 0.96, 0.28))


def _quadriceps(points: Points, subject: Subject) -> Tensor:
    shift_u, _, shift_w = subject.patella_shift
    corners = ((shift_u, -48.0, 56.0 + shift_w), (shift_u, -47.5, 75.0 + shift_w), (2.0, -49.0, 140.0))
    return _strap(points, corners, 14, 3.4, (0, 1, 0))


@dataclass(frozen=True)
class Band:
    """A ligament or tendon: the box that contains it, and how deep in it a point lies."""

    low: Triple
    high: Triple
    depth: Callable[[Points, Subject], Tensor]


def _cord(*corners: tuple[float, float, float, float]) -> Band:
    """A cord along corners (lateral, posterior, up, radius)."""
    tube = Tube([corner[:3] for corner in corners], [corner[3] for corner in corners])
    low = (
        min(c[0] - c[3] for c in corners),
        min(c[1] - c[3] for c in corners),
        min(c[2] - c[3] for c in corners),
    )
    high = (
        max(c[0] + c[3] for c in corners),
        max(c[1] + c[3] for c in corners),
        max(c[2] + c[3] for c in corners),
    )
    return Band(low, high, lambda points, subject: tube(points))


_MEDIAL_COLLATERAL = (
    (-43.5, 3.0, 32.0),
    (-42.0, 2.0, 10.0),
    (-40.5, 1.0, -8.0),
    (-33.0, -1.0, -28.0),
    (-24.0, -3.0, -50.0),
)
_ILIOTIBIAL = ((49.0, -6.0, 90.0), (46.0, -10.0, 30.0), (41.0, -16.0, 4.0), (33.0, -20.0, -12.0))

LIGAMENTS: dict[str, Band] = {
    "anterior cruciate": _cord((-1, -10, 1, 4.2), (3, 2, 9, 4.0), (8.5, 15, 21, 4.4)),
    "posterior cruciate": _cord((-8, 0, 17, 5.2), (-5, 12, 19, 5), (-2, 21, 9, 4.6), (0, 27, -9, 4.4)),
    "lateral collateral": _cord((42, 5, 28, 2.2), (43.5, 14, 6, 2), (41, 22, -16, 2.2)),
    "medial collateral": Band(
        (-50, -14, -58), (-16, 16, 40), lambda p, s: _strap(p, _MEDIAL_COLLATERAL, 7, 1.3, (1, 0, 0))
    ),
    "iliotibial": Band(
        (24, -32, -22), (60, 10, 140), lambda p, s: _strap(p, _ILIOTIBIAL, 11, 1.0, (1, 0, 0))
    ),
}

TENDONS: dict[str, Band] = {
    "patellar": Band((-16, -62, -56), (22, -22, 48), _patellar),
    "quadriceps": Band((-20, -60, 44), (24, -38, 150), _quadriceps),
    "popliteus": _cord((39, 4, 18, 2.2), (39, 16, 5, 2.4), (30, 28, -4, 2)),
    "biceps": _cord((42, 26, 30, 1.8), (41, 22, -16, 2.4)),
    "semitendinosus": _cord((-25, 46, 34, 2), (-36, 36, 2, 1.9), (-37, 20, -28, 1.7)),
    "semimembranosus": _cord((-33, 32, 20, 2.2), (-35, 26, -4, 2.8), (-33, 20, -12, 2.6)),
    "gracilis": _cord((-43, 32, 30, 1.5), (-40, 14, -26, 1.5)),
}


def recess(points: Points, subject: Subject) -> Tensor:
    """Depth in the fluid of the suprapatellar recess, in front of the femur above the patella."""
    u, v, w = points
    middle = -34.0 - 0.22 * (w - 52)
    # Its rim thins out.
    rim = 1 - ((u - 3) / 20).square() - ((w - 60) / 16).square()
    return subject.recess * rim.clamp(-1, 1) - (v - middle).abs()


RECESS_BOX = ((-22.0, -46.0, 40.0), (26.0, -24.0, 80.0))
