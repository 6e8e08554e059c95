"""Known answers, and scikit-image's own on noise, on flat parts and on ties."""

import warnings

import numpy as np
import pytest

from reshim.quality.filters import binary_patterns, non_uniform, sobel


def images() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    steps = np.round(4 * generator.random((40, 41)))
    return [
        generator.normal(size=(37, 52)),
        np.pad(np.full((20, 20), 0.3), 7),
        steps,
        0.1 * steps,
        np.hypot(generator.normal(size=(60, 50)), 3),
        np.ones((3, 4)),
        np.ones((1, 1)),
    ]


def test_gradients_are_those_of_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    for image in images():
        np.testing.assert_allclose(sobel(image), filters.sobel(image), rtol=0, atol=1e-12)


def test_patterns_are_those_of_scikit_image():
    feature = pytest.importorskip("skimage.feature")
    for image in images():
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # ties of floating-point images, which are compared here
            codes = feature.local_binary_pattern(image, 8, 1)
            uniform = feature.local_binary_pattern(image, 8, 1, "uniform")
        assert np.array_equal(binary_patterns(image), codes)
        assert np.array_equal(non_uniform(binary_patterns(image)), uniform == 9)


def test_a_ramp_has_one_gradient_and_one_pattern():
    ramp = np.tile(np.arange(8.0), (6, 1))
    np.testing.assert_allclose(sobel(ramp)[1:-1, 1:-1], 2 / np.sqrt(2))
    # As bright or brighter: right, and round to above and below. Bits 0, 1, 2, 6, 7.
    assert set(binary_patterns(ramp, slack=1e-9)[1:-1, 1:-1].ravel()) == {0b11000111}
    assert not non_uniform(binary_patterns(ramp, slack=1e-9))[1:-1, 1:-1].any()


def test_a_spot_a_checkerboard_and_a_saddle_have_their_patterns():
    spot = np.zeros((5, 5))
    spot[2, 2] = 1.0
    assert binary_patterns(spot)[2, 2] == 0
    assert not non_uniform(binary_patterns(spot))[2, 2]
    board = np.indices((6, 6)).sum(0) % 2.0
    # A dark pixel, and nothing round it is darker.
    assert binary_patterns(board, slack=1e-9)[2, 2] == 255
    saddle = np.array([[0.0, 2, 0], [0, 1, 0], [0, 2, 0]])
    assert non_uniform(binary_patterns(saddle))[1, 1]


def test_slack_takes_rounding_for_a_tie():
    flat = np.full((9, 9), 0.1)
    flat[4, 4] += 1e-12
    assert binary_patterns(flat)[4, 4] == 0
    assert binary_patterns(flat, slack=1e-9)[4, 4] == 255
