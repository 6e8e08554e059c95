"""Small phantoms with known answers, in double precision from the first line."""

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from reshim.physics.fourier import to_kspace
from reshim.types import Calibration, Measurement

torch.set_num_threads(1)


def smooth_maps(n_coils: int, rows: int, columns: int, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    """(1, coil, row, column) sensitivities of coils on a circle; sum of squares 1 everywhere."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, rows, dtype=torch.float64),
        torch.linspace(-1, 1, columns, dtype=torch.float64),
        indexing="ij",
    )
    angle = torch.arange(n_coils, dtype=torch.float64) * (2 * np.pi / n_coils)
    dy, dx = y - 1.3 * angle.sin()[:, None, None], x - 1.3 * angle.cos()[:, None, None]
    maps = torch.polar(1 / (0.3 + dy**2 + dx**2), angle[:, None, None] + 0.8 * x * dx + 0.5 * y * dy)
    return (maps / maps.abs().square().sum(0).sqrt())[None].to(dtype)


def body(rows: int, columns: int, n: int = 1, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    """(n, row, column) images: a bright disc with structure and phase, air around it."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, rows, dtype=torch.float64),
        torch.linspace(-1, 1, columns, dtype=torch.float64),
        indexing="ij",
    )
    images = []
    for index in range(n):
        radius = (x**2 / 0.6 + (y - 0.05 * index) ** 2 / 0.75).sqrt()
        magnitude = (
            1.0 * (radius < 0.95) - 0.5 * (radius < 0.8) + 0.3 * ((x - 0.3).abs() < 0.15) * (radius < 0.7)
        )
        magnitude = magnitude + 0.2 * torch.sin(9 * x + index) * torch.cos(7 * y) * (radius < 0.7)
        images.append(torch.polar(magnitude, 0.6 * x + 0.4 * y**2))
    return torch.stack(images).to(dtype)


def equispaced(columns: int, acceleration: int, center: int, offset: int = 0) -> torch.Tensor:
    """(1, 1, 1, column) mask with a fully sampled centre."""
    mask = torch.zeros(columns, dtype=torch.bool)
    mask[offset::acceleration] = True
    start = columns // 2 - center // 2
    mask[start : start + center] = True
    return mask[None, None, None]


def make_measurement(
    rows: int = 48,
    columns: int = 44,
    n_coils: int = 6,
    n: int = 2,
    acceleration: int = 2,
    center: int = 12,
    noise: float = 0.0,
    with_maps: bool = True,
    dtype: torch.dtype = torch.complex64,
    name: str = "phantom",
) -> tuple[Measurement, torch.Tensor]:
    """A measurement of `body` and its true image."""
    images, maps = body(rows, columns, n), smooth_maps(n_coils, rows, columns)
    mask = equispaced(columns, acceleration, center)
    generator = torch.Generator().manual_seed(1)
    kspace = to_kspace(maps * images[:, None])
    kspace = kspace + noise * torch.randn(kspace.shape, generator=generator, dtype=kspace.dtype) * 2**0.5
    start = columns // 2 - center // 2
    measurement = Measurement(
        kspace=(torch.where(mask, kspace, 0)).to(dtype),
        mask=mask,
        calibration=Calibration(0, rows, start, start + center),
        acquirable=torch.ones(1, 1, 1, columns, dtype=torch.bool),
        crop=(rows, columns),
        name=name,
        slices=tuple(range(n)),
        maps=maps[:, None].to(dtype) if with_maps else None,
    )
    return measurement, images.to(dtype)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shape checks off, to meet the errors that a user without them meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def measurement() -> Measurement:
    return make_measurement()[0]


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("RESHIM_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RESHIM_REAL_DATA names no folder of real scans")
    return Path(folder)
