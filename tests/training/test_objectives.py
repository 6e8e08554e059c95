import dataclasses

import pytest
import torch

from reshim.errors import UserError
from reshim.networks import NETWORKS
from reshim.physics.fourier import to_image, to_kspace
from reshim.training import OBJECTIVES
from reshim.training.batch import Draws, Reference
from reshim.training.joint import Joint, ReleasedJoint, hide_some
from reshim.training.objectives import Adversarial, Jitter, Supervised, norms, refuse_unfit, with_noise
from reshim.training.ssdu import SSDU
from reshim.types import Calibration, Measurement

CENTRE = slice(5, 11)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


@pytest.fixture
def measurement():
    """Two slices, three coils, 16x16, every second column and the middle six."""
    mask = torch.zeros(1, 1, 1, 16, dtype=torch.bool)
    mask[..., ::2] = True
    mask[..., CENTRE] = True
    maps = random(2, 1, 3, 16, 16, seed=3)
    maps = maps / maps.abs().square().sum(2, keepdim=True).sqrt()
    kspace = torch.where(mask, to_kspace(maps[:, 0] * random(2, 1, 16, 16, seed=4)), 0)
    return Measurement(
        kspace=kspace,
        mask=mask,
        calibration=Calibration(0, 16, 5, 11),
        acquirable=torch.ones(1, 1, 1, 16, dtype=torch.bool),
        crop=(12, 14),
        name="toy",
        slices=(4, 7),
        maps=maps,
    )


@pytest.fixture
def reference():
    image = random(2, 12, 14, seed=5).abs()
    return Reference(image, image.amax((-2, -1)))


class ScaledAdjoint(torch.nn.Module):
    """The zero-filled image times one weight: small enough for answers by hand."""

    has_phase = True

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.seen = []

    def forward(self, measurement):
        self.seen.append(measurement)
        images = to_image(measurement.kspace)
        return self.weight * (measurement.maps[:, 0].conj() * images).sum(1)


def test_released_joint_loss_equals_the_one_computed_by_hand(measurement, reference):
    network = ScaledAdjoint(0.7)
    loss, parts = ReleasedJoint(fill_background=False)(network, measurement, reference)

    image = 0.7 * (measurement.maps[:, 0].conj() * to_image(measurement.kspace)).sum(1)
    magnitude = image.abs()[:, 2:14, 1:15]
    supervised = (magnitude - reference.image).abs().sum() / reference.image.abs().sum()
    residual = (
        torch.where(measurement.mask, to_kspace(measurement.maps[:, 0] * image[:, None]), 0)
        - measurement.kspace
    )
    top = residual.real.abs().sum() + residual.imag.abs().sum()
    bottom = measurement.kspace.real.abs().sum() + measurement.kspace.imag.abs().sum()

    assert parts["supervised"].item() == pytest.approx(supervised.item(), rel=1e-12)
    assert parts["self-supervised"].item() == pytest.approx((top / bottom).item(), rel=1e-12)
    assert loss.item() == pytest.approx((supervised + top / bottom).item(), rel=1e-12)


def test_released_joint_fills_the_background_of_the_maps(measurement, reference):
    maps = measurement.maps.clone()
    maps[..., :4, :] = 0
    bare = dataclasses.replace(measurement, maps=maps)
    with_background, _ = ReleasedJoint()(ScaledAdjoint(), bare, reference)
    without, _ = ReleasedJoint(fill_background=False)(ScaledAdjoint(), bare, reference)
    # The adjoint is 0 where the maps are, so the fill changes nothing there: the two agree for this network.
    assert with_background.item() == pytest.approx(without.item(), rel=1e-12)

    class Constant(ScaledAdjoint):
        def forward(self, measurement):
            return torch.ones(2, 16, 16, dtype=torch.complex128) * self.weight

    with_background, _ = ReleasedJoint()(Constant(), bare, reference)
    without, _ = ReleasedJoint(fill_background=False)(Constant(), bare, reference)
    assert abs(with_background.item() - without.item()) > 1e-3


def test_joint_hides_acquired_columns_from_the_input_and_never_the_calibration_block(measurement, reference):
    network = ScaledAdjoint()
    _, parts = Joint(hidden_share=0.5)(network, measurement, reference)
    seen = network.seen[0]
    assert seen.mask.shape == (2, 1, 1, 16)
    assert seen.mask[..., CENTRE].all()
    hidden = measurement.mask & ~seen.mask
    assert hidden.any()
    assert not (seen.mask & ~measurement.mask).any()
    assert (seen.kspace[hidden.expand_as(seen.kspace)] == 0).all()
    assert set(parts) == {"l1", "self-supervised"}


def test_joint_fits_all_that_was_acquired(measurement, reference):
    network = ScaledAdjoint()
    _, parts = Joint(hidden_share=0.5)(network, measurement, reference)
    image = ScaledAdjoint()(network.seen[0])
    predicted = torch.where(measurement.mask, to_kspace(measurement.maps[:, 0] * image[:, None]), 0)
    per_item = (predicted - measurement.kspace).abs().sum((1, 2, 3)) / measurement.kspace.abs().sum((1, 2, 3))
    assert parts["self-supervised"].item() == pytest.approx(per_item.mean().item(), rel=1e-12)


def test_what_is_hidden_belongs_to_slice_and_epoch_not_to_the_batch(measurement):
    both = hide_some(measurement, 0.5, Draws((("s", 4), ("s", 7)), epoch=3))
    alone = hide_some(measurement.item(1), 0.5, Draws((("s", 7),), epoch=3))
    later = hide_some(measurement.item(1), 0.5, Draws((("s", 7),), epoch=4))
    assert torch.equal(both.mask[1:], alone.mask)
    assert not torch.equal(alone.mask, later.mask)


@pytest.mark.parametrize("name", ["supervised", "joint", "ssdu", "jitter", "adversarial"])
def test_the_loss_of_a_batch_is_the_mean_of_its_items(name, measurement, reference):
    objective = OBJECTIVES[name]()
    owners = (("s", 4), ("s", 7))
    together, _ = objective(ScaledAdjoint(0.8), measurement, reference, Draws(owners))
    alone = []
    for index in range(2):
        one = Reference(reference.image[index : index + 1], reference.data_range[index : index + 1])
        alone.append(
            objective(ScaledAdjoint(0.8), measurement.item(index), one, Draws(owners[index : index + 1]))[0]
        )
    # An attack follows the gradient of the batch's mean; its direction is that of the item's own.
    assert together.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-9)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_losses_do_not_change_with_the_unit_of_the_scan(name, measurement, reference):
    network = ScaledAdjoint(0.9)
    loss, _ = OBJECTIVES[name]()(network, measurement, reference)
    twice = dataclasses.replace(measurement, kspace=1000 * measurement.kspace)
    larger, _ = OBJECTIVES[name]()(
        network, twice, Reference(1000 * reference.image, 1000 * reference.data_range)
    )
    assert larger.item() == pytest.approx(loss.item(), rel=1e-9)


@pytest.mark.parametrize("name", ["joint", "joint-released", "ssdu"])
@pytest.mark.parametrize("network", ["unet-tiny"])
def test_objectives_in_kspace_refuse_magnitude_networks(name, network):
    with pytest.raises(UserError, match="without phase"):
        refuse_unfit(OBJECTIVES[name](), NETWORKS[network](input="magnitude"), True)


@pytest.mark.parametrize("name", ["supervised", "jitter", "adversarial", "joint-released"])
def test_objectives_with_a_reference_refuse_undersampled_scans(name):
    with pytest.raises(UserError, match="ssdu"):
        refuse_unfit(OBJECTIVES[name](), ScaledAdjoint(), False)


@pytest.mark.parametrize("name", ["joint", "ssdu"])
def test_without_a_reference_the_self_supervised_part_remains(name, measurement):
    loss, parts = OBJECTIVES[name]()(ScaledAdjoint(0.5), measurement, None)
    assert set(parts) == {{"joint": "self-supervised"}.get(name, name)}
    assert loss.item() > 0


def test_ssdu_never_looks_at_the_reference(measurement, reference):
    plain, _ = SSDU()(ScaledAdjoint(0.5), measurement, reference)
    poisoned = Reference(
        torch.full_like(reference.image, torch.nan), torch.full_like(reference.data_range, torch.nan)
    )
    assert torch.equal(SSDU()(ScaledAdjoint(0.5), measurement, poisoned)[0], plain)


def test_jitter_adds_noise_of_the_stated_norm_to_acquired_samples_only(measurement):
    many = [
        norms(with_noise(measurement, 0.1, Draws.of(measurement, epoch=epoch)).kspace - measurement.kspace)
        / norms(measurement.kspace)
        for epoch in range(50)
    ]
    mean = torch.stack(many).mean().item()
    assert mean == pytest.approx(0.1, rel=0.02)
    noisy = with_noise(measurement, 0.1, Draws.of(measurement))
    assert (noisy.kspace[~measurement.mask.expand_as(noisy.kspace)] == 0).all()


def test_no_jitter_is_supervised_training(measurement, reference):
    plain, _ = Supervised()(ScaledAdjoint(), measurement, reference)
    jittered, _ = Jitter(level=0.0)(ScaledAdjoint(), measurement, reference)
    assert jittered.item() == pytest.approx(plain.item(), rel=1e-12)


def test_the_attack_stays_in_its_ball_and_beats_noise_of_the_same_norm(measurement, reference):
    attack = Adversarial(epsilon=0.1, steps=5, supervised=Supervised("l1"))
    network = ScaledAdjoint(0.9)
    worst = attack.attack(network, measurement, reference, Draws.of(measurement))
    difference = worst.kspace - measurement.kspace
    assert (norms(difference) <= 0.1 * norms(measurement.kspace) * (1 + 1e-9)).all()
    assert (difference[~measurement.mask.expand_as(difference)] == 0).all()
    assert network.weight.grad is None

    attacked, _ = attack(network, measurement, reference)
    noisy, _ = Jitter(level=0.1, supervised=Supervised("l1"))(network, measurement, reference)
    plain, _ = Supervised("l1")(network, measurement, reference)
    assert attacked.item() > noisy.item()
    assert attacked.item() > 1.02 * plain.item()


def test_the_input_is_left_as_it_was(measurement, reference):
    before = measurement.kspace.clone()
    for objective in OBJECTIVES.values():
        loss, _ = objective()(ScaledAdjoint(), measurement, reference)
        loss.backward()
    assert torch.equal(measurement.kspace, before)
