import dataclasses

import pytest
import torch
from tests.conftest import make_measurement

from reshim.acquire import seen_through
from reshim.adaptation.folds import hide, outside_calibration, split_folds


def poisson_like(n: int = 2):
    measurement, _ = make_measurement(rows=40, columns=36, n=n)
    mask = torch.rand(1, 1, 40, 36, generator=torch.Generator().manual_seed(0)) < 0.3
    mask[..., 14:26, 12:24] = True
    calibration = measurement.calibration._replace(row_start=14, row_stop=26, column_start=12, column_stop=24)
    kspace = torch.where(mask, torch.randn(n, 6, 40, 36, dtype=torch.complex64), 0)
    return dataclasses.replace(
        measurement, kspace=kspace, mask=mask, calibration=calibration, readout_axis=None
    )


@pytest.mark.parametrize("two_dimensional", [False, True])
def test_folds_partition_what_was_acquired_and_spare_the_calibration_block(two_dimensional):
    measurement = poisson_like() if two_dimensional else make_measurement()[0]
    folds = split_folds(measurement)
    acquired = (measurement.mask & measurement.acquirable).expand_as(folds.fit)
    torch.testing.assert_close(folds.fit | folds.stop | folds.judge, acquired)
    assert not (folds.fit & folds.stop).any()
    assert not (folds.fit & folds.judge).any()
    assert not (folds.stop & folds.judge).any()
    rows, columns = measurement.calibration.block
    for fold in (folds.stop, folds.judge):
        assert not fold.expand(*fold.shape[:2], *measurement.kspace.shape[-2:])[..., rows, columns].any()
        assert fold.flatten(1).any(1).all()


def test_along_a_one_dimensional_mask_whole_columns_are_held_out():
    folds = split_folds(make_measurement()[0])
    assert folds.judge.shape[-2] == 1


def test_the_same_scan_draws_the_same_folds_and_slices_draw_their_own():
    measurement = make_measurement(columns=88, n=4)[0]
    first, again = split_folds(measurement), split_folds(measurement)
    assert torch.equal(first.judge, again.judge)
    assert not torch.equal(first.judge[0], first.judge[1])
    assert torch.equal(split_folds(measurement.item(2)).judge[0], first.judge[2])
    other = split_folds(dataclasses.replace(measurement, name="another"))
    assert not torch.equal(other.judge, first.judge)


def test_held_out_columns_span_low_and_high_frequencies():
    folds = split_folds(make_measurement(columns=200, acceleration=2)[0], stop_share=0.1, judge_share=0.1)
    held = (folds.stop | folds.judge)[0, 0, 0].nonzero().flatten()
    distance = (held - 100).abs()
    assert (distance < 40).any()
    assert (distance > 70).any()


def test_hiding_spares_the_centre_and_never_shows_what_is_held_out():
    measurement = make_measurement()[0]
    folds = split_folds(measurement)
    candidates = outside_calibration(measurement) & folds.fit
    seen = hide(folds.fit, candidates, 0.5, torch.Generator().manual_seed(0))
    assert not (seen & (folds.stop | folds.judge)).any()
    columns = measurement.calibration.block[1]
    assert seen[..., columns].all()
    assert seen.sum() < folds.fit.sum()


def test_samples_outside_a_fold_are_removed_from_the_input():
    measurement = make_measurement()[0]
    folds = split_folds(measurement)
    seen = seen_through(measurement, folds.fit)
    assert (seen.kspace[(~folds.fit).expand_as(seen.kspace)] == 0).all()


def test_too_few_columns_are_refused_with_the_remedy():
    measurement, _ = make_measurement(columns=20, acceleration=10, center=16)
    with pytest.raises(ValueError, match="adapt 'reconcile'"):
        split_folds(measurement)
