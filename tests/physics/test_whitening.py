from dataclasses import replace

import pytest
import torch
from tests.conftest import make_measurement

from reshim.physics.whitening import (
    covariance_of_border,
    covariance_of_noise,
    recombine,
    whiten,
    whitening_matrix,
)


def coloured(n_samples: int, n_coils: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(n_coils, n_coils, dtype=torch.complex128, generator=generator)
    noise = torch.randn(n_coils, n_samples, dtype=torch.complex128, generator=generator)
    return mixing @ noise, mixing @ mixing.mH


def test_the_covariance_of_a_noise_scan_is_found():
    samples, covariance = coloured(200_000)
    found = covariance_of_noise(samples)
    assert float((found - covariance).norm() / covariance.norm()) < 0.02


def test_whitened_noise_is_equal_and_uncorrelated_at_the_mean_level():
    samples, covariance = coloured(100)
    matrix = whitening_matrix(covariance)
    level = covariance.diagonal().real.mean()
    white = matrix @ covariance @ matrix.mH
    torch.testing.assert_close(white, level * torch.eye(4, dtype=torch.complex128))
    torch.testing.assert_close(recombine(samples[:, None], matrix)[:, 0], matrix @ samples)


def test_a_measurement_without_covariance_stays_as_it_is():
    measurement, _ = make_measurement()
    assert whiten(measurement) is measurement


def test_a_measurement_is_whitened_where_its_covariance_is_known():
    measurement, _ = make_measurement(n_coils=4)
    covariance = coloured(1)[1].to(torch.complex64)
    white = whiten(replace(measurement, noise_covariance=covariance))
    level = covariance.diagonal().real.mean()
    torch.testing.assert_close(white.noise_covariance, level * torch.eye(4, dtype=torch.complex64))
    torch.testing.assert_close(white.noise_std, (level / 2).sqrt().expand(2))
    assert white.maps is None
    again = whiten(white)
    torch.testing.assert_close(again.kspace, white.kspace)


def test_the_border_of_the_readout_shows_the_noise():
    measurement, _ = make_measurement(rows=120, noise=0.05, n_coils=4)
    found = covariance_of_border(measurement)
    assert float((found.diagonal().real / (2 * 0.05**2)).log().abs().max()) < 0.5


def test_fewer_samples_than_coils_are_refused():
    with pytest.raises(ValueError, match="3 noise samples"):
        covariance_of_noise(coloured(3)[0])
