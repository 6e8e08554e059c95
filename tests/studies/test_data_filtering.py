"""Filters keep what they are said to keep."""

import torch

from reshim.studies.data_filtering import edges, energy, retrieved


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
