"""One solve after a method, without a weight moved."""

import time
from dataclasses import dataclass

import pytest
import torch
from tests.adaptation.test_at_test_time import Gain
from tests.conftest import make_measurement
from tests.reconstructor_checks import check_reconstructor

from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.reconciled import Reconciled, Remembered
from reshim.classical.sense import Sense
from reshim.physics.sense import SenseOperator


@dataclass(frozen=True)
class Shaded:
    """A method that is wrong in a way that the samples contradict: a part of the image is dimmed."""

    has_phase = True

    def __call__(self, measurement):
        image = Sense()(measurement)
        rows = torch.arange(image.shape[-2], device=image.device)
        return torch.where((rows < image.shape[-2] // 2)[:, None], 0.8 * image, image)


def test_promises_of_a_reconstructor_are_kept():
    measurement, _ = make_measurement(acceleration=4, noise=0.01)
    check_reconstructor(Reconciled(Sense(), iterations=6), measurement)


def test_what_the_samples_contradict_is_mended():
    measurement, truth = make_measurement(acceleration=3, noise=1e-3, rows=64, columns=64)
    operator = SenseOperator.of(measurement)

    def misfit(image):
        return (operator.forward(image.unsqueeze(-3)) - measurement.kspace).norm()

    before, after = Shaded()(measurement), Reconciled(Shaded())(measurement)
    assert misfit(after) < 0.3 * misfit(before)
    assert (after - truth).norm() < 0.5 * (before - truth).norm()


def test_what_a_fit_says_of_itself_is_passed_on():
    measurement, _ = make_measurement()
    fit = AdaptedAtTestTime(Gain(0.2), Gain(1.0), steps=3, guarded=False)
    told = fit.explain(measurement)
    outcome = Reconciled(fit, iterations=2).explain(measurement)
    assert outcome.adapted == told.adapted
    assert outcome.reason[0].startswith(told.reason[0])
    assert outcome.reason[0].endswith("reconciled with the samples")


def test_what_was_done_once_is_remembered_with_the_time_it_took():
    measurement, _ = make_measurement()
    calls = []

    def slow(measurement):
        calls.append(measurement.name)
        time.sleep(0.05)
        return Sense()(measurement)

    kept = Remembered(slow)
    first, second = (Reconciled(kept, iterations=2).explain(measurement) for _ in range(2))
    assert len(calls) == 1
    assert torch.equal(first.image, second.image)
    assert first.earlier_seconds == 0
    assert 0.05 <= second.earlier_seconds < 5


def test_slices_do_not_depend_on_their_neighbours():
    measurement, _ = make_measurement(n=3, noise=0.01)
    together = Reconciled(Sense())(measurement)
    torch.testing.assert_close(together[1:2], Reconciled(Sense())(measurement.item(1)))


def test_magnitudes_are_refused_with_the_remedy():
    network = Gain(1.0)
    network.has_phase = False
    with pytest.raises(ValueError, match="complex output"):
        Reconciled(network)
