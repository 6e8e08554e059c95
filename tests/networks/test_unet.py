"""The U-net against fastMRI's at equal weights, in the published sizes, and as a reconstructor."""

from dataclasses import replace

import pytest
import torch
from fastmri.models import Unet
from tests.conftest import body

from reshim.networks import NETWORKS
from reshim.networks.unet import UNet, UNetCore
from reshim.physics.fourier import to_image
from reshim.physics.sense import SenseOperator


@pytest.mark.parametrize(
    ("name", "count"), [("unet-xs", 757_501), ("unet-s", 7_756_097), ("unet-l", 124_093_697)]
)
def test_published_sizes_have_the_published_numbers_of_parameters(name, count):
    with torch.device("meta"):
        network = NETWORKS[name]()
    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("shape", [(1, 64, 48), (2, 45, 67), (1, 33, 80)])
@pytest.mark.parametrize("in_channels", [1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_same_weights_give_the_image_of_fastmri(shape, in_channels, training):
    theirs = Unet(in_channels, in_channels, chans=6, num_pool_layers=4).train(training)
    ours = UNetCore(in_channels, in_channels, channels=6, poolings=4).train(training)
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(shape[0], in_channels, *shape[1:])
    expected = theirs(image.clone())
    torch.testing.assert_close(
        ours(image.clone()), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item()
    )


@pytest.mark.parametrize("channels", [4, 12])
def test_a_large_image_is_fastmris_in_single_precision_too(channels):
    """Its norm is another one than a small image's: sums over all pixels, channels last."""
    theirs, ours = Unet(1, 1, chans=channels, num_pool_layers=4), UNetCore(1, 1, channels, 4)
    ours.load_state_dict(theirs.state_dict())
    image = body(320, 320, dtype=torch.complex64).abs().unsqueeze(1)
    with torch.no_grad():
        expected = theirs((image - image.mean()) / image.std())
        got = ours((image - image.mean()) / image.std())
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()


def test_same_weights_give_the_gradient_of_fastmri():
    theirs, ours = Unet(1, 1, chans=4, num_pool_layers=3).double(), UNetCore(1, 1, 4, 3).double()
    ours.load_state_dict(theirs.state_dict())
    image, weight = torch.randn(2, 2, 1, 30, 41, dtype=torch.float64)
    for network in (theirs, ours):
        (network(image) * weight).sum().backward()
    expected = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name].grad)


@pytest.mark.parametrize("form", ["magnitude", "complex"])
@pytest.mark.parametrize("residual", [False, True])
def test_it_is_a_reconstructor(form, residual, blobs, reconstructor_check):
    network = UNet(input=form, channels=4, poolings=3, residual=residual).eval()
    assert network.has_phase == (form == "complex")
    reconstructor_check(network, blobs(rows=48, columns=45, n_batch=2, crop=(32, 33)))


@pytest.mark.parametrize("form", ["magnitude", "complex"])
def test_gradients_reach_weights_and_kspace(form, blobs, gradient_check):
    gradient_check(UNet(input=form, channels=4, poolings=3), blobs(n_batch=2))


@pytest.mark.parametrize("form", ["magnitude", "complex"])
def test_a_silent_slice_in_training_has_finite_gradients(form, blobs):
    measurement = blobs(n_batch=2)
    measurement.kspace[0] = 0
    network = UNet(input=form, channels=4, poolings=3).train()
    torch.view_as_real(network(measurement)).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


@pytest.mark.parametrize("form", ["magnitude", "complex"])
def test_any_size_and_coil_count_works_even_below_the_deepest_pooling(form, blobs):
    network = UNet(input=form, channels=4, poolings=4)
    for rows, columns, n_coils in [(9, 17, 1), (64, 33, 5)]:
        measurement = blobs(rows=rows, columns=columns, n_coils=n_coils, lines=4)
        assert network(measurement).shape == (1, rows, columns)


def test_a_magnitude_image_has_zero_phase_and_is_empty_outside_the_crop(blobs):
    image = UNet(channels=4, poolings=3).eval()(blobs(rows=48, columns=40, crop=(32, 20)))
    assert (image.imag == 0).all()
    assert (image.real >= 0).all()
    assert (image[:, :8] == 0).all()
    assert (image[:, 40:] == 0).all()
    assert (image[..., :10] == 0).all()
    assert (image[..., 30:] == 0).all()


def test_the_magnitude_form_is_fastmri_on_the_normalised_root_sum_of_squares(blobs):
    network = UNet(channels=4, poolings=3).eval()
    theirs = Unet(1, 1, chans=4, num_pool_layers=3).eval()
    theirs.load_state_dict(network.core.state_dict())
    measurement = blobs(rows=48, columns=48)
    coil_images = torch.fft.fftshift(
        torch.fft.ifft2(torch.fft.ifftshift(measurement.kspace, dim=(-2, -1)), norm="ortho"), dim=(-2, -1)
    )
    zero_filled = coil_images.abs().square().sum(1).sqrt()
    mean, deviation = zero_filled.mean(), zero_filled.std()
    expected = theirs((zero_filled - mean)[:, None] / deviation)[:, 0] * deviation + mean
    torch.testing.assert_close(network(measurement).real, expected.clamp_min(0), rtol=1e-5, atol=1e-9)


def test_an_unknown_input_form_is_refused():
    with pytest.raises(ValueError, match=r"'phase'.*'magnitude' or 'complex'"):
        UNet(input="phase")


def test_a_kspace_without_batch_axis_is_refused_with_the_remedy(blobs):
    measurement = blobs()
    single = replace(
        measurement,
        kspace=measurement.kspace[0],
        mask=measurement.mask[0],
        acquirable=measurement.acquirable[0],
        maps=None,
    )
    with pytest.raises(ValueError, match=r"kspace\[None\]"):
        UNet(channels=4, poolings=3)(single)


def test_the_sense_start_shows_the_network_the_cg_sense_image(blobs, reconstructor_check, gradient_check):
    network = UNet(input="complex", channels=4, poolings=3, residual=True, start="sense", iterations=20)
    measurement = blobs(n_batch=2)
    reconstructor_check(network.eval(), measurement)
    gradient_check(network, measurement)
    torch.nn.init.zeros_(network.core.up_conv[-1][1].weight)
    torch.nn.init.zeros_(network.core.up_conv[-1][1].bias)
    operator = SenseOperator.of(measurement)
    image = network(measurement).unsqueeze(1)
    expected = operator.adjoint(measurement.kspace)
    torch.testing.assert_close(
        operator.gram(image) + 0.02 * image, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item()
    )


def test_clipping_limits_the_normalised_magnitude_as_fastmri_does(blobs):
    clipped, free = UNet(channels=4, poolings=3, clip=1.0).eval(), UNet(channels=4, poolings=3).eval()
    free.load_state_dict(clipped.state_dict())
    with torch.no_grad():
        assert not torch.allclose(clipped(blobs()), free(blobs()))
    with pytest.raises(ValueError, match="no effect on a complex input"):
        UNet(input="complex", clip=6.0)


@pytest.mark.parametrize("form", ["magnitude", "complex"])
@pytest.mark.parametrize("name", ["unet-tiny", "vit-tiny"])
def test_untrained_tiny_networks_return_their_input(name, form, blobs):
    network = NETWORKS[name](input=form).eval()
    measurement = blobs(rows=35, columns=42, n_batch=2)
    with torch.no_grad():
        image = network(measurement)
    expected = (
        SenseOperator.of(measurement).adjoint(measurement.kspace)[:, 0]
        if form == "complex"
        else to_image(measurement.kspace).abs().square().sum(1).sqrt().to(torch.complex64)
    )
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_a_silent_start_learns_from_the_second_step_on(blobs):
    network = NETWORKS["unet-tiny"](input="complex")
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        image = network(blobs()) * 1e4
        torch.view_as_real(image).square().mean().backward()
        optimiser.step()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_a_folded_unet_takes_any_size_and_folds_nothing_by_default(blobs, reconstructor_check):
    network = UNet(input="complex", channels=4, poolings=2, fold=2).eval()
    reconstructor_check(network, blobs(rows=31, columns=45, n_batch=2))
    assert UNetCore(1, 1, 4, 2).side(31) == 31
    assert UNetCore(1, 1, 4, 2, fold=2).side(31) == 32
