"""The E2E-VarNet against fastMRI's at equal weights, in the published sizes, and as a reconstructor."""

from dataclasses import replace

import pytest
import torch
from fastmri.models import VarNet as FastmriVarNet
from fastmri.models.varnet import NormUnet, SensitivityModel
from tests.conftest import make_measurement

from reshim.networks import NETWORKS
from reshim.networks.inputs import sense_combined
from reshim.networks.varnet import NormalisedUNet, SensitivityNetwork, VarNet, VarNetCore
from reshim.physics.fourier import to_image
from reshim.types import Calibration

SMALL = {"cascades": 2, "channels": 4, "poolings": 2, "sens_channels": 3, "sens_poolings": 2}
SIZES = [(32, 48), (37, 45), (30, 33)]


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize(("name", "count"), [("varnet-s", 9_212_090), ("varnet-l", 29_936_966)])
def test_published_sizes_have_the_published_numbers_of_parameters(name, count):
    with torch.device("meta"):
        network = NETWORKS[name]()
    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("shape", [(48, 64), (37, 45)])
def test_the_normalised_unet_is_fastmris(shape):
    theirs, ours = NormUnet(4, 3), NormalisedUNet(4, 3)
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, *shape, dtype=torch.complex64) + 3
    close(ours(image), torch.view_as_complex(theirs(torch.view_as_real(image[:, None]).contiguous()))[:, 0])


def fastmri_form(measurement):
    """K-space with a last axis of two, the mask with one of one, the number of centre lines."""
    mask = measurement.mask.unsqueeze(-1).expand(len(measurement.kspace), -1, -1, -1, -1)
    return torch.view_as_real(measurement.kspace), mask, measurement.calibration.shape[1]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("lines", [7, 8])
def test_the_learned_maps_are_fastmris(rows, columns, lines, blobs):
    measurement = blobs(rows=rows, columns=columns, n_batch=2, lines=lines)
    start = (columns - lines + 1) // 2
    calibration = Calibration(0, rows, start, start + lines)
    theirs, ours = SensitivityModel(4, 2), SensitivityNetwork(4, 2)
    ours.load_state_dict(theirs.state_dict())
    kspace, mask, _ = fastmri_form(measurement)
    close(ours(measurement.kspace, calibration), torch.view_as_complex(theirs(kspace, mask, lines)))


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("points", [False, True], ids=["lines", "points"])
def test_same_weights_give_the_image_of_fastmri(rows, columns, points, blobs):
    measurement = blobs(rows=rows, columns=columns, n_batch=2)
    start = (columns - 8 + 1) // 2
    measurement = replace(measurement, calibration=Calibration(0, rows, start, start + 8))
    if points:
        mask = torch.rand(1, 1, rows, columns) > 0.5
        mask[..., start : start + 8] = True
        measurement = replace(measurement, mask=mask, kspace=torch.where(mask, measurement.kspace, 0))
    theirs = FastmriVarNet(num_cascades=3, sens_chans=3, sens_pools=2, chans=4, pools=2)
    for index, cascade in enumerate(theirs.cascades):
        torch.nn.init.constant_(cascade.dc_weight, 0.5 + 0.3 * index)
    network = VarNet(**{**SMALL, "cascades": 3})
    network.core.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        expected, image = theirs(*fastmri_form(measurement)), network(measurement)
    close(image.real, expected)
    assert (image.imag == 0).all()


def test_a_large_image_is_fastmris_in_single_precision_too():
    """Errors grow from cascade to cascade: with eight, on noise, either network errs by 2e-5 itself."""
    measurement, _ = make_measurement(192, 192, n_coils=4, n=1, acceleration=4, center=16, noise=0.02)
    theirs = FastmriVarNet(num_cascades=4, chans=12)
    network = VarNet(cascades=4, channels=12)
    network.core.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        expected, image = theirs(*fastmri_form(measurement)), network(measurement).real
    assert (image - expected).abs().max() < 1e-5 * expected.max()


def test_same_weights_give_the_gradient_of_fastmri(blobs):
    measurement = blobs(rows=20, columns=24, dtype=torch.complex128)
    theirs = FastmriVarNet(num_cascades=2, sens_chans=3, sens_pools=2, chans=4, pools=2).double()
    network = VarNet(**SMALL).double()
    network.core.load_state_dict(theirs.state_dict())
    weight = 1e4 * torch.rand(1, 20, 24, dtype=torch.float64)
    (theirs(*fastmri_form(measurement)) * weight).sum().backward()
    (network(measurement).real * weight).sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in network.core.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("maps", ["learned", "given"])
@pytest.mark.parametrize("output", ["rss", "mvue"])
def test_it_is_a_reconstructor(maps, output, blobs, reconstructor_check, gradient_check):
    network = VarNet(**SMALL, maps=maps, output=output)
    assert network.has_phase == (output == "mvue")
    measurement = blobs(rows=33, columns=30, n_batch=2)
    reconstructor_check(network.eval(), measurement)
    gradient_check(network, measurement)


def test_it_can_start_at_cg_sense(blobs, reconstructor_check, gradient_check):
    """Untrained, its steps only put the acquired samples back, so it is as near to the truth as CG-SENSE."""
    start = {"maps": "given", "output": "mvue", "residual": True, "start": "sense", "iterations": 30}
    reconstructor_check(VarNet(**SMALL, **start).eval(), blobs(rows=33, columns=30, n_batch=2))
    gradient_check(VarNet(**SMALL, **start), blobs(rows=33, columns=30, n_batch=2))
    measurement, truth = make_measurement()
    with torch.no_grad():
        image = VarNet(**SMALL, **start, ridge=1e-6).eval()(measurement)
    zero_filled = sense_combined(measurement)
    assert (zero_filled - truth).norm() > 0.1 * truth.norm()
    assert (image - truth).norm() < 0.1 * (zero_filled - truth).norm()


def test_low_memory_gives_the_same_image_and_gradient(blobs):
    results = []
    for low_memory in (False, True):
        torch.manual_seed(3)
        network = VarNet(**SMALL, low_memory=low_memory).double()
        image = network(blobs(rows=20, columns=24, dtype=torch.complex128))
        (1e4 * image.real).square().sum().backward()
        results.append([image.detach(), *(weight.grad for weight in network.parameters())])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("maps", ["learned", "given"])
def test_a_silent_slice_and_a_silent_coil_in_training_have_finite_gradients(maps, blobs):
    measurement = blobs(n_batch=2)
    measurement.kspace[0] = 0
    measurement.kspace[1, 0] = 0
    network = VarNet(**SMALL, maps=maps).train()
    torch.view_as_real(network(measurement)).sum().backward()
    for name, weight in network.named_parameters():
        assert torch.isfinite(weight.grad).all(), name


def test_any_size_and_coil_count_works_even_below_the_deepest_pooling(blobs):
    network = VarNet(cascades=1, channels=2, sens_channels=2)
    for rows, columns, n_coils in [(9, 17, 1), (64, 33, 5)]:
        assert network(blobs(rows=rows, columns=columns, n_coils=n_coils, lines=4)).shape == (
            1,
            rows,
            columns,
        )


def test_without_a_calibration_block_all_samples_make_the_maps(blobs):
    measurement = replace(blobs(), calibration=Calibration(0, 0, 0, 0))
    assert VarNet(**SMALL)(measurement).abs().max() > 0


def test_learned_maps_see_nothing_but_the_calibration_block(blobs):
    measurement = blobs()
    outside = torch.ones(48, dtype=torch.bool)
    outside[measurement.calibration.block[1]] = False
    other = torch.where(outside & measurement.mask, 2 * measurement.kspace, measurement.kspace)
    core = VarNetCore(**SMALL)
    assert torch.equal(
        core.sens_net(other, measurement.calibration),
        core.sens_net(measurement.kspace, measurement.calibration),
    )


def test_unknown_maps_and_outputs_are_refused():
    with pytest.raises(ValueError, match=r"'guessed'.*'learned' or 'given'"):
        VarNet(maps="guessed")
    with pytest.raises(ValueError, match=r"'sos'.*'rss' or 'mvue'"):
        VarNet(output="sos")
    with pytest.raises(ValueError, match=r"'sense' with learned maps"):
        VarNet(start="sense")


def test_an_untrained_residual_varnet_returns_the_zero_filled_image(blobs, gradient_check):
    measurement = blobs(rows=33, columns=30, n_batch=2)
    network = VarNet(**SMALL, fold=2, residual=True)
    with torch.no_grad():
        image = network.eval()(measurement)
    expected = to_image(measurement.kspace).abs().square().sum(1).sqrt()
    torch.testing.assert_close(image.real, expected, rtol=1e-4, atol=1e-5 * expected.max().item())
    gradient_check(network, measurement)
