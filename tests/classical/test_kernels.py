"""Kernels without windows, and rows without convolutions, against the plain way of doing both."""

from dataclasses import replace

import pytest
import torch
from tests.conftest import make_measurement

from reshim.classical.grappa import apply, axis_cells
from reshim.classical.kernels import WindowSums, coils_last, complete, fit_kernels
from reshim.classical.lattice import Cell
from reshim.classical.readout import filled_lines, to_centred_kspace
from reshim.physics.espirit import calibration_block

ROWS = Cell((0, 1, 2, 3, 4), (2,), (0,))
BOTH = Cell((0, 2, 4), (2, 3), (0,))
COLUMNS = (Cell((0, 3, 6), (4, 5), (0,)), Cell((0, 3, 6), (-2, -1), (0,)), Cell((0, 3), (7,), (0,)))


def random_block(rows: int, columns: int, n_coils: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(rows, columns, n_coils, generator=generator, dtype=torch.complex128)


def windows(block: torch.Tensor, rows: Cell, columns: Cell, spots: list[tuple[int, int]]) -> torch.Tensor:
    """One row a complete window, its samples at the spots written out."""
    tops, starts = complete(rows, block.shape[0]), complete(columns, block.shape[1])
    return torch.stack([torch.cat([block[t + r, s + c] for r, c in spots]) for t in tops for s in starts])


@pytest.mark.parametrize("rows", [ROWS, BOTH])
@pytest.mark.parametrize("columns", COLUMNS)
def test_sums_over_windows_are_those_of_windows_written_out(rows, columns):
    block = random_block(21, 17)
    sums = WindowSums(block, rows, COLUMNS)
    sources = [(r, c) for r in rows.sources for c in columns.sources]
    targets = [(r, c) for r in rows.targets for c in columns.targets]
    left, right = (windows(block, rows, columns, spots) for spots in (sources, targets))
    torch.testing.assert_close(sums.products(columns, sources, sources), left.mH @ left)
    torch.testing.assert_close(sums.products(columns, sources, targets), left.mH @ right)
    assert sums.energy(columns, targets) == pytest.approx(float(right.abs().square().sum()))


@pytest.mark.parametrize("shape", [(14, 30), (30, 14)])
def test_a_kernel_is_the_least_squares_answer_whichever_axis_is_longer(shape):
    block = random_block(*shape, n_coils=2)
    columns = COLUMNS[0]
    (kernel,) = fit_kernels(([BOTH], [columns]), block, 1e-13)
    sources = [(r, c) for r in BOTH.sources for c in columns.sources]
    targets = [(r, c) for r in BOTH.targets for c in columns.targets]
    left, right = (windows(block, BOTH, columns, spots) for spots in (sources, targets))
    expected = torch.linalg.lstsq(left, right).solution
    torch.testing.assert_close(kernel.weights, expected, rtol=0, atol=1e-6)
    missed = float((right - left @ expected).norm() / right.norm())
    assert kernel.misfit == pytest.approx(missed, rel=1e-6)


@pytest.mark.parametrize("shape", [(14, 30), (30, 14)])
def test_the_ridge_of_a_source_grows_with_its_distance(shape):
    block = random_block(*shape, n_coils=2)
    block = block / block.abs().max()
    columns = COLUMNS[0]
    # What a cell multiplies the ridge by is as good as the ridge itself, and each cell of a kind has its own.
    cut = [replace(columns, ridge=2.0), replace(columns, ridge=0.5)]
    _, kernel = fit_kernels(([replace(BOTH, ridge=3.0)], cut), block, 0.2, falloff=4)
    sources = [(r, c) for r in BOTH.sources for c in columns.sources]
    targets = [(r, c) for r in BOTH.targets for c in columns.targets]
    left, right = (windows(block, BOTH, columns, spots) for spots in (sources, targets))
    gram = left.mH @ left
    energy = gram.diagonal().real.mean()
    for index, (row, column) in enumerate(targets):
        distances = torch.tensor([((row - r) ** 2 + (column - c) ** 2) ** 0.5 for r, c in sources])
        load = 0.3 * energy * ((distances / 2) ** 4).repeat_interleave(2).to(gram)
        own = slice(2 * index, 2 * index + 2)
        expected = torch.linalg.solve(gram + torch.diag(load), left.mH @ right[:, own])
        torch.testing.assert_close(kernel.weights[:, own], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("acceleration", [2, 3, 4])
def test_products_in_the_image_are_convolutions_along_the_readout(acceleration):
    measurement, _ = make_measurement(
        32, 46, acceleration=acceleration, center=20, n=1, dtype=torch.complex128
    )
    cells = axis_cells(measurement, 4, 5)
    plane, columns = coils_last(measurement.kspace[0]), measurement.mask.flatten().nonzero().flatten()
    kernels = list(fit_kernels(cells, coils_last(calibration_block(measurement)[0]), 1e-6))
    hybrid, _ = filled_lines(measurement.kspace[0], columns, kernels)
    convolved = plane.clone()
    for kernel in kernels:
        apply(kernel, plane, convolved)
    convolved[:, columns] = plane[:, columns]
    torch.testing.assert_close(to_centred_kspace(hybrid), convolved.movedim(-1, 0), rtol=0, atol=1e-10)
