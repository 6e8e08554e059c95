"""Zero-shot training: its three disjoint sets, its stopping, and that it learns from one slice."""

import dataclasses

import pytest
import torch
from tests.adaptation.test_at_test_time import Gain
from tests.conftest import make_measurement
from tests.reconstructor_checks import check_reconstructor

from reshim.adaptation.zero_shot import ZeroShot
from reshim.classical.zero_filled import ZeroFilled

TINY = {"unrolls": 1, "blocks": 1, "channels": 4, "fold": 1, "iterations": 4}
BRIEF = {"network_settings": TINY, "epochs": 1, "n_splits": 2}


@pytest.mark.parametrize("unit", ["sample", "column"])
def test_it_keeps_what_every_reconstructor_promises(unit):
    measurement, _ = make_measurement(rows=16, columns=28, center=8)
    check_reconstructor(ZeroShot(**BRIEF, unit=unit), measurement)


@pytest.mark.parametrize("unit", ["sample", "column"])
def test_theta_lambda_and_gamma_are_disjoint_and_together_all_that_was_acquired(unit):
    measurement, _ = make_measurement(n=1)
    method = ZeroShot(unit=unit, n_splits=3)
    shown, gamma = method.hold_out(measurement)
    acquired = measurement.mask.expand_as(shown)
    assert not (shown & gamma).any()
    assert torch.equal(shown | gamma, acquired)
    splits = method.splits(measurement, shown)
    assert len({tuple(held.flatten().tolist()) for _, held in splits}) == len(splits) == 3
    for theta, held in splits:
        assert not (theta & held).any()
        assert torch.equal(theta | held, shown)
        assert held.any()
    assert gamma.shape[-2] == (1 if unit == "column" else 48)


def test_shares_are_of_what_may_be_held_out_and_the_calibration_block_is_spared():
    measurement, _ = make_measurement(n=1)
    shown, gamma = ZeroShot().hold_out(measurement)
    columns = measurement.calibration.block[1]
    assert not gamma[..., columns].any()
    outside = int(measurement.mask.sum() - (columns.stop - columns.start)) * 48
    assert int(gamma.sum()) == pytest.approx(0.2 * outside, abs=1)
    ((_, held),) = ZeroShot(n_splits=1).splits(measurement, shown)
    assert not held[..., columns].any()
    assert int(held.sum()) == pytest.approx(0.4 * 0.8 * outside, abs=2)
    spread = ZeroShot(spare="centre").hold_out(measurement)[1]
    assert spread[..., columns].any()
    assert not spread[..., 22:26, 20:24].any()


def test_whatever_gamma_holds_the_steps_are_the_same():
    measurement, _ = make_measurement(n=1)
    method = ZeroShot(Gain(0.6), epochs=3, n_splits=2, learning_rate=1e-2, patience=100)
    _, gamma = method.hold_out(measurement)
    # Scaled by a positive number, gamma changes every validation error and no gradient.
    spoilt = dataclasses.replace(measurement, kspace=torch.where(gamma, 0.5, 1.0) * measurement.kspace)
    shown = method.hold_out(spoilt)[0]
    assert torch.equal(shown, method.hold_out(measurement)[0])
    for (theta, held), (again, too) in zip(
        method.splits(measurement, shown), method.splits(spoilt, shown), strict=True
    ):
        assert torch.equal(theta, again)
        assert torch.equal(held, too)
        assert not (held & gamma).any()


def test_a_wrong_gain_is_mended_and_a_right_one_is_left_alone():
    measurement, truth = make_measurement(n=1)
    settings = {"n_splits": 4, "learning_rate": 5e-2, "epochs": 6, "patience": 2}
    mended = ZeroShot(Gain(0.6), **settings)(measurement)
    assert (mended - truth).norm() < 0.2 * truth.norm()
    outcome = ZeroShot(Gain(1.0), **settings).explain(measurement)
    assert (outcome.image - truth).norm() < 0.15 * truth.norm()


def test_patience_ends_the_training_and_the_best_epoch_comes_back():
    measurement, _ = make_measurement(n=1)
    # A rate so high that no epoch improves on the start.
    outcome = ZeroShot(Gain(1.0), n_splits=2, learning_rate=5.0, epochs=50, patience=3).explain(measurement)
    assert "stopped after epoch 3, best epoch 0" in outcome.reason[0]
    torch.testing.assert_close(outcome.image, Gain(1.0)(measurement).detach())


def test_untrained_it_beats_zero_filling_and_the_lent_network_is_untouched():
    measurement, truth = make_measurement(n=1, noise=0.02)
    image = ZeroShot(epochs=1, n_splits=4)(measurement)
    assert (image - truth).norm() < 0.7 * (ZeroFilled()(measurement) - truth).norm()
    start = Gain(0.6)
    ZeroShot(start, epochs=1, n_splits=1)(measurement)
    assert start.gain.item() == pytest.approx(0.6)


def test_from_its_neighbour_a_slice_starts_where_that_one_ended():
    measurement, _ = make_measurement(n=2)
    settings = {"n_splits": 4, "learning_rate": 5e-2, "epochs": 4}
    outcome = ZeroShot(Gain(0.6), **settings, from_neighbour=True).explain(measurement)
    first, second = (float(why.split("error ")[1].split()[0]) for why in outcome.reason)
    assert second < 0.6 * first


def test_a_budget_ends_the_training_and_an_image_comes_out_all_the_same():
    measurement, _ = make_measurement(n=2)
    outcome = ZeroShot(epochs=10_000, patience=10_000, budget_seconds=0.2).explain(measurement)
    assert "out of time" in outcome.reason[0]
    assert torch.isfinite(outcome.image.abs()).all()


def test_magnitude_networks_and_impossible_shares_are_refused():
    network = Gain(1.0)
    network.has_phase = False
    with pytest.raises(ValueError, match="without phase"):
        ZeroShot(network)
    with pytest.raises(ValueError, match="between 0 and 1"):
        ZeroShot(validation_share=1.0)


def test_every_epochs_image_is_shown_and_cannot_steer():
    measurement, _ = make_measurement(rows=16, columns=28, center=8)
    seen = []

    def look(step, seconds, image):
        seen.append((step, seconds, image.shape))
        return "stop!"

    settings = {**BRIEF, "epochs": 3}
    image = ZeroShot(**settings, on_snapshot=look)(measurement)
    assert torch.equal(image, ZeroShot(**settings)(measurement))
    assert [step for step, _, _ in seen] == [1, 2, 3, 1, 2, 3]
    assert all(seconds > 0 for _, seconds, _ in seen)
    assert seen[0][2] == (1, 16, 28)
