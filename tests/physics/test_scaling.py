from dataclasses import replace

import pytest
import torch
from tests.conftest import body, make_measurement, smooth_maps

from reshim.physics.fourier import to_kspace
from reshim.physics.scaling import intensity_scale, per_item
from reshim.types import Calibration


def test_scaled_images_are_about_one():
    measurement, images = make_measurement(rows=64, columns=60, center=24, acceleration=4)
    bright = images.abs().flatten(1).quantile(0.99, dim=1)
    assert torch.all((intensity_scale(measurement) / bright - 1).abs() < 0.35)


def test_twice_the_data_has_twice_the_scale():
    measurement, _ = make_measurement()
    twice = replace(measurement, kspace=2 * measurement.kspace)
    torch.testing.assert_close(intensity_scale(twice), 2 * intensity_scale(measurement))


@pytest.mark.parametrize("acceleration", [2, 3, 4])
def test_acceleration_does_not_move_the_scale(acceleration):
    full, _ = make_measurement(rows=64, columns=60, center=24, acceleration=1)
    fast, _ = make_measurement(rows=64, columns=60, center=24, acceleration=acceleration)
    torch.testing.assert_close(intensity_scale(fast), intensity_scale(full))


def test_without_a_calibration_block_the_centre_stands_in_for_it():
    measurement, _ = make_measurement(rows=64, columns=60, center=0, acceleration=2)
    none = replace(measurement, calibration=Calibration(0, 0, 0, 0))
    full, _ = make_measurement(rows=64, columns=60, center=24, acceleration=1)
    assert torch.all((intensity_scale(none) / intensity_scale(full) - 1).abs() < 0.6)


def test_the_matrix_does_not_move_the_scale():
    scales = []
    for size in (48, 96):
        images, maps = body(size, size), smooth_maps(6, size, size)
        measurement, _ = make_measurement(rows=size, columns=size, center=24, n=1)
        scales.append(intensity_scale(replace(measurement, kspace=to_kspace(maps * images[:, None]))))
    torch.testing.assert_close(scales[0], scales[1], rtol=0.1, atol=0)


def test_an_empty_slice_has_scale_one_and_no_other_slice_matters():
    measurement, _ = make_measurement()
    kspace = measurement.kspace.clone()
    kspace[0] = 0
    scales = intensity_scale(replace(measurement, kspace=kspace))
    assert float(scales[0]) == 1
    torch.testing.assert_close(scales[1], intensity_scale(measurement)[1])


def test_a_scale_is_shaped_to_meet_its_batch():
    assert per_item(torch.ones(3), 2).shape == (3, 1, 1)
