"""GRAPPA's kernels, fitted to every complete window of the calibration block.

Source: M. A. Griswold et al., Magn. Reson. Med. 47:1202 (2002).
Ours differs: windows are never written out. Their normal equations are sums of products of two lines a fixed
distance apart; one product of the block with itself, shifted, serves all windows, gaps and targets. The ridge
may grow with a source's distance from its target.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

import torch
from jaxtyping import Complex
from torch import Tensor

from reshim.classical.lattice import Cell

Plane: TypeAlias = Complex[Tensor, "row column coil"]
"""K-space of one slice, coils last: what is gathered then lies together in memory."""
Spots: TypeAlias = list[tuple[int, int]]
"""Row and column distances of a window's samples."""


@dataclass(frozen=True)
class Kernel:
    """Linear weights of one kind of cell."""

    rows: Cell
    columns: Cell
    weights: Complex[Tensor, "source target"]
    """Sources and targets each run over (row, column, coil)."""
    misfit: float


def coils_last(kspace: Complex[Tensor, "coil row column"]) -> Plane:
    """(row, column, coil), in memory too."""
    return kspace.movedim(0, -1).contiguous()


def fit_kernels(
    cells: tuple[list[Cell], list[Cell]], block: Plane, ridge: float, falloff: float = 0.0
) -> Iterator[Kernel]:
    """The kernels of every kind of gap that holds a missing sample, for one slice.

    The ridge of a source at a distance of d lines from its target is `ridge` times (d / 2) ** falloff, times
    what its cells multiply it by.
    """
    scale = block.abs().amax()
    block = block / torch.where(scale > 0, scale, 1)
    if block.shape[0] < block.shape[1]:
        # Lines are multiplied along the longer axis, which leaves the smaller products.
        for kernel in _fit((cells[1], cells[0]), block.transpose(0, 1), ridge, falloff):
            yield _transposed(kernel, block.shape[-1])
        return
    yield from _fit(cells, block, ridge, falloff)


def _fit(
    cells: tuple[list[Cell], list[Cell]], block: Plane, ridge: float, falloff: float
) -> Iterator[Kernel]:
    # One axis fully sampled: the acquired line that opens a gap needs no prediction.
    along = [all(cell.only_sources for cell in axis) for axis in cells]
    for rows in cells[0]:
        wanted = [columns.without_sources() if along[0] else columns for columns in cells[1]]
        rows = rows.without_sources() if along[1] and not along[0] else rows
        wanted = [c for c in wanted if c.targets and not (rows.only_sources and c.only_sources)]
        if rows.targets and wanted:
            sums = WindowSums(block, rows, wanted)
            solved: dict[object, Tensor] = {}
            for columns in wanted:
                yield _solve(rows, columns, sums, solved, ridge, falloff)


def _solve(
    rows: Cell,
    columns: Cell,
    sums: "WindowSums",
    solved: dict[object, Tensor],
    ridge: float,
    falloff: float,
) -> Kernel:
    """Least squares in double precision; gaps that share their windows share Gram matrix and factors."""
    sources = [(row, column) for row in rows.sources for column in columns.sources]
    targets = [(row, column) for row in rows.targets for column in columns.targets]
    ridge = ridge * rows.ridge * columns.ridge
    key = (columns.sources, columns.reach)
    if key not in solved:
        solved[key] = sums.products(columns, sources, sources).to(torch.complex128)
    gram = solved[key]
    energy = gram.diagonal().real.mean()
    # Below this the rounding of the Gram matrix itself would make it indefinite.
    least = 2 * len(gram) * torch.finfo(sums.dtype).eps
    if (key, columns.targets) not in solved:
        crossed = sums.products(columns, sources, targets)
        solved[key, columns.targets] = crossed.to(torch.complex128)
    cross = solved[key, columns.targets]
    # Targets whose sources are as far away share one factorisation: all of them where distance is no matter.
    alike: dict[tuple[float, ...], list[int]] = {}
    for index, target in enumerate(targets):
        alike.setdefault(_penalties(sources, target, falloff), []).append(index)
    weights = torch.empty_like(cross)
    coils = cross.shape[1] // len(targets)
    for penalties, members in alike.items():
        if (key, ridge, penalties) not in solved:
            each = gram.real.new_tensor(penalties).repeat_interleave(len(gram) // len(sources))
            load = (ridge * each).clamp_min(least) * energy + torch.finfo(torch.float32).tiny
            solved[key, ridge, penalties] = torch.linalg.cholesky(gram + torch.diag(load).to(gram.dtype))
        chosen = torch.cat([torch.arange(index * coils, (index + 1) * coils) for index in members])
        chosen = chosen.to(cross.device)
        weights[:, chosen] = torch.cholesky_solve(cross[:, chosen], solved[key, ridge, penalties])
    # ||T - S W||^2 from the small matrices; rounding may take a perfect fit below 0.
    norm = sums.energy(columns, targets)
    error = norm + float((weights.conj() * (gram @ weights - 2 * cross)).real.sum())
    misfit = (max(error, 0.0) / norm) ** 0.5 if norm > 0 else 0.0
    return Kernel(rows, columns, weights.to(sums.dtype), misfit)


def _penalties(sources: Spots, target: tuple[int, int], falloff: float) -> tuple[float, ...]:
    """What multiplies the ridge of each source."""
    if falloff == 0:
        return (1.0,) * len(sources)
    return tuple((math.dist(source, target) / 2) ** falloff for source in sources)


class WindowSums:
    """Sums of conj(sample) times sample over all complete windows: one cell of rows, every one of columns."""

    def __init__(self, block: Plane, rows: Cell, columns: Iterable[Cell]) -> None:
        self.dtype = block.dtype
        n_rows, self._width, self._coils = block.shape
        self._keys: dict[tuple[range, int, int], int] = {}
        for cell in columns:
            self._remember(cell)
        pairs = [(starts, a, b) for starts, a, b in self._keys]
        indices = [(s + a) * self._width + s + b for starts, a, b in pairs for s in starts]
        ends = list(accumulate(len(starts) for starts, _, _ in pairs))
        self._indices = torch.tensor(indices, device=block.device)
        self._offsets = torch.tensor([0, *ends[:-1]], device=block.device)
        distances = sorted({*rows.sources, *rows.targets})
        tops = complete(rows, n_rows)
        lines = block.reshape(n_rows, -1)
        self._sums: dict[tuple[int, int], Tensor] = {}
        for apart in sorted({b - a for a in distances for b in distances if b >= a}):
            first = [a for a in distances if a + apart in distances]
            self._accumulate(lines, first, apart, tops)

    def _remember(self, cell: Cell) -> None:
        starts = complete(cell, self._width)
        pairs = [(a, b) for a in cell.sources for b in cell.sources]
        pairs += [pair for a in cell.sources for b in cell.targets for pair in ((a, b), (b, a))]
        pairs += [(b, b) for b in cell.targets]
        for a, b in pairs:
            self._keys.setdefault((starts, a, b), len(self._keys))

    def _accumulate(self, lines: Tensor, firsts: list[int], apart: int, tops: range) -> None:
        """Pairs of rows `apart`: one product; further down, rows that leave and rows that come."""
        total = torch.zeros((), dtype=self.dtype, device=lines.device)
        begin, end = 0, 0
        for first in firsts:
            low, high = tops.start + first, tops.stop + first
            if low >= end:
                total = _product(lines, low, high, apart)
            else:
                total = total - _product(lines, begin, low, apart) + _product(lines, end, high, apart)
            begin, end = low, high
            self._sums[first, first + apart] = self._over_starts(total)

    def _over_starts(self, products: Tensor) -> Complex[Tensor, "key coil coil2"]:
        shape = (self._width, self._coils, self._width, self._coils)
        by_place = torch.view_as_real(products.reshape(shape).transpose(1, 2).contiguous())
        summed = torch.nn.functional.embedding_bag(
            self._indices, by_place.reshape(self._width**2, -1), self._offsets, mode="sum"
        )
        return torch.view_as_complex(summed.reshape(-1, self._coils, self._coils, 2))

    def _block(self, starts: range, left: tuple[int, int], right: tuple[int, int]) -> Tensor:
        if left[0] <= right[0]:
            return self._sums[left[0], right[0]][self._keys[starts, left[1], right[1]]]
        return self._sums[right[0], left[0]][self._keys[starts, right[1], left[1]]].mH

    def products(self, columns: Cell, left: Spots, right: Spots) -> Complex[Tensor, "left right"]:
        """(spot, coil) by (spot, coil) of the windows of one cell."""
        starts = complete(columns, self._width)
        blocks = [self._block(starts, a, b) for a in left for b in right]
        stacked = torch.stack(blocks).unflatten(0, (len(left), len(right)))
        return stacked.transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def energy(self, columns: Cell, spots: Spots) -> float:
        """Energy of the samples at some spots, over all windows."""
        starts = complete(columns, self._width)
        return float(sum(self._block(starts, a, a).diagonal().real.sum() for a in spots))


def complete(cell: Cell, size: int) -> range:
    """Where a window of this cell lies inside an axis of the calibration block."""
    low, high = cell.reach
    return range(-low, size - high)


def _product(lines: Complex[Tensor, "row sample"], low: int, high: int, apart: int) -> Tensor:
    return lines[low:high].mH @ lines[low + apart : high + apart]


def _transposed(kernel: Kernel, n_coils: int) -> Kernel:
    """Rows and columns exchanged."""
    rows, columns = kernel.rows, kernel.columns
    shape = (
        len(rows.sources),
        len(columns.sources),
        n_coils,
        len(rows.targets),
        len(columns.targets),
        n_coils,
    )
    weights = kernel.weights.reshape(shape).permute(1, 0, 2, 4, 3, 5).reshape(kernel.weights.shape)
    return replace(kernel, rows=columns, columns=rows, weights=weights)
