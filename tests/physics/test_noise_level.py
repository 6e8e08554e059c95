from dataclasses import replace

import pytest
import torch
from tests.conftest import make_measurement

from reshim.physics.noise_level import noise_level, relative_noise
from reshim.types import Calibration


@pytest.mark.parametrize("noise", [0.003, 0.01, 0.03])
@pytest.mark.parametrize("center", [8, 24])
def test_the_noise_of_a_phantom_is_found_to_a_third(noise, center):
    measurement, _ = make_measurement(rows=96, columns=90, n_coils=12, center=center, noise=noise)
    ratio = noise_level(measurement) / noise
    assert float(ratio.min()) > 0.65
    assert float(ratio.max()) < 1.5


def test_the_border_stands_in_where_there_is_no_calibration_block():
    measurement, _ = make_measurement(rows=96, columns=90, center=0, noise=0.05)
    none = replace(measurement, calibration=Calibration(0, 0, 0, 0))
    holes = replace(none, kspace=torch.where(none.mask, none.kspace, torch.nan))
    assert torch.all((noise_level(none) / 0.05 - 1).abs() < 0.4)
    assert torch.equal(noise_level(holes), noise_level(none))


def test_a_stated_deviation_is_taken_as_it_is():
    measurement, _ = make_measurement(noise=0.01)
    stated = replace(measurement, noise_std=torch.tensor([0.5, 0.25]))
    assert torch.equal(noise_level(stated), torch.tensor([0.5, 0.25]))


def test_relative_noise_does_not_depend_on_units():
    measurement, _ = make_measurement(noise=0.01)
    tiny = replace(measurement, kspace=measurement.kspace * 1e-6)
    torch.testing.assert_close(relative_noise(tiny), relative_noise(measurement), rtol=1e-3, atol=0)


def test_an_empty_slice_has_no_noise():
    measurement, _ = make_measurement()
    assert float(relative_noise(replace(measurement, kspace=measurement.kspace * 0)).max()) == 0
