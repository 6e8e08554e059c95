"""Known answers, the original's faults where it has them, and units that do not count."""

import math

import numpy as np
import pytest

from reshim.quality.foreground import body, convex_hull, equalised, mrqy_hull, otsu
from reshim.quality.metrics import (
    DIVIDED_BY_AIR,
    FORMULAS,
    LOWER_IS_BETTER,
    METRICS,
    NEITHER,
    grey_values,
    quality,
)
from reshim.quality.noise import as_written

NOISE_RATIOS = ("snr5", "snr6", "snr7", "snr8", "snr9")


def phantom(noise: float = 0.02, seed: int = 0, n_slices: int = 3) -> np.ndarray:
    """A bright ellipse with a dark part, Rician noise."""
    y, x = np.mgrid[-1:1:64j, -1:1:72j]
    inside = (x / 0.7) ** 2 + (y / 0.8) ** 2 < 1
    image = inside * (1.0 - 0.5 * ((x - 0.2) ** 2 + y**2 < 0.05))
    generator = np.random.default_rng(seed)
    draws = generator.normal(0, noise, (2, n_slices, *image.shape))
    return np.hypot(image + draws[0], draws[1])


def square(level: float = 4.0) -> np.ndarray:
    """One slice of zeros with a constant square, behind an empty one."""
    volume = np.zeros((2, 40, 40))
    volume[:, 10:30, 10:30] = level
    return volume


def test_histograms_thresholds_and_hulls_are_those_of_scikit_image():
    exposure = pytest.importorskip("skimage.exposure")
    filters = pytest.importorskip("skimage.filters")
    morphology = pytest.importorskip("skimage.morphology")
    for image in phantom():
        assert otsu(image) == pytest.approx(filters.threshold_otsu(image))
        np.testing.assert_allclose(equalised(image), exposure.equalize_hist(image))
        region = image > 0.7
        assert np.array_equal(convex_hull(region), morphology.convex_hull_image(region))


def test_the_body_does_not_depend_on_units_and_the_original_does():
    image = phantom(noise=0.15)[0]
    assert np.array_equal(body(image), body(1e-7 * image))
    assert np.array_equal(body(image), body(1e7 * image))
    assert not np.array_equal(mrqy_hull(image), mrqy_hull(1e3 * image))


def test_the_body_is_found_at_low_signal_and_leaves_the_air_outside():
    true = phantom(noise=0)[0] > 0
    for noise in (0.01, 0.1, 0.2):
        found = body(phantom(noise=noise)[0])
        assert (found & true).sum() / (found | true).sum() > 0.85, noise
    assert not body(np.zeros((32, 32))).any()


@pytest.mark.parametrize("unit", [10, 2.5e5])
@pytest.mark.parametrize("volume", [phantom(), np.round(60 * phantom())], ids=["fine", "with ties"])
def test_corrected_metrics_do_not_depend_on_units(volume, unit):
    first, second = quality(volume).values, quality(unit * volume).values
    for name in METRICS:
        assert first[name] == pytest.approx(second[name], rel=1e-9), name


@pytest.mark.parametrize("unit", [3e-4, 2000])
@pytest.mark.parametrize("volume", [phantom(), np.round(60 * phantom())], ids=["fine", "with ties"])
def test_the_originals_metrics_do_not_depend_on_units_once_grey_values_are_stated(volume, unit):
    assert quality(unit * volume, "mrqy").values == quality(volume, "mrqy").values
    assert quality(unit * volume, "mrqy", None).values != quality(volume, "mrqy", None).values


def test_in_grey_values_the_original_is_where_it_is_documented_to_be():
    # Its PSNR of a test image is 4.6 dB, and 8.9 dB with much noise; as they are, k-space units give -60 dB.
    volume = 3e-4 * phantom(noise=0.05)
    assert 2 < quality(volume, "mrqy").values["psnr"] < 12
    assert quality(volume, "mrqy", None).values["psnr"] < -40
    assert quality(volume, "mrqy").values["fber"] > 10
    assert quality(volume, "mrqy", None).values["fber"] == 0
    assert quality(volume, "mrqy").grey_levels == 4095
    assert quality(volume).grey_levels is None


def test_grey_values_are_integers_up_to_the_brightest_pixel():
    grey = grey_values(3e-4 * phantom(), 255)
    assert np.array_equal(grey, np.round(grey))
    assert (grey.min(), grey.max()) == (0, 255)
    assert not grey_values(np.zeros((2, 8, 8))).any()
    with pytest.raises(ValueError, match="grey_levels is 1; give at least 2"):
        grey_values(phantom(), 1)


def test_there_are_twenty_each_with_a_formula():
    assert len(METRICS) == len(set(METRICS)) == 20
    assert set(METRICS) == set(FORMULAS)
    assert set(NOISE_RATIOS) <= set(METRICS) - LOWER_IS_BETTER - NEITHER


def test_a_constant_body_with_white_noise_has_its_mean_over_the_noise():
    y, x = np.mgrid[-1:1:240j, -1:1:260j]
    inside = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    for level in (0.02, 0.1):
        noise = np.random.default_rng(3).normal(0, level, (2, *inside.shape))
        found = quality(np.abs(40 * (inside + noise))).values
        for name in NOISE_RATIOS:
            # `body` takes a little air in, which lowers the mean; SNR7 looks at few pixels.
            assert found[name] == pytest.approx(1 / level, rel=0.08 if name == "snr7" else 0.05), name


def test_ratios_to_noise_of_the_original_have_faults():
    volume = phantom(noise=0.02)
    found, corrected = quality(volume, "mrqy"), quality(volume)
    assert [found.n_slices[name] for name in NOISE_RATIOS] == [0, 2, 2, 2, 0]
    assert [corrected.n_slices[name] for name in NOISE_RATIOS] == [3] * 5
    assert found.values["snr8"] < 0.2 * corrected.values["snr8"]


def test_the_original_divides_brightness_by_labels():
    row, column = np.indices((64, 72))
    # One dark corner, so that the hull is nearly all of the image; its patterns have a value.
    smooth = np.stack([3 + np.sin(row / 7) + np.sin(column / 5)] * 2)
    smooth[:, :1, :1] = 0
    smooth = grey_values(smooth)
    inside = mrqy_hull(smooth[1])
    level = as_written(smooth[1], inside)["snr9"]
    assert quality(smooth, "mrqy").values["snr9"] == pytest.approx(smooth[1][inside].mean() / (level + 1e-9))


def test_known_answers_on_a_noisy_square():
    noise = np.random.default_rng(1).normal(0, 0.1, (1, 40, 40))
    found = quality(np.abs(square()[1:] + noise)).values
    # The median of a half-normal draw is 0.674 of its deviation.
    assert found["fber"] == pytest.approx((4 / 0.0674) ** 2, rel=0.3)
    assert 0 < found["efc"] < 1


def test_psnr_of_the_original_is_brightness_and_the_corrected_one_falls_with_noise():
    image = 100 * phantom(noise=0.05, n_slices=2)
    bright = image[1] * mrqy_hull(image[1])
    brightness = 20 * math.log10(bright.max() / math.sqrt((bright**2).mean()))
    assert quality(image, "mrqy").values["psnr"] == pytest.approx(brightness, abs=0.3)
    quiet, loud = (quality(phantom(noise=n)).values["psnr"] for n in (0.05, 0.2))
    assert loud < quiet


@pytest.mark.parametrize("metric", ["snr1", "snr2", "snr4", *NOISE_RATIOS, "cnr", "fber", "psnr"])
def test_noise_lowers_what_is_better_when_higher(metric):
    quiet, loud = (quality(phantom(noise=n)).values[metric] for n in (0.02, 0.1))
    assert loud < quiet


def test_the_patch_of_the_original_misses_the_maximum():
    volume = phantom(noise=0)
    volume[:, 24, 22] = 9.0
    original, corrected = (quality(volume, mode).values["cvp"] for mode in ("mrqy", "corrected"))
    assert original < 0.3
    assert corrected == pytest.approx(np.array([9.0] + [1.0] * 24).std() / (33 / 25), rel=0.01)


def test_the_contrast_of_the_original_is_nothing_and_its_entropy_a_constant():
    found = quality(phantom(), "mrqy").values
    assert abs(found["cpp"]) < 0.01
    assert found["efc"] > 1
    assert quality(phantom()).values["efc"] < 1
    assert quality(phantom(noise=0.1)).values["cpp"] > quality(phantom(noise=0.01)).values["cpp"]


def test_a_background_of_zeros_leaves_no_value_and_says_so():
    stripped = phantom(noise=0.02) * (phantom(noise=0) > 0)
    found = quality(stripped)
    sharp = {name for name in DIVIDED_BY_AIR if found.values[name] is None}
    bare = quality(square())
    assert {bare.values[name] for name in DIVIDED_BY_AIR if bare.n_slices[name] == 0} <= {None}
    assert sharp <= DIVIDED_BY_AIR
    assert quality(stripped, "mrqy").values["fber"] == 0 or quality(stripped, "mrqy").n_slices["fber"] == 2


def test_the_original_skips_the_first_slice_and_empty_ones():
    volume = phantom(n_slices=4)
    volume[0] = 0
    assert quality(volume, "mrqy").n_slices["mean"] == 3
    volume[2] = 0
    assert quality(volume, "mrqy").n_slices["mean"] == 2
    assert quality(volume).n_slices["mean"] == 2
    empty = quality(np.zeros((2, 32, 32)))
    assert set(empty.values.values()) == {None}


def test_values_that_are_not_finite_are_refused():
    volume = phantom()
    volume[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        quality(volume)
