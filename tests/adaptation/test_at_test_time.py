"""Adaptation on networks so small that what it must do is known."""

import copy
import dataclasses
from typing import ClassVar

import pytest
import torch
from tests.conftest import make_measurement
from torch import nn

from reshim.acquire import seen_through
from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.folds import split_folds
from reshim.adaptation.misfits import fold_error, misfit_over_noise
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.classical.sense import Sense
from reshim.physics.compression import CoilCompression
from reshim.physics.sense import SenseOperator


class Gain(nn.Module):
    """Least squares times one weight: right at 1, and adaptation can only find that."""

    has_phase = True

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, measurement):
        with torch.no_grad():
            image = Sense(iterations=8, ridge=0.0)(measurement)
        return self.gain * image


SETTINGS = {"steps": 60, "learning_rate": 2e-2, "warm_up": 1, "check_every": 5}


def adapt(base: float, fallback: float, **settings):
    return AdaptedAtTestTime(Gain(base), Gain(fallback), **{**SETTINGS, **settings})


@pytest.mark.parametrize(("fitted", "left"), [("all", 0.1), ("hidden", 0.2)])
@pytest.mark.parametrize("scope", ["slice", "volume"])
def test_a_wrong_gain_is_repaired_and_the_judge_lets_it_through(scope, fitted, left):
    measurement, image = make_measurement(columns=88, n=3, noise=1e-3)
    outcome = adapt(0.6, 0.6, scope=scope, fitted=fitted, judge_share=0.1).explain(measurement)
    assert all(outcome.adapted)
    before = (Gain(0.6)(measurement) - image).norm() / image.norm()
    after = (outcome.image - image).norm() / image.norm()
    assert before > 0.35
    assert after < left


def test_the_fall_back_is_handed_out_where_it_was_better():
    measurement, _ = make_measurement()
    outcome = adapt(0.2, 1.0, steps=3).explain(measurement)
    assert not any(outcome.adapted)
    torch.testing.assert_close(outcome.image, Gain(1.0)(measurement))
    assert "fall-back" in outcome.reason[0]


def test_without_the_guard_the_adapted_image_is_handed_out_with_the_same_verdict():
    measurement, _ = make_measurement()
    free = adapt(0.2, 1.0, steps=3, guarded=False).explain(measurement)
    kept = adapt(0.2, 1.0, steps=3).explain(measurement)
    assert free.adapted == kept.adapted
    assert not any(kept.adapted)
    assert (free.image - kept.image).norm() > 0.5 * kept.image.norm()


def test_zero_steps_hand_out_the_fall_back():
    measurement, _ = make_measurement()
    outcome = adapt(0.9, 0.7, steps=0).explain(measurement)
    assert not any(outcome.adapted)
    torch.testing.assert_close(outcome.image, Gain(0.7)(measurement))


def test_the_trained_network_is_bitwise_untouched():
    measurement, _ = make_measurement()
    method = adapt(0.6, 0.6)
    before = copy.deepcopy(method.base.state_dict())
    method(measurement)
    assert all(torch.equal(before[name], value) for name, value in method.base.state_dict().items())


def test_the_same_measurement_gives_the_same_bits_and_is_left_alone():
    measurement, _ = make_measurement()
    kspace = measurement.kspace.clone()
    method = adapt(0.6, 0.6)
    assert torch.equal(method(measurement), method(measurement))
    assert torch.equal(measurement.kspace, kspace)


def test_slices_adapted_by_themselves_do_not_depend_on_their_neighbours():
    measurement, _ = make_measurement(n=3)
    together = adapt(0.6, 0.6, scope="slice")(measurement)
    alone = adapt(0.6, 0.6, scope="slice")(measurement.item(1))
    torch.testing.assert_close(together[1:2], alone)


def test_an_exhausted_budget_ends_the_fit_at_once():
    measurement, _ = make_measurement()
    outcome = adapt(0.6, 0.7, budget_seconds=0.0, steps=10_000, patience=10_000).explain(measurement)
    assert not any(outcome.adapted)


class Watching(Gain):
    """Remembers which slices it was fitted to, whatever copy of it was."""

    seen: ClassVar[set[int]] = set()

    def forward(self, measurement):
        if torch.is_grad_enabled():
            self.seen.update(measurement.slices)
        return super().forward(measurement)


def test_a_few_slices_are_fitted_and_all_of_them_get_the_weights():
    measurement, image = make_measurement(columns=88, n=5, noise=1e-3)
    Watching.seen.clear()
    settings = {**SETTINGS, "fit_slices": 2, "judge_share": 0.1}
    outcome = AdaptedAtTestTime(Watching(0.6), Gain(0.6), **settings).explain(measurement)
    assert Watching.seen == {1, 3}
    assert outcome.adapted == (True,) * 5
    assert ((outcome.image - image).norm(dim=(-2, -1)) < 0.15 * image.norm(dim=(-2, -1))).all()
    few = adapt(0.6, 0.6, fit_slices=9, steps=4)(measurement)
    assert torch.equal(few, adapt(0.6, 0.6, steps=4)(measurement))


def gain_of_fit(measurement, **settings) -> float:
    """The weight that a fit from 0.6 hands out, a 200th a step."""
    slow = {"steps": 80, "learning_rate": 5e-3, "check_every": 1, "patience": 80, "hidden_share": 0.0}
    image = adapt(0.6, 0.6, guarded=False, **{**slow, **settings})(measurement)
    return ((image / Gain(1.0)(measurement)).real.median()).item()


@pytest.mark.parametrize("deviation", [0.03, 0.06])
def test_a_fit_stopped_at_the_noise_ends_where_the_misfit_equals_it(deviation):
    """The misfit of a multiple of the least-squares image is a parabola, so its crossing is known."""
    scan, _ = make_measurement(rows=24, columns=88, n=1, noise=deviation)
    scan = dataclasses.replace(scan, noise_std=torch.tensor([deviation]))
    folds = split_folds(scan)
    fitted = folds.fit | folds.stop
    with torch.no_grad():
        image = Gain(1.0)(seen_through(scan, fitted))
    predicted = SenseOperator(scan.maps, fitted).forward(image[:, None]).to(torch.complex128)
    wanted = torch.where(fitted, scan.kspace, 0).to(torch.complex128)
    n_samples = fitted.expand_as(wanted).sum((-3, -2, -1))
    square, cross, constant = (
        ((one.conj() * other).real.sum((-3, -2, -1)) / n_samples).mean()
        for one, other in ((predicted, predicted), (predicted, wanted), (wanted, wanted))
    )
    rest = constant - 2 * deviation**2
    crossing = ((cross - (cross**2 - square * rest).sqrt()) / square).item()
    assert 0.62 < crossing < 0.95
    found = gain_of_fit(scan, stop="noise", judge_share=0.15)
    assert crossing - 1e-4 <= found <= crossing + 5.1e-3
    # Where the noise is said to be nothing the same fit goes on.
    silent = dataclasses.replace(scan, noise_std=torch.tensor([1e-6]))
    assert gain_of_fit(silent, stop="noise", judge_share=0.15) > crossing + 0.02


def test_the_misfit_over_noise_of_noise_alone_is_one():
    scan, image = make_measurement(columns=88, n=2, noise=0.05)
    noise = torch.full((2,), 0.05)
    exact = misfit_over_noise(image, scan, scan.mask.expand(2, -1, -1, -1), noise)
    assert exact == pytest.approx(1.0, abs=0.02)
    assert misfit_over_noise(image, scan, scan.mask.expand(2, -1, -1, -1), 2 * noise) == pytest.approx(
        exact / 2
    )


class Convolved(Gain):
    """One convolution of the real part beside the gain; remembers what its answers were made of."""

    kinds: ClassVar[set[tuple[bool, torch.dtype]]] = set()

    def __init__(self, gain: float) -> None:
        super().__init__(gain)
        self.convolution = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.dirac_(self.convolution.weight)

    def forward(self, measurement):
        image = super().forward(measurement)
        smooth = self.convolution(image.real[:, None])
        self.kinds.add((torch.is_grad_enabled(), smooth.dtype))
        return torch.complex(smooth[:, 0].float(), image.imag)


def test_steps_in_bfloat16_leave_looks_and_images_in_single_precision():
    measurement, image = make_measurement(columns=88, n=2, noise=1e-3)
    Convolved.kinds.clear()
    settings = {**SETTINGS, "learning_rate": 1e-2, "judge_share": 0.1}
    outcome = AdaptedAtTestTime(Convolved(0.6), Convolved(0.6), bf16=True, **settings).explain(measurement)
    assert Convolved.kinds == {(True, torch.bfloat16), (False, torch.float32)}
    assert outcome.image.dtype == torch.complex64
    assert (outcome.image - image).norm() < 0.15 * image.norm()


def test_virtual_coils_see_the_image_as_a_combination_of_the_coils_does():
    measurement, image = make_measurement(n=2, dtype=torch.complex128)
    fewer = CoilCompression(4)(measurement)
    assert fewer.kspace.shape[1] == fewer.maps.shape[2] == 4
    folds = split_folds(measurement)
    assert fold_error(image, fewer, folds.fit).max() < 1e-10
    predicted = SenseOperator.of(fewer).forward(image[:, None])
    torch.testing.assert_close(predicted, fewer.kspace)
    every = CoilCompression(6)(measurement)
    torch.testing.assert_close(
        every.kspace.abs().square().sum(1), measurement.kspace.abs().square().sum(1), rtol=1e-10, atol=1e-12
    )
    assert fewer.kspace.norm() > 0.95 * measurement.kspace.norm()
    assert all(
        torch.equal(CoilCompression(4)(measurement.item(index)).kspace[0], fewer.kspace[index])
        for index in range(2)
    )


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_fit_on_virtual_coils_repairs_a_wrong_gain(share):
    measurement, image = make_measurement(columns=88, n=2, noise=1e-3)
    outcome = adapt(0.6, 0.6, virtual_coils=3, judge_share=0.1, readout_share=share).explain(measurement)
    assert all(outcome.adapted)
    assert (outcome.image - image).norm() < 0.15 * image.norm()


def test_more_virtual_coils_than_coils_are_refused():
    measurement, _ = make_measurement()
    with pytest.raises(ValueError, match="6 coils"):
        adapt(0.6, 0.6, virtual_coils=7)(measurement)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": -1}, "steps is -1"),
        ({"judge_share": 1.0}, "judge_share is 1.0"),
        ({"fit_slices": 2, "scope": "slice"}, "scope 'volume'"),
        ({"virtual_coils": 0}, "virtual_coils is 0"),
    ],
)
def test_settings_without_sense_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        adapt(0.6, 0.6, **settings)


def test_held_out_samples_reach_neither_the_fit_nor_the_image_that_stops_it():
    """Whatever the judging fold holds, the weights that come out are the same."""
    measurement, _ = make_measurement()
    folds = split_folds(measurement)
    method = adapt(0.6, 0.6, steps=12)
    spoilt = torch.where(folds.judge, 1e3 * torch.ones_like(measurement.kspace), measurement.kspace)
    clean, _ = method._fit(measurement, folds, None)
    dirty, _ = method._fit(dataclasses.replace(measurement, kspace=spoilt), folds, None)
    assert torch.equal(clean.gain, dirty.gain)


def test_magnitude_networks_are_refused():
    network = Gain(1.0)
    network.has_phase = False
    with pytest.raises(ValueError, match="without phase"):
        AdaptedAtTestTime(network, Gain(1.0))


def test_fold_error_is_zero_for_the_truth_and_one_for_nothing():
    measurement, image = make_measurement(dtype=torch.complex128)
    folds = split_folds(measurement)
    assert fold_error(image, measurement, folds.judge).max() < 1e-10
    nothing = fold_error(torch.zeros_like(image), measurement, folds.judge)
    torch.testing.assert_close(nothing, torch.ones_like(nothing))


def test_snapshots_cannot_steer():
    measurement, _ = make_measurement()
    seen = []

    def look(step, seconds, image):
        seen.append(step)
        return "stop!"

    with_look = dataclasses.replace(adapt(0.6, 0.6), on_snapshot=look)
    assert torch.equal(with_look(measurement), adapt(0.6, 0.6)(measurement))
    assert seen == sorted(seen)
    assert len(seen) > 1


def test_a_snapshot_is_of_all_slices_where_a_few_are_fitted():
    measurement, _ = make_measurement(columns=88, n=5, noise=1e-3)
    shapes = []
    look = lambda step, seconds, image: shapes.append(image.shape[0])  # noqa: E731
    adapt(0.6, 0.6, fit_slices=2, steps=5, on_snapshot=look)(measurement)
    assert shapes == [5, 5]


def test_the_reference_algorithm_returns_its_last_step_and_stops_by_its_window():
    measurement, _ = make_measurement(n=1)
    steps = []
    method = ReferenceAdaptation(
        Gain(0.6),
        learning_rate=1e-2,
        max_steps=40,
        on_snapshot=lambda step, seconds, image: steps.append(step),
    )
    outcome = method.explain(measurement)
    assert len(steps) == 40
    assert outcome.adapted == (True,)
    assert method._is_time_to_stop([1.0] * 201 + [2.0] * 100)
    assert not method._is_time_to_stop([2.0] * 201 + [1.0] * 100)
    assert not method._is_time_to_stop([1.0] * 200 + [2.0] * 100)
