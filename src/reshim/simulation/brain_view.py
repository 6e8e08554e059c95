"""A window on a slice through a form: its coordinates, the fields read there, and the paint on it.

A region of the body is entered through a window of its own, so that painting the thalami touches the pixels
around them. What a pixel becomes does not depend on how the window was cut.
"""

import math
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from reshim.simulation.brain_form import Form
from reshim.simulation.brain_layers import TISSUES, Fields, Paint, Window
from reshim.simulation.geometry import Geometry
from reshim.simulation.lattice import Lattice
from reshim.simulation.shapes import Points

# Which of x, y, z runs along rows, columns and the normal; how (z, y, x) becomes (sub-plane, row, column).
_ORDER = {
    "axial": ((1, 0, 2), (0, 1, 2)),
    "coronal": ((2, 0, 1), (1, 0, 2)),
    "sagittal": ((2, 1, 0), (2, 0, 1)),
}


@dataclass(frozen=True)
class SliceView:
    """Part of one slice, its sub-planes in front."""

    form: Form
    order: tuple[tuple[int, int, int], tuple[int, int, int]]
    axes: Points
    """Coordinate vectors along x, y and z; the slice normal's holds the sub-planes."""

    at: Fields
    paint: Paint

    def enter(self, part: str) -> Optional["SliceView"]:
        """The window in which this view meets a region, the region's fields added; None where it does not."""
        lattice = self.form.parts[part].lattice
        normal = self.order[0][2]
        if not len(_within(self.axes[normal], *_reach(lattice, normal))):
            return None
        rows, columns = (_span(self.axes[p], *_reach(lattice, p)) for p in self.order[0][:2])
        if rows.start == rows.stop or columns.start == columns.stop:
            return None
        around = {name: values[:, rows, columns] for name, values in self.at.items()}
        paint = self.paint.within((rows, columns))
        return SliceView(self.form, self.order, self._cropped((rows, columns)), around, paint).everywhere(
            part
        )

    def everywhere(self, part: str) -> "SliceView":
        """The same view with a region's fields added; beyond its box they keep their outermost values."""
        read = self.form.read(part, self.axes)
        own = {name: values.permute(self.order[1]).contiguous() for name, values in read.items()}
        return SliceView(self.form, self.order, self.axes, self.at | own, self.paint)

    def points(self) -> Points:
        """x, y and z of the pixels, each (sub-plane, row, column)."""
        x, y, z = (axis.view([-1 if d == 2 - i else 1 for d in range(3)]) for i, axis in enumerate(self.axes))
        return x.permute(self.order[1]), y.permute(self.order[1]), z.permute(self.order[1])

    def grain(self) -> Tensor:
        """Fine noise of the texture, averaged over the thickness, (row, column)."""
        fine = self.form.grain_lattice.read(self.form.grain, self.axes)[0]
        return fine.permute(self.order[1]).mean(0)

    def _cropped(self, window: Window) -> Points:
        axes = list(self.axes)
        for place, span in zip(self.order[0], window, strict=False):
            axes[place] = axes[place][span]
        return axes[0], axes[1], axes[2]


def open_view(form: Form, geometry: Geometry, index: int) -> tuple[SliceView, Window] | None:
    """One slice, cropped to the head, and where the crop lies on the grid; None for a slice of air."""
    order = _ORDER[geometry.view]
    row, column, normal = order[0]
    planes = [geometry.points(index, sub) for sub in geometry.subs]
    axes = [torch.empty(0)] * 3
    axes[row], axes[column] = planes[0][row][:, 0], planes[0][column][0]
    axes[normal] = torch.stack([plane[normal][0, 0] for plane in planes])
    rows, columns = _outline(form, axes[normal], order[0], axes)
    if rows.start == rows.stop or columns.start == columns.stop:
        return None
    axes[row], axes[column] = axes[row][rows], axes[column][columns]
    left = torch.ones(len(axes[normal]), len(axes[row]), len(axes[column]))
    paint = Paint(left, torch.zeros(len(TISSUES), *left.shape[1:]))
    whole = SliceView(form, order, (axes[0], axes[1], axes[2]), {}, paint)
    return whole, (rows, columns)


def _outline(form: Form, normal_mm: Tensor, places: tuple[int, int, int], axes: list[Tensor]) -> Window:
    """The window of the grid outside which there is only air."""
    lattice, names, values = form.parts["head"]
    place = places[2]
    nodes = ((normal_mm - lattice.start_mm[place]) / lattice.spacing_mm).clamp(1, lattice.counts[place] - 2)
    first, last = int(nodes.min()) - 1, min(int(nodes.max()) + 3, lattice.counts[place])
    body = values[names.index("outer")].narrow(2 - place, first, last - first) > -1.5
    spans = []
    for along in places[:2]:
        rest = tuple(dim for dim in range(3) if dim != 2 - along)
        filled = body.any(rest[1]).any(rest[0]).nonzero()
        if not len(filled):
            return slice(0, 0), slice(0, 0)
        # The surface may lie up to a node beyond the last one inside; a neck goes on beyond the lattice.
        low, high = int(filled[0]) - 1, int(filled[-1]) + 1
        low_mm = lattice.start_mm[along] + lattice.spacing_mm * low if low >= 0 else -math.inf
        high_mm = lattice.start_mm[along] + lattice.spacing_mm * high
        spans.append(_span(axes[along], low_mm, high_mm if high < lattice.counts[along] else math.inf))
    return spans[0], spans[1]


def _reach(lattice: Lattice, place: int) -> tuple[float, float]:
    """First and last node of a lattice along x, y or z."""
    start = lattice.start_mm[place]
    return start, start + lattice.spacing_mm * (lattice.counts[place] - 1)


def _within(axis: Tensor, low: float, high: float) -> Tensor:
    """Indices of the coordinates between two bounds."""
    return ((axis >= low) & (axis <= high)).nonzero().flatten()


def _span(axis: Tensor, low: float, high: float) -> slice:
    """The run of coordinates between two bounds; empty if there is none."""
    found = _within(axis, low, high)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)
