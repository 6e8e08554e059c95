"""The segmentation network on shapes whose outline is known."""

import sys

import pytest
import torch

from reshim.errors import UserError
from reshim.evaluation import segmenter
from reshim.evaluation.segmenter import DenseSegmenter, dice_of, standardised, train_segmenter


def heads(count: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Discs with a brighter square somewhere inside."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.arange(32) - 15.5
    disc = (axis[:, None].square() + axis.square() < 13**2).float()
    images, masks = {}, {}
    for index in range(count):
        row, column = (10 + torch.randint(8, (2,), generator=generator)).tolist()
        mask = torch.zeros(4, 32, 32, dtype=torch.bool)
        mask[1:3, row : row + 6, column : column + 6] = True
        noise = 0.05 * torch.rand(4, 32, 32, generator=generator)
        images[str(index)], masks[str(index)] = disc + mask.float() + noise, mask
    return images, masks


def test_a_bright_square_is_learned_and_found_in_other_volumes_whatever_the_units():
    images, masks = heads(10)
    trained = [str(index) for index in range(6)]
    network = train_segmenter([images[n] for n in trained], [masks[n] for n in trained], epochs=8, seed=0)
    other = {name: 1e-5 * images[name] for name in images if name not in trained}
    found = dice_of(network, other, masks)
    assert set(found) == set(other)
    assert min(found.values()) > 0.7
    upside_down = {name: images[name].flip(0).roll(9, dims=-1) for name in other}
    assert max(dice_of(network, upside_down, masks).values()) < min(found.values())


def test_volumes_with_nothing_to_outline_are_left_out_and_silent_ones_are_finite():
    images, masks = heads(2)
    masks["0"] = torch.zeros_like(masks["0"])
    images["1"] = torch.zeros_like(images["1"])
    assert set(dice_of(DenseSegmenter().eval(), images, masks)) == {"1"}
    assert torch.isfinite(standardised(images["1"])).all()


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_generator_alone():
    images, masks = heads(2)
    before = torch.random.get_rng_state()
    first, second = (
        train_segmenter(list(images.values()), list(masks.values()), epochs=1, seed=3) for _ in range(2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_nothing_to_learn_from_and_a_missing_library_are_named(monkeypatch):
    with pytest.raises(UserError, match="no volume"):
        train_segmenter([], [], epochs=1, seed=0)
    monkeypatch.setitem(sys.modules, "monai.losses", None)
    with pytest.raises(UserError, match=r"reshim\[segmentation\]"):
        segmenter._monai()
