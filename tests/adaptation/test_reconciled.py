"""One solve after a method, without a weight moved."""

import time
from dataclasses import dataclass

import pytest
import torch
from tests.adaptation.test_at_test_time import Gain
from tests.conftest import make_measurement
from tests.reconstructor_checks import check_reconstructor

from reshim.adaptation.at_test_time import AdaptedAtTestTime, InBatches
from reshim.adaptation.beside import beside, device_of
from reshim.adaptation.reconciled import Reconciled, Remembered
from reshim.classical.sense import Sense
from reshim.physics.sense import SenseOperator
from reshim.training.run_folder import Trained
from reshim.types import Measurement


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


@pytest.fixture
def taken_to(monkeypatch):
    """Every device that a measurement was taken to."""
    devices, to = [], Measurement.to

    def noted(self, device):
        devices.append(str(device))
        return to(self, device)

    monkeypatch.setattr(Measurement, "to", noted)
    return devices


@pytest.mark.parametrize("budget", [None, 60.0])
def test_it_solves_where_the_network_lies_and_the_images_come_back(taken_to, budget):
    measurement, _ = make_measurement(n=2, noise=1e-3)
    expected = Reconciled(Shaded())(measurement)

    class There(Shaded):
        # The processor under another name: tensors that are taken there stay where they are.
        device = "cpu:0"

    taken_to.clear()
    outcome = Reconciled(There(), budget_seconds=budget).explain(measurement)
    assert set(taken_to) == {"cpu:0"}
    assert len(taken_to) == 2 + (3 if budget else 0)  # each slice, and the pricing of one
    torch.testing.assert_close(outcome.image, expected)
    assert outcome.image.device == measurement.kspace.device


def test_every_base_that_adaptation_knows_says_where_it_lies():
    fit, measurement = AdaptedAtTestTime(Gain(0.2), Gain(1.0)), make_measurement()[0]
    for base in (fit, fit.left_as_is, Remembered(fit), Trained(Gain(1.0), {})):
        assert base.device == torch.device("cpu")
    assert device_of(Sense(), measurement) == measurement.kspace.device


def test_what_a_network_is_compared_with_is_computed_beside_it(taken_to):
    measurement, _ = make_measurement(n=1, noise=1e-3)

    class There(Shaded):
        device = "cpu:0"

    expected = Sense()(measurement)
    torch.testing.assert_close(beside(There(), Sense())(measurement), expected)
    assert taken_to == ["cpu:0"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
def test_on_a_gpu_the_image_is_that_of_the_processor():
    measurement, _ = make_measurement(n=2, noise=1e-3)
    expected = Reconciled(InBatches(Gain(0.8)))(measurement)
    found = Reconciled(InBatches(Gain(0.8).cuda()))(measurement)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * float(expected.abs().max()))
