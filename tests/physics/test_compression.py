from dataclasses import replace

import pytest
import torch
from tests.conftest import make_measurement

from reshim.physics.compression import CoilCompression, aligned, kept_energy, principal_combination
from reshim.physics.fourier import to_image


def rss(kspace: torch.Tensor) -> torch.Tensor:
    return to_image(kspace).abs().square().sum(-3).sqrt()


@pytest.mark.parametrize("geometric", [False, True])
def test_as_many_virtual_coils_as_coils_lose_nothing(geometric):
    measurement, _ = make_measurement(n_coils=5, with_maps=False)
    compressed = CoilCompression(5, geometric)(measurement)
    torch.testing.assert_close(rss(compressed.kspace), rss(measurement.kspace), rtol=0, atol=1e-5)


def test_half_the_coils_hold_nearly_all_energy_and_the_geometric_form_more():
    measurement, _ = make_measurement(n_coils=8, with_maps=False)
    plain = kept_energy(measurement.kspace, CoilCompression(3)(measurement).kspace)
    geometric = kept_energy(measurement.kspace, CoilCompression(3, geometric=True)(measurement).kspace)
    assert float(plain.min()) > 0.9
    assert float(geometric.min()) > float(plain.max())


def test_coils_that_repeat_each_other_are_compressed_without_loss():
    measurement, _ = make_measurement(n_coils=3, with_maps=False)
    doubled = replace(measurement, kspace=torch.cat([measurement.kspace, 2j * measurement.kspace], dim=-3))
    compressed = CoilCompression(3)(doubled)
    torch.testing.assert_close(rss(compressed.kspace), rss(doubled.kspace), rtol=1e-4, atol=1e-5)
    assert compressed.kspace.shape[-3] == 3


def test_rows_of_a_combination_are_orthonormal_so_white_noise_stays_white():
    samples = torch.randn(6, 50, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    combination = principal_combination(samples, 4)
    torch.testing.assert_close(combination @ combination.mH, torch.eye(4, dtype=torch.complex128))


def test_aligned_rows_change_slowly():
    generator = torch.Generator().manual_seed(0)
    base = torch.linalg.qr(torch.randn(6, 6, dtype=torch.complex128, generator=generator))[0][:3]
    turns = [
        torch.linalg.qr(torch.randn(3, 3, dtype=torch.complex128, generator=generator))[0] for _ in range(4)
    ]
    rows = aligned(torch.stack([turn @ base for turn in turns]))
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))


def test_slices_and_units_stay_apart():
    measurement, _ = make_measurement(with_maps=False)
    together = CoilCompression(3)(measurement).kspace
    torch.testing.assert_close(rss(CoilCompression(3)(measurement.item(1)).kspace)[0], rss(together)[1])
    twice = replace(measurement, kspace=2 * measurement.kspace)
    torch.testing.assert_close(rss(CoilCompression(3)(twice).kspace), 2 * rss(together))


def test_more_virtual_coils_than_coils_are_refused():
    measurement, _ = make_measurement(n_coils=4)
    with pytest.raises(ValueError, match="4 coils, fewer than 5"):
        CoilCompression(5)(measurement)
    with pytest.raises(ValueError, match="at least 1"):
        CoilCompression(0)
