"""Free repairs: each changes what the network sees, and nothing else."""

import pytest
import torch
from tests.conftest import make_measurement

from reshim.adaptation.controls import DataConsistent, Resampled, Transposed, padded, transposed
from reshim.classical.sense import Sense
from reshim.physics.sense import SenseOperator


@pytest.fixture
def measurement():
    return make_measurement(noise=1e-3)[0]


def nothing(measurement):
    return torch.zeros(
        measurement.kspace.shape[0], *measurement.kspace.shape[-2:], dtype=measurement.kspace.dtype
    )


def test_exchanging_rows_and_columns_changes_nothing_for_a_method_that_knows_no_direction(measurement):
    direct = Sense()(measurement)
    turned = Transposed(Sense())(measurement)
    assert (turned - direct).norm() < 1e-4 * direct.norm()


def test_exchanged_twice_is_the_measurement_itself(measurement):
    back = transposed(transposed(measurement))
    assert torch.equal(back.kspace, measurement.kspace)
    assert back.calibration == measurement.calibration
    assert back.crop == measurement.crop


def test_data_consistency_of_an_empty_image_is_sense(measurement):
    sense = Sense(ridge=1.3, iterations=30, tolerance=0)(measurement)
    solved = DataConsistent(nothing, weight=1.3, iterations=30)(measurement)
    assert (solved - sense).norm() < 1e-4 * sense.norm()


def test_data_consistency_brings_the_image_nearer_to_the_data(measurement):
    operator = SenseOperator.of(measurement)

    def misfit(image):
        return (operator.forward(image.unsqueeze(-3)) - measurement.kspace).norm()

    blurred = 0.7 * Sense()(measurement)
    assert misfit(DataConsistent(lambda _: blurred)(measurement)) < 0.5 * misfit(blurred)


def test_a_finer_grid_shows_the_same_image(measurement):
    direct = Sense()(measurement)
    finer = Resampled(Sense(), 1.5)(measurement)
    inside = direct.abs() > 0.2 * direct.abs().max()
    assert (finer - direct)[inside].norm() < 0.1 * direct[inside].norm()


def test_padding_adds_no_acquired_sample(measurement):
    larger = padded(measurement, 1.5)
    rows = measurement.kspace.shape[-2]
    assert larger.mask.sum() == measurement.mask.expand(*measurement.mask.shape[:-2], rows, -1).sum()
    assert larger.kspace.shape[-1] > measurement.kspace.shape[-1]
    assert torch.isclose(larger.kspace.norm(), measurement.kspace.norm())


def test_larger_pixels_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Resampled(Sense(), 0.5)
