"""Intervals are held against what theory says, and means against sums done by hand."""

import math

import numpy as np
import pyarrow as pa
import pytest

from reshim.evaluation.statistics import (
    Scores,
    UndefinedError,
    align,
    difference,
    mean,
    share_of_gap,
    student_quantile,
    subject_means,
)


def scores(values, prefix="s", seeds=(None,)) -> Scores:
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    return Scores(values, tuple(f"{prefix}{index:03}" for index in range(values.shape[1])), seeds)


def table(rows) -> pa.Table:
    """Rows of (train_seed, subject, scan, slice, value)."""
    same = {"dataset": "d", "metric": "ssim", "target": "rss", "region": "all", "method": "m"}
    names = ("train_seed", "subject", "scan_id", "slice", "value")
    schema = pa.schema(
        [
            ("train_seed", pa.int64()),
            ("subject", pa.string()),
            ("scan_id", pa.string()),
            ("slice", pa.int32()),
        ]
        + [("value", pa.float64())]
        + [(name, pa.string()) for name in same]
    )
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) | same for row in rows], schema=schema)


def test_a_volume_with_many_slices_weighs_no_more_than_its_neighbour():
    rows = [(None, "a", "a1", i, 1.0) for i in range(9)] + [
        (None, "a", "a2", 0, 3.0),
        (None, "b", "b1", 0, 10.0),
    ]
    found = subject_means(table(rows))
    assert found.subjects == ("d/a", "d/b")
    assert found.values.tolist() == [[2.0, 10.0]]
    assert found.n_slices == (10, 1)


def test_several_masks_of_one_slice_are_averaged_before_anything_else():
    rows = [(None, "a", "a1", 0, 0.0)] * 3 + [(None, "a", "a1", 1, 1.0)]
    assert subject_means(table(rows)).values.item() == 0.5


def test_an_unknown_subject_is_known_by_its_scan():
    found = subject_means(table([(None, None, "x", 0, 1.0), (None, None, "y", 0, 2.0)]))
    assert found.subjects == ("d/x", "d/y")


def test_training_seeds_are_rows_and_a_subject_without_all_of_them_is_left_out_and_named():
    found = subject_means(table([(0, "a", "a", 0, 1.0), (1, "a", "a", 0, 2.0), (1, "b", "b", 0, 9.0)]))
    assert found.seeds == (0, 1)
    assert found.values.tolist() == [[1.0], [2.0]]
    assert "1 subjects lack" in found.note


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_failed_slice_is_not_skipped(value):
    with pytest.raises(UndefinedError, match="1 of 2 rows have no finite value"):
        subject_means(table([(None, "a", "a", 0, 1.0), (None, "a", "a", 1, value)]))


def test_a_slice_whose_region_is_empty_has_no_score_and_is_passed_over():
    rows = [(None, "a", "a", 0, 1.0), (None, "a", "a", 1, None)]
    assert subject_means(table(rows)).values.item() == 1.0
    with pytest.raises(UndefinedError, match="empty in every slice"):
        subject_means(table(rows[1:]))


def test_two_metrics_are_never_averaged():
    one = table([(None, "a", "a", 0, 1.0)])
    other = one.set_column(one.column_names.index("metric"), "metric", pa.array(["psnr"]))
    with pytest.raises(UndefinedError, match=r"mix metric \['psnr', 'ssim'\]"):
        subject_means(pa.concat_tables([one, other]))


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.30265),
        (0.975, 5, 2.57058),
        (0.975, 10, 2.22814),
        (0.975, 1000, 1.96234),
        (0.95, 3, 2.35336),
        (0.995, 4, 4.60409),
    ],
)
def test_students_quantile_agrees_with_the_printed_table(probability, degrees, expected):
    assert student_quantile(probability, degrees) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("n", [3, 6, 20])
def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says(n):
    generator = np.random.default_rng(n)
    trials = 300
    hits = 0
    for _ in range(trials):
        interval = mean(scores(generator.normal(1.0, 0.3, n)), resamples=500)
        hits += interval.low <= 1.0 <= interval.high
    # Three standard errors about 0.95 are 0.912 to 0.988; three subjects give 27 different resamples only.
    assert 0.91 < hits / trials < 0.99


def test_training_seeds_widen_the_interval_to_where_it_covers():
    generator = np.random.default_rng(0)
    trials, hits, without = 250, 0, 0
    for _ in range(trials):
        values = (
            generator.normal(0, 0.5, 12)
            + generator.normal(0, 0.5, (4, 1))
            + generator.normal(0, 0.1, (4, 12))
        )
        interval = mean(scores(values, seeds=(0, 1, 2, 3)), resamples=500)
        hits += interval.low <= 0 <= interval.high
        blind = mean(scores(values.mean(0)), resamples=500)
        without += blind.low <= 0 <= blind.high
    assert 0.91 < hits / trials < 0.99
    assert without / trials < 0.85, "the level of seeds would have made no difference"


def test_pairing_removes_what_subjects_share():
    generator = np.random.default_rng(1)
    base, noise = generator.normal(0, 1, 30), generator.normal(0, 0.01, 30)
    paired = difference(scores(base + 0.05 + noise), scores(base))
    unpaired = difference(scores(base + 0.05 + noise), scores(base, prefix="other"))
    assert paired.low > 0.04
    assert unpaired.low < -0.2
    assert paired.value == pytest.approx(unpaired.value)


def test_an_unpaired_difference_covers_where_the_groups_differ_in_size_and_spread():
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(250):
        first, second = generator.normal(0, 1, 5), generator.normal(0, 0.2, 15)
        interval = difference(scores(first), scores(second, prefix="other"), resamples=500)
        hits += interval.low <= 0 <= interval.high
    assert 0.91 < hits / 250 < 0.99


def test_the_same_rows_and_seed_give_the_same_bits():
    values = scores(np.random.default_rng(3).normal(size=9))
    assert mean(values) == mean(values)
    assert mean(values) != mean(values, seed=1)


def test_only_common_subjects_are_compared():
    first = Scores(np.array([[1.0, 2.0, 3.0]]), ("a", "b", "c"))
    second = Scores(np.array([[30.0, 10.0]]), ("c", "a"))
    aligned = align([first, second])
    assert [cell.subjects for cell in aligned] == [("a", "c"), ("a", "c")]
    assert aligned[1].values.tolist() == [[10.0, 30.0]]


def test_a_chain_without_a_common_subject_is_refused():
    cells = [Scores(np.ones((1, 2)), names) for names in (("a", "b"), ("b", "c"), ("c", "d"))]
    with pytest.raises(UndefinedError, match="no subject in common"):
        align(cells)


def test_scores_over_different_slices_are_compared_with_a_note():
    first = Scores(np.array([[1.0, 2.0]]), ("a", "b"), n_slices=(10, 10))
    second = Scores(np.array([[1.0, 2.5]]), ("a", "b"), n_slices=(10, 8))
    assert "do not cover the same slices" in difference(first, second).note


def test_the_share_of_a_gap_is_the_ratio_of_means_and_covers():
    generator = np.random.default_rng(4)
    hits = 0
    for _ in range(250):
        source = generator.normal(0.7, 0.05, 15)
        gap = generator.normal(0.05, 0.01, 15)
        closed = 0.6 * gap + generator.normal(0, 0.01, 15)
        share = share_of_gap(scores(source), scores(source + closed), scores(source + gap), resamples=500)
        hits += share.low <= 0.6 <= share.high
        assert share.value == pytest.approx(closed.mean() / gap.mean())
    assert 0.91 < hits / 250 < 0.99


def test_the_share_of_a_gap_that_may_be_nothing_is_undefined_and_says_so():
    generator = np.random.default_rng(5)
    source = generator.normal(0.7, 0.05, 10)
    target = source + generator.normal(0.0, 0.02, 10) - 0.005
    share = share_of_gap(scores(source), scores(source + 0.01), scores(target))
    assert share.value is None
    assert share.low is None
    assert "does not lie above 0" in share.note


def test_one_subject_has_a_mean_and_no_interval():
    interval = mean(scores([0.8]))
    assert (interval.value, interval.low, interval.high) == (0.8, None, None)


def test_one_training_seed_is_said_to_leave_retraining_out():
    assert "does not cover retraining" in mean(scores([0.8, 0.9, 1.0], seeds=(0,))).note
