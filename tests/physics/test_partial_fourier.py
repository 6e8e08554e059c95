import pytest
import torch
from tests.conftest import body

from reshim.physics.fourier import to_kspace
from reshim.physics.partial_fourier import homodyne, pocs, symmetric_range, zero_filled


def smooth_phase(rows: int, columns: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    return torch.polar(torch.ones(()).double(), (0.8 * x + 0.5 * y).double())


def cut(sampled: tuple[int, int], size: tuple[int, int], axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    image = body(*size).abs() * smooth_phase(*size)
    kspace = to_kspace(image)
    lines = torch.arange(size[axis])
    keep = (lines >= sampled[0]) & (lines < sampled[1])
    return image, torch.where(keep if axis == -1 else keep[:, None], kspace, 0)


def error(found: torch.Tensor, image: torch.Tensor) -> float:
    return float((found - image).norm() / image.norm())


@pytest.mark.parametrize("method", [homodyne, pocs])
@pytest.mark.parametrize(
    ("sampled", "size", "axis"),
    [
        ((24, 64), (48, 64), -1),
        ((0, 40), (48, 64), -1),
        ((18, 51), (51, 44), -2),
    ],
)
def test_symmetry_replaces_the_missing_side(method, sampled, size, axis):
    image, kspace = cut(sampled, size, axis)
    assert error(method(kspace, sampled, axis), image) < 0.5 * error(zero_filled(kspace), image)


@pytest.mark.parametrize("method", [homodyne, pocs])
def test_a_real_image_comes_back_exactly(method):
    image = body(32, 31).abs().to(torch.complex128) + 1.0
    kspace = to_kspace(image)
    kspace[..., :10] = 0
    torch.testing.assert_close(method(kspace, (10, 31), -1), image, rtol=0, atol=2e-2)


def test_acquired_samples_survive_pocs():
    _, kspace = cut((24, 64), (48, 64), -1)
    torch.testing.assert_close(to_kspace(pocs(kspace, (24, 64)))[..., 24:], kspace[..., 24:])


def test_a_full_k_space_is_left_alone():
    image, kspace = cut((0, 63), (48, 63), -1)
    torch.testing.assert_close(pocs(kspace, (0, 63), iterations=1), image)
    assert symmetric_range(63, (0, 63)) == (0, 63)


def test_samples_on_one_side_only_are_refused():
    with pytest.raises(ValueError, match="do not reach beyond the centre"):
        symmetric_range(64, (32, 64))
