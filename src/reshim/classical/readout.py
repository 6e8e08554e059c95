"""Interpolation where the readout is sampled throughout: in the image along it, in k-space across it.

Source: F. A. Breuer et al., Magn. Reson. Med. 62:739 (2009): a convolution along the readout is a product in
the image, so a kernel of five readout neighbours costs what a kernel of one does.
Ours differs: what that product carries from one end of the readout to the other is taken away again, so that
zeros lie beyond both; planes stay in the transform's own order, frequency and pixel 0 first, until coils are
combined.
"""

import math
from collections.abc import Iterable
from itertools import product

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.classical.kernels import Kernel, Plane

Hybrid = Plane
"""(row of the image, column of k-space, coil), both axes from frequency and pixel 0 on."""


def acquired_lines(
    kspace: Complex[Tensor, "coil row column"], columns: Tensor
) -> Complex[Tensor, "row acquired coil"]:
    """Some columns, transformed along the readout."""
    lines = torch.fft.ifftshift(kspace.index_select(-1, columns), dim=-2)
    return torch.fft.ifft(lines.movedim(0, -1), dim=0, norm="ortho")


def filled_lines(
    kspace: Complex[Tensor, "coil row column"], columns: Tensor, kernels: Iterable[Kernel]
) -> tuple[Hybrid, float]:
    """The acquired columns and, in the gaps between them, what the kernels predict; and the worst misfit."""
    images = acquired_lines(kspace, columns)
    n_columns, misfit = kspace.shape[-1], 0.0
    hybrid = images.new_zeros(images.shape[0], n_columns, images.shape[-1])
    places = uncentred(columns, n_columns)
    hybrid.index_copy_(1, places, images)
    for kernel in kernels:
        interpolate(hybrid, kernel, kspace)
        misfit = max(misfit, kernel.misfit)
    # Gaps run through the calibration block too, where the acquired samples are the better ones.
    return hybrid.index_copy_(1, places, images), misfit


def interpolate(hybrid: Hybrid, kernel: Kernel, kspace: Complex[Tensor, "coil row column"]) -> None:
    """Write the predictions of one kernel, whose rows are all rows, into the columns of its gaps.

    `kspace` is what `hybrid` was made of; only its first and last rows are read.
    """
    n_rows, n_columns, n_coils = hybrid.shape
    cell = kernel.columns
    anchors = torch.tensor(cell.anchors, device=hybrid.device)
    sources, targets = (
        uncentred((anchors[:, None] + torch.tensor(offsets, device=hybrid.device)).flatten(), n_columns)
        for offsets in (cell.sources, cell.targets)
    )
    seen = hybrid.index_select(1, sources).reshape(n_rows, len(anchors), -1)
    weights = kernel.weights.reshape(len(kernel.rows.sources), seen.shape[-1], -1)
    phases = readout_phases(n_rows, kernel.rows.targets[0], kernel.rows.sources, hybrid)
    if len(anchors) < len(weights):
        # Few gaps: phases on the samples cost less than a kernel for every row.
        turned = (seen[:, :, None] * phases[:, None, :, None]).flatten(2)
        predicted = turned @ weights.flatten(0, 1)
    else:
        predicted = seen @ (phases @ weights.flatten(1)).unflatten(1, weights.shape[1:])
    positions = (sources + n_columns // 2) % n_columns
    ends, wrapped = _carried_over(kernel, kspace, positions, weights)
    if ends:
        waves = _waves(n_rows, ends, hybrid) / math.sqrt(n_rows)
        predicted -= (waves @ wrapped.flatten(1)).unflatten(1, wrapped.shape[1:])
    hybrid.index_copy_(1, targets, predicted.reshape(n_rows, -1, n_coils))


def _carried_over(
    kernel: Kernel, kspace: Tensor, positions: Tensor, weights: Tensor
) -> tuple[list[int], Complex[Tensor, "end gap target"]]:
    """Rows of k-space that the circular product fed from the other end, and with what."""
    n_rows, n_gaps = kspace.shape[-2], len(kernel.columns.anchors)
    shifts = [source - kernel.rows.targets[0] for source in kernel.rows.sources]
    ends = [row for row in range(n_rows) if row + shifts[0] < 0 or row + shifts[-1] >= n_rows]
    wrapped = kspace.new_zeros(len(ends), n_gaps, weights.shape[-1])
    for index, row in enumerate(ends):
        for shift, weight in zip(shifts, weights, strict=True):
            if not 0 <= row + shift < n_rows:
                samples = kspace[:, (row + shift) % n_rows].index_select(-1, positions)
                wrapped[index] += samples.mT.reshape(n_gaps, -1) @ weight
    return ends, wrapped


def _waves(size: int, rows: list[int], like: Tensor) -> Complex[Tensor, "pixel row"]:
    """What a sample of each row of k-space is along the image, pixel 0 first."""
    points = torch.arange(size, dtype=torch.float64, device=like.device)
    frequencies = torch.tensor(rows, dtype=torch.float64, device=like.device) - size // 2
    angle = 2 * math.pi / size * points[:, None] * frequencies
    return torch.polar(torch.ones_like(angle), angle).to(like.dtype)


def readout_phases(
    size: int, target: int, sources: tuple[int, ...], like: Tensor
) -> Complex[Tensor, "pixel source"]:
    """What a shift from each source row to the target row is in the image, pixel 0 first."""
    return _waves(size, [target - source + size // 2 for source in sources], like)


def to_centred_kspace(hybrid: Hybrid) -> Complex[Tensor, "coil row column"]:
    """Back to k-space, coils first, frequency 0 in the middle."""
    kspace = torch.fft.fft(hybrid, dim=0, norm="ortho")
    return torch.fft.fftshift(kspace, dim=(0, 1)).movedim(-1, 0)


def root_sum_of_squares(hybrid: Hybrid) -> Float[Tensor, "row column"]:
    """The magnitude of all coils together."""
    images = torch.fft.ifft(hybrid, dim=1, norm="ortho")
    energy = torch.view_as_real(images).flatten(-2).square().sum(-1)
    return torch.fft.fftshift(energy.sqrt())


def combine_by_maps(
    hybrid: Hybrid, maps: Complex[Tensor, "set coil row column"]
) -> Complex[Tensor, "set row column"]:
    """The images of every set of maps."""
    images = torch.fft.ifft(hybrid, dim=1, norm="ortho").movedim(-1, 0)
    result = maps.new_empty(maps.shape[0], *maps.shape[-2:])
    # A quarter of the image at a time, which shifts it without a copy of all coils.
    for (rows, rows_from), (columns, columns_from) in product(*(_halves(n) for n in maps.shape[-2:])):
        part = images[:, rows_from, columns_from]
        result[:, rows, columns] = (maps[:, :, rows, columns].conj() * part).sum(1)
    return result


def _halves(size: int) -> Iterable[tuple[slice, slice]]:
    """Where each half of a centred axis lies in the transform's own order."""
    middle = size // 2
    return ((slice(0, middle), slice(size - middle, size)), (slice(middle, size), slice(0, size - middle)))


def uncentred(positions: Tensor, size: int) -> Tensor:
    """Where centred positions lie in the transform's own order."""
    return (positions - size // 2) % size
