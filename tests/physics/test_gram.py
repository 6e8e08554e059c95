import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import equispaced, smooth_maps

from reshim.physics.gram import prepared_gram
from reshim.physics.sense import SenseOperator


def random_complex(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(8, 21),
    columns=st.integers(8, 21),
    n_coils=st.integers(1, 5),
    n_sets=st.integers(1, 2),
    plane=st.booleans(),
    acceleration=st.integers(1, 4),
)
def test_the_prepared_gram_is_the_operators_own(rows, columns, n_coils, n_sets, plane, acceleration):
    maps = smooth_maps(n_coils, rows, columns)[:, None]
    maps = torch.cat([maps, maps.flip(-1)][:n_sets], dim=1)
    mask = equispaced(columns, acceleration, 3)
    if plane:
        mask = mask & equispaced(rows, 2, 3).mT
    operator = SenseOperator(maps, mask)
    images = random_complex(1, n_sets, rows, columns)
    torch.testing.assert_close(prepared_gram(operator)(images), operator.gram(images))


def test_every_batch_item_meets_its_own_maps_and_mask():
    maps = torch.stack([smooth_maps(3, 12, 16), smooth_maps(3, 12, 16).flip(-1)])
    mask = torch.cat([equispaced(16, 2, 4), equispaced(16, 4, 4, offset=1)])
    operator = SenseOperator(maps, mask)
    images = random_complex(2, 1, 12, 16)
    together = prepared_gram(operator)(images)
    for index in range(2):
        alone = SenseOperator(maps[index : index + 1], mask[index : index + 1])
        torch.testing.assert_close(alone.gram(images[index : index + 1])[0], together[index])


@pytest.mark.parametrize("columns", [9, 10])
def test_the_prepared_gram_is_hermitian(columns):
    gram = prepared_gram(SenseOperator(smooth_maps(4, 11, columns)[:, None], equispaced(columns, 2, 3)))
    left, right = random_complex(1, 1, 11, columns), random_complex(1, 1, 11, columns).flip(-1)
    torch.testing.assert_close(
        torch.vdot(gram(left).flatten(), right.flatten()), torch.vdot(left.flatten(), gram(right).flatten())
    )


def test_input_is_not_written_to():
    operator = SenseOperator(smooth_maps(3, 12, 16)[:, None], equispaced(16, 2, 4))
    images = random_complex(1, 1, 12, 16)
    before, maps = images.clone(), operator.maps.clone()
    prepared_gram(operator)(images)
    assert torch.equal(images, before)
    assert torch.equal(operator.maps, maps)
