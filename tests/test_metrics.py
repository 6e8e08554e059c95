import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reshim.metrics import match_statistics, nmse, psnr, ssim, ssim_map, support


def pair(rows: int, columns: int, seed: int = 0, n: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(n, rows, columns, dtype=torch.float64, generator=generator)
    return reference + 0.2 * torch.randn(reference.shape, dtype=torch.float64, generator=generator), reference


@settings(max_examples=25, deadline=None)
@given(st.integers(7, 40), st.integers(7, 40), st.integers(0, 1000), st.floats(0.1, 10))
def test_ssim_equals_scikit_image(rows, columns, seed, data_range):
    metrics = pytest.importorskip("skimage.metrics")
    image, reference = pair(rows, columns, seed)
    ours = ssim(image, reference, torch.full((1,), data_range, dtype=torch.float64)).item()
    theirs = metrics.structural_similarity(reference[0].numpy(), image[0].numpy(), data_range=data_range)
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_scores_equal_the_fastmri_package():
    evaluate = pytest.importorskip("fastmri.evaluate")
    image, reference = pair(40, 36, n=3)
    top = reference.max().expand(3)
    theirs = evaluate.ssim(reference.numpy(), image.numpy())
    assert ssim(image, reference, top).mean().item() == pytest.approx(theirs, abs=1e-6)
    one = evaluate.nmse(reference[:1].numpy(), image[:1].numpy())
    assert nmse(image, reference, top)[0].item() == pytest.approx(one, rel=1e-9)
    peak = evaluate.psnr(reference[:1].numpy(), image[:1].numpy(), maxval=top[0].item())
    assert psnr(image, reference, top)[0].item() == pytest.approx(peak, rel=1e-9)


def test_an_image_is_like_itself():
    _, reference = pair(12, 12)
    top = reference.max().expand(1)
    assert ssim(reference, reference, top).item() == pytest.approx(1)
    assert nmse(reference, reference, top).item() == 0


def test_a_hand_computed_four_by_four():
    reference = torch.ones(1, 4, 4, dtype=torch.float64)
    image = reference.clone()
    image[0, 0, 0] = 3
    top = torch.tensor([2.0], dtype=torch.float64)
    assert nmse(image, reference, top).item() == pytest.approx(4 / 16)
    assert psnr(image, reference, top).item() == pytest.approx(10 * np.log10(4 / (4 / 16)))


def test_ssim_in_a_region_is_the_mean_of_the_map_over_it():
    image, reference = pair(20, 21)
    region = torch.zeros(1, 20, 21, dtype=torch.bool)
    region[:, 8:12, 9:11] = True
    top = reference.max().expand(1)
    expected = ssim_map(image, reference, top)[:, 5:9, 6:8].mean()
    torch.testing.assert_close(ssim(image, reference, top, region)[0], expected)


def test_support_is_the_body_and_not_the_air():
    image = torch.zeros(2, 30, 30, dtype=torch.float64)
    image[:, 10:20, 10:20] = 1
    where = support(image, image.max().expand(2))
    assert where[:, 10:20, 10:20].all()
    assert not where[:, :5].any()


def test_matching_gives_the_reference_its_mean_and_deviation():
    image, reference = pair(9, 9, n=2)
    matched = match_statistics(3 * image + 1, reference)
    torch.testing.assert_close(matched.mean((-2, -1)), reference.mean((-2, -1)))
    torch.testing.assert_close(matched.std((-2, -1)), reference.std((-2, -1)))


def test_a_region_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="at least 7x7"):
        ssim(torch.ones(1, 5, 9), torch.ones(1, 5, 9), torch.ones(1))


def test_ssim_has_a_gradient():
    image, reference = pair(10, 10)
    image.requires_grad_(True)
    ssim(image, reference, reference.max().expand(1)).sum().backward()
    assert torch.isfinite(image.grad).all()


def test_a_large_volume_is_scored_by_the_compiled_map_with_the_same_result(monkeypatch):
    from reshim import metrics

    monkeypatch.setattr(metrics, "LARGE", 1)
    image, reference = (each.float() for each in pair(41, 33, n=5))
    top = torch.tensor([0.5, 1.0, 2.0, 1.0, 3.0])
    wide = ssim_map(image.double(), reference.double(), top.double())
    called = []
    compiled = metrics.compiled_ssim_map
    monkeypatch.setattr(metrics, "compiled_ssim_map", lambda *a: called.append(1) or compiled(*a))
    ours = ssim_map(image, reference, top)
    assert called
    torch.testing.assert_close(ours.double(), wide, atol=2e-5, rtol=0)
    assert (ours.double().mean((1, 2)) - wide.mean((1, 2))).abs().max() < 1e-6
    image[2, 20, 20] = torch.nan
    touched = ssim_map(image, reference, top)
    assert touched[2].isnan().sum() == 49
    assert torch.equal(touched[0], ours[0])


def test_without_the_compiler_a_large_volume_has_the_same_score(monkeypatch):
    from reshim import metrics

    monkeypatch.setattr(metrics, "LARGE", 1)
    image, reference = (each.float() for each in pair(41, 33, n=2))
    top = reference.max().expand(2)
    fast = ssim(image, reference, top)
    monkeypatch.setattr(metrics, "installed", lambda: False)
    torch.testing.assert_close(ssim(image, reference, top), fast, atol=1e-6, rtol=0)
