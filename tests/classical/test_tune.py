import json

import pytest
import torch
from tests.conftest import make_measurement

from reshim.classical.sense import Sense
from reshim.classical.tune import tune


def pair(noise: float = 0.0, name: str = "one", factor: float = 1.0) -> tuple:
    measurement, images = make_measurement(acceleration=1, noise=noise, name=name)
    return measurement, images.abs() / factor


def test_the_value_that_made_the_reference_is_chosen():
    # Fully sampled, a ridge divides the image by 1 + ridge.
    tuned = tune(
        lambda ridge: Sense(ridge=ridge, times_noise=False), [0.0, 0.25, 0.5, 1.0], [pair(factor=1.5)]
    )
    assert tuned.chosen == 0.5
    assert tuned.scores[2] < 1e-6
    assert not tuned.at_the_edge


def test_a_metric_that_rises_is_maximised():
    def closeness(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return -(image - reference).square().mean((-2, -1))

    tuned = tune(
        lambda ridge: Sense(ridge=ridge, times_noise=False),
        [0.0, 0.5],
        [pair(factor=1.5)],
        closeness,
        larger_is_better=True,
    )
    assert tuned.chosen == 0.5
    assert tuned.at_the_edge


def test_what_was_chosen_is_written_with_the_scans_that_were_seen(tmp_path):
    tuned = tune(
        lambda ridge: Sense(ridge=ridge, times_noise=False), [0.0, 0.5], [pair(name="a"), pair(name="b")]
    )
    tuned.write(tmp_path / "ridge.json")
    saved = json.loads((tmp_path / "ridge.json").read_text())
    assert saved["chosen"] == 0.0
    assert saved["scans"] == ["a", "b"]
    assert len(saved["scores"]) == 2


def test_nothing_to_tune_on_is_refused():
    with pytest.raises(ValueError, match="got 2 and 0"):
        tune(lambda ridge: Sense(ridge=ridge, times_noise=False), [0.0, 0.5], [])
