"""A feature that is shown, missed, or smeared out scores what it should."""

import pytest
import torch
from tests.conftest import make_measurement

from reshim.evaluation.insertion import Feature, scores
from reshim.physics.fourier import to_image
from reshim.types import Acquisition


def scan() -> Acquisition:
    measurement, _ = make_measurement(acceleration=1, rows=48, columns=48, center=48)
    acquirable = torch.ones(1, 1, 1, 48, dtype=torch.bool)
    return Acquisition(measurement.kspace, "scan", (0, 1), (48, 48), acquirable)


@pytest.mark.parametrize("feature", [Feature("square", 5, 0.3), Feature("lesion", 7, 0.5)])
def test_what_is_put_in_is_the_difference_that_the_coils_see(feature):
    before = scan()
    changed, true, window = feature.put_into(before)
    sizes = (to_image(changed.kspace) - to_image(before.kspace)).abs().square().sum(-3).sqrt()
    torch.testing.assert_close(sizes, true.abs(), rtol=0, atol=1e-3 * float(true.max()))
    assert bool((window[true.abs() > 1e-4 * true.max()] > 0).all())
    assert all(0 < int(place.sum()) <= (feature.size + 5) ** 2 for place in window)


def test_larger_contrast_makes_a_larger_difference_in_the_same_place():
    faint, strong = (Feature("lesion", 7, contrast).put_into(scan()) for contrast in (0.2, 0.4))
    assert torch.equal(faint[2], strong[2])
    torch.testing.assert_close(2 * faint[1], strong[1], rtol=1e-3, atol=1e-4)


def of(shown, factor=1.0, elsewhere=0.0):
    """Scores of a method that shows the feature `factor` times as strong, and a ghost of it elsewhere."""
    _, true, window = Feature("lesion", 7, 0.5).put_into(scan())
    base = shown + torch.zeros_like(true)
    image = base + factor * true + elsewhere * true.flip(-2, -1) * (window == 0)
    found = scores(image, base, true, window, plain=base + true)
    return {name: sum(values) / len(values) for name, values in found.items()}


def test_all_of_it_none_of_it_and_half_of_it():
    texture = torch.rand(2, 48, 48, generator=torch.Generator().manual_seed(0))
    whole, none, half = (of(texture, factor) for factor in (1.0, 0.0, 0.5))
    assert whole["fidelity"] == pytest.approx(1, abs=1e-4)
    assert whole["recovery"] == pytest.approx(1, abs=1e-4)
    assert whole["block_mse"] == pytest.approx(0, abs=1e-6)
    assert none["fidelity"] == pytest.approx(0, abs=1e-4)
    assert none["recovery"] == pytest.approx(0, abs=1e-4)
    assert half["recovery"] == pytest.approx(0.5, abs=1e-4)
    assert whole["false"] == pytest.approx(0, abs=1e-4)
    assert of(texture, elsewhere=0.5)["false"] > 0.1


def test_a_slice_without_room_for_a_feature_has_no_score():
    acquisition = scan()
    _, true, window = Feature("square", 45, 0.3).put_into(acquisition)
    assert not window.any()
    found = scores(true, true, true, window, true)
    assert all(value != value for values in found.values() for value in values)
