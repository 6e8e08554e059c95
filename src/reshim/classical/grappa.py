"""GRAPPA: missing samples as linear combinations of acquired neighbours of all coils.

Source: M. A. Griswold et al., Magn. Reson. Med. 47:1202 (2002).
Ours differs from pygrappa: kernels are fitted on complete windows only (zeros beyond the calibration block
are no data), take four acquired lines rather than a fixed width, and serve all lines of a gap from one solve.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, TypeAlias

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.classical.lattice import Cell, every_line, gaps, lattice_lines
from reshim.classical.sense import Sense, shown
from reshim.physics.espirit import calibration_block
from reshim.physics.fourier import to_image
from reshim.physics.maps import default_estimator
from reshim.physics.noise_level import noise_level
from reshim.types import Image, KSpace, MapEstimator, Measurement, Reconstructor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Interpolation:
    """A filled k-space and how far to trust it."""

    kspace: KSpace
    """Acquired samples as they were, missing ones predicted."""

    misfit: Float[Tensor, "*batch"]
    """Error of the prediction in the calibration block over the samples' norm, of the worst kernel."""

    unfilled: int
    """Missing samples (of one coil) that no kernel reaches."""


Plane: TypeAlias = Complex[Tensor, "row column coil"]
"""K-space of one slice, coils last: what is gathered then lies together in memory."""


@dataclass(frozen=True)
class Kernel:
    """Linear weights of one kind of cell."""

    rows: Cell
    columns: Cell
    weights: Complex[Tensor, "source target"]
    """Sources and targets each run over (row, column, coil)."""
    misfit: float


class NotMadeOfLinesError(ValueError):
    """The mask is no product of whole rows and columns, or nothing was acquired to fit kernels on."""


@dataclass(frozen=True)
class Grappa:
    """Interpolate k-space, then combine the coils."""

    taps: int = 4
    """Acquired lines along an undersampled axis that predict a gap."""

    readout_taps: int = 5
    """Neighbours along a fully sampled axis; odd."""

    ridge: float = 300.0
    """Tikhonov weight over the energy of the noise in the calibration sources. Tuned on P."""

    times_noise: bool = True
    """False takes `ridge` over the energy of the sources themselves, signal and noise, as pygrappa does."""

    combine: Literal["maps", "rss"] = "maps"
    """Coils by conj(maps), or by the root sum of squares, which has no phase."""

    estimate_maps: MapEstimator = default_estimator
    """Used where the measurement has no maps yet and coils are combined by them."""

    otherwise: Reconstructor | None = field(default_factory=Sense)
    """Takes masks that GRAPPA cannot (Poisson disc), with a line in the log; None raises instead."""

    def __post_init__(self) -> None:
        if self.readout_taps % 2 == 0:
            raise ValueError(f"readout_taps is {self.readout_taps}; a centred kernel needs an odd width")

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image (batch, row, column) in the measurement's units."""
        try:
            filled = self.fill(measurement).kspace
        except NotMadeOfLinesError as reason:
            if self.otherwise is None:
                raise
            log.warning("%s; %s is used instead", reason, type(self.otherwise).__name__)
            return self.otherwise(measurement)
        return combined(measurement, filled, self.combine, self.estimate_maps)

    @torch.no_grad()
    def fill(self, measurement: Measurement) -> Interpolation:
        """Predict the missing samples of every coil.

        Raises
        ------
        NotMadeOfLinesError
            If the mask is not made of whole lines, or there is no calibration block to fit kernels on.
        """
        cells = axis_cells(measurement, self.taps, self.readout_taps)
        acquired = torch.where(measurement.mask, measurement.kspace, 0)
        reached = _first_plane(measurement.mask).expand(acquired.shape[-2:]).clone()
        filled, misfits = [], []
        blocks = calibration_block(measurement)
        weights = self.weight(measurement).flatten().tolist()
        for item, block, weight in zip(acquired.flatten(0, -4), blocks.flatten(0, -4), weights, strict=True):
            plane = coils_last(item)
            whole, misfit = plane.clone(), 0.0
            for kernel in fit_kernels(cells, coils_last(block), weight):
                apply(kernel, plane, whole, reached)
                misfit = max(misfit, kernel.misfit)
            filled.append(whole.movedim(-1, 0))
            misfits.append(misfit)
        kspace = torch.stack(filled).reshape(acquired.shape)
        kspace = torch.where(measurement.mask, acquired, torch.where(measurement.acquirable, kspace, 0))
        unfilled = int((~reached & _first_plane(measurement.acquirable)).sum())
        misfit_of_each = acquired.real.new_tensor(misfits).reshape(acquired.shape[:-3])
        return Interpolation(kspace, misfit_of_each, unfilled)

    def weight(self, measurement: Measurement) -> Float[Tensor, "*batch"]:
        """The ridge of each batch item over the mean energy of its calibration samples."""
        batch = measurement.kspace.shape[:-3]
        if not self.times_noise:
            return measurement.kspace.real.new_full(batch, self.ridge)
        energy = calibration_block(measurement).abs().square().mean((-3, -2, -1))
        noise = 2 * noise_level(measurement).square()
        return torch.where(energy > 0, self.ridge * noise / torch.where(energy > 0, energy, 1), 0)


def coils_last(kspace: Complex[Tensor, "coil row column"]) -> Plane:
    """(row, column, coil), in memory too."""
    return kspace.movedim(0, -1).contiguous()


def _first_plane(mask: Tensor) -> Tensor:
    return mask.reshape(-1, *mask.shape[-2:])[0]


def axis_cells(measurement: Measurement, taps: int, readout_taps: int) -> tuple[list[Cell], list[Cell]]:
    """Cells of rows and of columns for a mask made of whole lines."""
    lines = lattice_lines(measurement)
    if lines is None:
        raise NotMadeOfLinesError(
            f"{measurement.name}: its mask is no product of whole rows and columns (Poisson disc, radial, or "
            "one mask a slice), which GRAPPA's kernels need"
        )
    if measurement.calibration.is_empty:
        raise NotMadeOfLinesError(
            f"{measurement.name}: there is no calibration block to fit GRAPPA's kernels on"
        )
    cells = []
    for axis, chosen in enumerate(lines):
        size, room = measurement.kspace.shape[axis - 2], measurement.calibration.shape[axis]
        whole = len(chosen) == size
        cells.append(every_line(size, min(readout_taps, room)) if whole else gaps(chosen, size, taps, room))
    return cells[0], cells[1]


def fit_kernels(cells: tuple[list[Cell], list[Cell]], block: Plane, ridge: float) -> Iterator[Kernel]:
    """The kernels of every kind of gap that holds a missing sample, for one slice."""
    scale = block.abs().amax()
    block = block / torch.where(scale > 0, scale, 1)
    # One axis fully sampled: the acquired line that opens a gap needs no prediction.
    along = [all(cell.only_sources for cell in axis) for axis in cells]
    normals: Normals = {}
    for rows, columns in product(*cells):
        if along[0]:
            columns = columns.without_sources()
        elif along[1]:
            rows = rows.without_sources()
        if rows.targets and columns.targets and not (rows.only_sources and columns.only_sources):
            yield fit(rows, columns, block, ridge, normals)


Normals: TypeAlias = dict[tuple[object, ...], tuple[Tensor, Tensor, Tensor]]
"""Source windows, their Gram matrix and its Cholesky factor, by geometry: targets of one gap share them."""


def fit(rows: Cell, columns: Cell, block: Plane, ridge: float, normals: Normals) -> Kernel:
    """Least squares over every complete window of the block, solved in double precision."""
    tops, starts = (
        _complete(cell, size) for cell, size in zip((rows, columns), block.shape[:2], strict=True)
    )
    key = (rows.sources, columns.sources, tops, starts)
    if key not in normals:
        sources = gather(block, tops, rows.sources, starts, columns.sources)
        gram = (sources.mH @ sources).to(torch.complex128)
        energy = gram.diagonal().real.mean()
        identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        # Below this the rounding of the Gram matrix itself would make it indefinite.
        least = 2 * len(gram) * torch.finfo(block.dtype).eps
        loaded = gram + (max(ridge, least) * energy + torch.finfo(torch.float32).tiny) * identity
        normals[key] = (sources, gram, torch.linalg.cholesky(loaded))
    sources, gram, factor = normals[key]
    targets = gather(block, tops, rows.targets, starts, columns.targets)
    cross = (sources.mH @ targets).to(torch.complex128)
    weights = torch.cholesky_solve(cross, factor)
    # ||T - S W||^2 from the small matrices; rounding may take a perfect fit below 0.
    norm = float(torch.view_as_real(targets).square().sum())
    error = norm + float((weights.conj() * (gram @ weights - 2 * cross)).real.sum())
    misfit = (max(error, 0.0) / norm) ** 0.5 if norm > 0 else 0.0
    return Kernel(rows, columns, weights.to(block.dtype), misfit)


def _complete(cell: Cell, size: int) -> range:
    """Where a window of this cell lies inside an axis of the calibration block."""
    low, high = cell.reach
    return range(-low, size - high)


def apply(kernel: Kernel, acquired: Plane, filled: Plane, reached: Tensor) -> None:
    """Write the predictions of one kernel into `filled`."""
    rows, columns = kernel.rows, kernel.columns
    n_coils = acquired.shape[-1]
    lines = _take(acquired, _positions(columns.anchors, columns.sources, acquired), 1)
    # One product a source row, so that no sample is copied once for each row that it helps to predict.
    by_row = kernel.weights.reshape(len(rows.sources), -1, kernel.weights.shape[-1])
    predicted = acquired.new_zeros(len(rows.anchors) * len(columns.anchors), kernel.weights.shape[-1])
    for offset, weights in zip(rows.sources, by_row, strict=True):
        sources = _take(lines, _positions(rows.anchors, (offset,), acquired), 0)
        predicted.addmm_(sources.reshape(len(predicted), -1), weights)
    row_index = _positions(rows.anchors, rows.targets, acquired)[:, None, :, None]
    column_index = _positions(columns.anchors, columns.targets, acquired)[None, :, None, :]
    shape = (len(rows.anchors), len(columns.anchors), len(rows.targets), len(columns.targets), n_coils)
    filled[row_index, column_index] = predicted.reshape(shape)
    reached[row_index, column_index] = True


def gather(
    kspace: Plane,
    tops: Sequence[int],
    row_offsets: tuple[int, ...],
    starts: Sequence[int],
    column_offsets: tuple[int, ...],
) -> Complex[Tensor, "window sample"]:
    """A row for each (top, start) with the samples at every offset, coils included; 0 beyond the border."""
    by_row = _take(kspace, _positions(tops, row_offsets, kspace), 0)
    picked = _take(by_row, _positions(starts, column_offsets, kspace), 2)
    # From (top, row, start, column, coil) to (top, start, row, column, coil).
    return picked.transpose(1, 2).reshape(len(tops) * len(starts), -1)


def _positions(anchors: Sequence[int], offsets: Sequence[int], like: Tensor) -> Tensor:
    """(anchor, offset) indices."""
    return torch.tensor(anchors, device=like.device)[:, None] + torch.tensor(offsets, device=like.device)


def _take(kspace: Tensor, positions: Tensor, axis: int) -> Tensor:
    """Index an axis by (anchor, offset) positions, which take its place; 0 beyond the border."""
    size = kspace.shape[axis]
    flat = positions.flatten()
    picked = kspace.index_select(axis, flat.clamp(0, size - 1))
    outside = ((flat < 0) | (flat >= size)).nonzero().flatten()
    if len(outside):
        picked.index_fill_(axis, outside, 0)
    return picked.unflatten(axis, tuple(positions.shape))


def combined(measurement: Measurement, kspace: KSpace, combine: str, estimate_maps: MapEstimator) -> Image:
    """The image of a filled k-space, coils combined."""
    coil_images = to_image(kspace)
    if combine == "rss":
        size = coil_images.abs().square().sum(-3).sqrt()
        return torch.complex(size, torch.zeros_like(size))
    maps = measurement.with_maps(estimate_maps).maps
    assert maps is not None
    return shown((maps.conj() * coil_images.unsqueeze(-4)).sum(-3))
