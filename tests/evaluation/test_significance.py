"""Tests against tables worked by hand and against their own promise under the null."""

import numpy as np
import pytest

from reshim.evaluation.significance import (
    holm,
    permutation_test,
    rank_correlation,
    ranks,
    sign_flip_test,
    spearman,
)


def test_holms_correction_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and p may not fall again: .04 .06 .06 .06.
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.5, 0.6])) == pytest.approx([1.0, 1.0])


def test_ranks_share_ties():
    assert ranks(np.array([10.0, 20.0, 20.0, 5.0])).tolist() == [2.0, 3.5, 3.5, 1.0]


def test_rank_correlation_by_hand():
    # d = (0, 1, 1, 0): 1 - 6 * 2 / (4 * 15) = 0.8.
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(0.8)
    assert np.isnan(rank_correlation(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])))


def test_spearman_finds_a_planted_order_and_not_an_absent_one():
    generator = np.random.default_rng(0)
    x = generator.normal(size=30)
    assert spearman(x, np.exp(x)).low == pytest.approx(1.0)
    independent = spearman(x, generator.normal(size=30))
    assert independent.low < 0 < independent.high


def test_five_subjects_that_all_gain_have_the_smallest_exact_p():
    assert sign_flip_test(np.array([0.1, 0.2, 0.1, 0.3, 0.2])) == pytest.approx(2 / 32)


@pytest.mark.parametrize("n", [8, 20])
def test_sign_flips_reject_a_null_as_often_as_they_say(n):
    generator = np.random.default_rng(n)
    rejected = sum(sign_flip_test(generator.normal(size=n), resamples=400) <= 0.05 for _ in range(600))
    assert 0.02 < rejected / 600 < 0.08


def test_a_permutation_test_finds_a_planted_difference_and_keeps_its_level():
    generator = np.random.default_rng(1)
    assert permutation_test(generator.normal(2, 1, 12), generator.normal(0, 1, 12), resamples=2000) < 0.01
    rejected = sum(
        permutation_test(generator.normal(size=6), generator.normal(size=9), resamples=300) <= 0.05
        for _ in range(400)
    )
    assert 0.02 < rejected / 400 < 0.085
