import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import body, equispaced, make_measurement, smooth_maps

from reshim.physics.fourier import to_kspace
from reshim.physics.sense import SenseOperator
from reshim.solvers import conjugate_gradient
from reshim.types import Measurement


def random_complex(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def assert_adjoint(operator: SenseOperator, image: torch.Tensor, kspace: torch.Tensor) -> None:
    forward, adjoint = operator.forward(image), operator.adjoint(kspace)
    left = torch.vdot(forward.flatten(), kspace.flatten())
    right = torch.vdot(image.flatten(), adjoint.flatten())
    mismatch = ((left - right).abs() / (forward.norm() * kspace.norm())).item()
    assert mismatch < 1e-12, f"adjoint is off by {mismatch:.1e}"


@given(st.integers(5, 17), st.integers(5, 17), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_forward_and_adjoint_match_for_every_size_and_number_of_sets(rows, columns, n_coils, n_sets, plane):
    maps = random_complex((2, n_sets, n_coils, rows, columns), 0)
    shape = (1, 1, rows, columns) if plane else (2, 1, 1, columns)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.5
    operator = SenseOperator(maps, mask)
    assert_adjoint(
        operator,
        random_complex((2, n_sets, rows, columns), 1),
        random_complex((2, n_coils, rows, columns), 2),
    )


@pytest.mark.parametrize("plane", [False, True])
def test_gram_equals_adjoint_after_forward(plane):
    maps = random_complex((2, 2, 3, 9, 8), 0)
    mask = torch.rand((1, 1, 9 if plane else 1, 8), generator=torch.Generator().manual_seed(3)) < 0.5
    operator = SenseOperator(maps, mask)
    image = random_complex((2, 2, 9, 8), 1)
    torch.testing.assert_close(operator.gram(image), operator.adjoint(operator.forward(image)))


def test_every_second_column_with_smooth_coils_comes_back_exactly():
    rows, columns = 32, 30
    image, maps = body(rows, columns), smooth_maps(8, rows, columns)
    operator = SenseOperator(maps[:, None], equispaced(columns, 2, 0))
    kspace = to_kspace(maps * image[:, None])
    start = operator.adjoint(kspace)
    solution = conjugate_gradient(operator.gram, start, 200)[:, 0]
    assert (2 * start[:, 0] - image).norm() / image.norm() > 0.1
    assert (solution - image).norm() / image.norm() < 1e-6


def test_a_measurement_without_maps_names_the_remedy():
    measurement, _ = make_measurement(with_maps=False)
    with pytest.raises(ValueError, match="with_maps"):
        SenseOperator.of(measurement)


@pytest.mark.usefixtures("unchecked")
def test_a_mask_of_another_width_is_refused():
    good, _ = make_measurement()
    with pytest.raises(ValueError, match="mask has 30 columns but the k-space has 44"):
        Measurement(
            kspace=good.kspace,
            mask=torch.ones(1, 1, 1, 30, dtype=torch.bool),
            calibration=good.calibration,
            acquirable=good.acquirable,
            crop=good.crop,
            name="x",
        )
