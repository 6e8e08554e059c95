"""What runs along the leg: the limb's outline, the muscles, the vessels, as tables against the height.

Each row of a table is a level above the joint; between levels the values run smoothly.
Ours differs from an atlas: a muscle is an ellipse across the leg at each level, and where two meet a
septum of fat is left between them, as in the body.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reshim.simulation.knee_bones import ellipse
from reshim.simulation.knee_subject import Subject
from reshim.simulation.shapes import Points

Profile = dict[float, tuple[float, ...]]

OUTLINE: Profile = {
    # Middle (lateral, posterior) and half axes of the fascia, at each height.
    -140: (1, 8, 42, 42),
    -100: (1, 8, 50, 50),
    -70: (1, 7, 50, 51),
    -40: (1, 4, 47, 48),
    -15: (0, 1, 46, 47),
    0: (0, 0, 46.5, 50),
    25: (0, -3, 50, 56),
    42: (0, -4, 51, 57),
    70: (0, 0, 56, 57),
    100: (0, 3, 62, 62),
    140: (0, 4, 68, 70),
}

MUSCLES: dict[str, Profile] = {
    # Middle (lateral, posterior) and half axes at each height.
    "vastus medialis": {
        20: (-36, -22, 1, 2),
        32: (-36, -24, 6, 11),
        45: (-35, -24, 11, 17),
        70: (-33, -22, 17, 23),
        140: (-32, -16, 24, 30),
    },
    "vastus lateralis": {
        36: (38, -26, 1, 2),
        50: (38, -24, 7, 13),
        70: (37, -22, 14, 22),
        140: (36, -16, 22, 32),
    },
    "vastus intermedius": {
        52: (3, -32, 2, 1),
        66: (2, -34, 16, 7),
        90: (2, -38, 24, 13),
        140: (2, -42, 28, 16),
    },
    "biceps femoris": {
        -14: (40, 22, 2, 2),
        8: (43, 24, 4, 7),
        40: (41, 25, 7, 11),
        70: (37, 29, 13, 13),
        140: (32, 34, 20, 18),
    },
    "semimembranosus": {
        -12: (-34, 24, 2, 2),
        10: (-33, 31, 5, 6),
        35: (-30, 34, 12, 10),
        70: (-24, 36, 19, 13),
        140: (-22, 38, 22, 18),
    },
    "semitendinosus": {
        25: (-25, 46, 1.5, 1.5),
        45: (-22, 47, 4, 3),
        75: (-8, 50, 11, 7),
        140: (-4, 52, 18, 12),
    },
    "sartorius": {
        -30: (-39, 8, 1.5, 5),
        0: (-45, 16, 2, 8),
        35: (-47, 18, 4, 11),
        75: (-50, 16, 7, 13),
        140: (-54, 2, 10, 14),
    },
    "gracilis": {10: (-43, 30, 1, 2), 40: (-43, 32, 3, 4), 75: (-40, 36, 6, 6), 140: (-38, 36, 8, 10)},
    "gastrocnemius medial": {
        -140: (-20, 40, 20, 9),
        -75: (-22, 42, 23, 13),
        -40: (-22, 40, 21, 12),
        0: (-21, 40, 16, 9),
        20: (-21, 40, 12, 7),
        38: (-20, 38, 5, 3),
        46: (-20, 36, 1, 1),
    },
    "gastrocnemius lateral": {
        -140: (20, 40, 16, 8),
        -75: (22, 42, 20, 12),
        -40: (21, 40, 18, 11),
        0: (21, 40, 14, 9),
        20: (21, 39, 11, 7),
        36: (20, 37, 5, 3),
        44: (20, 36, 1, 1),
    },
    "popliteus": {-62: (-12, 18, 3, 2), -40: (-8, 22, 17, 6), -18: (2, 27, 17, 5), -3: (18, 29, 8, 3)},
    "soleus": {-26: (24, 30, 2, 1), -45: (10, 31, 24, 6), -75: (4, 29, 34, 12), -140: (2, 26, 36, 16)},
    "tibialis anterior": {
        -12: (27, -16, 1, 1),
        -35: (26, -13, 9, 9),
        -65: (26, -11, 12, 13),
        -140: (24, -10, 13, 15),
    },
    "peroneus": {-22: (40, 4, 2, 4), -40: (40, 3, 5, 11), -70: (42, 3, 8, 14), -140: (40, 4, 9, 16)},
    "tibialis posterior": {-42: (14, 16, 2, 2), -60: (14, 14, 10, 7), -140: (12, 14, 12, 10)},
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

    muscle_range: Tensor
    """Lowest and highest level of each muscle, (muscle, 2)."""

    @classmethod
    def of(cls, subject: Subject) -> "Tables":
        """The tables with this subject's bulk."""
        muscles = [smooth_table(profile) * (1, 1, subject.bulk, subject.bulk) for profile in MUSCLES.values()]
        tables = [smooth_table(OUTLINE), smooth_table(_VESSELS), *muscles]
        ends = [(min(profile), max(profile)) for profile in MUSCLES.values()]
        return cls(torch.tensor(np.concatenate(tables, axis=1), dtype=torch.float32), torch.tensor(ends))

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
    radius = torch.hypot(across, back).clamp_min(0.05)
    c, s = across / radius, back / radius
    # A leg is squarer than an ellipse and flat behind the joint.
    bulge = 1 + 0.035 * (1 - 8 * (c * s).square()) * -1 + 0.012 * c * (4 * c * c - 3)
    return ellipse(u - middle_u, v - middle_v, half_u * bulge, half_v * bulge)


def muscles(points: Points, height: Tensor, columns: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Depth in the muscle that is deepest at each point, and in the second deepest."""
    u, v, _ = points
    best = torch.full_like(u, -30.0)
    second = best.clone()
    low, high = float(height.min()), float(height.max())
    for (bottom, top), parameters in zip(ranges.tolist(), columns[10:].unflatten(0, (-1, 4)), strict=True):
        if high < bottom - 4 or low > top + 4:
            continue
        middle_u, middle_v, half_u, half_v = parameters
        depth = ellipse(u - middle_u, v - middle_v, half_u, half_v)
        # Its ends are closed over a few mm.
        depth = depth - (bottom - height).clamp_min(0) - (height - top).clamp_min(0)
        second = torch.maximum(second, torch.minimum(best, depth))
        best = torch.maximum(best, depth)
    return best, second


def popliteal_vessels(points: Points, columns: Tensor) -> Tensor:
    """Depth in the popliteal artery or vein."""
    u, v, _ = points
    artery, vein = columns[4:7], columns[7:10]
    return torch.maximum(
        artery[2] - torch.hypot(u - artery[0], v - artery[1]), vein[2] - torch.hypot(u - vein[0], v - vein[1])
    )


def subcutaneous_veins(points: Points, height: Tensor, columns: Tensor, subject: Subject) -> Tensor:
    """Depth in the veins that wander up the leg in the fat, a third of its thickness above the fascia."""
    u, v, _ = points
    depth = torch.full_like(u, -30.0)
    for angle, turn, phase, radius in subject.veins.tolist():
        place = angle + turn * height + 0.06 * torch.sin(height / 9 + phase)
        lift = 0.35 * subject.fat + 1 + 0.15 * subject.fat * torch.sin(height / 14 + 2 * phase)
        middle_u = columns[0] + (columns[2] + lift) * torch.sin(place)
        middle_v = columns[1] - (columns[3] + lift) * torch.cos(place)
        depth = torch.maximum(depth, radius - torch.hypot(u - middle_u, v - middle_v))
    return depth
