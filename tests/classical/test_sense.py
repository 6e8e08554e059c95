from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from tests.conftest import equispaced, make_measurement, smooth_maps
from tests.reconstructor_checks import check_reconstructor

from reshim.classical import METHODS
from reshim.classical.sense import Sense, shown
from reshim.classical.zero_filled import ZeroFilled
from reshim.physics.fourier import to_image
from reshim.types import Calibration, Measurement


@pytest.mark.parametrize("reconstruct", [ZeroFilled(), ZeroFilled(combine="rss"), Sense()])
@pytest.mark.parametrize("with_maps", [True, False])
def test_promises_of_a_reconstructor_are_kept(reconstruct, with_maps):
    measurement, _ = make_measurement(acceleration=4, with_maps=with_maps, noise=0.01)
    check_reconstructor(reconstruct, measurement)


def test_zero_filling_returns_a_fully_sampled_image():
    measurement, images = make_measurement(acceleration=1, dtype=torch.complex128)
    torch.testing.assert_close(ZeroFilled()(measurement), images)
    torch.testing.assert_close(ZeroFilled(combine="rss")(measurement).real, images.abs())


def test_every_second_column_of_six_coils_is_recovered_exactly_where_zero_filling_is_far_off():
    measurement, images = make_measurement(acceleration=2, center=0, dtype=torch.complex128)
    solved = Sense(ridge=0, iterations=200, tolerance=0)(measurement)
    assert float((ZeroFilled()(measurement) - images).norm() / images.norm()) > 0.3
    assert float((solved - images).norm() / images.norm()) < 1e-6


def test_a_ridge_shrinks_a_fully_sampled_image_by_what_it_says():
    measurement, images = make_measurement(acceleration=1, dtype=torch.complex128)
    torch.testing.assert_close(Sense(ridge=0.25, times_noise=False, tolerance=0)(measurement), images / 1.25)


def test_two_dimensional_undersampling_is_recovered():
    measurement, images = make_measurement(acceleration=1, n_coils=8, dtype=torch.complex128)
    mask = equispaced(44, 2, 0) & equispaced(48, 2, 0).mT
    measurement = replace(measurement, mask=mask, kspace=torch.where(mask, measurement.kspace, 0))
    solved = Sense(ridge=0, iterations=300, tolerance=0)(measurement)
    assert float((solved - images).norm() / images.norm()) < 1e-4


def test_a_second_set_of_maps_takes_what_the_first_cannot_explain():
    measurement, images = make_measurement(acceleration=1, n_coils=6, n=1, dtype=torch.complex128)
    maps = smooth_maps(6, 48, 44)[:, None]
    half = torch.cat([maps, maps.roll(1, 2)], dim=1) / 2**0.5
    one = Sense(ridge=0, tolerance=0)(replace(measurement, maps=maps.roll(2, 2)))
    two = Sense(ridge=1e-9, times_noise=False, iterations=400, tolerance=0)(replace(measurement, maps=half))
    assert two.shape == images.shape
    assert float((one.abs() - images.abs()).norm() / images.norm()) > 0.1
    torch.testing.assert_close(shown(images[:, None]), images)


@pytest.mark.usefixtures("unchecked")
def test_a_negative_ridge_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        Sense(ridge=-1.0)


def test_methods_are_made_by_name_without_arguments():
    for name, make in METHODS.items():
        assert callable(make()), name
    assert METHODS["sense"](ridge=0.5).ridge == 0.5


def real_measurement(
    folder, name: str, acceleration: int, center: int
) -> tuple[Measurement, torch.Tensor, torch.Tensor]:
    """A measurement of a real scan, its reference by the folder's maps, and the region to compare in."""
    with h5py.File(folder / f"raw-{name}" / f"raw-{name}.h5") as file:
        kspace = torch.from_numpy(file["kspace"][:])
    known = np.load(folder / "coilmaps" / f"{name}.npz")
    maps = torch.from_numpy(known["maps"]).to(torch.complex64)
    rows, columns = kspace.shape[-2:]
    mask = equispaced(columns, acceleration, center)
    start = columns // 2 - center // 2
    measurement = Measurement(
        kspace=torch.where(mask, kspace, torch.nan),
        mask=mask,
        calibration=Calibration(0, rows, start, start + center),
        acquirable=torch.ones_like(mask),
        crop=(rows, columns),
        name=name,
    )
    reference = (maps.conj() * to_image(kspace)).sum(-3).abs()
    return measurement, reference, torch.from_numpy(known["support"]).bool()


def nmse_in(image: torch.Tensor, reference: torch.Tensor, support: torch.Tensor) -> float:
    error = (image.abs() - reference)[..., support]
    return float(error.square().sum() / reference[..., support].square().sum())


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "limit"), [("brain8-full", 0.010), ("brain16-96", 0.0006)])
def test_real_brains_at_four_fold_acceleration_are_reconstructed_with_the_tuned_ridge(name, limit, real_data):
    measurement, reference, support = real_measurement(real_data, name, 4, 24)
    assert nmse_in(METHODS["sense"]()(measurement), reference, support) <= limit
