"""Noise levels with known answers: white noise as meant, and the faults as written."""

import math

import numpy as np
import pytest

from reshim.quality import noise

NAMES = tuple(noise.DEFINITIONS)


def ellipse(rows: int = 240, columns: int = 260) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    return (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1


def tissues(inside: np.ndarray) -> np.ndarray:
    """Bright with a dark part, 0 outside."""
    y, x = np.mgrid[-1 : 1 : inside.shape[0] * 1j, -1 : 1 : inside.shape[1] * 1j]
    return inside * (1.0 - 0.5 * ((x - 0.2) ** 2 + y**2 < 0.1))


def white(shape: tuple[int, int], level: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, shape)


@pytest.mark.parametrize("level", [0.003, 0.05])
@pytest.mark.parametrize("shape", [(240, 260), (400, 300)])
def test_white_noise_in_a_constant_body_has_its_own_level(level, shape):
    inside = ellipse(*shape)
    found = noise.as_meant(inside + white(shape, level), inside)
    # SNR7 looks at a twentieth of the pixels.
    for name in NAMES:
        assert found[name] == pytest.approx(level, rel=0.06 if name == "snr7" else 0.025), name


def test_the_scales_of_white_noise_are_those_of_many_draws():
    draws = np.random.default_rng(1).normal(size=(400_000, 25))
    distance = np.abs(draws[:, 12] - np.median(draws, 1))
    assert np.median(np.abs(draws[:, 0])) == pytest.approx(noise.MEDIAN_MAGNITUDE, rel=0.005)
    assert np.median(draws.var(1, ddof=1)) == pytest.approx(noise.MEDIAN_VARIANCE, rel=0.003)
    assert np.median(distance) == pytest.approx(noise.MEDIAN_DISTANCE, rel=0.006)
    assert distance.mean() == pytest.approx(noise.MEAN_DISTANCE, rel=0.004)


def test_what_is_in_the_air_is_not_seen():
    inside = ellipse()
    image = tissues(inside) + white(inside.shape, 0.02)
    rubbish = np.where(inside, image, 7 * np.abs(white(inside.shape, 1.0, seed=2)))
    assert noise.as_meant(rubbish, inside) == noise.as_meant(image, inside)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "snr7"])
def test_the_edges_of_tissues_are_no_noise(name):
    inside = ellipse()
    found = noise.as_meant(tissues(inside) + white(inside.shape, 0.02), inside)[name]
    assert found == pytest.approx(0.02, rel=0.06)


@pytest.mark.parametrize("name", NAMES)
def test_more_noise_is_a_higher_level(name):
    inside = ellipse()
    levels = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4]
    found = [noise.as_meant(tissues(inside) + white(inside.shape, s), inside)[name] for s in levels]
    assert found == sorted(found)
    # At the edges some of what is left is the edge.
    assert max(f / s for f, s in zip(found, levels, strict=True)) < (2.5 if name == "snr7" else 1.15)


def test_a_body_too_thin_or_without_noise_has_no_level():
    thin = np.zeros((40, 40), dtype=bool)
    thin[10:18, :] = True
    assert all(math.isnan(level) for level in noise.as_meant(thin * 1.0, thin).values())
    small = np.ones((4, 30), dtype=bool)
    assert all(math.isnan(level) for level in noise.as_meant(small * 1.0, small).values())
    inside = ellipse()
    flat = noise.as_meant(0.1 * inside, inside)
    assert max(flat[name] for name in ("snr5", "snr6", "snr8")) < noise.ROUNDING
    assert math.isnan(flat["snr7"])
    assert math.isnan(flat["snr9"])


def test_the_written_variance_of_a_magnitude_is_never_above_zero():
    inside = ellipse()
    for image in (np.abs(tissues(inside) + white(inside.shape, 0.1)), 1e6 * tissues(inside)):
        assert math.isnan(noise.as_written(image, inside)["snr5"])
    # It is what was meant only where the sum of each window is 0: then it is the mean square.
    waves = np.tile([2.0, -1.0, -1.0, 2.0, -2.0], (30, 6))
    waves -= waves[:, :5].mean()
    everything = np.ones(waves.shape, dtype=bool)
    expected = np.sqrt((waves**2).mean())
    assert noise.as_written(waves, everything)["snr5"] == pytest.approx(expected)


def test_the_written_deviation_is_how_far_tissues_differ():
    inside = np.ones((60, 60), dtype=bool)
    image = np.where(np.arange(60) < 30, 1.0, 3.0) * inside
    for level in (0.001, 0.01):
        found = noise.as_written(image + white(image.shape, level), inside)
        assert found["snr6"] == pytest.approx(1 / 0.6745, rel=0.03)


def test_the_written_edges_are_intensities_where_the_gradient_is_steep():
    filters = pytest.importorskip("skimage.filters")
    inside = ellipse(64, 72)
    image = np.abs(tissues(inside) + white(inside.shape, 0.02))
    gradient = filters.sobel(image * inside)
    steep = (image * inside)[gradient > np.percentile(gradient, 95)]
    found = noise.as_written(image, inside)["snr7"]
    assert found == pytest.approx(steep.std(), rel=1e-12)
    assert found > 5 * 0.02  # the spread of tissues and air


@pytest.mark.parametrize("shape", [(64, 64), (65, 81), (200, 128)])
def test_the_written_residual_leaves_out_ten_samples_each_way_whatever_the_matrix(shape):
    inside = np.ones(shape, dtype=bool)
    place = 2 * np.pi * np.arange(shape[0])[:, None] / shape[0]
    for cycles, kept in ((0, 0), (4, 0), (6, 1)):
        image = 1 + np.cos(cycles * place) * inside
        found = noise.as_written(image, inside)["snr8"]
        assert found == pytest.approx(kept * math.sqrt(0.5), abs=1e-9), cycles
    # The block goes from -5 to 4: of five cycles the real part of one of two samples is left.
    assert noise.as_written(np.cos(5 * place) * inside, inside)["snr8"] == pytest.approx(math.sqrt(0.5) / 2)
    found = noise.as_written(white(shape, 0.3), inside)["snr8"]
    assert found == pytest.approx(0.3 * math.sqrt(1 - 100 / inside.size), rel=0.05)


def test_the_written_patterns_are_labels_and_zeros_outside_leave_none():
    feature = pytest.importorskip("skimage.feature")
    inside = np.ones((64, 72), dtype=bool)
    row, column = np.indices(inside.shape)
    smooth = 3 + np.sin(row / 7) + np.sin(column / 5)
    with pytest.warns(UserWarning, match="floating-point"):
        codes = feature.local_binary_pattern(smooth, 8, 1)
    expected = codes[codes > np.percentile(codes, 95)].std()
    assert expected > 0
    for unit in (1, 8):
        assert noise.as_written(unit * smooth, inside)["snr9"] == pytest.approx(expected, rel=1e-12)
    assert math.isnan(noise.as_written(smooth, ellipse(64, 72))["snr9"])
    # More than a twentieth of the pixels of white noise is darker than all eight neighbours.
    assert math.isnan(noise.as_written(3 + white(inside.shape, 0.1), inside)["snr9"])
