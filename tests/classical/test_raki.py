from dataclasses import replace

import pytest
import torch
from tests.conftest import equispaced, make_measurement
from tests.reconstructor_checks import check_reconstructor

from reshim.classical.grappa import Grappa, NotMadeOfLinesError
from reshim.classical.raki import ROWS, Raki, initial_weights, to_real
from reshim.physics.espirit import calibration_block
from reshim.types import Calibration


def small(acceleration: int = 3, noise: float = 0.01, n_coils: int = 3, n: int = 2):
    return make_measurement(30, 34, n_coils=n_coils, n=n, acceleration=acceleration, center=16, noise=noise)


@pytest.mark.parametrize("reconstruct", [Raki(iterations=4), Raki.with_linear_branch(iterations=4)])
def test_promises_of_a_reconstructor_are_kept(reconstruct):
    check_reconstructor(reconstruct, small()[0])


def serially(block: torch.Tensor, step: int, settings: Raki) -> list[list[torch.Tensor]]:
    """One network after the other, by convolutions, as the method is defined."""
    n_channels = 2 * block.shape[0]
    inputs = to_real(block)[None]
    trained = []
    for channel in range(n_channels):
        drawn = initial_weights(n_channels, step, settings.residual, slice(channel, channel + 1), block)
        kernels = {
            "first": drawn["first"][0].reshape(ROWS[0], 2, n_channels, 32).permute(3, 2, 0, 1),
            "second": drawn["second"][0].reshape(1, 1, 32, 8).permute(3, 2, 0, 1),
            "third": drawn["third"][0].reshape(8, ROWS[1], 2, step - 1).permute(3, 0, 1, 2),
        }
        if settings.residual:
            kernels["linear"] = (
                drawn["linear"][0].reshape(ROWS[0], 2, n_channels, step - 1).permute(3, 2, 0, 1)
            )
        kernels = {name: kernel.clone().requires_grad_() for name, kernel in kernels.items()}
        optimizer = torch.optim.Adam(kernels.values(), lr=settings.learning_rate)
        n_gaps = block.shape[-1] - 2 * step
        target = torch.stack([inputs[0, channel, 3:-3, r : r + n_gaps] for r in range(1, step)])
        for _ in range(settings.iterations):
            optimizer.zero_grad()
            hidden = torch.relu(torch.nn.functional.conv2d(inputs, kernels["first"], dilation=(1, step)))
            hidden = torch.relu(torch.nn.functional.conv2d(hidden, kernels["second"]))
            deep = torch.nn.functional.conv2d(hidden, kernels["third"], dilation=(1, step))[0]
            if settings.residual:
                linear = torch.nn.functional.conv2d(inputs, kernels["linear"], dilation=(1, step))
                linear = linear[0, :, 1:-1, :-step]
                loss = (target - linear - deep).norm() + (target - linear).norm()
            else:
                loss = (target - deep).norm()
            loss.backward()
            optimizer.step()
        trained.append([kernel.detach() for kernel in kernels.values()])
    return trained


@pytest.mark.parametrize("settings", [Raki(iterations=25), Raki.with_linear_branch(iterations=25)])
def test_training_all_channels_at_once_is_training_them_one_by_one(settings):
    measurement, _ = small(n=1)
    block = calibration_block(measurement)[0].to(torch.complex128)
    block = block * settings.peak / block.abs().max()
    together = settings.train(block, 3)
    for channel, kernels in enumerate(serially(block, 3, settings)):
        first = kernels[0].permute(2, 3, 1, 0).reshape(-1, 32)
        third = kernels[2].permute(1, 2, 3, 0).reshape(-1, 2)
        torch.testing.assert_close(together["first"][channel], first, rtol=0, atol=1e-9)
        torch.testing.assert_close(together["third"][channel], third, rtol=0, atol=1e-9)


def test_some_channels_train_alone_as_they_do_among_all():
    block = calibration_block(small(n=1)[0])[0].to(torch.complex128)
    settings = Raki(iterations=5)
    some, every = settings.train(block, 3, slice(1, 3)), settings.train(block, 3)
    for name in some:
        torch.testing.assert_close(some[name], every[name][1:3])


@pytest.mark.parametrize("reconstruct", [Raki(iterations=300), Raki.with_linear_branch(iterations=300)])
def test_missing_lines_are_predicted(reconstruct):
    measurement, _ = make_measurement(40, 48, n_coils=6, n=1, acceleration=3, center=20, noise=0.002)
    filled = reconstruct.fill(measurement)
    full, _ = make_measurement(40, 48, n_coils=6, n=1, acceleration=1)
    inside = (..., slice(3, -3), slice(3, -9))
    missed = (filled - full.kspace)[inside].norm() / full.kspace[inside].norm()
    empty = (measurement.kspace - full.kspace)[inside].norm() / full.kspace[inside].norm()
    assert float(missed) < 0.6 * float(empty)
    assert torch.equal(torch.where(measurement.mask, filled, 0), measurement.kspace)


def test_a_network_without_bends_approaches_the_least_squares_kernel_of_its_footprint():
    measurement, _ = small(n=1, noise=0.0)
    block = calibration_block(measurement)[0]
    block = block / block.abs().max()
    linear = Raki(activation="none", iterations=400, learning_rate=3e-3)
    weights = linear.train(block, 3)
    predicted = linear.predict(weights, block, 3, 3)
    target = torch.stack([block[:, 3:-3, r : block.shape[-1] - 6 + r] for r in (1, 2)], dim=-1)
    untrained = linear.predict(replace(linear, iterations=0).train(block, 3), block, 3, 3)
    assert float((predicted - target).norm()) < 0.5 * float(target.norm())
    assert float((predicted - target).norm()) < float((untrained - target).norm())


def test_the_branches_of_rraki_add_up_to_its_prediction():
    settings = Raki.with_linear_branch(iterations=3)
    block = calibration_block(small(n=1)[0])[0]
    weights = settings.train(block, 3)
    linear, deep = settings.branches(weights, block, 3)
    real, imaginary = (linear + deep).chunk(2)
    torch.testing.assert_close(settings.predict(weights, block, 3, 3), torch.complex(real, imaginary))
    assert float(linear.abs().max()) > 0
    assert float(deep.abs().max()) > 0


def test_an_irregular_mask_goes_to_grappa_or_is_refused():
    measurement, _ = small()
    mask = measurement.mask.clone()
    mask[..., 1] = True
    odd = replace(measurement, mask=mask)
    torch.testing.assert_close(Raki(iterations=1)(odd), Grappa()(odd))
    with pytest.raises(NotMadeOfLinesError, match="fixed distance"):
        Raki(otherwise=None)(odd)


def test_too_few_calibration_columns_are_named():
    measurement, _ = small(acceleration=4)
    mask = equispaced(34, 4, 8)
    few = replace(measurement, mask=mask, calibration=Calibration(0, 30, 13, 21))
    with pytest.raises(NotMadeOfLinesError, match="needs 9 calibration columns, there are 8"):
        Raki(otherwise=None)(few)
