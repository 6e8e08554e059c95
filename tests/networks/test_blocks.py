"""The blocks' short cuts against the layers that they stand for."""

import pytest
import torch
from torch.nn import functional

from reshim.networks.blocks import SLOPE, UpsamplingBlock


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
