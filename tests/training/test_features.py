"""What a slice looks like in a few numbers."""

import dataclasses

import torch
from tests.conftest import make_measurement

from reshim.physics.fourier import to_image, to_kspace
from reshim.training.features import DEPTHS, PARTS, depth_of, features


def test_depth_is_counted_from_the_nearest_edge_and_holes_are_inside():
    body = torch.zeros(9, 11, dtype=torch.bool)
    body[2:7, 1:8] = True
    expected = torch.zeros(9, 11, dtype=torch.long)
    expected[2:7, 1:8] = 1
    expected[3:6, 2:7] = 2
    expected[4, 3:6] = 3
    assert torch.equal(depth_of(body), expected)
    body[3:6, 3:6] = False
    assert torch.equal(depth_of(body), expected)
    assert torch.equal(depth_of(body.mT), expected.mT)


def test_no_body_has_no_depth():
    assert not depth_of(torch.zeros(4, 5, dtype=torch.bool)).any()


def disc(rim: float, inside: float = 1.0):
    """A fully sampled disc whose outer tenth has another brightness."""
    measurement, _ = make_measurement(n=1, noise=0.0)
    like = to_image(measurement.kspace)
    rows, columns = (torch.arange(size) - size / 2 + 0.5 for size in like.shape[-2:])
    radius = (rows[:, None].square() + columns.square()).sqrt() / (0.45 * min(like.shape[-2:]))
    image = torch.where(radius < 0.9, inside, rim) * (radius < 1)
    kspace = to_kspace(image.to(like.dtype).expand_as(like))
    return dataclasses.replace(measurement, kspace=kspace, mask=torch.ones_like(measurement.mask))


def test_a_bright_rim_is_told_by_the_shells():
    n_shells = len(DEPTHS) - 1
    even, bright, dark = (features(disc(rim))[0, -n_shells:] for rim in (1.0, 3.0, 0.5))
    assert even.abs().max() < 0.02
    assert bright[0] > 0.2
    assert (bright[1:] < 0).all()
    assert dark[0] < -0.1
    assert (dark[1:] > 0).all()


def test_there_are_as_many_features_as_are_said_and_none_depends_on_the_scale():
    measurement = disc(2.0)
    found = features(measurement)
    assert found.shape == (1, sum(PARTS))
    louder = dataclasses.replace(measurement, kspace=1e6 * measurement.kspace)
    torch.testing.assert_close(features(louder), found, atol=1e-4, rtol=0)
