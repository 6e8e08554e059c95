import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reshim.physics.plane_masks import GROWTH, PLANE_MASKS, _independent, draw_plane_mask

SHAPES = st.tuples(st.integers(40, 90), st.integers(40, 90))


@settings(max_examples=12, deadline=None)
@example("radial", (40, 40), 8, 10)
@given(st.sampled_from(sorted(PLANE_MASKS)), SHAPES, st.sampled_from([3, 5, 8]), st.integers(0, 1000))
def test_the_rate_is_met_and_the_centre_is_full(name, shape, acceleration, seed):
    mask = draw_plane_mask(name, shape, acceleration, center_lines=10, seed=seed)
    top, left = shape[0] // 2 - 5, shape[1] // 2 - 5
    assert mask.plane[top : top + 10, left : left + 10].all()
    assert mask.effective_acceleration == pytest.approx(acceleration, rel=0.12)


def test_no_two_samples_of_a_disc_mask_are_closer_than_the_radius_at_one_of_them():
    import torch

    rng = np.random.RandomState(3)
    priority = torch.from_numpy(rng.permutation(48 * 40).reshape(48, 40).astype(np.float32) + 1)
    radius = torch.full((48, 40), 3.0)
    points = _independent(priority, radius).nonzero().double()
    gaps = torch.cdist(points, points) + 100 * torch.eye(len(points))
    assert gaps.min() > 3
    # And nobody is left out without a neighbour: the set cannot grow.
    everywhere = torch.cartesian_prod(torch.arange(48), torch.arange(40)).double()
    assert torch.cdist(everywhere, points).min(1).values.max() <= 3


def test_the_density_falls_off_from_the_centre():
    plane = draw_plane_mask("poisson", (128, 128), 6, center_lines=8, seed=1).plane
    rows, columns = np.indices(plane.shape) - 64
    radius = np.hypot(rows, columns)
    inner, outer = plane[(radius > 8) & (radius < 30)].mean(), plane[radius > 55].mean()
    assert inner > 2 * outer
    assert GROWTH > 0


@pytest.mark.parametrize("name", PLANE_MASKS)
def test_the_same_seed_gives_the_same_mask(name):
    first, again = (draw_plane_mask(name, (64, 60), 4, seed=(1, 2)) for _ in range(2))
    assert first.sha256 == again.sha256
    assert draw_plane_mask(name, (64, 60), 4, seed=5).sha256 != first.sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "poison"}, "no mask 'poison'"),
        ({"acceleration": 1}, "above 1"),
        ({"center_lines": 40}, "40x40 centre alone exceeds"),
        ({"center_lines": 4, "center_fraction": 0.1}, "give one"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_plane_mask(**({"name": "poisson", "shape": (64, 64), "acceleration": 4} | arguments))
