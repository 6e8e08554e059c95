import dataclasses

import pytest
import torch
from tests.conftest import make_measurement
from tests.reconstructor_checks import check_reconstructor

from reshim.classical.l1_wavelet import L1Wavelet
from reshim.classical.sense import Sense
from reshim.classical.total_variation import TotalVariation, differences, differences_adjoint, to_ball
from reshim.classical.wavelet import Wavelet, analyse_axis, padded_size, scaling_filter, synthesise_axis
from reshim.physics.noise_level import relative_noise
from reshim.physics.scaling import intensity_scale
from reshim.physics.sense import SenseOperator
from reshim.solvers import conjugate_gradient


def random_real(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("reconstruct", [L1Wavelet(iterations=6), TotalVariation(iterations=6)])
def test_promises_of_a_reconstructor_are_kept(reconstruct):
    measurement, _ = make_measurement(acceleration=4, noise=0.01)
    check_reconstructor(reconstruct, measurement)


def test_the_filters_are_those_of_pywavelets():
    pywt = pytest.importorskip("pywt", reason="PyWavelets is not installed")
    for order in (1, 2, 4, 8):
        ours = torch.tensor(scaling_filter(order), dtype=torch.float64)
        theirs = torch.tensor(pywt.Wavelet(f"db{order}").rec_lo, dtype=torch.float64)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)


def level_matrix(size: int, order: int) -> torch.Tensor:
    """One level along one axis, written out."""
    return analyse_axis(torch.eye(size, dtype=torch.float64), order, -2)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_details_of_a_polynomial_vanish_up_to_the_wavelets_order(order):
    x = torch.arange(64, dtype=torch.float64) / 64
    details = level_matrix(64, order)[32:]
    inside = slice(0, 32 - order)  # a polynomial is not periodic, so the last details see its jump
    assert float((details @ x ** (order - 1))[inside].abs().max()) < 1e-10
    assert float((details @ x**order)[inside].abs().max()) > 1e-10


def test_a_level_is_an_orthogonal_matrix_even_where_the_filter_wraps_more_than_once():
    for size in (4, 6, 32):
        matrix = level_matrix(size, 4)
        identity = torch.eye(size, dtype=torch.float64)
        torch.testing.assert_close(matrix @ matrix.T, identity, rtol=0, atol=1e-9)
        torch.testing.assert_close(synthesise_axis(identity, 4, -2), matrix.T)
        torch.testing.assert_close(analyse_axis(identity, 4, -1), matrix.T)


def test_synthesis_undoes_analysis_and_keeps_energy():
    image = random_real(2, 48, 32)
    wavelet = Wavelet(4)
    coefficients = wavelet.analyse(image)
    torch.testing.assert_close(wavelet.synthesise(coefficients), image)
    torch.testing.assert_close(coefficients.norm(), image.norm())


def test_a_side_that_the_pyramid_does_not_divide_is_refused_and_padded():
    with pytest.raises(ValueError, match="30x32 is no multiple of 4"):
        Wavelet(2).analyse(random_real(30, 32))
    assert padded_size(30, 2) == 32
    with pytest.raises(ValueError, match="computed for 1"):
        scaling_filter(0)


def test_shrinking_a_fully_sampled_image_has_a_closed_form():
    measurement, images = make_measurement(rows=48, columns=32, acceleration=1, dtype=torch.complex128)
    settings = {
        "weight": 0.05,
        "times_noise": False,
        "shifts": False,
        "iterations": 30,
        "shrink_coarsest": True,
    }
    found = L1Wavelet(**settings)(measurement)
    wavelet = Wavelet(2)
    real, imaginary = wavelet.analyse(images.real), wavelet.analyse(images.imag)
    limit = 0.05 * intensity_scale(measurement)[:, None, None]
    factor = (1 - limit / torch.hypot(real, imaginary)).clamp_min(0)
    expected = torch.complex(wavelet.synthesise(real * factor), wavelet.synthesise(imaginary * factor))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_near_an_image_and_without_sparsity_it_is_the_regularised_solve():
    measurement, images = make_measurement(acceleration=4, noise=0.03, dtype=torch.complex128)
    anchor = 0.8 * images
    found = L1Wavelet(weight=0.0, iterations=400).near(measurement, anchor, closeness=5.0)
    operator = SenseOperator.of(measurement)
    pull = 5.0 * relative_noise(measurement)[:, None, None, None]
    rhs = operator.adjoint(measurement.kspace) + pull * anchor.unsqueeze(-3)
    expected = conjugate_gradient(lambda x: operator.gram(x) + pull * x, rhs, 200, item_dims=3)[:, 0]
    assert (found - expected).norm() < 1e-6 * expected.norm()


def test_near_an_image_a_fully_sampled_scan_has_a_closed_form():
    measurement, images = make_measurement(rows=48, columns=32, acceleration=1, dtype=torch.complex128)
    settings = {"times_noise": False, "shifts": False, "iterations": 60, "shrink_coarsest": True}
    anchor, closeness = 0.5 * images, 2000.0
    found = L1Wavelet(weight=0.05, **settings).near(measurement, anchor, closeness)
    pull = closeness * relative_noise(measurement)[:, None, None]
    # Between the scan and the image, and then shrunk by what is left of the weight.
    mean, wavelet = (images + pull * anchor) / (1 + pull), Wavelet(2)
    real, imaginary = wavelet.analyse(mean.real), wavelet.analyse(mean.imag)
    limit = 0.05 * intensity_scale(measurement)[:, None, None] / (1 + pull)
    factor = (1 - limit / torch.hypot(real, imaginary)).clamp_min(0)
    expected = torch.complex(wavelet.synthesise(real * factor), wavelet.synthesise(imaginary * factor))
    assert float(pull.min()) > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_an_image_that_explains_the_samples_and_has_no_wavelets_to_lose_stays():
    measurement, images = make_measurement(acceleration=3, dtype=torch.complex128)
    measurement = dataclasses.replace(measurement, noise_std=torch.ones(images.shape[0]) * 1e-9)
    kept = L1Wavelet(weight=0.2, iterations=20).near(measurement, images, closeness=1.0)
    assert (kept - images).norm() < 1e-6 * images.norm()


@pytest.mark.parametrize("reconstruct", [L1Wavelet(), TotalVariation()])
def test_sparsity_lowers_the_error_of_noisy_fast_scans(reconstruct):
    measurement, images = make_measurement(acceleration=4, noise=0.03, rows=64, columns=64)
    error = (reconstruct(measurement) - images).norm()
    assert float(error) < 0.9 * float((Sense()(measurement) - images).norm())


def test_differences_have_their_adjoint():
    images, steps = random_real(2, 9, 7), random_real(2, 2, 9, 7)
    torch.testing.assert_close(
        (differences(images) * steps).sum(), (images * differences_adjoint(steps)).sum()
    )


def test_projection_shortens_long_vectors_and_leaves_short_ones():
    multiplier = torch.tensor([[[3.0 + 0j]], [[4.0j]]])
    torch.testing.assert_close(to_ball(multiplier, torch.tensor(1.0)), multiplier / 5)
    torch.testing.assert_close(to_ball(multiplier, torch.tensor(6.0)), multiplier)
    assert float(to_ball(multiplier, torch.tensor(0.0)).abs().max()) == 0


def test_total_variation_of_infinite_weight_leaves_a_constant():
    measurement, images = make_measurement(rows=16, columns=14, acceleration=1, dtype=torch.complex128, n=1)
    found = TotalVariation(weight=100.0, times_noise=False, iterations=800, start=0, balance=1.0)(measurement)
    torch.testing.assert_close(found, images.mean().expand_as(found), rtol=0, atol=2e-3)


def test_a_volume_of_odd_sides_is_reconstructed():
    measurement, images = make_measurement(rows=45, columns=51, acceleration=2, noise=0.005)
    found = L1Wavelet()(measurement)
    assert float((found - images).norm() / images.norm()) < 0.1
