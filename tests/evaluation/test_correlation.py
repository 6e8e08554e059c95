"""An interval of a correlation stays where correlations are, and covers the true one."""

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from reshim.evaluation.correlation import Pairs, correlated, holds_pairs, weighted_ranks
from reshim.evaluation.quantities import Difference, Rows, score
from reshim.evaluation.significance import spearman


def rows_of(first, second, metric="spearman", groups=None, subjects=None, method="psnr"):
    subjects = list(range(len(first))) if subjects is None else list(subjects)
    groups = ["all"] * len(first) if groups is None else groups
    place = {subject: index for index, subject in enumerate(dict.fromkeys(subjects))}
    pairs = Pairs(
        np.array(first, dtype=float),
        np.array(second, dtype=float),
        tuple(groups),
        np.array([place[subject] for subject in subjects]),
        metric == "spearman",
    )
    weights = pairs.weights(np.full((1, len(place)), 1 / len(place)))
    product = np.multiply(*pairs.products(weights))[0]
    shared = {"dataset": "made", "method": method, "metric": metric, "target": "mvue", "region": "support"}
    return [
        {"scan_id": f"s{i}", "subject": str(subjects[i]), "slice": 0, "train_seed": None, **shared}
        | {"pair_first": pairs.first[i], "pair_second": pairs.second[i], "pair_group": groups[i]}
        | {"value": product[i]}
        for i in range(len(subjects))
    ]


def interval(rows, quantity=None, resamples=2000):
    return Rows(pa.Table.from_pylist(rows), resamples).interval(quantity or score(method="psnr"))


def strong(n=8, seed=0):
    generator = np.random.default_rng(seed)
    first = generator.standard_t(2, n)
    return first, first + 0.1 * generator.standard_t(2, n)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_strong_correlation_of_few_has_no_interval_beyond_one(metric):
    for seed in range(5):
        first, second = strong(seed=seed)
        up, down = interval(rows_of(first, second, metric)), interval(rows_of(first, -second, metric))
        assert 0 < up.low <= up.value <= up.high <= 1
        assert (down.low, down.high) == pytest.approx((-up.high, -up.low))


def test_the_estimate_is_the_correlation_and_the_mean_of_the_rows():
    first, second = strong(30)
    for metric, known in (("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)):
        rows = rows_of(first, second, metric)
        expected = known(first, second).statistic
        assert interval(rows).value == pytest.approx(expected)
        assert np.mean([row["value"] for row in rows]) == pytest.approx(expected)


def test_ranks_without_weights_are_those_that_everyone_knows():
    values = np.array([3.0, 1.0, 1.0, 7.0])
    assert weighted_ranks(values, np.ones((1, 4)))[0] + 0.5 == pytest.approx(scipy.stats.rankdata(values))


def test_without_the_stretch_for_few_it_is_the_bootstrap_of_the_rank_correlation():
    generator = np.random.default_rng(3)
    first = generator.normal(size=60)
    second = first + generator.normal(size=60)
    ours, plain = interval(rows_of(first, second), resamples=8000), spearman(first, second, 8000)
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_the_interval_covers_the_true_correlation():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        first = generator.normal(size=12)
        second = 0.8 * first + 0.6 * generator.normal(size=12)
        found = interval(rows_of(first, second, "pearson"), resamples=400)
        covered += found.low <= 0.8 <= found.high
    assert 0.87 * 200 <= covered <= 0.99 * 200


def test_several_scans_of_a_subject_come_and_go_together_and_count_as_one():
    first, second = strong(9)
    once = interval(rows_of(first, second))
    three = np.repeat(np.arange(9), 3)
    often = interval(rows_of(first[three], second[three], subjects=three))
    assert often.n_subjects == 9
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


def test_what_differs_between_groups_alone_is_no_correlation_in_any_resample():
    generator = np.random.default_rng(1)
    groups = ["a", "b"] * 20
    apart = np.where(np.array(groups) == "a", 0, 100)
    noise = generator.normal(size=(2, 40))
    together = interval(rows_of(apart + noise[0], apart + noise[1], "pearson"))
    within = interval(rows_of(apart + noise[0], apart + noise[1], "pearson", groups))
    assert together.low > 0.99
    assert within.low < 0 < within.high


def test_a_difference_of_two_correlations_over_the_same_subjects_is_paired():
    generator = np.random.default_rng(2)
    first = generator.normal(size=60)
    second, other = first + 0.5 * generator.normal(size=60), generator.normal(size=60)
    rows = rows_of(first, second, method="psnr") + rows_of(other, second, method="cjv")
    gap = interval(rows, Difference(score(method="psnr"), score(method="cjv")))
    assert gap.low > 0
    same = rows_of(first, second, method="psnr") + rows_of(first, second, method="cjv")
    none = interval(same, Difference(score(method="psnr"), score(method="cjv")))
    assert (none.low, none.high) == (0, 0)


def test_subjects_that_are_left_out_leave_their_scans():
    first, second = strong(10)
    both = correlated(pa.Table.from_pylist(rows_of(first, second)))
    some = both.only([f"made/{number}" for number in (7, 2, 5, 9)])
    kept = [7, 2, 5, 9]
    assert some.values.mean() == pytest.approx(scipy.stats.spearmanr(first[kept], second[kept]).statistic)


def test_a_number_that_never_changes_has_no_correlation():
    constant = interval(rows_of([0.1] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "pearson"))
    assert (constant.value, constant.low, constant.high) == (0, 0, 0)


def test_rows_without_pairs_are_a_mean():
    rows = [{**row, "pair_first": None} for row in rows_of(*strong(8))]
    assert not holds_pairs(pa.Table.from_pylist(rows))
    assert interval(rows).defined


def p_of(rows, resamples=2000):
    return Rows(pa.Table.from_pylist(rows), resamples).p_value(score(method="psnr"))


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_p_value_and_the_interval_say_the_same(metric):
    for seed in range(6):
        first, noise = np.random.default_rng(seed).normal(size=(2, 16))
        rows = rows_of(first, first + 2 * noise, metric)
        found = interval(rows)
        assert (p_of(rows) < 0.05) == (not found.low <= 0 <= found.high), seed


def test_p_is_no_smaller_than_chance_allows_for_few_and_large_where_there_is_nothing():
    assert p_of(rows_of([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])) == pytest.approx(2 / 6)
    assert p_of(rows_of(*strong(16))) == pytest.approx(2 / 2000)
    assert p_of(rows_of([0.1] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])) == 1
    assert p_of(rows_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3.0, 1.0, 4.0, 1.5, 5.0, 2.0])) > 0.2
    empty = Rows(pa.Table.from_pylist(rows_of(*strong(4)))).p_value(score(method="absent"))
    assert empty is None
