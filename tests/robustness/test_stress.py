"""A dose does what it says, more of it does more of the same, and none does nothing."""

import pytest
import torch
from tests.conftest import make_measurement

from reshim.classical.sense import Sense
from reshim.errors import UserError
from reshim.robustness.stress import Stress
from reshim.types import Acquisition

KINDS = ("noise", "motion", "spikes", "wrap-around", "wrong mask")


def scan() -> Acquisition:
    measurement, _ = make_measurement(acceleration=1, rows=32, columns=40, center=40)
    acquirable = torch.ones(1, 1, 1, 40, dtype=torch.bool)
    return Acquisition(measurement.kspace, "scan", (0, 1), (32, 40), acquirable, noise_std=0.01)


def change(kind: str, dose: float) -> float:
    measurement, images = make_measurement(acceleration=4, rows=32, columns=40, center=8)
    stress = Stress(kind, dose)
    before, after = scan().kspace, stress.of_scan(scan()).kspace
    measured = stress.of_measurement(measurement, Sense(), images.abs())
    return float((after - before).norm() + (measured.kspace - measurement.kspace).norm())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_changed_without_a_dose_and_more_with_more(kind):
    assert change(kind, 0.0) == 0
    assert 0 < change(kind, 0.2) < change(kind, 0.4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_scan_is_disturbed_in_the_same_way(kind):
    first, second = (Stress(kind, 0.3).of_scan(scan()).kspace for _ in range(2))
    assert torch.equal(first, second)


def test_more_noise_is_stated_where_noise_was_stated():
    louder = Stress("noise", 0.1).of_scan(scan())
    added = (louder.kspace - scan().kspace).abs().square().mean() / 2
    assert louder.noise_std == pytest.approx((1e-4 + float(added)) ** 0.5, rel=1e-5)


def test_a_wrong_mask_lists_lines_that_are_silent_and_keeps_the_calibration():
    measurement, images = make_measurement(acceleration=2, rows=32, columns=40, center=8)
    wrong = Stress("wrong mask", 0.5).of_measurement(measurement, Sense(), images.abs())
    assert torch.equal(wrong.mask, measurement.mask)
    lost = (wrong.kspace == 0).all(0).all(0).all(0) & measurement.mask[0, 0, 0]
    outside = int(measurement.mask.sum()) - 8
    assert int(lost.sum()) == round(0.5 * outside)
    assert not lost[16:24].any()


def test_a_mask_over_both_axes_is_refused():
    measurement, images = make_measurement(rows=32, columns=40)
    measurement = Stress("noise", 0.1).of_measurement(measurement, Sense(), images.abs())
    plane = measurement.mask.expand(1, 1, 32, 40)
    object.__setattr__(measurement, "mask", plane)
    with pytest.raises(UserError, match="both axes"):
        Stress("wrong mask", 0.1).of_measurement(measurement, Sense(), images.abs())
