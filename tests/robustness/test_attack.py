"""Known answers on linear methods, where the worst perturbation is the leading singular vector."""

from dataclasses import dataclass, replace

import pytest
import torch
from tests.conftest import make_measurement

from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.classical import METHODS
from reshim.classical.grappa import Grappa
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.classical.sense import Sense
from reshim.classical.total_variation import TotalVariation
from reshim.classical.zero_filled import ZeroFilled
from reshim.errors import UserError
from reshim.networks import NETWORKS
from reshim.physics.fourier import to_image
from reshim.robustness.attack import (
    GradientAttack,
    RandomNoise,
    RandomSearch,
    Transfer,
    added,
    onto_sphere,
)
from reshim.robustness.joint_attack import JointAttack
from reshim.robustness.through import followed, has_gradient
from reshim.training.objectives import norms
from reshim.training.run_folder import Trained
from reshim.types import Image, Measurement

SMALL = {"rows": 20, "columns": 18, "n_coils": 3, "acceleration": 2, "center": 8}


@dataclass(frozen=True)
class Weighted:
    """Linear with known singular values: coil 0's image, each column of k-space weighted."""

    gain: float = 5.0
    column: int = 9

    def solve(self, measurement: Measurement) -> Image:
        weights = torch.ones(measurement.kspace.shape[-1], dtype=measurement.kspace.dtype)
        weights[self.column] = self.gain
        return to_image(weights * measurement.kspace[:, 0])

    def __call__(self, measurement: Measurement) -> Image:
        with torch.no_grad():
            return self.solve(measurement)


def offset(kspace: torch.Tensor) -> torch.Tensor:
    """A constant image so bright that magnitudes do not fold."""
    bright = torch.zeros_like(kspace)
    bright[..., kspace.shape[-2] // 2, kspace.shape[-1] // 2] = 1e3
    return bright


def test_the_worst_perturbation_of_a_linear_method_is_its_leading_singular_vector():
    measurement, _ = make_measurement(**SMALL, dtype=torch.complex128)
    measurement = replace(measurement, kspace=offset(measurement.kspace))
    attack = GradientAttack(budget=1e-3, steps=60, step_share=0.5, maps="kept")
    found = attack.of_measurement(measurement, Weighted(), torch.zeros(2, 20, 18)).kspace - measurement.kspace
    radius = 1e-3 * norms(measurement.kspace)
    torch.testing.assert_close(norms(found), radius)
    change = Weighted()(added(measurement, found)).abs() - Weighted()(measurement).abs()
    # The gain times the radius: all of it in coil 0's amplified column, all of it in phase with the image.
    torch.testing.assert_close(change.norm(dim=(-2, -1)), 5 * radius.flatten(), rtol=1e-3, atol=0)
    assert float(found[:, 0, :, 9].abs().square().sum() / found.abs().square().sum()) > 0.999


def test_the_perturbation_lies_in_the_ball_and_where_samples_were_acquired():
    measurement, images = make_measurement(**SMALL, dtype=torch.complex128)
    for attack in (
        GradientAttack(budget=0.03, steps=2),
        RandomSearch(budget=0.03, queries=4),
        RandomNoise(0.03),
    ):
        attacked = attack.of_measurement(measurement, Sense(), images.abs())
        change = attacked.kspace - measurement.kspace
        torch.testing.assert_close(norms(change), 0.03 * norms(measurement.kspace))
        assert not change[(~measurement.mask).expand_as(change)].abs().any()
        assert attacked.maps is None
        kept = replace(attack, maps="kept").of_measurement(measurement, Sense(), images.abs())
        assert kept.maps is measurement.maps


def test_a_budget_of_nothing_changes_nothing():
    measurement, images = make_measurement(**SMALL)
    assert GradientAttack(budget=0).of_measurement(measurement, Sense(), images.abs()) is measurement
    with pytest.raises(ValueError, match="budget is 2"):
        GradientAttack(budget=2)


METHODS_WITH_GRADIENT = {
    "zero-filled": ZeroFilled(),
    "sense": Sense(ridge=0.1, times_noise=False, iterations=8),
    "l1": L1Wavelet(iterations=6, levels=1, start=0),
    "tv": TotalVariation(iterations=6, start=0),
}


@pytest.mark.parametrize("name", METHODS_WITH_GRADIENT)
def test_the_gradient_through_a_solver_is_that_of_its_image(name):
    method = METHODS_WITH_GRADIENT[name]
    measurement, _ = make_measurement(**SMALL, dtype=torch.complex128, noise=0.02)
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(measurement.kspace.shape, dtype=torch.complex128, generator=generator)
    direction = torch.where(measurement.mask, direction, 0)
    # Noise and intensity set the weights, which are constants to the gradient: here they are stated.
    measurement = replace(measurement, noise_std=torch.tensor([0.02, 0.02], dtype=torch.float64))

    def at(step: float) -> float:
        return float(method(added(measurement, step * direction)).abs().square().sum())

    kspace = measurement.kspace.clone().requires_grad_(True)
    value = followed(method)(replace(measurement, kspace=kspace)).abs().square().sum()
    (gradient,) = torch.autograd.grad(value, kspace)
    assert torch.isfinite(torch.view_as_real(gradient)).all()
    slope = (at(1e-6) - at(-1e-6)) / 2e-6
    ours = float((gradient.conj() * direction).real.sum())
    assert ours == pytest.approx(slope, rel=1e-3)


def test_following_a_solver_gives_its_own_image():
    measurement, _ = make_measurement(**SMALL)
    for method in METHODS_WITH_GRADIENT.values():
        with torch.enable_grad():
            kspace = measurement.kspace.clone().requires_grad_(True)
            image = followed(method)(replace(measurement, kspace=kspace))
        torch.testing.assert_close(image.detach(), method(measurement))


@pytest.mark.parametrize("name", ["unet-tiny", "varnet-tiny", "unrolled-tiny"])
def test_an_attack_on_a_network_hurts_more_than_noise_and_leaves_its_weights_alone(name):
    measurement, images = make_measurement(rows=32, columns=32, n=1)
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()

    @dataclass(frozen=True)
    class Plain:
        def __call__(self, measurement: Measurement) -> Image:
            with torch.no_grad():
                return network(measurement)

        def solve(self, measurement: Measurement) -> Image:
            return network(measurement)

    def damage(attack):
        attacked = attack.of_measurement(measurement, Plain(), images.abs())
        return float((Plain()(attacked).abs() - Plain()(measurement).abs()).norm())

    assert damage(GradientAttack(budget=0.05, steps=4, maps="kept")) > 1.3 * damage(
        RandomNoise(0.05, maps="kept")
    )
    assert all(weight.grad is None for weight in network.parameters())


def test_a_trained_network_is_followed_in_parts_and_asks_for_its_maps():
    measurement, _ = make_measurement(rows=32, columns=32, n=3, with_maps=False)
    run = Trained(NETWORKS["unrolled-tiny"]().eval(), {}, batch_slices=2)
    kspace = measurement.kspace.clone().requires_grad_(True)
    image = followed(run)(replace(measurement, kspace=kspace))
    torch.testing.assert_close(image.detach(), run(measurement))
    (gradient,) = torch.autograd.grad(image.abs().sum(), kspace)
    assert bool((gradient.abs().sum((-3, -2, -1)) > 0).all())


def test_more_restarts_and_queries_never_do_less():
    measurement, images = make_measurement(**SMALL)

    def damage(attack):
        attacked = attack.of_measurement(measurement, Sense(), images.abs())
        return (Sense()(replace(attacked, maps=measurement.maps)).abs() - images.abs()).norm(dim=(-2, -1))

    one, three = (GradientAttack(0.05, "reference", steps=2, restarts=n, maps="kept") for n in (1, 3))
    assert bool((damage(three) >= damage(one) - 1e-5).all())
    few, many = (RandomSearch(0.05, "reference", queries=n, maps="kept") for n in (1, 12))
    assert bool((damage(many) > damage(few)).all())


def test_a_method_without_a_gradient_is_searched_or_met_with_anothers_attack():
    measurement, images = make_measurement(rows=32, columns=30, n=1, center=12)
    assert not has_gradient(Grappa())
    with pytest.raises(UserError, match="RandomSearch"):
        GradientAttack().of_measurement(measurement, METHODS["grappa"](), images.abs())
    gradient = GradientAttack(budget=0.05, steps=2)
    lent = Transfer(attack=gradient, source=Sense()).of_measurement(measurement, Grappa(), images.abs())
    own = gradient.of_measurement(measurement, Sense(), images.abs())
    torch.testing.assert_close(lent.kspace, own.kspace)
    searched = RandomSearch(budget=0.05, queries=2).of_measurement(measurement, Grappa(), images.abs())
    assert not torch.equal(searched.kspace, measurement.kspace)


def test_a_slice_is_attacked_alike_alone_and_in_its_volume():
    measurement, images = make_measurement(**SMALL, dtype=torch.complex128)
    attack = GradientAttack(budget=0.05, steps=3)
    both = attack.of_measurement(measurement, Sense(tolerance=0), images.abs()).kspace
    alone = attack.of_measurement(measurement.item(1), Sense(tolerance=0), images[1:].abs()).kspace
    torch.testing.assert_close(both[1:], alone)


def test_scaling_to_a_sphere_leaves_silence_silent():
    assert not onto_sphere(torch.zeros(1, 1, 2, 2, dtype=torch.complex64), torch.ones(1, 1, 1, 1)).abs().any()


def test_an_untrained_network_is_attacked_jointly_with_its_fit():
    measurement, images = make_measurement(rows=24, columns=24, n_coils=3, acceleration=2, center=8, n=2)
    decoder = FittedDecoder(iterations=60, channels=16, layers=3)
    attack = JointAttack(budget=0.1, iterations=80, begin=20, pull=0.5, maps="kept")
    attacked = attack.of_measurement(measurement, decoder, images.abs())
    change = attacked.kspace - measurement.kspace
    torch.testing.assert_close(norms(change), 0.1 * norms(measurement.kspace))
    assert not change[(~measurement.mask).expand_as(change)].abs().any()
    noisy = RandomNoise(0.1, maps="kept").of_measurement(measurement, decoder, images.abs())

    def error(measurement):
        return float((decoder(measurement).abs() - images.abs()).norm())

    assert error(attacked) > 1.1 * error(noisy)
    again = attack.of_measurement(measurement, decoder, images.abs())
    assert torch.equal(again.kspace, attacked.kspace)


def test_a_method_that_fits_nothing_cannot_be_attacked_jointly():
    measurement, images = make_measurement(**SMALL)
    with pytest.raises(UserError, match="fits no network"):
        JointAttack().of_measurement(measurement, Sense(), images.abs())
