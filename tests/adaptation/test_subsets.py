"""Parts of the weights: nothing changes at first, nothing else moves, and how far they get is bounded."""

import copy

import pytest
import torch
from tests.adaptation.test_at_test_time import Gain
from tests.conftest import make_measurement
from torch import nn

from reshim.acquire import seen_through
from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.bands import band_of
from reshim.adaptation.folds import outside_calibration
from reshim.adaptation.misfits import fold_error
from reshim.adaptation.subsets import open_subset, project
from reshim.classical.sense import Sense
from reshim.networks import NETWORKS

SMALL = {
    "unet-tiny": {"channels": 4, "poolings": 2, "input": "complex"},
    "varnet-tiny": {"cascades": 2, "channels": 2, "poolings": 2, "sens_channels": 2, "sens_poolings": 2},
    "unrolled-tiny": {"unrolls": 1, "blocks": 1, "channels": 4},
}


def built(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NETWORKS[name](**SMALL[name]).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                # Some last layers begin at 0, and then nothing in front of them counts.
                parameter += 0.05 * torch.randn(parameter.shape)
        return network


def distance(image, other) -> float:
    """Relative to the norm: images are in file units, whatever those are."""
    return float((image.detach() - other).norm() / other.norm())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("subset", ["affine", "low-rank", "last-stage"])
def test_opening_a_subset_changes_nothing_yet_and_only_the_subset_has_gradients(name, subset):
    measurement, _ = make_measurement(rows=16, columns=18, n=1, center=6)
    network = built(name)
    before = network(measurement).detach()
    n_all = sum(parameter.numel() for parameter in network.parameters())
    moving = open_subset(network, subset, rank=1)
    image = network(measurement)
    assert distance(image, before) < 1e-5
    image.abs().square().sum().backward()
    opened = {id(parameter) for parameter in moving}
    for parameter in network.parameters():
        assert parameter.requires_grad == (id(parameter) in opened)
        assert parameter.grad is None or id(parameter) in opened
    assert 0 < sum(parameter.numel() for parameter in moving) < n_all
    with torch.no_grad():
        for parameter in moving:
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1), dtype=parameter.dtype
            )
        # Without gradients layers may take another way; the weights that moved count on it as well.
        moved = network(measurement)
    assert distance(network(measurement), moved) < 1e-5
    assert distance(moved, before) > 1e-3
    # A copy with its weights is what is handed from slice to slice.
    again = copy.deepcopy(network)
    again.load_state_dict(network.state_dict())
    assert distance(again(measurement), moved) < 1e-6


def test_the_last_stage_of_a_varnet_is_its_last_cascade():
    network = built("varnet-tiny")
    moving = {id(parameter) for parameter in open_subset(network, "last-stage")}
    named = {name for name, parameter in network.named_parameters() if id(parameter) in moving}
    assert named
    assert all("cascades.1." in name for name in named)


def test_a_factor_in_front_of_a_convolution_is_one_behind_the_activation():
    convolution = nn.Conv2d(3, 2, 3, padding=1)
    network = nn.Sequential(nn.LeakyReLU(0.2), convolution)
    image = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    (factors,) = open_subset(network, "affine")
    with torch.no_grad():
        factors.copy_(torch.tensor([2.0, 0.5, 3.0]).view(1, 3, 1, 1))
    bare = nn.functional.conv2d(
        nn.functional.leaky_relu(image * factors[0, :, 0, 0].view(1, 3, 1, 1), 0.2),
        convolution.parametrizations.weight.original,
        convolution.bias,
        padding=1,
    )
    torch.testing.assert_close(network(image), bare)


def test_an_unknown_subset_and_one_that_a_network_lacks_are_refused():
    with pytest.raises((ValueError, TypeError), match="low-rank"):  # of ours, or of the checked annotation
        open_subset(Gain(1.0), "some")
    with pytest.raises(ValueError, match="adapt 'all'"):
        open_subset(Gain(1.0), "affine")


def test_projection_stops_at_the_ball_and_leaves_what_is_inside_alone():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    start = [weight.detach().clone()]
    with torch.no_grad():
        weight += torch.tensor([30.0, 40.0])
    project([weight], start, radius=0.1)
    torch.testing.assert_close(weight.detach(), torch.tensor([3.3, 4.4]))
    project([weight], start, radius=0.2)
    torch.testing.assert_close(weight.detach(), torch.tensor([3.3, 4.4]))


def test_adaptation_keeps_to_its_trust_radius():
    measurement, _ = make_measurement(rows=16, columns=28, n=1, center=8)
    settings = {"steps": 6, "learning_rate": 5e-2, "warm_up": 1, "check_every": 2}
    from reshim.adaptation.folds import split_folds

    folds = split_folds(measurement)
    free, _ = AdaptedAtTestTime(Gain(0.5), Gain(0.5), **settings)._fit(measurement, folds, None)
    held, _ = AdaptedAtTestTime(Gain(0.5), Gain(0.5), **settings, trust_radius=0.1)._fit(
        measurement, folds, None
    )
    assert free.gain.item() > 0.7
    assert held.gain.item() == pytest.approx(0.55, abs=1e-4)


def test_a_band_of_rows_is_a_measurement_whose_image_is_the_band():
    measurement, truth = make_measurement(rows=24, columns=28, n=1, dtype=torch.complex128)
    band = band_of(measurement, 5, 9)
    assert band.kspace.shape[-2:] == (9, 28)
    assert (band.kspace[(~band.mask).expand_as(band.kspace)] == 0).all()
    sense = Sense(ridge=0.0, iterations=60, tolerance=1e-10)
    torch.testing.assert_close(sense(band), sense(measurement)[:, 5:14], rtol=0, atol=1e-6)
    assert fold_error(truth[:, 5:14], band, outside_calibration(band)).max() < 1e-10


def test_steps_on_bands_find_the_same_gain_and_what_comes_out_is_the_whole_image():
    measurement, truth = make_measurement(rows=24, columns=44, n=1, noise=1e-3)
    settings = {"steps": 25, "learning_rate": 3e-2, "warm_up": 1, "check_every": 5}
    method = AdaptedAtTestTime(Gain(0.6), Gain(0.6), **settings, readout_share=0.4)
    image = method(measurement)
    assert image.shape == truth.shape
    assert (image - truth).norm() < 0.15 * truth.norm()


def test_bands_of_a_two_dimensional_mask_are_refused():
    measurement, _ = make_measurement(rows=16, columns=18, n=1, center=6)
    plane = measurement.mask.expand(1, 1, 16, 18).clone()
    with pytest.raises(ValueError, match="readout_share to 1"):
        band_of(seen_through(measurement, plane), 0, 4)


def test_beginning_at_the_neighbour_saves_its_steps():
    measurement, _ = make_measurement(rows=24, columns=88, n=2, noise=1e-3)
    settings = {"steps": 30, "learning_rate": 3e-2, "warm_up": 1, "check_every": 5, "judge_share": 0.1}
    method = AdaptedAtTestTime(Gain(0.5), Gain(0.5), **settings, scope="slice", from_neighbour=True)
    first, second = method.explain(measurement).reason
    n_steps = [int(why.split(" after ")[1].split()[0]) for why in (first, second)]
    assert "; adapted" in first
    assert n_steps[1] < n_steps[0]


def test_settings_without_effect_are_refused():
    with pytest.raises(ValueError, match="scope 'slice'"):
        AdaptedAtTestTime(Gain(1.0), Gain(1.0), from_neighbour=True)
    with pytest.raises(ValueError, match="readout_share is 0"):
        AdaptedAtTestTime(Gain(1.0), Gain(1.0), readout_share=0.0)
