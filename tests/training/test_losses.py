import pytest
import torch

from reshim.metrics import ssim
from reshim.physics.fourier import to_kspace
from reshim.training.losses import (
    image_losses,
    one_minus_ssim,
    predicted_kspace,
    relative_l1,
    released_l1,
    split_norm,
)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_relative_l1_is_taken_item_by_item():
    wanted = torch.tensor([[[1.0, 1.0]], [[10.0, 30.0]]], dtype=torch.float64)
    predicted = torch.tensor([[[1.0, 2.0]], [[10.0, 10.0]]], dtype=torch.float64)
    assert relative_l1(predicted, wanted).tolist() == [0.5, 0.5]
    # The released quotient over the batch is governed by the bright item.
    assert released_l1(predicted, wanted).item() == pytest.approx(21 / 42)
    predicted[0] = 1.0
    assert relative_l1(predicted, wanted).mean().item() == pytest.approx(0.25)
    assert released_l1(predicted, wanted).item() == pytest.approx(20 / 42)


def test_complex_samples_count_by_modulus_here_and_by_parts_as_released():
    wanted = torch.tensor([[3 + 4j]], dtype=torch.complex128)
    predicted = torch.tensor([[0j]], dtype=torch.complex128)
    assert relative_l1(predicted + 2 * wanted, wanted).item() == pytest.approx(1.0)
    shifted = wanted + (3 + 4j)
    assert relative_l1(shifted, wanted).item() == pytest.approx(1.0)
    assert released_l1(wanted + (7 + 0j), wanted).item() == pytest.approx(1.0)
    assert relative_l1(wanted + (7 + 0j), wanted).item() == pytest.approx(7 / 5)


def test_an_item_without_signal_has_no_loss_and_no_gradient():
    wanted = torch.stack([torch.zeros(9, 9), torch.ones(9, 9)]).double()
    image = torch.rand(
        2, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).requires_grad_()
    parts = image_losses(image, wanted, torch.tensor([0.0, 1.0], dtype=torch.float64), "ssim+l1")
    sum(part.sum() for part in parts.values()).backward()
    assert parts["l1"][0] == 0
    assert parts["ssim"][0] == 0
    assert image.grad[0].abs().max() == 0
    assert torch.isfinite(image.grad).all()
    assert image.grad[1].abs().max() > 0


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_losses_do_not_know_the_unit(unit):
    reference, image = random(2, 16, 16).abs().float(), random(2, 16, 16, seed=1).abs().float()
    data_range = reference.amax((-2, -1))
    expected = 1 - ssim(image, reference, data_range)
    torch.testing.assert_close(
        one_minus_ssim(unit * image, unit * reference, unit * data_range), expected, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        relative_l1(unit * image, unit * reference), relative_l1(image, reference), rtol=1e-5, atol=0
    )


def test_the_loss_of_ssdu_on_paper():
    wanted = torch.tensor([3 + 4j, 0j], dtype=torch.complex128).reshape(1, 1, 1, 2)
    predicted = torch.tensor([0j, 0j], dtype=torch.complex128).reshape(1, 1, 1, 2)
    assert split_norm(predicted, wanted).item() == pytest.approx(1.0)
    predicted = torch.tensor([3 + 4j, 5 + 0j], dtype=torch.complex128).reshape(1, 1, 1, 2)
    assert split_norm(predicted, wanted).item() == pytest.approx(0.5 * 5 / 5 + 0.5 * 5 / 7)


def test_norms_over_the_batch_differ_from_norms_over_the_item():
    wanted = torch.stack([torch.ones(1, 1, 2), 10 * torch.ones(1, 1, 2)]).to(torch.complex128)
    predicted = wanted.clone()
    predicted[0] = 0
    assert split_norm(predicted, wanted, "sample").mean().item() == pytest.approx(0.5)
    over_batch = 0.5 * (2 / 202) ** 0.5 + 0.5 * 2 / 22
    assert split_norm(predicted, wanted, "batch").mean().item() == pytest.approx(over_batch)


def test_an_exact_fit_has_a_finite_gradient():
    wanted = random(1, 2, 4, 4, dtype=torch.complex128)
    predicted = wanted.clone().requires_grad_()
    split_norm(predicted, wanted).sum().backward()
    assert torch.isfinite(torch.view_as_real(predicted.grad)).all()


def test_predicted_kspace_is_masked_coil_weighted_and_transformed():
    image, maps = (
        random(1, 6, 5, dtype=torch.complex128),
        random(1, 2, 3, 6, 5, seed=2, dtype=torch.complex128),
    )
    mask = torch.tensor([True, False, True, True, False]).reshape(1, 1, 1, 5)
    expected = to_kspace(maps[:, 0] * image[:, None])
    expected[..., [1, 4]] = 0
    torch.testing.assert_close(predicted_kspace(image, maps, mask), expected)
