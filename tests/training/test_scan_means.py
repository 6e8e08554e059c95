"""How the features of whole scans vary."""

import dataclasses

import pytest
import torch

from reshim.training.scan_means import ScanMeans, shrunk
from reshim.training.statistics import Statistics

N_FEATURES = 6


def drawn(scans, slices, between, within, seed, shift=0.0):
    """Slices of scans that differ by one deviation and are each `within` of another."""
    generator = torch.Generator().manual_seed(seed)
    centres = shift + between * torch.randn(scans, 1, N_FEATURES, generator=generator, dtype=torch.float64)
    rows = within * torch.randn(scans, slices, N_FEATURES, generator=generator, dtype=torch.float64)
    names = [(f"subject {scan}", "scan") for scan in range(scans) for _ in range(slices)]
    return centres + rows, names


@pytest.mark.parametrize("slices", [1, 2, 5, 20])
def test_the_distance_of_a_new_scan_is_that_of_a_normal_vector_whatever_its_slices(slices):
    rows, names = drawn(2000, 5, 1.0, 2.0, 0)
    known = ScanMeans.of(rows.flatten(0, 1), names)
    new, _ = drawn(2000, slices, 1.0, 2.0, 1)
    squares = torch.tensor([known.distance(scan) ** 2 for scan in new])
    # Means of more slices than training scans had vary less than is foreseen.
    expected = N_FEATURES * min(1.0, (1 + 4 / slices) / (1 + 4 / 5))
    assert squares.mean().item() == pytest.approx(expected, rel=0.05)


def test_covariances_are_those_of_means_and_of_slices_about_them():
    rows, names = drawn(3000, 4, 1.0, 2.0, 2)
    known = ScanMeans.of(rows.flatten(0, 1), names)
    assert known.between.diagonal().mean().item() == pytest.approx(1 + 4 / 4, rel=0.05)
    assert known.within.diagonal().mean().item() == pytest.approx(4, rel=0.05)
    assert (known.count, known.slices, known.share) == (3000, 12000, 0.25)


def test_what_all_slices_of_a_scan_have_in_common_is_seen_among_slices_that_differ():
    rows, names = drawn(40, 8, 0.2, 2.0, 3)
    flat = rows.flatten(0, 1)
    with_scans, slices_alone = Statistics.of(flat, names), Statistics.of(flat)
    usual, _ = drawn(60, 8, 0.2, 2.0, 4)
    shifted, _ = drawn(60, 8, 0.2, 2.0, 5, shift=1.2)

    def told(known):
        first = torch.tensor([known.unlikeness(scan) for scan in usual])
        second = torch.tensor([known.unlikeness(scan) for scan in shifted])
        return (first < second[:, None]).double().mean().item()

    assert told(with_scans) > 0.9
    assert told(slices_alone) < told(with_scans) - 0.1


def test_a_file_keeps_what_is_known_of_scans_and_an_older_one_has_none(tmp_path):
    rows, names = drawn(10, 4, 1.0, 2.0, 6)
    known = Statistics.of(rows.flatten(0, 1), names)
    known.save(tmp_path / "new.safetensors")
    read = Statistics.load(tmp_path / "new.safetensors")
    assert read.digest == known.digest
    assert read.unlikeness(rows[0]) == known.unlikeness(rows[0])
    dataclasses.replace(known, scans=None).save(tmp_path / "old.safetensors")
    old = Statistics.load(tmp_path / "old.safetensors")
    assert old.scans is None
    assert old.digest != known.digest


def test_one_scan_says_nothing_of_scans():
    rows, names = drawn(1, 4, 1.0, 2.0, 7)
    assert ScanMeans.of(rows[0], names) is None


def test_one_slice_a_scan_is_enough():
    rows, names = drawn(12, 1, 1.0, 2.0, 8)
    known = ScanMeans.of(rows.flatten(0, 1), names)
    assert torch.equal(known.within, torch.zeros(N_FEATURES, N_FEATURES))
    assert known.distance(rows[0]) < known.distance(rows[0] + 10)


def test_few_measurements_draw_a_covariance_to_its_diagonal():
    covariance = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    torch.testing.assert_close(
        shrunk(covariance, 2), torch.tensor([[2.0, 0.5], [0.5, 3.0]], dtype=torch.float64)
    )
    torch.testing.assert_close(shrunk(covariance, 10**9), covariance.double())


def test_a_subject_without_whom_one_scan_is_left_does_not_end_a_training():
    rows, _ = drawn(6, 4, 1.0, 2.0, 5)
    names = [("one" if scan < 5 else "other", f"scan {scan}") for scan in range(6) for _ in range(4)]
    known = Statistics.of(rows.flatten(0, 1), names)
    # Five scans are compared with the slices of one: how scans vary is not known there.
    assert known.usual.logs is None
    assert known.usual.edge == 1.0
    assert known.unlikeness(rows[0]) > 0
