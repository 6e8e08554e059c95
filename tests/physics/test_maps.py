from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from tests.conftest import equispaced, make_measurement, smooth_maps

from reshim.physics.maps import LowFrequency, Walsh, default_estimator, explained_energy
from reshim.types import Calibration, Measurement


def alignment(measurement: Measurement, support: torch.Tensor) -> float:
    """Mean energy of the true maps along the measurement's, over the support of its first item."""
    assert measurement.maps is not None
    maps = measurement.maps[0, 0]
    true = smooth_maps(maps.shape[0], *maps.shape[-2:])[0].to(maps.dtype)
    return float((maps.conj() * true).sum(0).abs().square()[support].mean())


@pytest.mark.parametrize("estimate", [LowFrequency(), Walsh(), default_estimator])
def test_every_estimator_finds_smooth_maps(estimate):
    measurement, images = make_measurement(rows=64, columns=60, center=24, with_maps=False)
    assert alignment(estimate(measurement), images[0].abs() > 0.2) > 0.99


@pytest.mark.parametrize("estimate", [LowFrequency(), Walsh()])
def test_the_phase_of_the_object_stays_in_the_image(estimate):
    measurement, images = make_measurement(rows=64, columns=60, center=24, acceleration=1, with_maps=False)
    combined = (estimate(measurement).maps.conj() * images[:, None, None]).sum(-3)
    turned = combined[0, 0] / images[0].where(images[0].abs() > 0, 1)
    support = images[0].abs() > 0.2
    differences = (turned[:, 1:] * turned[:, :-1].conj()).angle()[support[:, 1:] & support[:, :-1]]
    # The principal combination of a ring of coils has a null, and around a null every phase occurs.
    assert float(differences.abs().quantile(0.95)) < 0.2


def test_walsh_takes_odd_squares_only():
    with pytest.raises(ValueError, match="odd width"):
        Walsh(smoothing=4)


def test_no_calibration_block_gives_low_frequency_maps_and_a_warning():
    measurement, images = make_measurement(rows=64, columns=60, acceleration=2, center=0, with_maps=False)
    measurement = replace(measurement, calibration=Calibration(0, 0, 0, 0))
    with_maps = default_estimator(measurement)
    assert "no calibration block" in with_maps.warnings[0]
    assert "--center-lines 24" in with_maps.warnings[0]
    assert alignment(with_maps, images[0].abs() > 0.2) > 0.85


def test_four_columns_are_too_few_for_kernels_and_say_so():
    measurement, _ = make_measurement(rows=64, columns=60, center=4, with_maps=False)
    with_maps = default_estimator(measurement)
    assert "a 64x4 block" in with_maps.warnings[0]
    assert torch.isfinite(with_maps.maps.abs()).all()


def test_good_maps_come_without_a_warning_and_explain_nearly_everything():
    measurement, _ = make_measurement(rows=64, columns=60, center=24, with_maps=False)
    with_maps = default_estimator(measurement)
    assert with_maps.warnings == ()
    assert float(explained_energy(with_maps).min()) > 0.99


def test_maps_of_another_object_explain_little():
    measurement, _ = make_measurement(rows=64, columns=60, center=24, with_maps=False)
    wrong = smooth_maps(6, 64, 60).flip(-3, -1)[:, None].to(measurement.kspace.dtype)
    assert float(explained_energy(replace(measurement, maps=wrong)).max()) < 0.8


def test_explained_energy_of_true_maps_is_one_and_of_halved_maps_seven_sixteenths():
    measurement, _ = make_measurement(rows=64, columns=60, center=60, acceleration=1)
    torch.testing.assert_close(explained_energy(measurement, 64), torch.ones(2), atol=2e-3, rtol=0)
    # With half the length, S S^H I is a quarter of I, so nine sixteenths of the energy are missed.
    halved = replace(measurement, maps=measurement.maps / 2)
    torch.testing.assert_close(explained_energy(halved, 64), torch.full((2,), 7 / 16), atol=2e-3, rtol=0)


def test_estimators_ignore_what_was_not_acquired():
    measurement, _ = make_measurement(center=8, with_maps=False)
    holes = replace(measurement, kspace=torch.where(measurement.mask, measurement.kspace, torch.nan))
    for estimate in (LowFrequency(), Walsh(), default_estimator):
        assert torch.equal(estimate(holes).maps, estimate(measurement).maps)


@pytest.mark.real_data
@pytest.mark.parametrize(("n_columns", "warns"), [(8, True), (24, False)])
def test_eight_columns_of_a_real_brain_are_too_few_and_twenty_four_are_not(n_columns, warns, real_data):
    with h5py.File(real_data / "raw-brain16-96" / "raw-brain16-96.h5") as file:
        kspace = torch.from_numpy(np.asarray(file["kspace"]))
    mask = equispaced(96, 4, n_columns)
    start = 48 - n_columns // 2
    measurement = Measurement(
        kspace=torch.where(mask, kspace, 0),
        mask=mask,
        calibration=Calibration(0, 96, start, start + n_columns),
        acquirable=torch.ones_like(mask),
        crop=(96, 96),
        name="raw-brain16-96",
    )
    assert bool(default_estimator(measurement).warnings) == warns
