from collections import Counter
from itertools import pairwise

import pytest

from reshim.errors import UserError
from reshim.training.sampling import Group, Order, as_groups, first_subjects, nested_subset, within_budget


@pytest.fixture
def records(toy):
    return [toy.record(f"scan {index}") for index in range(64)]


def test_subsets_are_nested(records):
    shares = [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64]
    subsets = [{record.scan_id for record in nested_subset(records, share)} for share in shares]
    assert [len(subset) for subset in subsets] == [64, 32, 16, 8, 4, 2, 1]
    for larger, smaller in pairwise(subsets):
        assert smaller < larger


def test_a_subset_depends_on_the_seed_and_not_on_the_order(records):
    first = {record.scan_id for record in nested_subset(records, 0.25)}
    assert {record.scan_id for record in nested_subset(records[::-1], 0.25)} == first
    assert {record.scan_id for record in nested_subset(records, 0.25, seed=1)} != first


def test_a_subject_is_never_cut_in_two(toy):
    import dataclasses

    records = [
        dataclasses.replace(toy.record(f"scan {index}"), subject=f"s{index // 3}") for index in range(30)
    ]
    kept = Counter(record.subject for record in nested_subset(records, 0.5))
    assert set(kept.values()) == {3}
    assert len(kept) == 5
    assert len({record.subject for record in first_subjects(records, 7)}) == 7
    with pytest.raises(UserError, match="between 1 and 10"):
        first_subjects(records, 11)


def test_an_epoch_is_an_exact_pass_in_an_order_of_its_own():
    order = Order((tuple(range(10)),), dict.fromkeys(range(10), "s"), batch_size=3)
    first, second = order(0), order(1)
    for epoch in (first, second):
        assert sorted(index for batch in epoch for index in batch) == list(range(10))
        assert sorted(map(len, epoch)) == [1, 3, 3, 3]
    assert first != second
    assert order(0) == first


def test_only_slices_of_one_shape_share_a_batch():
    shapes = {index: "odd" if index % 2 else "even" for index in range(20)}
    for batch in Order((tuple(range(20)),), shapes, batch_size=4)(0):
        assert len({shapes[index] for index in batch}) == 1


def test_weights_skew_how_often_a_group_is_seen_but_nothing_comes_again_before_all_came():
    order = Order((tuple(range(11)), tuple(range(11, 22))), dict.fromkeys(range(22), "s"), 4, weights=(10, 1))
    counts = Counter(index for epoch in range(11) for batch in order(epoch) for index in batch)
    of_p, of_q = ([counts[index] for index in part] for part in (range(11), range(11, 22)))
    assert sum(of_p) == 220
    assert sum(of_q) == 22
    assert set(of_p) == {20}
    assert set(of_q) == {2}


def test_the_budget_is_met_exactly():
    plan = [(0, 1, 2), (3, 4, 5), (6,)]
    assert within_budget(plan, 0, None) == plan
    assert within_budget(plan, 0, 5) == [(0, 1, 2), (3, 4)]
    assert within_budget(plan, 10, 13) == [(0, 1, 2)]
    assert within_budget(plan, 13, 13) == []


def test_weights_go_to_all_groups_or_to_none(toy):
    one = toy.record("a")
    assert as_groups([one])[0].records == (one,)
    with pytest.raises(UserError, match="one to each"):
        as_groups([Group("p", (one,), 1.0), Group("q", (one,))])
    with pytest.raises(UserError, match="above 0"):
        Group("p", (one,), 0.0)
