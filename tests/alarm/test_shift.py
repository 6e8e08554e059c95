import dataclasses
import math

import pytest
import torch
from tests.conftest import make_measurement
from torch.nn import Identity

from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.modes import AdaptedWhereUnusual
from reshim.alarm.shift import Alarm
from reshim.digest import digest
from reshim.physics.fourier import to_image, to_kspace
from reshim.training.features import KSPACE, PARTS, features
from reshim.training.statistics import Statistics, edge
from reshim.training.usual import Usual


def test_the_edge_is_the_99th_percentile_of_a_chi_distribution():
    draws = torch.randn(200_000, 17, generator=torch.Generator().manual_seed(0)).norm(dim=1)
    assert abs(draws.quantile(0.99).item() - edge(17)) < 0.03


def measured(noise: float, seed: int, smooth: float = 0.0):
    measurement, _ = make_measurement(n=1, noise=0.0)
    generator = torch.Generator().manual_seed(seed)
    kspace = measurement.kspace
    kspace = kspace * (1 + 0.05 * torch.randn(1, 1, 1, 1, generator=generator))
    kspace = kspace + noise * torch.randn(kspace.shape, generator=generator, dtype=kspace.dtype)
    columns = (torch.arange(44) - 22).abs() / 22
    kspace = kspace * torch.exp(-smooth * columns)
    return dataclasses.replace(measurement, kspace=torch.where(measurement.mask, kspace, 0))


def test_it_is_quiet_on_what_training_saw_and_loud_on_what_it_did_not():
    usual = torch.cat([features(measured(0.05, seed)) for seed in range(60)])
    alarm = Alarm(Statistics.of(usual))
    assert alarm(measured(0.05, 1000)) < 1.3
    assert alarm(measured(0.5, 1001)) > 2
    assert alarm(measured(0.05, 1002, smooth=4.0)) > 2


def test_nineteen_of_twenty_usual_scans_lie_below_1_whatever_the_number_of_subjects():
    def slices(count, generator):
        # Slices of a scan differ, as do subjects.
        rows = torch.randn(count, 4, 24, generator=generator, dtype=torch.float64)
        return rows + torch.randn(count, 1, 24, generator=generator, dtype=torch.float64)

    for count in (10, 60):
        generator = torch.Generator().manual_seed(count)
        found = []
        for _ in range(20):
            scans = [(f"subject {number}", f"scan {number}") for number in range(count) for _ in range(4)]
            known = Statistics.of(slices(count, generator).flatten(0, 1), scans)
            assert known.usual.edge != 1
            new = slices(30, generator)
            found += [known.unlikeness(scan) < 1 for scan in new]
        assert 0.88 < sum(found) / len(found) < 0.99


def test_what_is_usual_counts_in_the_name_of_what_the_alarm_decides():
    known = Statistics.of(torch.randn(16, 24, generator=torch.Generator().manual_seed(0)))
    names = {
        digest(AdaptedWhereUnusual(AdaptedAtTestTime(Identity(), Identity()), Alarm(statistics)))
        for statistics in (
            known,
            dataclasses.replace(known),
            dataclasses.replace(known, usual=Usual(0.7)),
            dataclasses.replace(known, covariance=2 * known.covariance),
        )
    }
    assert len(names) == 3


def test_few_scans_say_nothing_of_what_is_usual(tmp_path):
    rows = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    four = [(f"subject {number // 4}", f"scan {number // 4}") for number in range(16)]
    one = [("one", f"scan {number}") for number in range(16)]
    for names in (four, one):
        assert Statistics.of(rows, names).usual == Usual()
    known = dataclasses.replace(Statistics.of(rows), usual=Usual(0.7))
    known.save(tmp_path / "statistics.safetensors")
    assert Statistics.load(tmp_path / "statistics.safetensors").usual == Usual(0.7)


def test_what_is_usual_survives_a_file(tmp_path):
    rows = torch.randn(40, 28, generator=torch.Generator().manual_seed(0))
    known = Statistics.of(rows, [(f"subject {number // 4}", "scan") for number in range(40)])
    known.save(tmp_path / "statistics.safetensors")
    read = Statistics.load(tmp_path / "statistics.safetensors")
    assert known.usual.logs.numel() == 6
    assert read.digest == known.digest
    assert read.unlikeness(3 * rows[:4]) == known.unlikeness(3 * rows[:4]) > 1


def test_the_score_of_scans_made_before_each_distance_was_weighed_is_as_it_was():
    distances = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)
    assert Usual(0.7).score(distances) == pytest.approx(3**0.25 / 0.7)


def test_one_distance_far_out_is_enough_and_those_that_always_vary_count_less():
    generator = torch.Generator().manual_seed(0)
    deviations = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2, 0.8], dtype=torch.float64)
    logs = deviations * torch.randn(40, 6, generator=generator, dtype=torch.float64)
    usual = Usual.of(list(logs.exp()))
    assert usual.score(torch.ones(6)) < 1
    first, last = torch.ones(6), torch.ones(6)
    first[0] = last[5] = 3.0
    assert usual.score(first) > 1.2 > 1 > usual.score(last)


def test_twice_as_far_is_twice_the_score_where_all_distances_vary_alike():
    usual = Usual(0.7, torch.tensor([0.3, -0.4, 0.0]), torch.full((3,), 0.2))
    far = torch.tensor([4.0, 90.0, 5.0])
    assert usual.score(2 * far) == pytest.approx(2 * usual.score(far))


def test_the_score_does_not_depend_on_the_scale_of_the_file():
    usual = torch.cat([features(measured(0.05, seed)) for seed in range(60)])
    alarm = Alarm(Statistics.of(usual))
    measurement = measured(0.3, 7)
    louder = dataclasses.replace(measurement, kspace=1e6 * measurement.kspace)
    assert abs(alarm(measurement) - alarm(louder)) < 1e-2


def test_a_contrast_is_told_by_the_tones_of_the_image():
    usual = torch.cat([features(measured(0.05, seed)) for seed in range(60)])
    alarm = Alarm(Statistics.of(usual))
    measurement = measured(0.05, 1003)
    image = to_image(measurement.kspace)
    bright = image.abs().square().sum(1, keepdim=True).sqrt()
    flatter = to_kspace(image * (bright.amax() / bright.clamp_min(0.02 * bright.amax())).sqrt())
    other = dataclasses.replace(measurement, kspace=torch.where(measurement.mask, flatter, 0))
    tones = slice(KSPACE, KSPACE + PARTS[1])
    moved = (features(other) - features(measurement))[0, tones].abs().max()
    assert moved > 5 * usual[:, tones].std(0).max()
    assert alarm(other) > 2 * alarm(measurement)


def test_a_run_made_before_images_were_looked_at_still_has_its_alarm():
    usual = torch.cat([features(measured(0.05, seed)) for seed in range(60)])
    old = Alarm(Statistics.of(usual[:, :KSPACE]))
    assert len(old.statistics.parts()) == 1
    assert old(measured(0.05, 1000)) < 1.3
    assert old(measured(0.5, 1001)) > 2


def test_a_run_made_before_depths_were_looked_at_still_has_its_alarm():
    usual = torch.cat([features(measured(0.05, seed)) for seed in range(60)])
    old = Alarm(Statistics.of(usual[:, : -PARTS[2]]))
    assert [part.mean.numel() for part in old.statistics.parts()] == list(PARTS[:2])
    assert old(measured(0.05, 1000)) < 1.3
    assert old(measured(0.5, 1001)) > 2


def test_an_empty_scan_has_a_score():
    usual = torch.cat([features(measured(0.05, seed)) for seed in range(60)])
    measurement = measured(0.05, 1)
    empty = dataclasses.replace(measurement, kspace=torch.zeros_like(measurement.kspace))
    assert math.isfinite(Alarm(Statistics.of(usual))(empty))
