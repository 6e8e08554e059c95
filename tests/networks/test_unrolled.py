"""The unrolled network: published counts, a solve that solves, and the promises of a reconstructor."""

from dataclasses import replace

import pytest
import torch

from reshim.networks import NETWORKS
from reshim.networks.consistency import solver_for
from reshim.networks.unrolled import Unrolled
from reshim.physics.sense import SenseOperator


@pytest.mark.parametrize(("tied", "count"), [(True, 592_129), (False, 1_145_089)])
def test_the_published_network_has_the_published_number_of_parameters(tied, count):
    with torch.device("meta"):
        network = NETWORKS["unrolled"](tied=tied)
    assert sum(weight.numel() for weight in network.parameters()) == count


SMALL = {"unrolls": 2, "blocks": 1, "channels": 4, "iterations": 4}


@pytest.mark.parametrize(
    "settings",
    [{}, {"implicit": True, "start": "sense", "residual": True, "fold": 2}],
    ids=["published", "tiny"],
)
def test_it_is_a_reconstructor(settings, blobs, reconstructor_check, gradient_check):
    network = Unrolled(**SMALL, **settings)
    reconstructor_check(network.eval(), blobs(rows=24, columns=27, n_batch=2))
    gradient_check(network, blobs(rows=24, columns=27, n_batch=2))


def test_with_a_silent_cnn_it_is_regularised_sense(blobs):
    network = Unrolled(**{**SMALL, "iterations": 60}).double()
    torch.nn.init.zeros_(network.core.leave.weight)
    measurement = blobs(rows=20, columns=21, dtype=torch.complex128)
    operator = SenseOperator.of(measurement)
    image = network(measurement).unsqueeze(1)
    normal = operator.gram(image) + network.log_mu.exp() * image
    torch.testing.assert_close(normal, operator.adjoint(measurement.kspace), rtol=1e-6, atol=1e-14)


def test_many_unrolls_from_the_sense_start_approach_the_exact_image_when_nothing_is_learned(blobs):
    # With CNN(x) = 0 and the skip, an unroll is a step of the proximal point method.
    measurement = blobs(rows=24, columns=24, n_coils=6, dtype=torch.complex128, maps=True)
    network = Unrolled(unrolls=30, blocks=1, channels=4, iterations=30, residual=True, start="sense").double()
    operator = SenseOperator.of(measurement)
    image = network(measurement)[:, None]
    difference = operator.forward(image) - measurement.kspace
    assert difference.norm() < 1e-3 * measurement.kspace.norm()


def test_the_implicit_gradient_is_the_gradient_of_the_solve(blobs):
    operator = SenseOperator.of(blobs(rows=2, columns=3, n_coils=2, dtype=torch.complex128, lines=2))
    denoised, data = torch.randn(2, 1, 1, 2, 3, dtype=torch.complex128).requires_grad_()
    mu = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def solve(mu, denoised, data):
        return solver_for(operator, data, 10, implicit=True)(mu, denoised)

    assert torch.autograd.gradcheck(solve, (mu, denoised, data))


def test_converged_solves_have_the_same_image_and_gradient_implicit_or_not(blobs):
    measurement = blobs(rows=12, columns=14, dtype=torch.complex128, lines=4)
    images, gradients = [], []
    for implicit in (False, True):
        torch.manual_seed(1)
        network = Unrolled(**{**SMALL, "iterations": 40}, initial_mu=0.5, implicit=implicit).double()
        images.append(1e4 * network(measurement))
        images[-1].abs().square().sum().backward()
        gradients.append([weight.grad for weight in network.parameters()])
    torch.testing.assert_close(*images, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-9)


def test_mu_stays_positive_whatever_the_optimiser_does(blobs):
    network = Unrolled(**SMALL)
    with torch.no_grad():
        network.log_mu.fill_(-30)
        assert torch.isfinite(torch.view_as_real(network(blobs()))).all()
    assert network.log_mu.exp() > 0


def test_two_sets_of_maps_are_solved_together(blobs):
    measurement = blobs(rows=20, columns=22)
    two = replace(measurement, maps=torch.cat([measurement.maps, torch.zeros_like(measurement.maps)], dim=1))
    network = Unrolled(**SMALL)
    torch.testing.assert_close(network(two), network(measurement), rtol=1e-4, atol=1e-9)


def test_a_ready_made_tiny_network_starts_near_sense(blobs):
    network = NETWORKS["unrolled-tiny"]()
    measurement = blobs(rows=32, columns=32)
    assert network(measurement).shape == (1, 32, 32)
    assert network.has_phase
