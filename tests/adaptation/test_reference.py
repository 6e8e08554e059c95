"""The algorithm of the released code: each of its switches does what it says."""

from dataclasses import replace

import pytest
import torch
from tests.adaptation.test_at_test_time import Gain
from tests.conftest import make_measurement
from torch import nn

from reshim.adaptation.reference import ReferenceAdaptation
from reshim.networks import NETWORKS


class Pixels(nn.Module):
    """An image of free pixels, which remembers what it was shown."""

    has_phase = True

    def __init__(self, rows, columns):
        super().__init__()
        self.pixels = nn.Parameter(torch.full((1, rows, columns, 2), 0.1))
        self.shown = []

    def forward(self, measurement):
        self.shown.append(measurement.mask.expand(1, 1, measurement.kspace.shape[-2], -1).clone())
        return torch.view_as_complex(self.pixels)

    def __deepcopy__(self, memo):
        other = Pixels(*self.pixels.shape[1:3])
        other.load_state_dict(self.state_dict())
        other.shown = self.shown
        return other


@pytest.fixture
def measurement():
    return make_measurement(n=1, noise=1e-3)[0]


def test_points_are_drawn_with_or_without_replacement_among_the_acquired_ones(measurement):
    method = ReferenceAdaptation(Gain(0.6), held_out_share=0.2)
    acquired = measurement.mask.expand(1, 1, measurement.kspace.shape[-2], -1)
    asked = round(0.2 * int(acquired.sum()))
    twice, once = (replace(method, with_replacement=flag)._hold_out(measurement) for flag in (True, False))
    assert int(once.sum()) == asked
    # Of n draws with replacement from N points N (1 - exp(-n / N)) are different: 0.181 N of 0.2 N.
    assert 0.86 * asked < int(twice.sum()) < 0.95 * asked
    for held in (once, twice):
        assert not (held & ~acquired).any()
        assert held.shape == acquired.shape
    assert torch.equal(twice, method._hold_out(measurement))
    assert not torch.equal(twice, method._hold_out(replace(measurement, name="another")))


@pytest.mark.parametrize("leak", [True, False])
def test_held_out_points_stay_in_the_input_or_leave_it(measurement, leak):
    network = Pixels(*measurement.kspace.shape[-2:])
    method = ReferenceAdaptation(network, leak=leak, max_steps=2)
    held = method._hold_out(measurement)
    method(measurement)
    *fitting, last = network.shown
    assert len(fitting) == 2
    assert all((mask & held).any() == leak for mask in fitting)
    acquired = measurement.mask.expand(1, 1, measurement.kspace.shape[-2], -1)
    assert torch.equal(last, acquired)
    if not leak:
        assert torch.equal(fitting[0], acquired & ~held)


def test_the_last_iterate_or_the_best_comes_back(measurement):
    def run(return_last):
        images = []
        method = ReferenceAdaptation(
            Gain(0.9),
            learning_rate=0.25,
            max_steps=6,
            return_last=return_last,
            on_snapshot=lambda step, seconds, image: images.append(image.clone()),
        )
        return method(measurement), images

    (last, images), (best, same) = run(True), run(False)
    assert all(torch.equal(one, other) for one, other in zip(images, same, strict=True))
    method, held = ReferenceAdaptation(Gain(0.9)), None
    held = method._hold_out(measurement)
    from reshim.physics.sense import SenseOperator

    errors = [
        torch.view_as_real((SenseOperator.of(measurement).forward(each[:, None]) - measurement.kspace) * held)
        .abs()
        .sum()
        .item()
        for each in images
    ]
    lowest = errors.index(min(errors))
    assert lowest < len(images) - 1
    torch.testing.assert_close(best, images[lowest])
    assert not torch.allclose(last, best)


def test_a_filled_background_is_fitted_and_an_empty_one_is_left(measurement):
    """Where the coil maps are 0 only filled maps let a pixel count."""
    outside = torch.zeros(measurement.kspace.shape[-2:], dtype=torch.bool)
    outside[:6] = True
    cut = replace(measurement, maps=torch.where(outside, 0, measurement.maps))
    start = Pixels(*outside.shape)
    moved = {}
    for fill in (False, True):
        method = ReferenceAdaptation(start, learning_rate=1e-2, max_steps=3, fill_background=fill)
        moved[fill] = (method(cut) - start(cut)).abs().detach()[0]
    assert moved[False][outside].max() == 0
    assert moved[True][outside].min() > 0
    assert moved[False][~outside].min() > 0


@pytest.mark.parametrize(
    ("name", "rate"), [("unet-tiny", 1e-5), ("varnet-tiny", 1e-4), ("unrolled-tiny", 1e-4)]
)
def test_as_released_the_rate_is_that_of_the_networks_kind(name, rate):
    settings = {"unet-tiny": {"input": "complex"}, "varnet-tiny": {"maps": "given", "output": "mvue"}}.get(
        name, {}
    )
    method = ReferenceAdaptation.released(NETWORKS[name](**settings))
    assert method.learning_rate == rate
    assert method.fill_background
    assert method.leak
    assert method.with_replacement
    assert method.return_last
    assert ReferenceAdaptation.released(Gain(1.0), learning_rate=0.5).learning_rate == 0.5


@pytest.mark.parametrize("settings", [{"max_steps": -1}, {"window": 0}, {"held_out_share": 0.0}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ReferenceAdaptation(Gain(1.0), **settings)
