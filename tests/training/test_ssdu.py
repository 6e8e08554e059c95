import dataclasses
import math

import pytest
import torch

from reshim.acquire import measure
from reshim.errors import UserError
from reshim.physics.fourier import to_kspace
from reshim.training.batch import Draws
from reshim.training.pool import Pool
from reshim.training.ssdu import SSDU
from reshim.training.train import train
from reshim.types import Calibration, Measurement


def measurement(rows=40, columns=32, n_items=2, every=2, peak=None):
    mask = torch.zeros(1, 1, 1, columns, dtype=torch.bool)
    mask[..., ::every] = True
    mask[..., columns // 2 - 4 : columns // 2 + 4] = True
    kspace = torch.randn(
        n_items, 2, rows, columns, generator=torch.Generator().manual_seed(0), dtype=torch.complex64
    )
    row, column = peak or (rows // 2, columns // 2)
    kspace[..., row, column] = 1000
    acquirable = torch.ones(1, 1, 1, columns, dtype=torch.bool)
    acquirable[..., :2] = False
    mask &= acquirable
    return Measurement(
        kspace=torch.where(mask, kspace, 0),
        mask=mask,
        calibration=Calibration(0, rows, columns // 2 - 4, columns // 2 + 4),
        acquirable=acquirable,
        crop=(rows, columns),
        name="toy",
        maps=torch.ones(n_items, 1, 2, rows, columns, dtype=torch.complex64) / math.sqrt(2),
    )


def acquired(one):
    return one.mask.expand(one.kspace.shape[0], 1, *one.kspace.shape[-2:])


@pytest.mark.parametrize("selection", ["gaussian", "uniform"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_the_two_parts_are_disjoint_and_make_up_what_was_acquired(selection, share):
    one = measurement()
    theta, held = SSDU(share=share, selection=selection).split(one, Draws.of(one))
    assert not (theta & held).any()
    assert torch.equal(theta | held, acquired(one))
    n_acquired = acquired(one)[0].sum().item()
    assert held.sum((1, 2, 3)).tolist() == [round(share * n_acquired)] * 2


def test_the_released_counts():
    one = measurement()
    n_acquired = acquired(one)[0].sum().item()
    gaussian = SSDU(lambda_count="release").split(one, Draws.of(one))[1]
    assert gaussian[0].sum().item() == math.ceil(0.4 * n_acquired) + 1
    uniform = SSDU(selection="uniform", lambda_count="release").split(one, Draws.of(one))[1]
    assert uniform[0].sum().item() == math.floor(0.4 * (n_acquired - 16))


def test_the_protected_block_lies_around_the_energy_and_is_never_held_out():
    one = measurement(peak=(12, 16))
    for epoch in range(5):
        _, held = SSDU(share=0.9).split(one, Draws.of(one, epoch=epoch))
        assert not held[:, 0, 10:14, 14:18].any()
    _, held = SSDU(share=0.9, centre="middle").split(one, Draws.of(one))
    assert not held[:, 0, 18:22, 14:18].any()


def test_the_calibration_block_can_be_protected_as_a_whole():
    one = measurement()
    _, held = SSDU(share=0.3, protect_calibration=True).split(one, Draws.of(one))
    assert not held[..., 12:20].any()
    assert held.any()


@pytest.mark.parametrize("selection", ["gaussian", "uniform"])
def test_whole_columns_can_be_split(selection):
    one = measurement()
    theta, held = SSDU(share=0.3, unit="column", selection=selection, protected=(4, 6)).split(
        one, Draws.of(one)
    )
    assert theta.shape == held.shape == (2, 1, 1, one.mask.shape[-1])
    assert not (theta & held).any()
    assert torch.equal(theta | held, one.mask.expand_as(theta))
    n_columns = one.mask[0].sum().item()
    assert held.sum((1, 2, 3)).tolist() == [round(0.3 * n_columns)] * 2
    assert not held[..., 13:19].any()
    assert not torch.equal(held[0], held[1])


def test_columns_near_the_centre_are_preferred_too():
    one = measurement()
    counts = torch.zeros(one.mask.shape[-1])
    for epoch in range(200):
        counts += SSDU(share=0.2, unit="column").split(one, Draws.of(one, epoch=epoch))[1].sum((0, 1, 2))
    distance = (torch.arange(len(counts)) - 16).abs()
    outside, sampled = distance >= 3, one.mask[0, 0, 0]
    near, far = (counts[sampled & outside & far].mean() for far in (distance < 8, distance >= 8))
    assert near > 1.5 * far


def test_a_plane_mask_is_split_by_points_whatever_is_asked():
    one = measurement()
    scattered = dataclasses.replace(one, mask=one.mask.expand(1, 1, one.kspace.shape[-2], -1).clone())
    columns, points = (
        SSDU(unit=unit).split(scattered, Draws.of(scattered))[1] for unit in ("column", "point")
    )
    assert torch.equal(columns, points)


def test_the_gaussian_split_prefers_the_centre_as_much_as_drawing_one_by_one():
    one = measurement(rows=48, columns=48, n_items=1, every=1)
    counts = torch.zeros(48, 48)
    for epoch in range(60):
        counts += SSDU(share=0.1).split(one, Draws.of(one, epoch=epoch))[1][0, 0]

    # The reference law: rounded normal deviates, repeats and protected or unacquired samples rejected.
    generator = torch.Generator().manual_seed(7)
    wanted = round(0.1 * acquired(one)[0].sum().item())
    expected = torch.zeros(48, 48)
    for _ in range(60):
        chosen = torch.zeros(48, 48, dtype=torch.bool)
        while chosen.sum() < wanted:
            row, column = (torch.randn(2, generator=generator) * 47 / 4 + 24).round().int().tolist()
            inside = 0 <= row < 48 and 2 <= column < 48
            if inside and not (22 <= row < 26 and 22 <= column < 26):
                chosen[row, column] = True
        expected += chosen
    share = [part[12:36, 12:36].sum() / part.sum() for part in (counts, expected)]
    # Each share is a mean over 60 draws of some 220 points: its standard error is below 0.005.
    assert share[0].item() == pytest.approx(share[1].item(), abs=0.015)


def test_a_split_is_new_each_epoch_or_one_for_all_as_released():
    one = measurement()
    first, later = (SSDU().split(one, Draws.of(one, epoch=epoch))[1] for epoch in (0, 1))
    assert not torch.equal(first, later)
    first, later = (SSDU(every_epoch=False).split(one, Draws.of(one, epoch=epoch))[1] for epoch in (0, 1))
    assert torch.equal(first, later)
    assert not torch.equal(first[0], first[1])


def test_the_network_sees_theta_and_zero_padding_as_known_zeros():
    one, seen = measurement(), []

    def network(shown):
        seen.append(shown)
        return torch.zeros(2, 40, 32, dtype=torch.complex64)

    loss, _ = SSDU()(network, one, None)
    theta, held = SSDU().split(one, Draws.of(one))
    assert torch.equal(seen[0].mask, theta | ~one.acquirable)
    assert (seen[0].kspace[held.expand_as(seen[0].kspace)] == 0).all()
    assert loss.item() == pytest.approx(1.0, rel=1e-5)
    SSDU(edge_fill=False)(network, one, None)
    assert torch.equal(seen[1].mask, theta)


def padded(toy):
    """A pool of toys whose outermost columns are zero-padding."""

    def read(of, slices=None):
        acquisition = toy.read(of, slices)
        acquirable = acquisition.acquirable.clone()
        acquirable[..., :3] = acquirable[..., -2:] = False
        kspace = torch.where(acquirable, acquisition.kspace, 0)
        return dataclasses.replace(acquisition, kspace=kspace, acquirable=acquirable)

    return Pool(read=read)


@pytest.mark.parametrize("edge_fill", [True, False])
def test_validation_and_use_show_zero_padding_as_training_did(edge_fill, toy, tmp_path, monkeypatch):
    from reshim.networks.unrolled import Unrolled

    seen = {True: [], False: []}
    forward = Unrolled.forward

    def watched(self, shown):
        seen[self.training].append(bool(shown.mask[..., :3].all()))
        return forward(self, shown)

    monkeypatch.setattr(Unrolled, "forward", watched)
    pool = padded(toy)
    run = train(
        "unrolled-tiny",
        [toy.record("a", 2)],
        [toy.record("c", 1)],
        toy.settings(epochs=1, objective=SSDU(edge_fill=edge_fill)),
        tmp_path / "run",
        network_settings={"channels": 4, "blocks": 1, "unrolls": 1},
        pool=pool,
    )
    one = measure(pool.read(toy.record("d", 2)), toy.SCHEME, 0)
    edges = to_kspace(run(one))[..., :3].abs().max()
    assert seen == {True: [edge_fill], False: [edge_fill, edge_fill]}
    # Untold, the network puts something where the scanner's grid had nothing.
    untold = to_kspace(dataclasses.replace(run, settings={"training": {"objective": None}})(one))
    assert (edges < 0.9 * untold[..., :3].abs().max()) == edge_fill


def test_more_than_there_is_ends_and_an_impossible_share_is_refused():
    one = measurement(rows=6, columns=12, n_items=1)
    _, held = SSDU(share=0.99).split(one, Draws.of(one))
    assert held.sum() <= acquired(one).sum()
    with pytest.raises(UserError, match=r"1\.5"):
        SSDU(share=1.5)
