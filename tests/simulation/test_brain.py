import pytest
import torch

from reshim.simulation import brain
from reshim.simulation.geometry import Geometry


def grid(*positions_mm, view="axial", size=64, spacing_mm=3.6, thickness_mm=4.0):
    return Geometry(size, size, (spacing_mm, spacing_mm), positions_mm, thickness_mm, view)


def test_fractions_lie_between_0_and_1_and_sum_to_at_most_1():
    fractions = brain.draw(3, grid(-40.0, 0.0, 40.0)).fractions
    assert fractions.min() >= 0
    assert fractions.sum(1).max() <= 1 + 1e-5
    assert fractions.sum(1).amax((1, 2)).min() == pytest.approx(1, abs=1e-5)


def test_the_same_subject_has_the_same_bits_when_its_form_is_made_again():
    first = brain.draw(3, grid(10.0))
    brain.form_of.cache_clear()
    again = brain.draw(3, grid(10.0))
    assert torch.equal(first.fractions, again.fractions)
    assert torch.equal(first.texture, again.texture)


def test_a_slice_is_the_same_whichever_others_are_asked_for():
    alone, among = brain.draw(3, grid(10.0)), brain.draw(3, grid(-30.0, 10.0, 55.0))
    assert torch.equal(alone.fractions[0], among.fractions[1])
    assert torch.equal(alone.texture[0], among.texture[1])


def test_two_subjects_and_two_populations_differ():
    one, other, elsewhere = (
        brain.draw(subject, grid(10.0), seed).fractions for subject, seed in ((3, 0), (4, 0), (3, 1))
    )
    assert (one - other).abs().sum(1).mean() > 0.1
    assert (one - elsewhere).abs().sum(1).mean() > 0.1
