"""From the scanner's grid to the knee's own coordinates, and from depths to partial volumes.

The knee's coordinates (lateral, posterior, up) are those of the average right-angled, unbent knee, in mm from
the middle of the tibial plateau. Depths of shapes are smooth, so they are computed on every second or third
pixel and interpolated linearly; what is sharp is cut from them afterwards on the fine grid.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from reshim.simulation.geometry import Geometry
from reshim.simulation.knee_subject import Subject
from reshim.simulation.shapes import Points, membership, turned

Window = tuple[slice, slice]

_LATTICE_MM = 1.3
_DIMENSIONS = {"axial": (2, 1, 0), "coronal": (2, 0, 1), "sagittal": (0, 2, 1)}
"""Which of (sub, row, column) x, y and z run along."""

FAR_MM = -30.0
"""The depth of what is too far off to matter."""


@dataclass(frozen=True)
class Frame:
    """The sub-planes of one slice in the knee's coordinates, on the coarse grid."""

    points: Points
    """Lateral, posterior and up, each (sub, row, column)."""

    height: Tensor
    """Up along the leg before it was bent, (sub or 1, row or 1, 1): where tables along the leg are read."""

    step: int
    """Fine pixels from one coarse point to the next."""

    before: tuple[int, int]
    """Fine pixels between the first coarse row and column and the first fine ones."""

    fine_shape: tuple[int, int]
    edge_mm: float
    """Over what length a surface fades, in the knee's coordinates."""

    rows: tuple[np.ndarray, np.ndarray]
    """Smallest and largest coordinate of each row, each (3, row)."""

    columns: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, geometry: Geometry, slice_index: int, subject: Subject) -> "Frame":
        """The frame of one slice."""
        step = max(1, round(_LATTICE_MM / max(geometry.spacing_mm)))
        halves = [math.ceil((n // 2) / step) for n in (geometry.rows, geometry.columns)]
        coarse = replace(
            geometry,
            rows=2 * halves[0] + 1,
            columns=2 * halves[1] + 1,
            spacing_mm=(geometry.spacing_mm[0] * step, geometry.spacing_mm[1] * step),
        )
        points, height = _to_knee(axes_of(coarse, slice_index), subject)
        stacked = torch.stack(points)
        thickness = geometry.thickness_mm / geometry.n_sub
        return cls(
            points=points,
            height=height,
            step=step,
            before=(halves[0] * step - geometry.rows // 2, halves[1] * step - geometry.columns // 2),
            fine_shape=(geometry.rows, geometry.columns),
            edge_mm=math.hypot(max(geometry.spacing_mm), 0.5 * thickness) / subject.size,
            rows=(stacked.amin((1, 3)).numpy(), stacked.amax((1, 3)).numpy()),
            columns=(stacked.amin((1, 2)).numpy(), stacked.amax((1, 2)).numpy()),
        )

    @property
    def tall(self) -> tuple[int, int, int]:
        """The shape of what varies along the leg alone: sub-planes, rows, 1."""
        return self.points[0].shape[0], self.points[0].shape[1], 1

    @property
    def whole(self) -> Window:
        """The patch of all coarse points."""
        return slice(0, self.points[0].shape[1]), slice(0, self.points[0].shape[2])

    def patch(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> Window | None:
        """The coarse rows and columns that meet the box from `low` to `high`, None if none does."""
        window = []
        bottom, top = np.array(low, np.float32)[:, None], np.array(high, np.float32)[:, None]
        for smallest, largest in (self.rows, self.columns):
            meets = ((largest >= bottom) & (smallest <= top)).all(0).nonzero()[0]
            if len(meets) < 1:
                return None
            window.append(slice(max(int(meets[0]) - 1, 0), min(int(meets[-1]) + 2, smallest.shape[1])))
        return window[0], window[1]

    def cut(self, window: Window) -> Points:
        """The points of a patch."""
        u, v, w = (axis[:, window[0], window[1]] for axis in self.points)
        return u, v, w

    def where(self, depth: Tensor, reach_mm: float) -> Window | None:
        """The smallest patch that holds all points of the whole where `depth` exceeds −`reach_mm`."""
        near = (depth > -reach_mm).any(0).numpy()
        rows, columns = near.any(1).nonzero()[0], near.any(0).nonzero()[0]
        if len(rows) < 1:
            return None
        first, second = (
            slice(max(int(some[0]) - 1, 0), min(int(some[-1]) + 2, n))
            for some, n in zip((rows, columns), near.shape, strict=True)
        )
        return first, second

    def fine_window(self, window: Window) -> Window:
        """The fine pixels that a coarse patch covers."""
        first, second = (
            slice(
                max(part.start * self.step - before, 0),
                min((part.stop - 1) * self.step - before + 1, n),
            )
            for part, before, n in zip(window, self.before, self.fine_shape, strict=True)
        )
        return first, second

    def refine(self, values: Tensor, window: Window) -> Tensor:
        """Values of a coarse patch on the fine pixels of `fine_window`."""
        if self.step > 1:
            size = [(n - 1) * self.step + 1 for n in values.shape[-2:]]
            values = torch.nn.functional.interpolate(
                values[:, None], size=size, mode="bilinear", align_corners=True
            )[:, 0]
        cuts = []
        for part, before, fine in zip(window, self.before, self.fine_window(window), strict=True):
            start = fine.start + before - part.start * self.step
            cuts.append(slice(start, start + fine.stop - fine.start))
        return values[:, cuts[0], cuts[1]]


def axes_of(geometry: Geometry, slice_index: int) -> Points:
    """x, y and z of the sub-planes of one slice, each along its own dimension of (sub, row, column)."""
    planes = [geometry.points(slice_index, sub) for sub in geometry.subs]
    axes = []
    for axis, dimension in enumerate(_DIMENSIONS[geometry.view]):
        along_sub = torch.stack([plane[axis][0, 0] for plane in planes])
        choices = (along_sub, planes[0][axis][:, 0], planes[0][axis][0, :])
        shape = [1, 1, 1]
        shape[dimension] = -1
        axes.append(choices[dimension].reshape(shape))
    return axes[0], axes[1], axes[2]


def _to_knee(body: Points, subject: Subject) -> tuple[Points, Tensor]:
    """The knee's coordinates of points of the body, and the unbent height of each row."""
    x, y, z = (
        (axis - offset) / (subject.size * stretch)
        for axis, offset, stretch in zip(body, subject.offset_mm, subject.stretch, strict=True)
    )
    height = z
    # The thigh leans against the shank above the joint; a shear is a rotation as long as it is small.
    above = 8 * torch.nn.functional.softplus((height - 8) / 8)
    u = x * subject.side
    a, k, p = subject.waves.unbind(1)

    def wave(index: int, axis: Tensor) -> Tensor:
        return a[index] * torch.sin(k[index] * axis + p[index])

    u = u + wave(0, y) + wave(1, height) - math.tan(math.radians(subject.valgus_deg)) * above
    v = y + wave(2, x) + wave(3, height) - math.tan(math.radians(subject.flexion_deg)) * above
    w = z + wave(4, x) * 0.5 + wave(5, y) * 0.5
    u, v, w = (axis.contiguous() for axis in torch.broadcast_tensors(u, v, w))
    return turned((u, v, w), subject.tilt_deg), height


class Canvas:
    """Paints tissues front to back: what is painted first hides what comes later.

    Each layer takes its share of what shines through, so the shares of a pixel never exceed 1.
    """

    def __init__(self, frame: Frame, fractions: dict[str, Tensor]) -> None:
        self.frame = frame
        self.fractions = fractions
        """Of one slice, (row, column) each; added to in place."""
        self.excess = torch.zeros(frame.fine_shape)
        """Sum of (texture − 1) × share, (row, column)."""
        self.left = torch.ones(len(frame.points[0]), *frame.fine_shape)
        """What still shines through, (sub, row, column)."""

    def paint(self, tissue: str, share: Tensor, window: Window, texture: Tensor | None = None) -> Tensor:
        """Lay a tissue on the fine pixels of `window`; what it gets of each, (row, column), comes back."""
        left = self.left[:, window[0], window[1]]
        part = left * share
        left -= part
        gained = part.mean(0)
        self.fractions[tissue][window] += gained
        if texture is not None:
            self.excess[window] += (part * (texture - 1)).mean(0)
        return gained

    def mean_texture(self) -> Tensor:
        """Mean of the texture of all tissues of each pixel, weighted with their shares; 1 in air."""
        total = torch.stack(tuple(self.fractions.values())).sum(0)
        return 1 + self.excess / total.clamp_min(1e-3)

    def share(self, depth: Tensor, window: Window) -> Tensor:
        """The membership on the fine grid of a depth on a coarse patch."""
        return membership(self.frame.refine(depth, window), self.frame.edge_mm)
