"""The mean of the rows is the correlation, and groups are told from what happens inside them."""

import numpy as np
import pytest

from reshim.studies.engine.relations import rows_of
from reshim.types import ScanRecord


def correlation(first, second, kind, groups=None, subjects=None):
    subjects = subjects or range(len(first))
    sizes = dict.fromkeys(("n_slices", "n_coils", "n_rows", "n_columns", "recon_rows", "recon_columns"), 1)
    records = [
        ScanRecord(
            scan_id=str(i),
            root="made",
            path=f"{i}.h5",
            dataset="made",
            data_kind="simulated",
            subject=str(subjects[i]),
            fully_sampled=True,
            fingerprint=str(i),
            **sizes,
        )
        for i in range(len(first))
    ]
    rows = rows_of("psnr", records, np.array(first), np.array(second), groups)
    products = {}
    for row in rows:
        if row["metric"] == kind:
            products.setdefault(row["subject"], []).append(row["value"])
    return np.mean([np.mean(values) for values in products.values()])


def test_the_mean_of_the_rows_is_pearsons_and_spearmans_correlation():
    generator = np.random.default_rng(0)
    first = generator.normal(size=30)
    second = np.exp(first + 0.5 * generator.normal(size=30))
    assert correlation(first, second, "pearson") == pytest.approx(np.corrcoef(first, second)[0, 1])
    ranked = [np.argsort(np.argsort(values)) for values in (first, second)]
    assert correlation(first, second, "spearman") == pytest.approx(np.corrcoef(*ranked)[0, 1])


def test_a_subject_with_many_scans_counts_once():
    # Three subjects; the last one's scan is there four times, which changes nothing.
    first, second, repeats = [0.0, 1.0, 5.0], [0.0, 2.0, 3.0], [0, 1, 2, 2, 2, 2]
    repeated = ([values[i] for i in repeats] for values in (first, second))
    once, often = correlation(first, second, "pearson"), correlation(*repeated, "pearson", subjects=repeats)
    assert once == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert often == pytest.approx(once)


def test_a_difference_between_groups_alone_is_no_correlation_inside_them():
    first, second = [0.0, 1.0, 10.0, 11.0] * 2, [0.0, 1.0, 10.0, 9.0] * 2
    groups = ["a", "a", "b", "b"] * 2
    assert correlation(first, second, "pearson") > 0.9
    assert correlation(first, second, "pearson", groups) == pytest.approx(0)


def test_a_metric_that_never_changes_has_no_correlation():
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "spearman") == 0
