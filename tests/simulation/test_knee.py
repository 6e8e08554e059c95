"""The digital knee: one body whatever is asked of it, of a size that knees have."""

from dataclasses import replace

import pytest
import torch

from reshim.simulation import knee
from reshim.simulation.geometry import Geometry

CORONAL = Geometry(
    rows=128,
    columns=128,
    spacing_mm=(1.25, 1.25),
    positions_mm=(-40.0, -10.0, 5.0, 30.0),
    thickness_mm=3.0,
    view="coronal",
)


@pytest.fixture(scope="module")
def anatomy():
    return knee.draw(3, CORONAL)


def test_the_same_subject_is_drawn_with_the_same_bits(anatomy):
    again = knee.draw(3, CORONAL)
    assert torch.equal(again.fractions, anatomy.fractions)
    assert torch.equal(again.texture, anatomy.texture)


def test_partial_volumes_are_shares(anatomy):
    assert anatomy.fractions.min() >= 0
    assert anatomy.fractions.sum(1).max() <= 1 + 1e-5
    # The middle of the leg is all body, the corners of the picture are air.
    assert anatomy.fractions.sum(1)[1, 64, 64] > 0.99
    assert anatomy.fractions.sum(1)[:, 64, 0].max() < 0.01


def test_a_slice_is_the_same_whichever_others_are_asked_for(anatomy):
    alone = knee.draw(3, replace(CORONAL, positions_mm=(5.0,)))
    assert torch.equal(alone.fractions[0], anatomy.fractions[2])
    assert torch.equal(alone.texture[0], anatomy.texture[2])


def test_two_subjects_differ(anatomy):
    other = knee.draw(4, CORONAL)
    assert (other.fractions - anatomy.fractions).abs().mean() > 0.01
