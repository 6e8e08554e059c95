"""Methods see the second scan alone; references are the first one's alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from reshim.acquire import Scheme, measure, without_oversampling
from reshim.catalog import Catalog
from reshim.classical.zero_filled import ZeroFilled
from reshim.errors import BadScanError
from reshim.evaluation.run import Evaluation, evaluate
from reshim.evaluation.store import Store
from reshim.physics.masks import evaluation_seed
from reshim.robustness.second_scan import SecondScan
from reshim.scans import load
from reshim.simulation.write import simulate

SCHEME = Scheme("equispaced", acceleration=2)


class Watching:
    """Keeps what it was handed."""

    def __init__(self):
        self.seen = []
        self.digest = "watching"

    def __call__(self, measurement):
        self.seen.append(measurement)
        return ZeroFilled()(measurement)


@pytest.fixture
def scans(tmp_path):
    """Three measurements of one subject, and one of another size."""
    simulate(tmp_path / "scans", ["brain-t2-0.3t"], subjects=1, matrix=32, slices=2)
    simulate(tmp_path / "large", ["brain-t2-0.3t"], subjects=1, matrix=48, slices=2)
    folders = [tmp_path / "scans", tmp_path / "large"]
    return Catalog.index(folders, tmp_path / "scans.parquet").catalog.records()


def scored(record, method, disturbance, folder):
    store = Store(folder)
    evaluation = Evaluation(SCHEME, targets=("mvue",), slices=(0, 1))
    finished, left_out = evaluate([record], {"m": method}, evaluation, store, disturbance=disturbance)
    if left_out:
        raise BadScanError(left_out[0].reason)
    store.collect([(key, {"method": name}) for key, name in finished], folder / "rows.parquet")
    return method.seen[-1]


def test_methods_are_handed_the_second_scan_under_the_first_ones_mask(scans, tmp_path):
    first, second, *_ = scans
    seen = scored(first, Watching(), SecondScan.of([(first, second)]), tmp_path / "store")
    expected, other = (
        measure(without_oversampling(load(each)), SCHEME, evaluation_seed(Path(first.path).name)).kspace
        for each in (second, first)
    )
    torch.testing.assert_close(seen.kspace, expected)
    assert not torch.allclose(seen.kspace, other)


def test_references_are_those_of_the_first_scan(scans, tmp_path):
    first, second, third, *_ = scans
    values = []
    for number, other in enumerate((second, third)):
        store, evaluation = Store(tmp_path / f"s{number}"), Evaluation(SCHEME, targets=("mvue",))
        finished, _ = evaluate(
            [first],
            {"m": ZeroFilled()},
            evaluation,
            store,
            keep_images=True,
            disturbance=SecondScan.of([(first, other)]),
        )
        values.append(np.load(store.image_path(finished[0][0])))
    one, two = values
    np.testing.assert_array_equal(one["reference"], two["reference"])
    assert not np.array_equal(one["images"], two["images"])


def test_a_pair_is_told_by_its_contents_not_its_places(scans):
    first, second, third, *_ = scans
    assert SecondScan.of([(first, second)]).digest == SecondScan.of([(first, second)]).digest
    assert SecondScan.of([(first, second)]).digest != SecondScan.of([(first, third)]).digest


def test_a_scan_without_a_second_or_with_one_of_another_size_is_refused_by_name(scans, tmp_path):
    first, second, _, other_size, *_ = scans
    with pytest.raises(BadScanError, match="has no second scan"):
        scored(second, Watching(), SecondScan.of([(first, second)]), tmp_path / "a")
    with pytest.raises(BadScanError, match="must be the same protocol"):
        scored(first, Watching(), SecondScan.of([(first, other_size)]), tmp_path / "b")
