from dataclasses import replace

import pytest
import torch
from tests.conftest import make_measurement

from reshim.physics.center import find_center, with_center_warning


@pytest.mark.parametrize("shift", [(0, 0), (5, -7), (-3, 4)])
def test_the_centre_is_found_where_it_was_moved_to(shift):
    measurement, _ = make_measurement(rows=45, columns=52, acceleration=1)
    row, column = find_center(measurement.kspace.roll(shift, (-2, -1)))
    assert abs(row - (22 + shift[0])) <= 1
    assert abs(column - (26 + shift[1])) <= 1


def test_a_centre_that_is_off_is_named():
    measurement, _ = make_measurement(rows=48, columns=44, acceleration=1)
    assert with_center_warning(measurement).warnings == ()
    moved = replace(measurement, kspace=measurement.kspace.roll(8, -2))
    (warning,) = with_center_warning(moved).warnings
    assert "row 32" in warning
    assert "+8" in warning


def test_unacquired_samples_do_not_count():
    measurement, _ = make_measurement()
    holes = replace(measurement, kspace=torch.where(measurement.mask, measurement.kspace, torch.nan))
    assert with_center_warning(holes).warnings == with_center_warning(measurement).warnings


def test_a_peak_between_acquired_lines_is_no_reason_to_warn():
    measurement, _ = make_measurement(rows=48, columns=44, acceleration=1)
    mask = torch.zeros(1, 1, 1, 44, dtype=torch.bool)
    mask[..., 3::8] = True  # 19 and 27 stand nearest to the middle, 22
    sparse = replace(measurement, mask=mask, kspace=torch.where(mask, measurement.kspace, 0))
    assert with_center_warning(sparse).warnings == ()


def test_an_empty_slice_has_no_centre_to_warn_of():
    measurement, _ = make_measurement()
    assert with_center_warning(replace(measurement, kspace=0 * measurement.kspace)).warnings == ()
