"""What realism is measured with gives the answers that are known."""

import numpy as np
import pytest

from reshim.simulation import realism


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_white_noise_has_a_flat_spectrum_and_a_sharper_image_a_flatter_one():
    image = noise(256, 256) + 20
    assert realism.of_image(image)["spectrum_slope"] == pytest.approx(0, abs=0.15)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    falling = np.fft.ifft2(np.fft.fft2(noise(128, 128)) / np.maximum(frequency, 0.01) ** 1.5).real
    assert realism.of_image(falling - falling.min() + 1)["spectrum_slope"] == pytest.approx(-3, abs=0.25)


def test_gaussian_steps_have_the_gaussian_kurtosis_and_sparsity():
    found = realism.of_image(100 + noise(200, 200))
    assert found["gradient_kurtosis"] == pytest.approx(3, abs=0.1)
    assert found["gradient_sparsity"] == pytest.approx((2 / np.pi) ** 0.5, abs=0.01)


def test_coils_that_see_the_same_correlate_and_independent_ones_do_not():
    one = noise(1, 64, 64) + 1j * noise(1, 64, 64, seed=1)
    same = realism.of_coils(np.repeat(one, 4, axis=0))
    assert same["coil_correlation"] == pytest.approx(1)
    assert same["coil_share"] == pytest.approx(1 / 4)
    apart = realism.of_coils(noise(4, 64, 64) + 1j * noise(4, 64, 64, seed=1))
    assert apart["coil_correlation"] < 0.05
    assert apart["coil_share"] == pytest.approx(1, abs=0.02)
    assert apart["noise_kurtosis"] == pytest.approx(3, abs=0.3)


def test_the_spread_of_the_coils_noise_is_that_of_their_deviations():
    kspace = (noise(2, 128, 128) + 1j * noise(2, 128, 128, seed=1)) * np.array([1.0, 3.0])[:, None, None]
    assert realism.of_coils(kspace)["noise_spread"] == pytest.approx(0.5, abs=0.05)


def test_bounds_are_the_range_widened_by_its_width():
    assert realism.bounds([2.0, 3.0, 2.5]) == (1.0, 4.0)
    with pytest.raises(ValueError, match="1 real scan"):
        realism.bounds([2.0])


def test_the_area_is_the_share_of_ordered_pairs():
    assert realism.area(np.array([3.0, 1.0]), np.array([2.0, 0.0])) == 0.75
    assert realism.area(np.array([1.0]), np.array([1.0])) == 0.5


def test_equal_scans_are_not_told_apart_and_noisier_ones_are():
    def scan(seed: int, strength: float) -> np.ndarray:
        return realism.features(20 + strength * noise(240, 240, seed=seed))

    alike = realism.told_apart([scan(i, 1.0) for i in range(4)], [scan(10 + i, 1.0) for i in range(4)])
    assert 0.3 < alike < 0.7
    assert realism.told_apart([scan(i, 1.0) for i in range(3)], [scan(10 + i, 2.0) for i in range(3)]) > 0.95
