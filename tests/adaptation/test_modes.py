"""``--adapt``: what each mode makes of a run."""

from dataclasses import dataclass

import pytest
import torch
from tests.adaptation.test_at_test_time import Gain
from tests.conftest import make_measurement
from torch import nn

from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.modes import AdaptedWhereUnusual, adapted
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.errors import UserError


@dataclass
class Run:
    network: nn.Module
    fallback: nn.Module | None = None

    def __call__(self, measurement):
        return self.network(measurement)


def test_slice_and_volume_share_or_do_not_share_weights():
    run = Run(Gain(0.6), Gain(0.7))
    for mode in ("slice", "volume"):
        method = adapted(run, mode, budget_seconds=5.0)
        assert isinstance(method, Reconciled)
        fit = method.base
        assert isinstance(fit, AdaptedAtTestTime)
        assert (fit.scope, fit.budget_seconds) == (mode, 5.0)
        assert fit.fallback is run.fallback


def test_a_run_without_fall_back_falls_back_to_itself():
    run = Run(Gain(0.6))
    assert adapted(run, "volume").base.fallback is run.network
    assert adapted(run, "reconcile").base.network is run.network


def test_without_a_fit_a_volume_meets_the_network_a_few_slices_at_a_time():
    measurement, _ = make_measurement(n=5, noise=1e-3)
    sizes = []

    class Counting(Gain):
        def forward(self, measurement):
            sizes.append(measurement.kspace.shape[0])
            return super().forward(measurement)

    run = Run(Counting(0.8))
    usual, unusual = (adapted(run, "auto", shift_score=lambda _, score=score: score) for score in (0.4, 3.0))
    for method in (adapted(run, "reconcile"), usual, unusual):
        sizes.clear()
        assert method(measurement).shape[0] == 5
        assert max(sizes) == 4


def test_reconciling_moves_no_weight():
    measurement, _ = make_measurement(noise=1e-3)
    method = adapted(Run(Gain(0.6), Gain(0.9)), "reconcile")
    outcome = method.explain(measurement)
    assert not any(outcome.adapted)
    torch.testing.assert_close(outcome.image, Reconciled(Gain(0.9))(measurement))
    assert "no weight was moved" in outcome.reason[0]


def test_the_reference_has_no_guard():
    assert isinstance(adapted(Run(Gain(0.6)), "reference"), ReferenceAdaptation)


def test_auto_leaves_a_usual_scan_to_the_fall_back_and_says_so():
    measurement, _ = make_measurement()
    method = adapted(Run(Gain(0.6), Gain(0.9)), "auto", shift_score=lambda measurement: 0.4)
    assert isinstance(method, AdaptedWhereUnusual)
    outcome = method.explain(measurement)
    assert not any(outcome.adapted)
    torch.testing.assert_close(outcome.image, Gain(0.9)(measurement))
    assert "0.40" in outcome.reason[0]


def test_auto_fits_to_an_unusual_scan_where_it_is_asked_to():
    measurement, _ = make_measurement(columns=88, n=2, noise=1e-3)
    settings = {"steps": 40, "learning_rate": 2e-2, "warm_up": 1, "check_every": 5, "judge_share": 0.1}
    base = AdaptedAtTestTime(Gain(0.6), Gain(0.6), **settings)
    outcome = AdaptedWhereUnusual(base, lambda measurement: 3.0, fits=True).explain(measurement)
    assert all(outcome.adapted)
    assert "beyond" in outcome.reason[0]


def test_auto_reconciles_an_unusual_scan_and_moves_no_weight():
    measurement, _ = make_measurement(columns=88, n=2, noise=1e-3)
    base = AdaptedAtTestTime(Gain(0.6), Gain(0.7))
    outcome = AdaptedWhereUnusual(base, lambda measurement: 3.0, None, None).explain(measurement)
    assert not any(outcome.adapted)
    assert "beyond" in outcome.reason[0]
    assert "reconciled" in outcome.reason[0]
    torch.testing.assert_close(outcome.image, Reconciled(Gain(0.7))(measurement))


def test_auto_reconciles_where_nobody_can_foretell_the_quality():
    measurement, _ = make_measurement(columns=88, n=1, noise=1e-3)

    @dataclass
    class Foretold:
        unknown: str | None

    def foretells(unknown):
        foretell = lambda measurement: Foretold(unknown)  # noqa: E731
        foretell.mends_usual = False
        return foretell

    base = AdaptedAtTestTime(Gain(0.6), Gain(0.6), steps=0)
    usual = AdaptedWhereUnusual(base, lambda measurement: 0.5, foretells(None), None)
    assert "left as it is" in usual.explain(measurement).reason[0]
    at_a_loss = AdaptedWhereUnusual(base, lambda measurement: 0.5, foretells("far"), None)
    reason = at_a_loss.explain(measurement).reason[0]
    assert "quality far" in reason
    assert "reconciled" in reason


def few_columns():
    """Two acquired columns outside the calibration block, so that none can be held out."""
    return make_measurement(rows=24, columns=20, n=2, acceleration=10, center=16, noise=1e-3)[0]


@pytest.mark.parametrize("fits", [False, True])
def test_auto_hands_out_the_reconciled_image_where_nothing_can_be_held_out(fits, caplog):
    measurement = few_columns()
    base = AdaptedAtTestTime(Gain(0.6), Gain(0.7))
    outcome = AdaptedWhereUnusual(base, lambda measurement: 3.0, fits=fits).explain(measurement)
    torch.testing.assert_close(outcome.image, Reconciled(Gain(0.7))(measurement))
    assert outcome.action == ("reconciled", "reconciled")
    assert "not compared with L1Wavelet" in outcome.reason[0]
    assert "at least 2 of 4" in outcome.reason[0]
    assert ("nothing was fitted" in outcome.reason[0]) == fits
    assert not caplog.text


def test_a_fit_where_nothing_can_be_held_out_names_the_remedy():
    with pytest.raises(ValueError, match="adapt 'reconcile' or 'auto'"):
        adapted(Run(Gain(0.6)), "volume")(few_columns())


def test_an_outcome_says_what_each_slice_is():
    measurement, truth = make_measurement(columns=88, n=2, noise=1e-3)
    settings = {"steps": 40, "learning_rate": 2e-2, "warm_up": 1, "check_every": 5, "judge_share": 0.1}

    def action(method):
        return method.explain(measurement).action

    wrong, right = (AdaptedAtTestTime(Gain(gain), Gain(gain), **settings) for gain in (0.6, 1.0))
    assert action(wrong) == action(Reconciled(wrong, iterations=2)) == ("fitted", "fitted")
    still = AdaptedAtTestTime(Gain(0.6), Gain(1.0), steps=0, guarded=False)
    assert action(still) == ("left", "left")
    assert action(Reconciled(still, iterations=2)) == ("reconciled", "reconciled")
    usual, unusual = (lambda measurement, score=score: score for score in (0.5, 3.0))
    assert action(AdaptedWhereUnusual(right, usual)) == ("left", "left")
    assert action(AdaptedWhereUnusual(right, usual, mends_usual=True)) == ("reconciled", "reconciled")
    assert action(AdaptedWhereUnusual(right, unusual, classical=None)) == ("reconciled", "reconciled")
    assert action(AdaptedWhereUnusual(wrong, unusual, fits=True)) == ("fitted", "fitted")
    exact = lambda measurement: truth  # noqa: E731
    assert action(AdaptedWhereUnusual(wrong, unusual, None, exact)) == ("classical", "classical")


def test_a_classical_method_takes_over_with_a_warning_just_where_it_is_better(caplog):
    measurement, truth = make_measurement(columns=88, n=1, noise=1e-3)

    def auto(network: nn.Module, classical) -> AdaptedWhereUnusual:
        base = AdaptedAtTestTime(network, network, steps=0, judge_share=0.2)
        return AdaptedWhereUnusual(base, lambda measurement: 3.0, None, classical)

    kept = auto(Gain(1.0), Gain(0.3)).explain(measurement)
    torch.testing.assert_close(kept.image, Reconciled(Gain(1.0))(measurement))
    assert "not much better" in kept.reason[0]
    assert not caplog.text
    outcome = auto(Gain(0.3), lambda measurement: truth).explain(measurement)
    torch.testing.assert_close(outcome.image, truth)
    assert "at a loss" in caplog.text
    assert not any(outcome.adapted)


def test_a_classical_method_that_is_a_little_better_does_not_take_over():
    """Held-out columns favour it by less than the bound, though far beyond the error of that."""
    measurement, truth = make_measurement(columns=88, n=1, noise=1e-3)
    base = AdaptedAtTestTime(Gain(0.9), Gain(0.9), steps=0, judge_share=0.2)
    exact = lambda measurement: truth  # noqa: E731
    gain, error = base.gain_of_other(exact, base.left_as_is, measurement)
    assert gain > 2 * base.margin * error
    above, below = gain - base.margin * error + 0.1, gain - base.margin * error - 0.1
    kept = AdaptedWhereUnusual(base, lambda measurement: 3.0, None, exact, loss=above)(measurement)
    torch.testing.assert_close(kept, Reconciled(base.left_as_is)(measurement))
    taken = AdaptedWhereUnusual(base, lambda measurement: 3.0, None, exact, loss=below)(measurement)
    torch.testing.assert_close(taken, truth)


def test_a_usual_scan_is_reconciled_where_calibration_saw_that_it_helps():
    measurement, _ = make_measurement(noise=1e-3)
    foretell = lambda measurement: type("Foretold", (), {"unknown": None})()  # noqa: E731
    foretell.mends_usual = True
    method = adapted(Run(Gain(0.6), Gain(0.9)), "auto", None, lambda measurement: 0.4, foretell)
    outcome = method.explain(measurement)
    torch.testing.assert_close(outcome.image, Reconciled(Gain(0.9))(measurement))
    assert "made the calibration scans better" in outcome.reason[0]
    assert not any(outcome.adapted)


def test_a_usual_scan_that_is_left_says_what_the_calibration_has_against_reconciling_it():
    measurement, _ = make_measurement(noise=1e-3)
    foretell = lambda measurement: type("Foretold", (), {"unknown": None})()  # noqa: E731
    foretell.mends_usual, foretell.against_mending = False, "4.0 % of 100 slices lost more than 0.002 SSIM"
    method = adapted(Run(Gain(0.6), Gain(0.9)), "auto", None, lambda measurement: 0.4, foretell)
    outcome = method.explain(measurement)
    assert outcome.action == ("left", "left")
    assert outcome.reason[0].endswith(
        "left as it is; not reconciled: 4.0 % of 100 slices lost more than 0.002 SSIM"
    )


def test_auto_without_statistics_names_the_remedy():
    with pytest.raises(UserError, match="adapt 'volume'"):
        adapted(Run(Gain(0.6)), "auto")


def test_magnitude_runs_are_refused_with_the_remedy():
    network = Gain(1.0)
    network.has_phase = False
    with pytest.raises(UserError, match="--input complex"):
        adapted(Run(network), "volume")


def test_an_unknown_mode_names_those_there_are():
    with pytest.raises(UserError, match="none, reconcile, slice, volume, auto, reference"):
        adapted(Run(Gain(1.0)), "always")
