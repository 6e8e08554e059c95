from dataclasses import replace

import pytest
import torch
from tests.conftest import equispaced, make_measurement, smooth_maps

from reshim.classical.g_factor import grappa_g_factor, pseudo_replicas, sense_g_factor
from reshim.classical.grappa import Grappa, apply, axis_cells, combined
from reshim.classical.kernels import coils_last, fit_kernels
from reshim.classical.sense import Sense
from reshim.classical.zero_filled import ZeroFilled
from reshim.physics.espirit import calibration_block
from reshim.physics.maps import default_estimator
from reshim.physics.sense import SenseOperator


def test_no_acceleration_costs_nothing():
    factor = sense_g_factor(smooth_maps(4, 12, 10)[:, None], (1, 1))
    torch.testing.assert_close(factor, torch.ones_like(factor))


@pytest.mark.parametrize("acceleration", [(1, 2), (1, 3), (2, 2)])
def test_the_map_is_that_of_the_dense_matrix(acceleration):
    rows, columns = 4, 12
    maps = smooth_maps(6, rows, columns)[:, None]
    factor = sense_g_factor(maps, acceleration)[0]
    mask = equispaced(columns, acceleration[1], 0) & equispaced(rows, acceleration[0], 0).mT
    operator = SenseOperator(maps, mask)
    basis = torch.eye(rows * columns, dtype=torch.complex128).reshape(-1, 1, 1, rows, columns)
    dense = torch.stack([operator.gram(image)[0, 0].flatten() for image in basis], dim=1)
    # Per sample, an orthonormal transform of 1 / R of the samples holds 1 / R of the energy.
    total = acceleration[0] * acceleration[1]
    expected = (torch.linalg.inv(dense).diagonal().real / total).sqrt().reshape(rows, columns)
    torch.testing.assert_close(factor, expected)


def test_pixels_that_do_not_fold_onto_pixels_are_refused():
    with pytest.raises(ValueError, match="no multiple of"):
        sense_g_factor(smooth_maps(2, 8, 9)[:, None], (1, 2))


def test_replicas_of_a_full_scan_have_the_noise_that_was_added():
    measurement, _ = make_measurement(rows=16, columns=18, acceleration=1, n=1)
    spread = pseudo_replicas(ZeroFilled(), measurement, 0.1, 200)
    assert float((spread / 0.1 - 1).mean().abs()) < 0.02


def test_replicas_of_sense_agree_with_its_analytic_map():
    measurement, _ = make_measurement(rows=12, columns=24, acceleration=2, center=0, n=1)
    solve = Sense(ridge=0, iterations=25, tolerance=0)
    spread = pseudo_replicas(solve, measurement, 0.1, 150) / 0.1 / 2**0.5
    analytic = sense_g_factor(measurement.maps, (1, 2))
    assert float((spread / analytic - 1).abs().mean()) < 0.08


def test_replicas_of_grappa_agree_with_its_analytic_map():
    calibrated, _ = make_measurement(rows=40, columns=48, acceleration=2, center=20, n=1)
    grappa = Grappa(taps=4, ridge=1e-3, falloff=0, times_noise=False)
    analytic = grappa_g_factor(calibrated, grappa)
    lattice = torch.zeros_like(calibrated.mask)
    lattice[..., ::2] = True

    cells = axis_cells(calibrated, 4, 5, block_predicts=False)
    kernels = list(fit_kernels(cells, coils_last(calibration_block(calibrated)[0]), 1e-3))
    interior = max(kernels, key=lambda kernel: len(kernel.columns.anchors))

    def fixed_kernel(measurement):
        acquired = coils_last(torch.where(lattice, measurement.kspace, 0)[0])
        filled = acquired.clone()
        apply(interior, acquired, filled)
        kspace = torch.where(lattice, measurement.kspace, filled.movedim(-1, 0)[None])
        return combined(measurement.with_maps(default_estimator), kspace, "maps")

    silent = replace(calibrated, kspace=torch.zeros_like(calibrated.kspace))
    spread = pseudo_replicas(fixed_kernel, silent, 0.1, 120) / 0.1 / 2**0.5
    assert float((spread / analytic - 1).abs().mean()) < 0.08
    assert float(analytic.max() / analytic.min()) > 1.5
