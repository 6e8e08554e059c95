"""Which acquired lines predict which missing ones: the geometry of k-space interpolation, without data.

An axis is cut into gaps between neighbouring acquired lines. A gap is predicted from the `taps` lines nearest
to it; gaps with the same distances share a kernel, so a regular pattern needs one and its edges a few more.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool
from torch import Tensor

from reshim.types import Measurement


@dataclass(frozen=True)
class Cell:
    """Gaps of one axis that look alike, distances counted from the first source line."""

    sources: tuple[int, ...]
    """Of the source lines."""

    targets: tuple[int, ...]
    """Of the lines of the gap, its first acquired line included."""

    anchors: tuple[int, ...]
    """Index of the first source line, once for each such gap."""

    ridge: float = 1.0
    """Multiplies the ridge of the kernel: more where the sources hold more noise for their signal."""

    @property
    def reach(self) -> tuple[int, int]:
        """First and last distance, sources and targets together."""
        return min(0, *self.targets), max(*self.sources, *self.targets)

    @property
    def only_sources(self) -> bool:
        """True where every target is an acquired line."""
        return set(self.targets) <= set(self.sources)

    def without_sources(self) -> "Cell":
        """The same cell with missing lines as its only targets."""
        return replace(self, targets=tuple(line for line in self.targets if line not in self.sources))


def every_line(size: int, taps: int) -> list[Cell]:
    """An axis that is fully sampled: each line with its neighbours on both sides, also beyond the border."""
    half = taps // 2
    return [Cell(tuple(range(taps)), (half,), tuple(line - half for line in range(size)))]


def gaps(lines: Sequence[int], size: int, taps: int, room: int) -> list[Cell]:
    """Cells of an axis with acquired `lines`; a cell fits in `room` lines, its taps cut until it does."""
    found: defaultdict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = defaultdict(list)
    stops = [*(int(line) for line in lines[1:]), size]
    borders = [(-1, 0, int(lines[0]))]
    borders += [(i, int(line), stop) for i, (line, stop) in enumerate(zip(lines, stops, strict=True))]
    for index, start, stop in borders:
        if stop <= start:
            continue
        sources = _fitting(lines, index, (start, stop), taps, room)
        if sources:
            first = sources[0]
            key = (tuple(s - first for s in sources), tuple(t - first for t in range(start, stop)))
            found[key].append(first)
    return [Cell(sources, targets, tuple(anchors)) for (sources, targets), anchors in found.items()]


def banded(cells: Sequence[Cell], noise_ratios: Sequence[float]) -> list[Cell]:
    """The same cells, cut where the sources' noise over signal (of each line; 0 where none was acquired)
    falls into another octave; what it is there, squared, multiplies the ridge.

    The noisiest source decides. Where no line has noise, nothing is cut.
    """
    found: defaultdict[tuple[Cell, int], list[int]] = defaultdict(list)
    for cell in cells:
        for anchor in cell.anchors:
            places = [anchor + source for source in cell.sources]
            inside = [noise_ratios[place] for place in places if 0 <= place < len(noise_ratios)]
            ratio = max(inside, default=0.0)
            found[cell, round(math.log2(ratio)) if ratio > 0 else 0].append(anchor)
    return [
        replace(cell, anchors=tuple(anchors), ridge=cell.ridge * 4.0**octave)
        for (cell, octave), anchors in found.items()
    ]


def _fitting(lines: Sequence[int], index: int, gap: tuple[int, int], taps: int, room: int) -> list[int]:
    """The source lines around the gap that begins at ``lines[index]``: fewer where not all fit.

    A quarter of the room is left for windows to move in, or a kernel would have more weights than windows.
    """
    for count in range(min(taps, len(lines)), 0, -1):
        first = min(max(index - (count - 1) // 2, 0), len(lines) - count)
        chosen = [int(line) for line in lines[first : first + count]]
        low, high = min(chosen[0], gap[0]), max(chosen[-1], gap[1] - 1)
        if high - low < room - room // 4:
            return chosen
    return []


def lattice_lines(measurement: Measurement) -> tuple[list[int], list[int]] | None:
    """Acquired rows and columns whose crossings, with the calibration block, are the whole mask.

    On a regular pattern the block's extra lines are left out, so that one kernel serves everywhere. None
    where the mask is no such product, or differs between batch items.
    """
    shape = measurement.kspace.shape[-2:]
    planes = measurement.mask.reshape(-1, *measurement.mask.shape[-2:])
    if not bool((planes == planes[:1]).all()):
        return None
    plane = planes[0].expand(shape)
    outside = plane.clone()
    rows, columns = measurement.calibration.block
    outside[rows, columns] = False
    axes = []
    for axis in (1, 0):
        acquired = (
            outside.any(axis).nonzero().flatten().tolist() or plane.any(axis).nonzero().flatten().tolist()
        )
        block = measurement.calibration[:2] if axis == 1 else measurement.calibration[2:]
        axes.append(_regular(acquired, plane.any(axis), block))
    lattice = torch.zeros_like(plane)
    lattice[torch.tensor(axes[0])[:, None], torch.tensor(axes[1])] = True
    lattice[rows, columns] = True
    return (axes[0], axes[1]) if torch.equal(lattice, plane) else None


def _regular(outside: list[int], acquired: Bool[Tensor, " n"], block: tuple[int, ...]) -> list[int]:
    """The lattice through the lines outside the block, continued through it; all lines if irregular."""
    steps = {b - a for a, b in pairwise(outside) if b <= block[0] or a >= block[1]}
    if len(steps) == 1:
        step = steps.pop()
        lattice = list(range(outside[0], outside[-1] + 1, step))
        if set(outside) <= set(lattice) and bool(acquired[lattice].all()):
            return lattice
    return acquired.nonzero().flatten().tolist()
