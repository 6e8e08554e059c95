"""A budget in seconds is honoured, on a clock that networks and solves move and nothing else does."""

import time

import pytest
import torch
from tests.conftest import make_measurement
from torch import nn

from reshim.adaptation.at_test_time import AdaptedAtTestTime, InBatches
from reshim.adaptation.modes import AdaptedWhereUnusual, adapted
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.classical.zero_filled import ZeroFilled

SLICES = 3
SETUP, STEP = 0.5, 0.1
"""Seconds of a slice's solve, and of each of its steps."""
SOLVE = SLICES * (SETUP + 30 * STEP)
MEASURING = 3 * SETUP + 6 * STEP
LONG = {"steps": 10_000, "patience": 10_000, "check_every": 5, "learning_rate": 1e-3}


class Clock:
    """Stands still unless it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def __deepcopy__(self, memo):
        return self


class Slow(nn.Module):
    """A second for a slice, three where a gradient is to come back."""

    has_phase = True

    def __init__(self, clock: Clock, seconds: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.6))
        self.clock, self.seconds = clock, seconds

    def forward(self, measurement):
        self.clock.now += self.seconds * measurement.kspace.shape[0] * (3 if torch.is_grad_enabled() else 1)
        return self.gain * ZeroFilled()(measurement)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)

    def near(self, measurement, image, closeness):
        clock.now += measurement.kspace.shape[0] * (SETUP + STEP * self.iterations)
        return image

    monkeypatch.setattr(L1Wavelet, "near", near)
    return clock


@pytest.fixture
def measurement():
    return make_measurement(rows=24, columns=88, n=SLICES)[0]


def spent(clock, method, measurement):
    begun = clock.now
    return method.explain(measurement), clock.now - begun


@pytest.mark.parametrize("budget", [0.0, 2.0, 8.0, 20.0, 40.0, 41.5, 90.0, 333.0])
@pytest.mark.parametrize("scope", ["slice", "volume"])
def test_a_fit_leaves_time_for_the_judge_and_for_the_image(clock, measurement, budget, scope):
    method = AdaptedAtTestTime(Slow(clock), Slow(clock), scope=scope, budget_seconds=budget, **LONG)
    outcome, seconds = spent(clock, method, measurement)
    a_look, least = SLICES, 2 * SLICES  # one inference to measure, one for the image
    assert seconds <= max(budget, least) + a_look
    assert outcome.image.shape[0] == SLICES
    if budget == 0:
        assert "no time even for one inference" in outcome.reason[0]
        assert outcome.action == ("left",) * SLICES
    if budget >= 90:
        assert seconds > 0.8 * budget
        assert all("judging fold" in reason for reason in outcome.reason)


def test_every_slice_gets_a_part_of_the_budget(clock, measurement):
    method = AdaptedAtTestTime(
        Slow(clock), Slow(clock), scope="slice", budget_seconds=150.0, guarded=False, **LONG
    )
    outcome, _ = spent(clock, method, measurement)
    assert all("judging fold" in reason for reason in outcome.reason)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (1.0, "not reconciled, the image alone took 3 s of the budget of 1 s"),
        (3.5, "not reconciled"),
        (9.0, "of 30 steps, all that the budget of 9 s left"),
        (40.0, "no weight was moved; reconciled with the samples"),
    ],
)
def test_reconciling_takes_what_the_network_leaves(clock, measurement, budget, words):
    method = Reconciled(InBatches(Slow(clock)), budget_seconds=budget)
    outcome, seconds = spent(clock, method, measurement)
    assert seconds <= max(budget, SLICES + MEASURING)
    assert all(words in reason for reason in outcome.reason)
    assert outcome.action == (("left" if "not" in words else "reconciled"),) * SLICES or budget == 40.0
    if budget == 40.0:
        assert outcome.reason == (words,) * SLICES
        assert outcome.action == ("reconciled",) * SLICES


@pytest.mark.parametrize("budget", [5.0, 20.0, 60.0, 200.0])
def test_a_fit_that_is_reconciled_sets_the_solve_aside_first(clock, measurement, budget):
    fit = AdaptedAtTestTime(Slow(clock), Slow(clock), budget_seconds=budget, **LONG)
    outcome, seconds = spent(clock, Reconciled(fit, budget_seconds=budget), measurement)
    a_look = SLICES
    assert seconds <= max(budget, 2 * SLICES + MEASURING) + a_look
    if budget >= 60:
        assert all("judging fold" in reason for reason in outcome.reason)
        assert all(reason.endswith("; reconciled with the samples") for reason in outcome.reason)


def auto(clock, budget, foretold=None):
    class Foretells:
        mends_usual = False
        unknown = foretold

        def __call__(self, measurement):
            clock.now += 2 * SLICES + 2 * SOLVE
            return self

    def classical(measurement):
        clock.now += 2 * SOLVE
        return ZeroFilled()(measurement)

    fit = AdaptedAtTestTime(Slow(clock), Slow(clock), budget_seconds=budget)
    return AdaptedWhereUnusual(fit, lambda measurement: 3.0, Foretells(), classical)


@pytest.mark.parametrize("budget", [1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 100.0])
def test_auto_does_what_fits_and_says_what_did_not(clock, measurement, budget):
    outcome, seconds = spent(clock, auto(clock, budget), measurement)
    assert seconds <= max(budget, SLICES + MEASURING) + 0.1
    reason = outcome.reason[0]
    assert ("the image alone took 3 s" in reason) == (budget == 1.0)
    assert ("not foretold" in reason) == (budget < 45)
    assert ("not compared with function" in reason) == (budget < 90)
    assert outcome.action[0] == ("left" if budget <= 5 else "reconciled")


def test_without_a_budget_auto_measures_nothing_and_asks_everything(clock, measurement):
    outcome, _ = spent(clock, auto(clock, None), measurement)
    assert "not foretold" not in outcome.reason[0]
    assert "function not much better" in outcome.reason[0]


@pytest.mark.parametrize("budget", [0.5, 4.0, 30.0, 100.0])
def test_the_reference_shares_its_budget_among_the_slices(clock, measurement, budget):
    method = ReferenceAdaptation(Slow(clock), budget_seconds=budget)
    outcome, seconds = spent(clock, method, measurement)
    a_step, least = 3, 1 + SLICES
    assert seconds <= max(budget, least) + a_step
    assert ("even for one inference" in outcome.reason[0]) == (budget < 3)
    assert outcome.adapted == (budget > 15,) * SLICES
    if budget == 100.0:
        assert seconds > 0.8 * budget
        steps = [int(reason.split()[2]) for reason in outcome.reason]
        assert max(steps) - min(steps) <= 2
        assert all(reason.endswith("out of time") for reason in outcome.reason)


@pytest.mark.parametrize("mode", ["reconcile", "slice", "volume", "reference"])
def test_every_mode_hands_its_budget_on(clock, measurement, mode):
    run = type("Run", (), {"network": Slow(clock), "fallback": None})()
    _, seconds = spent(clock, adapted(run, mode, budget_seconds=60.0), measurement)
    assert seconds <= 60.0 + SLICES


def test_by_the_wall_clock_too():
    """A network that sleeps, and the true clock."""

    class Sleeps(Slow):
        def forward(self, measurement):
            time.sleep(0.02 * measurement.kspace.shape[0])
            return self.gain * ZeroFilled()(measurement)

    measurement = make_measurement(rows=24, columns=88, n=SLICES)[0]
    network = Sleeps(Clock())
    fit = AdaptedAtTestTime(network, network, budget_seconds=5.0, **LONG)
    begun = time.perf_counter()
    outcome = Reconciled(fit, budget_seconds=5.0).explain(measurement)
    assert time.perf_counter() - begun < 9.0
    assert "judging fold" in outcome.reason[0]
