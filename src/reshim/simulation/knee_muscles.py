"""What runs along the leg: the limb's outline, the muscles, the vessels, as tables against the height.

Each row of a table is a level above the joint; between levels the values run smoothly.
Ours differs from an atlas: a muscle is an ellipse across the leg at each level, and where two meet a
septum of fat is left between them, as in the body.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reshim.simulation.knee_bones import ellipse, length
from reshim.simulation.knee_frame import FAR_MM, Frame
from reshim.simulation.knee_subject import Subject
from reshim.simulation.shapes import Points, Triple

Profile = dict[float, tuple[float, ...]]

OUTLINE: Profile = {
    # Middle (lateral, posterior) and half axes of the fascia.
    -140: (1, 9, 40, 42),
    -100: (1, 10, 47, 45),
    -70: (1, 10, 47, 44),
    -40: (1, 8, 45, 41.5),
    -15: (0, 5, 43.5, 44),
    0: (0, 2, 44, 47.5),
    25: (0, -3, 48, 55),
    42: (0, -5, 49, 55),
    70: (0, -2, 54, 54),
    100: (0, 0, 60, 59),
    140: (0, 2, 67, 67),
}

MUSCLES: dict[str, Profile] = {
    # Middle (lateral, posterior) and half axes.
    "vastus medialis": {
        18: (-37, -20, 1, 2),
        30: (-37, -23, 7, 12),
        45: (-35, -24, 13, 19),
        70: (-33, -20, 20, 27),
        140: (-34, -14, 28, 36),
    },
    "vastus lateralis": {
        34: (39, -24, 1, 2),
        48: (38, -25, 8, 14),
        70: (36, -20, 17, 27),
        140: (36, -14, 27, 38),
    },
    "vastus intermedius": {
        52: (3, -31, 3, 1),
        64: (2, -33, 19, 8),
        85: (2, -32, 28, 16),
        140: (2, -30, 34, 24),
    },
    "rectus femoris": {78: (2, -52, 3, 1.5), 100: (2, -52, 15, 6), 140: (2, -52, 22, 12)},
    "biceps femoris": {
        -14: (40, 22, 2, 2),
        8: (41, 26, 5, 9),
        38: (40, 27, 9, 13),
        70: (35, 31, 17, 17),
        140: (30, 38, 24, 23),
    },
    "biceps short head": {
        40: (30, 26, 4, 4),
        62: (24, 20, 10, 8),
        100: (20, 14, 14, 10),
        140: (18, 10, 14, 12),
    },
    "semimembranosus": {
        -12: (-34, 24, 2, 2),
        10: (-33, 31, 6, 7),
        35: (-31, 33, 13, 12),
        70: (-25, 34, 22, 17),
        140: (-24, 36, 28, 22),
    },
    "semitendinosus": {
        25: (-25, 46, 1.5, 1.5),
        45: (-21, 46, 5, 4),
        75: (-8, 47, 15, 8),
        140: (-4, 50, 24, 15),
    },
    "sartorius": {
        -30: (-39, 8, 1.5, 5),
        0: (-43, 17, 3, 9),
        35: (-46, 18, 5, 13),
        75: (-51, 18, 8, 15),
        140: (-58, 4, 12, 18),
    },
    "gracilis": {10: (-42, 30, 1, 2), 40: (-43, 33, 4, 5), 75: (-44, 36, 8, 8), 140: (-44, 38, 12, 12)},
    "adductor magnus": {48: (-26, 10, 1, 2), 75: (-26, 10, 8, 10), 140: (-26, 10, 20, 16)},
    "gastrocnemius medial": {
        -140: (-20, 40, 22, 12),
        -75: (-22, 40, 26, 16),
        -40: (-21, 39, 25, 15),
        0: (-21, 40, 19, 11),
        20: (-21, 40, 14, 9),
        38: (-20, 38, 7, 4),
        48: (-20, 36, 1, 1),
    },
    "gastrocnemius lateral": {
        -140: (20, 40, 20, 11),
        -75: (22, 40, 24, 15),
        -40: (21, 39, 22, 14),
        0: (21, 40, 17, 11),
        20: (21, 39, 13, 9),
        36: (20, 37, 7, 4),
        46: (20, 36, 1, 1),
    },
    "popliteus": {-64: (-14, 18, 3, 3), -40: (-8, 21, 20, 8), -18: (2, 26, 19, 7), -3: (18, 29, 9, 3)},
    "soleus": {-24: (26, 30, 3, 2), -42: (12, 32, 28, 9), -75: (2, 29, 42, 16), -140: (2, 26, 42, 20)},
    "tibialis anterior": {
        -12: (28, -14, 2, 2),
        -32: (27, -14, 12, 12),
        -65: (24, -12, 17, 16),
        -140: (22, -10, 18, 18),
    },
    "extensor digitorum": {
        -14: (36, -4, 2, 3),
        -32: (38, -5, 8, 9),
        -65: (38, -6, 11, 12),
        -140: (36, -6, 14, 14),
    },
    "peroneus": {-28: (42, 10, 2, 5), -45: (42, 10, 7, 11), -75: (42, 10, 10, 14), -140: (40, 10, 12, 16)},
    "tibialis posterior": {-40: (16, 12, 2, 2), -55: (16, 10, 14, 9), -140: (14, 10, 18, 13)},
    "flexor digitorum": {-52: (-18, 16, 2, 2), -75: (-18, 14, 12, 8), -140: (-16, 14, 14, 12)},
}

_VESSELS: Profile = {
    # Popliteal artery, then vein: lateral, posterior, radius of each.
    -140: (4, 26, 1.5, 9, 27, 1.8),
    -50: (3, 27, 2.0, 7, 29, 2.4),
    0: (0, 36, 2.8, 4, 40, 3.6),
    40: (-3, 28, 3.2, 2, 34, 4.2),
    140: (-18, 18, 3.4, -14, 24, 4.6),
}

_LOW, _HIGH = -140, 140


def smooth_table(profile: Profile) -> np.ndarray:
    """The profile at each mm of height, without the kinks at its levels; (height, value)."""
    heights = np.arange(_LOW, _HIGH + 1)
    levels = np.array(list(profile))
    values = np.array(list(profile.values()), dtype=float)
    table = np.stack([np.interp(heights, levels, column) for column in values.T], axis=1)
    kernel = np.exp(-((np.arange(-15, 16) / 6.0) ** 2) / 2)
    padded = np.pad(table, ((15, 15), (0, 0)), mode="edge")
    return np.stack([np.convolve(c, kernel / kernel.sum(), mode="valid") for c in padded.T], axis=1)


@dataclass(frozen=True)
class Tables:
    """All the tables of one subject, side by side, so that one look-up serves a slice."""

    values: Tensor
    """(height, column)."""

    boxes: tuple[tuple[Triple, Triple], ...]
    """A box that contains each muscle."""

    @classmethod
    def of(cls, subject: Subject) -> "Tables":
        """The tables with this subject's bulk."""
        muscles = [smooth_table(profile) * (1, 1, subject.bulk, subject.bulk) for profile in MUSCLES.values()]
        tables = [smooth_table(OUTLINE), smooth_table(_VESSELS), *muscles]
        boxes = tuple(_box(profile, subject.bulk) for profile in MUSCLES.values())
        return cls(torch.tensor(np.concatenate(tables, axis=1), dtype=torch.float32), boxes)

    def at(self, height: Tensor) -> Tensor:
        """Every column at the heights, (column, sub or 1, row or 1, 1)."""
        place = (height - _LOW).clamp(0, _HIGH - _LOW - 1e-3)
        below = place.long()
        share = (place - below)[None]
        columns = self.values.T
        return columns[:, below] * (1 - share) + columns[:, below + 1] * share


def fascia(points: Points, columns: Tensor) -> Tensor:
    """Depth below the fascia that wraps muscles and bones."""
    u, v, _ = points
    middle_u, middle_v, half_u, half_v = columns[:4]
    across, back = (u - middle_u) / half_u, (v - middle_v) / half_v
    square = (across * back).square() / (across.square() + back.square()).clamp_min(1e-2).square()
    # A leg is squarer than an ellipse, and narrower in front.
    bulge = 0.97 + 0.28 * square + 0.07 * back.clamp(-1.2, 1.2)
    return ellipse(u - middle_u, v - middle_v, half_u * bulge, half_v * (0.99 + 0.1 * square))


def _box(profile: Profile, bulk: float) -> tuple[Triple, Triple]:
    """A box around a muscle, with room for its faded rim and for the tilt of the leg."""
    middles = np.array([level[:2] for level in profile.values()])
    halves = np.array([level[2:] for level in profile.values()]) * bulk + 3
    low, high = (middles - halves).min(0), (middles + halves).max(0)
    return (low[0], low[1], min(profile) - 14), (high[0], high[1], max(profile) + 14)


def muscles(frame: Frame, columns: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """Depth in the muscle that is deepest at each point, and in the second deepest."""
    best = torch.full_like(frame.points[0], FAR_MM)
    second = best.clone()
    parameters = columns[10:].unflatten(0, (-1, 4))
    for profile, box, four in zip(MUSCLES.values(), tables.boxes, parameters, strict=True):
        if not (window := frame.patch(*box)):
            continue
        u, v, _ = frame.cut(window)
        middle_u, middle_v, half_u, half_v = (column[:, window[0]] for column in four.expand(4, *frame.tall))
        depth = ellipse(u - middle_u, v - middle_v, half_u, half_v)
        # Its ends are rounded off.
        height = frame.height.expand(frame.tall)[:, window[0]]
        depth -= (min(profile) + 5 - height).clamp_min(0).square() / 12
        depth -= (height - max(profile) + 5).clamp_min(0).square() / 12
        first, next_to = best[:, window[0], window[1]], second[:, window[0], window[1]]
        torch.maximum(next_to, torch.minimum(first, depth), out=next_to)
        torch.maximum(first, depth, out=first)
    return best, second


def popliteal_vessels(points: Points, columns: Tensor) -> Tensor:
    """Depth in the popliteal artery or vein."""
    u, v, _ = points
    artery, vein = columns[4:7], columns[7:10]
    return torch.maximum(
        artery[2] - length(u - artery[0], v - artery[1]), vein[2] - length(u - vein[0], v - vein[1])
    )


def subcutaneous_veins(points: Points, height: Tensor, columns: Tensor, subject: Subject) -> Tensor:
    """Depth in the veins that wander up the leg in the fat, a third of its thickness above the fascia."""
    u, v, _ = points
    depth = torch.full_like(u, FAR_MM)
    for angle, turn, phase, radius in subject.veins.tolist():
        place = angle + turn * height + 0.06 * torch.sin(height / 9 + phase)
        lift = 0.35 * subject.fat + 1 + 0.15 * subject.fat * torch.sin(height / 14 + 2 * phase)
        middle_u = columns[0] + (columns[2] + lift) * torch.sin(place)
        middle_v = columns[1] - (columns[3] + lift) * torch.cos(place)
        depth = torch.maximum(depth, radius - length(u - middle_u, v - middle_v))
    return depth


def fat_thickness(points: Points, columns: Tensor, subject: Subject) -> Tensor:
    """Of the subcutaneous fat, in mm: thin over patella and shin, thicker medially and behind."""
    u, v, w = points
    lateral, posterior, up, phase = subject.fat_waves
    across, back = (u - columns[0]) / 50, (v - columns[1]) / 50
    relative = 1 + lateral * across + posterior * back + up * w / 60
    relative = relative + 0.1 * torch.sin(w / 13 + phase + 2 * across)
    front = torch.exp(-(across / 0.5).square()) * torch.sigmoid(-(back + 0.6) / 0.1)
    return subject.fat * relative.clamp_min(0.3) * (1 - 0.6 * front)
