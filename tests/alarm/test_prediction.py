"""Predicted SSIM on planted answers: the line, its promise of coverage, and what it does not know."""

import pytest
import torch
from tests.training.toy import record

from reshim.alarm.metadata import KnownHeaders
from reshim.alarm.prediction import Predictor, to_log
from reshim.errors import UserError

NAMES = ("noise", "rate", "nothing")


def drawn(n: int, seed: int, noise: float = 0.2):
    """Features of n subjects, and an SSIM whose log(1 - SSIM) is a planted line with noise."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    t = -2.5 + 0.4 * rows[:, 0] - 0.3 * rows[:, 1]
    t = t + noise * torch.randn(n, generator=generator, dtype=torch.float64)
    return rows, 1 - t.exp()


def test_without_noise_the_planted_line_comes_back():
    predictor = Predictor.of(NAMES, drawn(40, 0, noise=0.0), drawn(40, 1, noise=0.0))
    rows, truth = drawn(20, 2, noise=0.0)
    values = torch.tensor([predictor(row).value for row in rows if predictor(row).unknown is None])
    known = torch.tensor([predictor(row).unknown is None for row in rows])
    assert known.sum() > 10
    torch.testing.assert_close(values.double(), truth[known], atol=1e-3, rtol=0)
    assert predictor.half_width() < 1e-2


def test_the_interval_covers_nine_of_ten_exchangeable_subjects():
    covered, known = 0, 0
    for seed in range(12):
        predictor = Predictor.of(NAMES, drawn(60, 100 + seed), drawn(100, 200 + seed))
        rows, truth = drawn(100, 300 + seed)
        for row, value in zip(rows, truth.tolist(), strict=True):
            foretold = predictor(row)
            if foretold.unknown is None:
                known += 1
                covered += foretold.low <= value <= foretold.high
    assert known > 1000
    # 12 calibrations of 100: the coverage of each has a deviation of 0.03, that of their mean of 0.01.
    assert 0.87 < covered / known < 0.93


def test_the_width_is_the_calibrated_error_and_not_the_fitted_one():
    """More features than fitted subjects fit perfectly, and the interval is as wide as it has to be."""
    rows, truth = drawn(12, 0)
    noise = torch.randn(12, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wide = torch.cat([rows, noise], 1)
    more, values = drawn(60, 2)
    calibration = torch.cat([more, torch.randn(60, 30, dtype=torch.float64, generator=torch.Generator())], 1)
    predictor = Predictor.of([*NAMES, *map(str, range(30))], (wide, truth), (calibration, values))
    fitted = (to_log(truth) - predictor.line(wide)).abs().max()
    assert predictor.half_width() > 0.25
    assert predictor.half_width() > fitted / 2


def test_beyond_the_calibrated_range_it_says_unknown_and_names_the_feature():
    predictor = Predictor.of(NAMES, drawn(50, 0), drawn(50, 1))
    foretold = predictor(torch.tensor([0.0, 9.0, 0.0]))
    assert foretold.value is foretold.low is foretold.high is None
    assert "rate 9.00" in foretold.unknown
    assert "noise" not in foretold.unknown
    assert predictor(torch.tensor([0.0, float("nan"), 0.0])).unknown is not None
    inside = predictor(torch.zeros(3))
    assert inside.unknown is None
    assert inside.low < inside.value < inside.high < 1


def test_without_features_it_is_the_mean_of_training():
    rows, truth = drawn(40, 0)
    empty = rows[:, :0]
    foretold = Predictor.of((), (empty, truth), (empty, truth))(torch.zeros(0))
    assert foretold.value == pytest.approx(1 - to_log(truth).mean().exp().item())


def test_it_comes_back_from_its_file_bit_for_bit(tmp_path):
    predictor = Predictor.of(NAMES, drawn(40, 0), drawn(40, 1), {"weights": "abc"})
    predictor.save(tmp_path / "alarm.safetensors")
    again = Predictor.load(tmp_path / "alarm.safetensors")
    row = torch.tensor([0.3, -0.2, 0.1])
    assert again(row) == predictor(row)
    assert again.about == {"weights": "abc"}


def test_too_few_subjects_are_refused_with_the_numbers():
    with pytest.raises(UserError, match="8 to calibrate"):
        Predictor.of(NAMES, drawn(20, 0), drawn(8, 1))


def test_headers_that_training_never_met_count_by_how_far_off_they_are():
    known = KnownHeaders.of([record("a"), record("b")])
    usual = record("c")
    assert known(usual) == 0
    import dataclasses

    strange = dataclasses.replace(usual, anatomy="brain")
    assert known(strange) == pytest.approx(1 / 13)
    twice, little = (dataclasses.replace(usual, n_coils=n) for n in (8, 5))
    assert known(twice) == pytest.approx(1 / 13)
    assert 0 < known(little) < known(twice)
    assert KnownHeaders.of_plain(known.plain()) == known
