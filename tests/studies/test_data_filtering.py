"""Filters keep what they are said to keep."""

import re

import torch
from tests.studies.answers import verdicts

from reshim.studies.data_filtering import (
    CLAIMS,
    DRAWS,
    RANDOM,
    SHARE,
    called,
    edges,
    energy,
    half,
    random_halves,
    retrieved,
)


def waves(frequency, seed, side=48):
    generator = torch.Generator().manual_seed(seed)
    x = torch.arange(side) / side
    image = 0.5 + 0.4 * torch.sin(6.28 * frequency * x + 6.28 * torch.rand(1, generator=generator))
    return image.expand(2, side, side) + 0.05 * torch.rand(2, side, side, generator=generator)


def test_retrieval_keeps_the_kind_that_is_wanted_and_counts_how_often():
    pool = {f"coarse{i}": waves(3, i) for i in range(4)} | {f"fine{i}": waves(11, 9 + i) for i in range(4)}
    found = retrieved(pool, {"a": waves(11, 50), "b": waves(11, 51)}, count=3)
    assert len(found) == 3
    assert all(name.startswith("fine") for name in found)
    assert max(found.values()) == 2


def test_a_repeated_scan_is_kept_only_when_no_others_are_left():
    pool = {"fine": waves(11, 1), "again": waves(11, 1), "other": waves(11, 2), "coarse": waves(3, 3)}
    assert set(retrieved(pool, {"a": waves(11, 1)}, count=2)) == {"fine", "other"}
    assert len(retrieved(pool, {"a": waves(11, 1)}, count=4)) == 4


def test_energy_is_low_where_slices_are_empty_and_edges_where_images_are_flat():
    full, flat = waves(3, 0), torch.ones(2, 48, 48)
    half_empty = full.clone()
    half_empty[0] = 0
    assert energy(half_empty) < energy(full)
    assert edges(flat) == 0
    assert edges(waves(11, 0)) > edges(waves(1, 0))


def test_random_halves_are_halves_differ_and_come_again():
    names = [f"scan-{number:02d}" for number in range(40)]
    first, again, other = (random_halves(names, seed) for seed in (0, 0, 1))
    assert first == again != other
    halves = [re.findall(r"scan-\d+", where) for where in first.values()]
    assert list(first) == list(DRAWS)
    assert all(len(set(each)) == len(each) == SHARE * len(names) for each in halves)
    # Each holds some of every other half and not all of it, so none was drawn from what another left.
    for one, two in zip(halves, halves[1:] + halves[:1], strict=True):
        assert 0 < len(set(one) & set(two)) < len(one)


def test_a_filter_is_held_against_the_mean_of_the_random_halves_not_against_a_lucky_one():
    def found(*halves):
        level = dict(zip((half(draw)["draw"] for draw in DRAWS), halves, strict=True))
        return verdicts(
            CLAIMS, lambda where: level[where["draw"]] if where["method"] == called(RANDOM) else 0.8
        )

    for order in ((0.83, 0.76, 0.78), (0.76, 0.78, 0.83)):
        assert {found(*order)[name] for name in ("retrieval-random", "energy-random")} == {"holds"}
    for order in ((0.77, 0.84, 0.82), (0.84, 0.82, 0.77)):
        assert {found(*order)[name] for name in ("retrieval-random", "edges-random")} == {"contradicted"}
