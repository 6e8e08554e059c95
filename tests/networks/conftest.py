"""Small measurements in any size, and the promises every reconstructor is held to."""

from dataclasses import replace

import pytest
import torch

from reshim.physics.fourier import to_kspace
from reshim.seeds import generator_of
from reshim.types import Calibration, Measurement


def smooth_maps(n_batch, n_coils, rows, columns, dtype=torch.complex64):
    """Gaussian coils around the field of view, sum of squares 1 everywhere."""
    row, column = torch.meshgrid(
        torch.linspace(-1, 1, rows, dtype=torch.float64),
        torch.linspace(-1, 1, columns, dtype=torch.float64),
        indexing="ij",
    )
    angles = torch.arange(n_coils, dtype=torch.float64)[:, None, None] * (2 * torch.pi / n_coils)
    distance = (row - angles.sin()) ** 2 + (column - angles.cos()) ** 2
    maps = torch.polar(torch.exp(-distance / 2), angles + 0.5 * row * column)
    maps = maps / maps.abs().square().sum(0).sqrt()
    return maps.expand(n_batch, 1, -1, -1, -1).to(dtype).clone()


def measure_blobs(
    rows=48, columns=48, n_coils=3, n_batch=1, maps=True, crop=None, seed=0, dtype=torch.complex64, lines=8
):
    """A few complex blobs seen through smooth coils; every third column and the centre acquired."""
    generator = generator_of("blobs", seed)
    row = torch.linspace(-1, 1, rows, dtype=torch.float64)[:, None]
    column = torch.linspace(-1, 1, columns, dtype=torch.float64)
    image = torch.zeros(n_batch, rows, columns, dtype=torch.complex128)
    for item in range(n_batch):
        for _ in range(6):
            top, left, phase = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
            bump = torch.exp(-8 * ((row - top + 0.5) ** 2 + (column - left + 0.5) ** 2))
            image[item] += torch.polar(bump, torch.full_like(bump, phase))
    sensitivities = smooth_maps(n_batch, n_coils, rows, columns, torch.complex128)
    mask = torch.zeros(1, 1, 1, columns, dtype=torch.bool)
    mask[..., seed % 3 :: 3] = True
    start = columns // 2 - lines // 2
    mask[..., start : start + lines] = True
    kspace = torch.where(mask, to_kspace(sensitivities[:, 0] * image[:, None]), 0)
    return Measurement(
        kspace=(1e-4 * kspace).to(dtype),
        mask=mask,
        calibration=Calibration(0, rows, start, start + lines),
        acquirable=torch.ones_like(mask),
        crop=crop or (rows, columns),
        name=f"blobs-{seed}",
        maps=sensitivities.to(dtype) if maps else None,
    )


def check_reconstructor(reconstruct, measurement):
    """Shape, units, the same answer twice, input untouched, a batch as its items, silence as silence."""
    kspace = measurement.kspace.clone()
    with torch.no_grad():
        image = reconstruct(measurement)
        again = reconstruct(measurement)
        twice = reconstruct(replace(measurement, kspace=2 * measurement.kspace))
        silent = reconstruct(replace(measurement, kspace=torch.zeros_like(measurement.kspace)))
        items = torch.cat([reconstruct(measurement.item(index)) for index in range(len(kspace))])
    peak = image.abs().max().item()
    assert image.shape == (kspace.shape[0], *kspace.shape[-2:])
    assert image.is_complex()
    assert peak > 0
    assert torch.equal(again, image)
    assert torch.equal(measurement.kspace, kspace)
    torch.testing.assert_close(twice, 2 * image, rtol=1e-4, atol=1e-4 * peak)
    torch.testing.assert_close(items, image, rtol=1e-4, atol=1e-4 * peak)
    assert (silent == 0).all()


def check_gradient(network, measurement):
    """Every weight and the k-space itself get a finite gradient."""
    kspace = measurement.kspace.clone().requires_grad_()
    image = network.train()(replace(measurement, kspace=kspace))
    torch.view_as_real(image).square().sum().div(measurement.kspace.abs().square().sum()).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
    assert torch.isfinite(torch.view_as_real(kspace.grad)).all()
    assert any(weight.grad.abs().sum() > 0 for weight in network.parameters())


@pytest.fixture
def blobs():
    """`measure_blobs`, to call with sizes."""
    return measure_blobs


@pytest.fixture
def reconstructor_check():
    """`check_reconstructor`, to call with a network and a measurement."""
    return check_reconstructor


@pytest.fixture
def gradient_check():
    """`check_gradient`, to call with a network and a measurement."""
    return check_gradient


@pytest.fixture(autouse=True)
def _seeded():
    """Initial weights come from the global generator: the same in every test."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
