"""What the anatomies of the trunk are drawn with: shapes painted from front to back on one slice at a time.

Depths are smooth, so they are worked out on every second pixel and interpolated; edges are cut on the fine
grid. A plane may lie in the body in any way. What paints takes its share of what those before it left of a
pixel, so partial volumes come out of the painting and never exceed 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from reshim.seeds import generator_of
from reshim.simulation.geometry import Anatomy, Geometry, Lesion
from reshim.simulation.knee_lesions import box_of
from reshim.simulation.shapes import Box, Ellipsoid, Points, Triple, Tube, membership

Shape: TypeAlias = Ellipsoid | Box | Tube
Window: TypeAlias = tuple[slice, slice]

_GRAIN_MM = 3.2
_GRAIN_NODES = 128


@dataclass(frozen=True)
class Finding:
    """A lesion of known size: an ellipsoid that takes the place of some tissues."""

    name: str
    body: Ellipsoid
    hosts: tuple[str, ...]
    tissue: str = "lesion"
    fade_mm: float = 1.5

    def stretched(self, size: float) -> "Finding":
        """The same finding, larger or smaller about its centre."""
        x, y, z = (size * radius for radius in self.body.radii)
        body = Ellipsoid(self.body.center, (x, y, z), self.body.degrees)
        return Finding(self.name, body, self.hosts, self.tissue, self.fade_mm)


class Sketch:
    """One slice while it is painted."""

    def __init__(self, tissues: Sequence[str], geometry: Geometry, index: int, grain: Tensor) -> None:
        self.tissues, self.spacing_mm = tuple(tissues), geometry.spacing_mm
        self.edge_mm = max(geometry.spacing_mm)
        planes = [geometry.points(index, sub) for sub in geometry.subs]
        x, y, z = (torch.stack([plane[axis] for plane in planes]) for axis in range(3))
        self.points: Points = (x, y, z)
        # Means of two by two pixels: bilinear interpolation by 2 lands on the pixels again.
        self.coarse: Points = tuple(
            functional.avg_pool2d(a[:, None], 2, ceil_mode=True)[:, 0] for a in (x, y, z)
        )  # type: ignore[assignment]
        self.left = torch.ones_like(self.points[0])
        self.taken = torch.zeros(len(self.tissues), *self.left.shape[1:])
        self._grain = grain

    def grain(self, field: int = 0, stretch: Triple = (1.0, 1.0, 1.0)) -> Tensor:
        """Fine noise at the pixels (row, column), deviation about 0.5, drawn out along x, y, z."""
        middle = len(self.points[0]) // 2
        x, y, z = (axis[middle] / s for axis, s in zip(self.points, stretch, strict=True))
        place = torch.stack([x, y, z], -1) * (2 / (_GRAIN_MM * _GRAIN_NODES))
        # The noise goes on beyond its cube as its mirror image.
        read = functional.grid_sample(
            self._grain[None, field : field + 1],
            place[None, None],
            padding_mode="reflection",
            align_corners=False,
        )
        return read[0, 0, 0]

    def depth(self, shape: Shape, bent: Points | None = None) -> tuple[Tensor, Window] | None:
        """Depth in a shape on the fine grid and the window it was worked out on; None where it is not met."""
        points = bent or self.coarse
        center, reach = ball_of(shape)
        # Beyond the reach by what the noise bends, the pixels and an edge take.
        reach += 4 * self.edge_mm + (8 if bent else 0)
        x, y, z = (axis - c for axis, c in zip(points, center, strict=True))
        near = x.square() + y.square() + z.square() < reach**2
        return self.refined(shape, near.any(0), points)

    def refined(
        self, shape: Callable[[Points], Tensor], near: Tensor, points: Points
    ) -> tuple[Tensor, Window] | None:
        """As `depth`, for any function of the points, where `near` (coarse row, coarse column) says so."""
        spans = []
        for axis in (1, 0):
            hit = near.any(axis).nonzero()
            if not len(hit):
                return None
            spans.append(slice(max(int(hit[0]) - 1, 0), min(int(hit[-1]) + 2, near.shape[1 - axis])))
        rows, columns = spans
        x, y, z = (axis[:, rows, columns] for axis in points)
        depth = shape((x, y, z))
        fine = functional.interpolate(depth[:, None], scale_factor=2, mode="bilinear", align_corners=False)
        window = (slice(2 * rows.start, 2 * rows.stop), slice(2 * columns.start, 2 * columns.stop))
        height, width = (
            min(span.stop, size) - span.start for span, size in zip(window, self.left.shape[1:], strict=True)
        )
        return fine[:, 0, :height, :width], window

    def everywhere(self, shape: Callable[[Points], Tensor], bent: Points | None = None) -> Tensor:
        """Depth in a shape without bounds, on the whole fine grid."""
        found = self.refined(
            shape, torch.ones(self.coarse[0].shape[1:], dtype=torch.bool), bent or self.coarse
        )
        assert found is not None
        return found[0]

    def paint(
        self, shape: Shape, bent: Points | None = None, inset_mm: float = 0.0, **mixture: float
    ) -> None:
        """Paint a mixture of tissues (shares that sum to 1 or less; the rest is air) over a shape."""
        found = self.depth(shape, bent)
        if found is not None:
            depth, window = found
            self.put(membership(depth - inset_mm, self.edge_mm), window, **mixture)

    def put(self, share: Tensor, window: Window | None = None, **mixture: float) -> None:
        """Paint a mixture over a share of what is left of the window's pixels; no tissue is air."""
        rows, columns = window or (slice(None), slice(None))
        left = self.left[:, rows, columns]
        part = share * left
        left -= part
        total = part.mean(0)
        for tissue, amount in mixture.items():
            self.taken[self.tissues.index(tissue), rows, columns] += amount * total

    def plant(self, finding: Finding) -> Tensor:
        """Turn what the finding replaces into it; the share of each pixel that was turned, (row, column)."""
        changed = torch.zeros_like(self.taken[0])
        found = self.depth(finding.body)
        if found is None:
            return changed
        depth, (rows, columns) = found
        share = membership(depth, max(finding.fade_mm, self.edge_mm)).mean(0)
        for name in finding.hosts:
            part = self.taken[self.tissues.index(name), rows, columns] * share
            self.taken[self.tissues.index(name), rows, columns] -= part
            changed[rows, columns] += part
        self.taken[self.tissues.index(finding.tissue)] += changed
        return changed


def ball_of(shape: Shape) -> tuple[Triple, float]:
    """Centre and radius of a ball that holds a shape."""
    if isinstance(shape, Ellipsoid):
        return shape.center, max(shape.radii) * (1.0 if shape.power <= 2 else 1.75)
    if isinstance(shape, Box):
        return shape.center, math.hypot(*shape.half_sizes)
    x, y, z = (sum(corner[axis] for corner in shape.corners) / len(shape.corners) for axis in range(3))
    reach = max(math.dist((x, y, z), corner) for corner in shape.corners)
    return (x, y, z), reach + max(shape.radii)


@lru_cache(maxsize=4)
def grain_of(owner: str, subject: int, seed: int) -> Tensor:
    """Two fields of fine noise that belong to one subject, (2, z, y, x)."""
    generator = generator_of("grain", owner, seed, subject)
    return torch.randn(2, _GRAIN_NODES, _GRAIN_NODES, _GRAIN_NODES, generator=generator).clamp_(-2.5, 2.5)


def anatomy_of(
    tissues: Sequence[str],
    geometry: Geometry,
    grain: Tensor,
    paint: Callable[[Sketch], None],
    findings: Sequence[Finding] = (),
    contrast: dict[str, float] | None = None,
) -> Anatomy:
    """Every slice painted, findings planted with their boxes, the tissues' grain as texture.

    Parameters
    ----------
    paint
        Paints one slice.
    contrast
        Deviation of the proton density's texture in each tissue; 0.04 where it is not given.
    """
    fractions, textures, areas = [], [], []
    amounts = torch.tensor([(contrast or {}).get(name, 0.04) for name in tissues])
    for index in range(geometry.n_slices):
        sketch = Sketch(tissues, geometry, index, grain)
        paint(sketch)
        areas.append([sketch.plant(finding) for finding in findings])
        fractions.append(sketch.taken)
        amount = torch.tensordot(amounts, sketch.taken, 1)
        textures.append((1 + 1.6 * amount * sketch.grain()).clamp_min(0.2))
    boxes = []
    for number, finding in enumerate(findings):
        sizes = [float(slices[number].sum()) for slices in areas]
        best = max(range(len(sizes)), key=sizes.__getitem__)
        box = box_of(areas[best][number], geometry.spacing_mm)
        if box is not None:
            boxes.append(Lesion(finding.name, best, box))
    return Anatomy(tuple(tissues), torch.stack(fractions), torch.stack(textures), tuple(boxes))
