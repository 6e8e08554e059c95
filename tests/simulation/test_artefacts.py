"""Artefacts on k-space: known answers in double precision."""

import math

import pytest
import torch

from reshim.errors import UserError
from reshim.physics.fourier import to_image, to_kspace
from reshim.seeds import generator_of
from reshim.simulation.artefacts import Artefacts, moved, noisy, rotated, shifted, spiked, wrapped


def image_of(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=generator_of("image", shape))


def blob(rows: int, columns: int, row: float, column: float) -> torch.Tensor:
    down, across = torch.meshgrid(torch.arange(rows) - row, torch.arange(columns) - column, indexing="ij")
    return torch.exp(-(down**2 + across**2) / 18).to(torch.complex128)


@pytest.mark.parametrize("change", [moved, spiked, noisy, lambda kspace, dose, _: wrapped(kspace, dose)])
def test_dose_nought_changes_nothing_and_no_dose_changes_the_input(change):
    kspace = image_of(2, 3, 24, 20)
    before = kspace.clone()
    torch.testing.assert_close(change(kspace, 0.0, generator_of("a")), kspace)
    changed = change(kspace, 0.3, generator_of("a"))
    assert changed.shape == kspace.shape
    assert not torch.allclose(changed, kspace)
    assert torch.equal(kspace, before)


@pytest.mark.parametrize("change", [moved, spiked, noisy])
def test_the_generator_alone_decides(change):
    kspace = image_of(2, 3, 24, 20)
    first, again = (change(kspace, 0.3, generator_of("a")) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, change(kspace, 0.3, generator_of("b")))
    assert not torch.allclose(first[0] - kspace[0], first[1] - kspace[1])


def test_a_shift_by_whole_pixels_is_a_roll():
    image = image_of(3, 15, 21)
    torch.testing.assert_close(shifted(image, 2.0, -3.0), image.roll((2, -3), (-2, -1)))


def test_two_half_shifts_are_one_and_the_energy_stays():
    image = image_of(15, 21)
    torch.testing.assert_close(shifted(shifted(image, 0.5, 0.0), 0.5, 0.0), image.roll(1, 0))
    assert shifted(image, 0.3, 0.7).norm().item() == pytest.approx(image.norm().item())


@pytest.mark.parametrize("degrees", [7.0, -20.0])
def test_a_blob_turns_about_the_centre_pixel(degrees):
    angle = math.radians(degrees)
    row, column = 11 * math.cos(angle), 11 * math.sin(angle)
    turned = rotated(blob(64, 80, 32 + 11, 40), degrees)
    torch.testing.assert_close(turned, blob(64, 80, 32 + row, 40 + column), rtol=0, atol=1e-6)


def test_motion_keeps_the_centre_columns_and_moves_each_block_by_the_dose():
    image = blob(32, 32, 16, 16) * image_of(32, 32)
    kspace = to_kspace(image)[None]
    out = moved(kspace, 0.5, generator_of("walk"), n_poses=8)
    assert torch.equal(out[..., 16:20], kspace[..., 16:20])
    assert not torch.allclose(out[..., :4], kspace[..., :4])


def test_motion_without_rotation_is_a_phase_of_known_size(monkeypatch):
    from reshim.simulation import artefacts

    poses = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    monkeypatch.setattr(artefacts, "_poses", lambda *_: poses)
    kspace = image_of(1, 15, 10)
    out = moved(kspace, 1.0, generator_of("x"), n_poses=2)
    rolled = to_kspace(to_image(kspace).roll(2, -2))
    torch.testing.assert_close(out[..., :5], rolled[..., :5])
    assert torch.equal(out[..., 5:], kspace[..., 5:])


def test_a_spike_is_as_high_as_the_dose_and_hits_all_coils():
    kspace = image_of(4, 16, 12)
    added = spiked(kspace, 2.0, generator_of("s"), n_spikes=1) - kspace
    hit = added.abs() > 1e-9
    assert hit.sum((1, 2)).tolist() == [1, 1, 1, 1]
    assert len(hit.nonzero()[:, 1:].unique(dim=0)) == 1
    torch.testing.assert_close(
        added.abs().amax((1, 2)), torch.full((4,), 2.0, dtype=torch.float64) * kspace.abs().max()
    )


def test_what_lies_beyond_the_smaller_field_of_view_comes_in_from_the_other_side():
    image = torch.zeros(1, 8, 20, dtype=torch.complex128)
    image[0, 3, 1], image[0, 5, 18], image[0, 4, 10] = 1, 2j, 3
    folded = to_image(wrapped(to_kspace(image), 0.3))  # 3 columns are missing on each side
    expected = torch.zeros_like(image)
    # The field of view is 14 columns wide: 1 + 14 and 18 - 14.
    expected[0, 3, 15], expected[0, 5, 4], expected[0, 4, 10] = 1, 2j, 3
    torch.testing.assert_close(folded, expected)


def test_the_added_noise_has_the_deviation_of_the_dose():
    image = torch.ones(4, 64, 64, dtype=torch.complex128)
    kspace = to_kspace(image)
    added = noisy(kspace, 0.1, generator_of("n")) - kspace
    # Four coils of 1 combine to 2.
    assert added.real.std().item() == pytest.approx(0.2, rel=0.03)
    assert added.imag.std().item() == pytest.approx(0.2, rel=0.03)


def test_a_batch_of_one_is_the_first_of_a_batch():
    kspace = image_of(2, 3, 16, 16)
    for change in (moved, spiked):
        torch.testing.assert_close(
            change(kspace, 0.5, generator_of("b"))[0], change(kspace[0], 0.5, generator_of("b"))
        )


def test_the_label_says_what_goes_wrong():
    assert Artefacts().label == ""
    assert Artefacts(motion=1.5, wrap=0.2).label == "+motion1.5+wrap0.2"


@pytest.mark.parametrize("settings", [{"motion": -1.0}, {"spikes": float("nan")}, {"wrap": 0.7}])
def test_an_unusable_dose_is_refused_with_its_value(settings):
    ((name, dose),) = settings.items()
    with pytest.raises(UserError, match=f"{name} is {dose}"):
        Artefacts(**settings)
