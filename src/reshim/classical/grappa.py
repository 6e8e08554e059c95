"""GRAPPA: missing samples as linear combinations of acquired neighbours of all coils.

Source: M. A. Griswold et al., Magn. Reson. Med. 47:1202 (2002); kernels along the readout as products in the
image: F. A. Breuer et al., Magn. Reson. Med. 62:739 (2009).
Ours differs from pygrappa: kernels are fitted on complete windows only (zeros beyond the calibration block
are no data), take the acquired lines around a gap rather than a fixed width, and have a ridge that follows
the noise over the signal where they predict and grows with distance.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reshim.classical.kernels import Kernel, Plane, coils_last, fit_kernels
from reshim.classical.lattice import Cell, banded, every_line, gaps, lattice_lines
from reshim.classical.readout import (
    Hybrid,
    combine_by_maps,
    filled_lines,
    root_sum_of_squares,
    to_centred_kspace,
    uncentred,
)
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


class NotMadeOfLinesError(ValueError):
    """The mask is no product of whole rows and columns, or nothing was acquired to fit kernels on."""


Cells: TypeAlias = tuple[list[Cell], list[Cell]]
"""Of the rows and of the columns."""


@dataclass(frozen=True)
class Grappa:
    """Interpolate k-space, then combine the coils."""

    taps: int = 2
    """Acquired lines along an undersampled axis that predict a gap."""

    readout_taps: int = 5
    """Neighbours along a fully sampled axis; odd."""

    ridge: float = 20.0
    """Tikhonov weight over the sources' mean energy, times the square of the sources' noise over signal where
    they predict (`NoiseRatios`). Tuned on P; see LOG.md."""

    falloff: float = 4.0
    """Power of a source's distance from its target with which its ridge grows, 1 at two lines: what k-space
    says about a neighbour fades with distance. 0 is Tikhonov's."""

    times_noise: bool = True
    """False takes `ridge` over the sources' mean energy as it is, as pygrappa does."""

    combine: Literal["maps", "rss"] = "maps"
    """Coils by conj(maps), or by the root sum of squares, which has no phase."""

    estimate_maps: MapEstimator = default_estimator
    """Used where the measurement has no maps yet and coils are combined by them."""

    otherwise: Reconstructor | None = field(default_factory=Sense)
    """Takes masks that GRAPPA cannot (Poisson disc), with a line in the log; None raises instead."""

    def __post_init__(self) -> None:
        if self.readout_taps % 2 == 0:
            raise ValueError(f"readout_taps is {self.readout_taps}; a centred kernel needs an odd width")

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Image:
        """Return the image (batch, row, column) in the measurement's units."""
        try:
            cells = axis_cells(measurement, self.taps, self.readout_taps)
        except NotMadeOfLinesError as reason:
            if self.otherwise is None:
                raise
            log.warning("%s; %s is used instead", reason, type(self.otherwise).__name__)
            return self.otherwise(measurement)
        if self.combine == "maps":
            measurement = measurement.with_maps(self.estimate_maps)
        if measurement.mask.shape[-2] > 1:
            return combined(measurement, self._fill(measurement, cells).kspace, self.combine)
        images = []
        for index, (hybrid, _) in enumerate(self._lines(measurement, cells)):
            if measurement.maps is None or self.combine == "rss":
                size = root_sum_of_squares(hybrid)
                images.append(torch.complex(size, torch.zeros_like(size)))
            else:
                maps = measurement.maps[index if measurement.maps.shape[0] > 1 else 0]
                images.append(shown(combine_by_maps(hybrid, maps)))
        return torch.stack(images)

    @torch.no_grad()
    def fill(self, measurement: Measurement) -> Interpolation:
        """Predict the missing samples of every coil.

        Raises
        ------
        NotMadeOfLinesError
            If the mask is not made of whole lines, or there is no calibration block to fit kernels on.
        """
        return self._fill(measurement, axis_cells(measurement, self.taps, self.readout_taps))

    def _fill(self, measurement: Measurement, cells: Cells) -> Interpolation:
        each = self._lines if measurement.mask.shape[-2] == 1 else self._samples
        whole = [
            (to_centred_kspace(filled) if measurement.mask.shape[-2] == 1 else filled.movedim(-1, 0), misfit)
            for filled, misfit in each(measurement, cells)
        ]
        filled = torch.stack([kspace for kspace, _ in whole])
        filled = torch.where(measurement.acquirable, filled, 0)
        kspace = torch.where(measurement.mask, measurement.kspace, filled)
        misfits = kspace.real.new_tensor([misfit for _, misfit in whole])
        reached = (places(cells[0], kspace.shape[-2])[:, None] & places(cells[1], kspace.shape[-1])) | (
            _first_plane(measurement.mask)
        )
        unfilled = int((~reached & _first_plane(measurement.acquirable)).sum())
        return Interpolation(kspace, misfits, unfilled)

    def _lines(self, measurement: Measurement, cells: Cells) -> Iterator[tuple[Hybrid, float]]:
        """Each slice filled along its columns, its rows transformed, and its worst misfit."""
        columns = measurement.mask.reshape(-1, measurement.mask.shape[-1])[0].nonzero().flatten()
        beyond = (
            (~measurement.acquirable.reshape(-1, measurement.acquirable.shape[-1])[0]).nonzero().flatten()
        )
        for item, kernels in self._kernels(measurement, cells):
            hybrid, misfit = filled_lines(item, columns, kernels)
            if len(beyond):
                hybrid.index_fill_(1, uncentred(beyond, hybrid.shape[1]), 0)
            yield hybrid, misfit

    def _samples(self, measurement: Measurement, cells: Cells) -> Iterator[tuple[Plane, float]]:
        """Each slice filled along both axes, and its worst misfit."""
        for item, kernels in self._kernels(measurement, cells):
            plane, misfit = coils_last(torch.where(_first_plane(measurement.mask), item, 0)), 0.0
            whole = plane.clone()
            for kernel in kernels:
                apply(kernel, plane, whole)
                misfit = max(misfit, kernel.misfit)
            yield whole, misfit

    def _kernels(self, measurement: Measurement, cells: Cells) -> Iterator[tuple[Tensor, Iterator[Kernel]]]:
        """Each slice with the kernels fitted to it."""
        blocks, ratios = calibration_block(measurement), self._ratios(measurement)
        weights = self._weight(measurement, ratios).tolist()
        for index, (item, block) in enumerate(zip(measurement.kspace, blocks, strict=True)):
            each = cells
            if ratios is not None:
                rows, columns = ratios.of_slice(index)
                each = banded(cells[0], rows), banded(cells[1], columns)
            yield item, fit_kernels(each, coils_last(block), weights[index], self.falloff)

    def weight(self, measurement: Measurement) -> Float[Tensor, "*batch"]:
        """The ridge of each slice over the mean energy of its calibration samples, k-space in the mean."""
        return self._weight(measurement, self._ratios(measurement))

    def _weight(self, measurement: Measurement, ratios: "NoiseRatios | None") -> Tensor:
        if ratios is None:
            return measurement.kspace.real.new_full(measurement.kspace.shape[:-3], self.ridge)
        return self.ridge * ratios.outer.square()

    def _ratios(self, measurement: Measurement) -> "NoiseRatios | None":
        return NoiseRatios.of(measurement) if self.times_noise else None


@dataclass(frozen=True)
class NoiseRatios:
    """Noise over signal, energy over energy, of all samples outside the calibration block and of each line.

    Of a signal that drowns only the noise is known: at most 10.
    """

    outer: Float[Tensor, " batch"]
    """0 where nothing was acquired outside the block."""

    rows: Float[Tensor, "batch row"]
    """`outer` where rows are sampled throughout, so that none is predicted; 0 where nothing was acquired."""

    columns: Float[Tensor, "batch column"]

    @classmethod
    def of(cls, measurement: Measurement) -> "NoiseRatios":
        """Of each slice."""
        kspace, mask = measurement.kspace, measurement.mask.squeeze(-3)
        energy = torch.where(mask, torch.view_as_real(kspace).square().sum((-1, -4)), 0)
        count = mask.expand(energy.shape) * kspace.shape[-3]
        noise = 2 * noise_level(measurement).square()
        block = (..., *measurement.calibration.block)
        outer = _noise_over_signal(
            energy.sum((-2, -1)) - energy[block].sum((-2, -1)),
            count.sum((-2, -1)) - count[block].sum((-2, -1)),
            noise,
        )
        lines = [
            # Sampled throughout: nothing is predicted along this axis.
            outer[:, None].expand(-1, energy.shape[axis])
            if mask.shape[axis] == 1
            else _noise_over_signal(energy.sum(other), count.sum(other), noise[:, None])
            for axis, other in ((-2, -1), (-1, -2))
        ]
        return cls(outer, *lines)

    def of_slice(self, index: int) -> tuple[list[float], list[float]]:
        """Of its rows and columns, over what is outside the block."""
        outer = float(self.outer[index]) or 1.0
        return (self.rows[index] / outer).tolist(), (self.columns[index] / outer).tolist()


def _noise_over_signal(energy: Tensor, count: Tensor, noise: Tensor) -> Tensor:
    signal = (energy / count.clamp_min(1) - noise).clamp_min(noise / 10)
    return torch.where((count > 0) & (signal > 0), noise / torch.where(signal > 0, signal, 1), 0)


def _first_plane(mask: Tensor) -> Tensor:
    return mask.reshape(-1, *mask.shape[-2:])[0]


def axis_cells(
    measurement: Measurement, taps: int, readout_taps: int, *, block_predicts: bool = True
) -> Cells:
    """Cells of rows and of columns for a mask made of whole lines.

    With `block_predicts`, lines of the calibration block are sources too where they are whole lines: nothing
    is nearer to the gaps beside it, which hold most of the missing energy.
    """
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
    sizes = measurement.kspace.shape[-2:]
    for axis, chosen in enumerate(lines):
        size, room = sizes[axis], measurement.calibration.shape[axis]
        whole = len(chosen) == size
        if block_predicts and len(lines[1 - axis]) == sizes[1 - axis]:
            whole_lines = _first_plane(measurement.mask).expand(sizes).all(1 - axis)
            chosen = whole_lines.nonzero().flatten().tolist()
        cells.append(every_line(size, min(readout_taps, room)) if whole else gaps(chosen, size, taps, room))
    return cells[0], cells[1]


def places(cells: list[Cell], size: int) -> Bool[Tensor, " line"]:
    """The lines that some cell predicts or is opened by."""
    found = torch.zeros(size, dtype=torch.bool)
    for cell in cells:
        found[[anchor + line for anchor in cell.anchors for line in cell.targets]] = True
    return found


def apply(kernel: Kernel, acquired: Plane, filled: Plane) -> None:
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


def combined(measurement: Measurement, kspace: KSpace, combine: str) -> Image:
    """The image of a filled k-space, coils combined by the measurement's maps or by their size."""
    coil_images = to_image(kspace)
    if combine == "rss":
        size = coil_images.abs().square().sum(-3).sqrt()
        return torch.complex(size, torch.zeros_like(size))
    assert measurement.maps is not None
    return shown((measurement.maps.conj() * coil_images.unsqueeze(-4)).sum(-3))
