import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reshim.physics.fourier import center_crop, center_pad, to_image, to_kspace

SIZES = st.tuples(st.integers(1, 23), st.integers(1, 23))


def random_image(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@given(SIZES)
def test_there_and_back_is_the_identity_for_every_size(size):
    image = random_image(size)
    torch.testing.assert_close(to_image(to_kspace(image)), image)


@given(SIZES)
def test_energy_is_kept(size):
    image = random_image(size)
    torch.testing.assert_close(to_kspace(image).norm(), image.norm())


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (8, 5)])
def test_a_centred_impulse_is_flat_and_real(size):
    image = torch.zeros(size, dtype=torch.complex128)
    image[size[0] // 2, size[1] // 2] = 1
    flat = torch.full(size, (size[0] * size[1]) ** -0.5, dtype=torch.complex128)
    torch.testing.assert_close(to_kspace(image), flat)


@given(SIZES)
def test_the_inverse_is_the_adjoint(size):
    u, v = random_image(size, 1), random_image(size, 2)
    left = torch.vdot(to_kspace(u).flatten(), v.flatten())
    right = torch.vdot(u.flatten(), to_image(v).flatten())
    assert (left - right).abs() <= 1e-12 * u.norm() * v.norm()


def test_it_is_the_transform_of_the_fastmri_package():
    fastmri = pytest.importorskip("fastmri")
    image = random_image((3, 10, 12)).to(torch.complex64)
    theirs = torch.view_as_complex(fastmri.fft2c(torch.view_as_real(image)))
    torch.testing.assert_close(to_kspace(image), theirs)


def test_half_precision_is_widened():
    assert to_kspace(torch.ones(4, 4, dtype=torch.bfloat16)).dtype == torch.complex64


@given(SIZES, st.integers(0, 6), st.integers(0, 6))
def test_cropping_undoes_padding_and_is_its_adjoint(size, more_rows, more_columns):
    larger = (size[0] + more_rows, size[1] + more_columns)
    u, v = random_image(size, 1), random_image(larger, 2)
    torch.testing.assert_close(center_crop(center_pad(u, larger), size), u)
    left = torch.vdot(center_pad(u, larger).flatten(), v.flatten())
    right = torch.vdot(u.flatten(), center_crop(v, size).flatten())
    torch.testing.assert_close(left, right)


def test_cropping_to_more_than_there_is_says_so():
    with pytest.raises(ValueError, match="cannot crop 4x4 to the larger 5x4"):
        center_crop(torch.ones(4, 4), (5, 4))
