import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tests.conftest import body, make_measurement, smooth_maps

from reshim.physics.espirit import (
    Espirit,
    central_part,
    dominant_vectors,
    espirit_maps,
    lag_kernel,
    signal_projector,
)
from reshim.physics.fourier import to_image, to_kspace


def projected(maps: torch.Tensor, others: torch.Tensor, support: torch.Tensor) -> float:
    """Energy of unit vectors `others` that lies along unit vectors `maps`, averaged over the support."""
    along = (maps.conj() * others).sum(-3).abs().square()
    return float(along[..., support].mean())


def test_maps_of_a_smooth_phantom_lie_along_the_true_ones():
    measurement, images = make_measurement(rows=64, columns=60, center=24, with_maps=False)
    maps = Espirit()(measurement).maps
    support = images[0].abs() > 0.2
    assert maps.shape == (2, 1, 6, 64, 60)
    assert projected(maps[0, 0], smooth_maps(6, 64, 60)[0].to(maps.dtype), support) > 0.999


def test_maps_have_unit_length_in_the_body_and_vanish_in_air():
    measurement, images = make_measurement(rows=64, columns=60, center=24, with_maps=False)
    size = Espirit(crop=0.9)(measurement).maps.abs().square().sum(-3).sqrt()[0, 0]
    inside = size[images[0].abs() > 0.2]
    torch.testing.assert_close(inside, torch.ones_like(inside))
    assert float(size[:3, :3].max()) == 0


@pytest.mark.parametrize("shape", [(48, 44), (45, 51), (96, 33)])
def test_the_grids_lead_to_the_eigenvector_that_a_full_solve_finds(shape):
    images, maps = body(*shape), smooth_maps(5, *shape)
    block = central_part(to_kspace(maps * images[:, None]), 20)
    lags = lag_kernel(signal_projector(block, 5, 0.02), 5)[0]
    vectors, values = dominant_vectors(lags, shape, 1, steps=12)

    operators = operators_of(lags, shape)
    exact_values, exact = torch.linalg.eigh(operators)
    support = images[0].abs() > 0.2
    assert projected(vectors[0], exact[..., -1].permute(2, 0, 1), support) > 1 - 1e-6
    torch.testing.assert_close(values[0][support], exact_values[..., -1][support], atol=1e-5, rtol=0)


def operators_of(lags: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """(row, column, coil, coil) by a zero-padded FFT of the lags, the way the paper draws it."""
    span = lags.shape[0]
    padded = torch.zeros(*lags.shape[2:], *shape, dtype=lags.dtype)
    top, left = shape[0] // 2 - span // 2, shape[1] // 2 - span // 2
    padded[..., top : top + span, left : left + span] = lags.permute(2, 3, 0, 1)
    return to_image(padded).permute(2, 3, 0, 1) * (shape[0] * shape[1]) ** 0.5


def test_an_operator_is_the_sum_over_kernels_of_their_images_outer_products():
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(3, 9, 8, generator=generator, dtype=torch.complex128)
    projector = signal_projector(block, 4, 0.3)
    energy, vectors = torch.linalg.eigh(projector)
    kernels = vectors[:, energy > 0.5].mT.reshape(-1, 3, 4, 4)
    shape = (12, 11)
    padded = torch.zeros(len(kernels), 3, *shape, dtype=torch.complex128)
    padded[..., 4:8, 4:8] = kernels
    images = to_image(padded) * (shape[0] * shape[1]) ** 0.5
    direct = torch.einsum("kcyx,kdyx->yxcd", images, images.conj()) / 16
    torch.testing.assert_close(operators_of(lag_kernel(projector, 4), shape), direct)


def test_a_projector_onto_the_windows_is_the_same_from_either_side_of_the_gram_matrix():
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(2, 7, 9, generator=generator, dtype=torch.complex128)
    few = signal_projector(block[:1], 3, 0.0)
    assert few.shape == (9, 9)
    torch.testing.assert_close(few @ few, few)
    windows_below_unknowns = signal_projector(block, 5, 1e-6)
    torch.testing.assert_close(windows_below_unknowns @ windows_below_unknowns, windows_below_unknowns)
    assert round(float(windows_below_unknowns.diagonal().sum().real)) == 15


def test_two_sets_are_orthogonal_and_explain_an_object_that_wraps_onto_itself():
    rows, columns = 64, 60
    image, maps = body(rows, columns)[0], smooth_maps(8, rows, columns)[0]
    half = columns // 2
    folded = (maps * image)[..., :half] + (maps * image)[..., half:]
    kspace = to_kspace(folded)[None]
    estimated, values = Espirit(n_sets=2, crop=0.8).estimate(kspace, (rows, half))
    overlap = (image[:, :half].abs() > 0.2) & (image[:, half:].abs() > 0.2)
    assert overlap.sum() > 100
    first, second = estimated[0]
    assert float((first.conj() * second).sum(0).abs().max()) < 1e-6
    assert float(values[0, 1][overlap].mean()) > 0.95
    combined = (estimated[0].conj() * folded).sum(1, keepdim=True)
    missed = folded - (estimated[0] * combined).sum(0)
    assert float(missed[:, overlap].norm() / folded[:, overlap].norm()) < 0.05


def test_estimates_do_not_depend_on_units_or_on_the_batch():
    measurement, _ = make_measurement(rows=48, columns=44, center=16, with_maps=False, noise=0.01)
    together = Espirit()(measurement).maps
    for index in range(2):
        torch.testing.assert_close(Espirit()(measurement.item(index)).maps[0], together[index])
    scaled = replace(measurement, kspace=measurement.kspace * 1e-7)
    torch.testing.assert_close(Espirit()(scaled).maps, together, atol=1e-4, rtol=0)


def test_samples_outside_the_calibration_block_do_not_matter():
    measurement, _ = make_measurement(center=16, with_maps=False)
    expected = Espirit()(measurement).maps
    kspace = torch.where(measurement.mask, measurement.kspace, torch.nan)
    columns = measurement.calibration.block[1]
    kspace[..., : columns.start] *= 3
    assert torch.equal(Espirit()(replace(measurement, kspace=kspace)).maps, expected)


def test_an_empty_slice_has_maps_of_zeros():
    measurement, _ = make_measurement(with_maps=False)
    maps = Espirit()(replace(measurement, kspace=measurement.kspace * 0)).maps
    assert torch.equal(maps, torch.zeros_like(maps))


def test_a_soft_crop_fades_where_a_hard_one_cuts():
    measurement, _ = make_measurement(rows=64, columns=60, center=24, with_maps=False)
    hard = Espirit(crop=0.9)(measurement).maps.abs().square().sum(-3)
    soft = Espirit(crop=0.9, crop_kind="soft")(measurement).maps.abs().square().sum(-3)
    assert set(hard.round().unique().tolist()) == {0.0, 1.0}
    assert ((soft > 0.05) & (soft < 0.95)).any()


@pytest.mark.usefixtures("unchecked")
def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="choose one of hard, soft, none"):
        Espirit(crop_kind="smooth")
    with pytest.raises(ValueError, match="raise width"):
        Espirit(width=4)
    measurement, _ = make_measurement(center=4, with_maps=False)
    with pytest.raises(ValueError, match="calibration block is 48x4 but the kernel needs 6x6"):
        Espirit()(measurement)


def sigpy_maps(kspace: np.ndarray, crop: float) -> np.ndarray:
    app = pytest.importorskip("sigpy.mri.app", reason="sigpy is not installed")
    return app.EspiritCalib(kspace, crop=crop, show_pbar=False).run()


def bart_maps(kspace: np.ndarray, crop: float) -> np.ndarray:
    """Maps by `bart ecalib`, which reads and writes column-major .cfl files."""
    if shutil.which("bart") is None:
        pytest.skip("bart is not installed (apt-get install bart)")
    with tempfile.TemporaryDirectory() as folder:
        samples = np.moveaxis(kspace, 0, -1)[:, :, None, :].astype(np.complex64)
        Path(folder, "k.hdr").write_text("# Dimensions\n" + " ".join(map(str, samples.shape)) + "\n")
        samples.ravel(order="F").tofile(Path(folder, "k.cfl"))
        command = ["bart", "ecalib", "-m", "1", "-r", "24", "-c", str(crop), "k", "s"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        maps = np.fromfile(Path(folder, "s.cfl"), np.complex64).reshape(samples.shape, order="F")
    return np.moveaxis(maps[:, :, 0, :], -1, 0)


def check_agreement(kspace: torch.Tensor, support: torch.Tensor) -> None:
    """Projection onto each peer's maps at the peer's own parameters, at least 0.999 in energy."""
    ours = espirit_maps(kspace[None], settings=Espirit.sigpy(crop_kind="none"))[0, 0]
    peers = torch.from_numpy(sigpy_maps(kspace.numpy(), 0.0))
    assert projected(ours, peers, support) > 0.999
    ours = espirit_maps(kspace[None], settings=Espirit.bart(crop_kind="none"))[0, 0]
    peers = torch.from_numpy(bart_maps(kspace.numpy(), 0.0))
    assert projected(ours, peers, support) > 0.999


def test_maps_of_a_phantom_agree_with_sigpy_and_bart():
    rows, columns = 64, 60
    image, maps = body(rows, columns), smooth_maps(8, rows, columns)
    generator = torch.Generator().manual_seed(0)
    kspace = to_kspace(maps * image[:, None])[0]
    kspace = kspace + 0.01 * torch.randn(kspace.shape, generator=generator, dtype=kspace.dtype)
    check_agreement(kspace.to(torch.complex64), image[0].abs() > 0.2)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["brain8-full", "brain16-96"])
def test_maps_of_a_real_scan_agree_with_sigpy_and_bart(name, real_data):
    with h5py.File(real_data / f"raw-{name}" / f"raw-{name}.h5") as file:
        kspace = torch.from_numpy(file["kspace"][0])
    support = torch.from_numpy(np.load(real_data / "coilmaps" / f"{name}.npz")["support"]).bool()
    check_agreement(kspace, support)
