"""Sampling masks over both axes, for scans with two phase-encoded directions (or as an emulation of them).

``poisson``  variable-density Poisson disc: no two samples closer than a radius that grows from the centre
``radial``   Cartesian samples nearest to spokes at the golden angle

Source: R. Bridson, SIGGRAPH sketches 2007 (Poisson disc); M. Lustig et al., Magn. Reson. Med. 58:1182 (2007),
variable density; S. Winkelmann et al., IEEE Trans. Med. Imaging 26:68 (2007), golden angle.
Ours differs: all samples compete at once, the one of highest random priority within its radius wins and
silences its neighbours, until nobody is left; the radius is then scaled until the rate is met.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from reshim.physics.masks import default_center_fraction, mask_digest

Plane = NDArray[np.bool_]

GROWTH = 3.0
"""How much wider the radius is at the edge of k-space than at its centre."""

GOLDEN_ANGLE = np.pi * (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class PlaneMask:
    """A mask over rows and columns and what must stand beside every score made with it."""

    plane: Plane
    """True where acquired."""

    center_lines: int
    """Side of the fully sampled block around frequency 0."""

    acceleration: float
    """The nominal rate that was asked for."""

    @property
    def effective_acceleration(self) -> float:
        """Samples over acquired samples."""
        return self.plane.size / max(int(self.plane.sum()), 1)

    @property
    def sha256(self) -> str:
        """Digest of the mask."""
        return mask_digest(self.plane)


def draw_plane_mask(
    name: str,
    shape: tuple[int, int],
    acceleration: float,
    *,
    center_fraction: float | None = None,
    center_lines: int | None = None,
    seed: int | tuple[int, ...] | None = None,
) -> PlaneMask:
    """Draw a mask over (row, column).

    Parameters
    ----------
    name
        One of `PLANE_MASKS`.
    shape
        Rows and columns of the k-space.
    acceleration
        Nominal rate, above 1; met to within a few percent, the centre included.
    center_fraction, center_lines
        Side of the fully sampled block, as a share of the columns or as a number; neither takes the
        default of the rate.
    seed
        Seeds ``numpy.random.RandomState``.

    Raises
    ------
    ValueError
        For an unknown name, a rate that is not above 1, or a block that is larger than the rate allows.
    """
    if name not in PLANE_MASKS:
        raise ValueError(f"there is no mask {name!r} over both axes; there are {sorted(PLANE_MASKS)}")
    if acceleration <= 1:
        raise ValueError(f"acceleration is {acceleration}; a mask over both axes needs one above 1")
    if center_fraction is not None and center_lines is not None:
        raise ValueError(
            f"center_fraction ({center_fraction}) and center_lines ({center_lines}) say the same thing "
            "twice; give one"
        )
    if center_lines is None:
        fraction = default_center_fraction(acceleration) if center_fraction is None else center_fraction
        center_lines = round(shape[1] * fraction)
    side = min(center_lines, *shape)
    budget = shape[0] * shape[1] / acceleration
    if side * side > budget:
        raise ValueError(
            f"the {side}x{side} centre alone exceeds {shape[0]}x{shape[1]} / {acceleration:g} = {budget:.0f} "
            "samples; lower center_lines, or the acceleration"
        )
    center = np.zeros(shape, dtype=bool)
    top, left = shape[0] // 2 - side // 2, shape[1] // 2 - side // 2
    center[top : top + side, left : left + side] = True
    plane = PLANE_MASKS[name](np.random.RandomState(seed), shape, budget, center)
    return PlaneMask(plane | center, side, float(acceleration))


def _poisson(rng: np.random.RandomState, shape: tuple[int, int], budget: float, center: Plane) -> Plane:
    priority = torch.from_numpy(rng.permutation(shape[0] * shape[1]).reshape(shape).astype(np.float32) + 1)
    distance = torch.from_numpy(_distance(shape)).float()
    low, high, best, miss = 0.4, 8.0, center, np.inf
    for _ in range(9):
        scale = (low * high) ** 0.5
        plane = _independent(priority, scale * (1 + GROWTH * distance) / (1 + GROWTH / 2)).numpy()
        count = int((plane | center).sum())
        if abs(count - budget) < miss:
            best, miss = plane, abs(count - budget)
        low, high = (scale, high) if count > budget else (low, scale)
    return best


def _independent(priority: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Samples of which none lies within another's radius, by rounds of local competition."""
    levels = radius.clamp_min(0).floor().long()
    chosen = torch.zeros_like(priority, dtype=torch.bool)
    alive = torch.ones_like(chosen)
    while bool(alive.any()):
        rank = torch.where(alive, priority, 0)
        highest, silenced = torch.zeros_like(rank), torch.zeros_like(alive)
        for level in torch.unique(levels).tolist():
            here = levels == level
            highest = torch.where(here, _disc_max(rank, level), highest)
        winners = alive & (rank >= highest)
        for level in torch.unique(levels).tolist():
            silenced |= _disc_max((winners & (levels == level)).float(), level) > 0
        chosen |= winners
        alive &= ~silenced & ~winners
    return chosen


def _disc_max(values: torch.Tensor, radius: int) -> torch.Tensor:
    """Maximum over a disc: one row-wise maximum for each row of the disc."""
    if radius == 0:
        return values
    result = torch.zeros_like(values)
    rows = values.shape[0]
    for offset in range(-min(radius, rows - 1), min(radius, rows - 1) + 1):
        half = int((radius**2 - offset**2) ** 0.5)
        line = functional.max_pool1d(values[:, None], 2 * half + 1, stride=1, padding=half)[:, 0]
        target, source = (
            slice(max(-offset, 0), rows - max(offset, 0)),
            slice(max(offset, 0), rows + min(offset, 0)),
        )
        result[target] = torch.maximum(result[target], line[source])
    return result


def _radial(rng: np.random.RandomState, shape: tuple[int, int], budget: float, center: Plane) -> Plane:
    first = rng.uniform(0, np.pi)
    before = plane = np.zeros(shape, dtype=bool)
    reach = np.linspace(-1, 1, 2 * max(shape) + 1)
    for spoke in range(4 * sum(shape)):
        if (plane | center).sum() >= budget:
            break
        before, plane = plane, plane.copy()
        angle = first + spoke * GOLDEN_ANGLE
        rows = np.round(shape[0] // 2 + reach * np.sin(angle) * shape[0] / 2).astype(int)
        columns = np.round(shape[1] // 2 + reach * np.cos(angle) * shape[1] / 2).astype(int)
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        plane[rows[inside], columns[inside]] = True
    # A spoke more or a spoke less, whichever comes nearer to the rate.
    missing, over = budget - (before | center).sum(), (plane | center).sum() - budget
    return before if missing < over else plane


def _distance(shape: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = ((np.arange(size) - size // 2) / (size / 2) for size in shape)
    return np.sqrt(rows[:, None] ** 2 + columns[None] ** 2)


PLANE_MASKS: dict[str, Callable[..., Plane]] = {"poisson": _poisson, "radial": _radial}
