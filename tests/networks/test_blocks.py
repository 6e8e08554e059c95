"""The blocks' short cuts against the layers that they stand for."""

import pytest
import torch
from torch.nn import functional

from reshim.networks import blocks
from reshim.networks.blocks import EPSILON, SLOPE, STRIP, UpsamplingBlock, normalise_and_activate_
from reshim.networks.unet import UNetCore


@pytest.mark.parametrize("shape", [(1, 6, 5, 7), (3, 6, 4, 1)])
@pytest.mark.parametrize("with_gradients", [False, True])
def test_upsampling_is_the_transposed_convolution_with_or_without_gradients(shape, with_gradients):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=generator, dtype=torch.float64)
    block = UpsamplingBlock(6, 4).double()
    spread = functional.conv_transpose2d(image, block.layers["0"].weight, stride=2)
    expected = functional.leaky_relu(functional.instance_norm(spread), SLOPE)
    with torch.set_grad_enabled(with_gradients):
        got = block(image)
    assert got.requires_grad == with_gradients
    torch.testing.assert_close(got, expected)


def draw(*shape, dtype=torch.float64, mean=0.0):
    return mean + torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def channels_last(image):
    return image.contiguous(memory_format=torch.channels_last)


def plain(image):
    return functional.leaky_relu(functional.instance_norm(image, eps=EPSILON), SLOPE)


@pytest.mark.parametrize("rows", [5, STRIP, 2 * STRIP + 3])
def test_with_channels_last_the_norm_and_its_gradient_are_the_plain_ones(rows):
    image, upper = draw(2, 3, rows, 4), channels_last(draw(2, 3, rows, 4, mean=0.3))
    results = []
    for layer, given in ((plain, image), (normalise_and_activate_, channels_last(image))):
        given = given.clone(memory_format=torch.preserve_format).requires_grad_()
        result = layer(given * 1)
        results.append((result, *torch.autograd.grad(result, given, upper)))
    assert not results[1][0].is_contiguous()
    torch.testing.assert_close(results[1], results[0])


def test_the_norm_stays_exact_where_the_mean_is_large():
    image = draw(1, 8, 200, 160, dtype=torch.float32, mean=30.0)
    result = normalise_and_activate_(channels_last(image).clone(memory_format=torch.preserve_format))
    torch.testing.assert_close(result.double(), plain(image.double()), rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_of_large_images_the_norm_keeps_its_result_alone_in_either_layout(dtype, monkeypatch):
    monkeypatch.setattr(blocks, "LARGE", 8 * 9)
    image, upper = draw(2, 3, 8, 9, mean=2.0).to(dtype), draw(2, 3, 8, 9, mean=0.3).to(dtype)
    results, kept = [], []
    for layer in (plain, normalise_and_activate_):
        given = image.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
            result = layer(given * 1)
        results.append((result, *torch.autograd.grad(result, given, upper)))
    torch.testing.assert_close(results[1], results[0])
    assert sum(n == image.numel() for n in kept[-2:]) == 1


@pytest.mark.parametrize(
    ("capability", "channels", "with_gradients", "last"),
    [
        ("AVX2", 32, True, False),
        ("AVX2", 32, False, True),
        ("AVX2", 8, True, True),
        ("AVX512", 32, True, True),
    ],
)
def test_many_channels_are_trained_first_where_gradients_would_be_slow(
    capability, channels, with_gradients, last, monkeypatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    image = torch.zeros(1, 2, 160, 160)
    with torch.set_grad_enabled(with_gradients):
        assert (not blocks.laid_out(image, channels).is_contiguous()) is last
        assert blocks.laid_out(image[..., :100], channels).stride(1) == image.stride(1)


@pytest.mark.parametrize("n_channels", [2, 8, 32])
def test_a_long_sum_in_single_precision_keeps_its_places(n_channels):
    """In one sequence, as a matrix product of few channels sums, two are lost, and of the gradient too."""
    image, upper = draw(2, 1, n_channels, 320, 320, dtype=torch.float32, mean=0.3)
    results = []
    for layer, dtype in ((plain, torch.float64), (normalise_and_activate_, torch.float32)):
        given = channels_last(image.to(dtype)).requires_grad_()
        result = layer(given * 1)
        results.append((result, *torch.autograd.grad(result, given, channels_last(upper.to(dtype)))))
    for expected, got in zip(*results, strict=True):
        assert (got - expected).abs().max() < 5e-7 * expected.abs().max()


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_summed_in_single_precision_under_autocast_too(autocast):
    image = channels_last(draw(2, 4, 40, 30, mean=3.0)).bfloat16().requires_grad_()
    upper = channels_last(draw(2, 4, 40, 30)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = normalise_and_activate_(image * 1)
    (gradient,) = torch.autograd.grad(result, image, upper)
    exact = image.detach().double().requires_grad_()
    expected = plain(exact)
    (slope,) = torch.autograd.grad(expected, exact, upper.double())
    assert result.dtype == gradient.dtype == torch.bfloat16
    # Half a unit in the last of eight places of values up to 4; the gradient is made of rounded results.
    assert (result - expected).abs().max() < 2**-7
    assert (gradient - slope).norm() < 2**-7 * slope.norm()


def test_a_second_derivative_is_refused_in_words():
    image = channels_last(draw(1, 3, 4, 4)).requires_grad_()
    loss = normalise_and_activate_(image * 1).square().sum()
    (first,) = torch.autograd.grad(loss, image, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_u_net_gives_the_same_in_both_layouts(n_channels, monkeypatch):
    network = UNetCore(n_channels, n_channels, channels=6, poolings=2).double()
    strides = []
    network.down_sample_layers[0].layers["0"].register_forward_hook(
        lambda _, __, output: strides.append(output.stride(1))
    )
    image, found = draw(2, n_channels, 21, 18), []
    for large in (10**9, 0):
        monkeypatch.setattr(blocks, "LARGE", large)
        network.zero_grad()
        output = network(image)
        output.square().sum().backward()
        found.append((output, *(parameter.grad.clone() for parameter in network.parameters())))
    assert strides == [21 * 18, 1]
    torch.testing.assert_close(found[1], found[0])
