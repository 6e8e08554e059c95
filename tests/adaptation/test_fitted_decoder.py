"""The untrained reconstructor: what it promises, what it can do without any training, and its warm start."""

import dataclasses

import pytest
import torch
from tests.conftest import make_measurement
from tests.reconstructor_checks import check_reconstructor

from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.classical.zero_filled import ZeroFilled

BRIEF = {"iterations": 3, "channels": 8, "layers": 3, "seed_shape": (4, 4)}
SMALL = {"iterations": 80, "channels": 24, "layers": 3, "seed_shape": (8, 8), "learning_rate": 2e-2}


def error(image, truth):
    return ((image - truth).norm() / truth.norm()).item()


@pytest.mark.parametrize("combine", ["maps", "coils"])
def test_it_keeps_what_every_reconstructor_promises(combine):
    check_reconstructor(
        FittedDecoder(**BRIEF, combine=combine), make_measurement(rows=16, columns=18, center=6)[0]
    )


def test_untrained_it_beats_zero_filling_and_the_acquired_samples_end_up_in_the_image():
    measurement, truth = make_measurement(rows=32, columns=28, n=1)
    method = FittedDecoder(**SMALL)
    image = method(measurement)
    assert error(image, truth) < 0.85 * error(ZeroFilled()(measurement), truth)
    raw = dataclasses.replace(method, consistency=False)(measurement)
    assert error(image, truth) < error(raw, truth)


def test_weights_of_another_slice_and_matrix_are_a_head_start():
    measurement, truth = make_measurement(rows=32, columns=28, n=1)
    other, _ = make_measurement(rows=28, columns=32, n=1, name="another")
    start = FittedDecoder(**SMALL).fit(other)
    few = {**SMALL, "iterations": 5, "warm_iterations": 5, "consistency": False}
    cold = FittedDecoder(**few)(measurement)
    warm = FittedDecoder(**few, start=start)(measurement)
    assert error(warm, truth) < 0.6 * error(cold, truth)


def test_the_lent_weights_are_untouched_and_every_slice_starts_from_them():
    measurement, _ = make_measurement(n=2)
    start = FittedDecoder(**BRIEF).fit(measurement.item(0))
    before = {name: value.clone() for name, value in start.state_dict().items()}
    method = FittedDecoder(**BRIEF, start=start)
    torch.testing.assert_close(method(measurement)[1:], method(measurement.item(1)))
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())


def test_from_its_neighbour_a_slice_takes_a_tenth_of_the_steps():
    measurement, _ = make_measurement(n=2)
    method = FittedDecoder(**{**BRIEF, "iterations": 30}, from_neighbour=True)
    first, second = method.explain(measurement).reason
    assert "30 steps from random weights" in first
    assert "3 steps from fitted weights" in second


def test_a_budget_ends_the_fit_and_an_image_comes_out_all_the_same():
    measurement, _ = make_measurement(n=2)
    method = FittedDecoder(**{**BRIEF, "iterations": 1_000_000}, budget_seconds=0.2)
    outcome = method.explain(measurement)
    assert all(int(why.split()[2]) < 1_000_000 for why in outcome.reason)
    assert torch.isfinite(outcome.image.abs()).all()


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    FittedDecoder(**BRIEF)(make_measurement(n=1)[0])
    assert torch.equal(before, torch.get_rng_state())


def test_weights_of_another_width_are_refused():
    measurement, _ = make_measurement(n=1)
    start = FittedDecoder(**BRIEF).fit(measurement)
    with pytest.raises(ValueError, match="only `shape` may differ"):
        FittedDecoder(**{**BRIEF, "channels": 9}, start=start)(measurement)


def test_one_network_is_fitted_to_one_slice():
    with pytest.raises(ValueError, match="2 slices"):
        FittedDecoder(**BRIEF).fit(make_measurement(n=2)[0])


def test_every_steps_image_is_shown_and_cannot_steer():
    measurement, _ = make_measurement(rows=16, columns=18, center=6, n=1)
    seen = []

    def look(step, seconds, image):
        seen.append((step, image))
        return "stop!"

    image = FittedDecoder(**BRIEF, on_snapshot=look)(measurement)
    assert torch.equal(image, FittedDecoder(**BRIEF)(measurement))
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    # The weights of the lowest fitting error come back, here those of the last step.
    torch.testing.assert_close(seen[-1][1], image)
