"""The untrained network: published count, its ladder of sizes, and that it can fit an image."""

import pytest
import torch

from reshim.networks.conv_decoder import ConvDecoder, size_ladder


def test_the_published_network_has_the_published_number_of_parameters():
    network = ConvDecoder((640, 368), out_channels=30)
    assert sum(weight.numel() for weight in network.parameters()) == 1_619_840


@pytest.mark.parametrize(("start", "end"), [((8, 4), (640, 372)), ((10, 5), (37, 51)), ((4, 4), (3, 2))])
def test_sizes_climb_a_geometric_ladder_to_the_image(start, end):
    ladder = size_ladder(start, end, 7)
    assert len(ladder) == 7
    assert ladder[-1] == ladder[-2] == end
    assert ladder[2] == tuple(round((low * high) ** 0.5) for low, high in zip(start, end, strict=True))


def test_the_image_has_the_shape_asked_for_and_the_noise_is_named_by_its_seed():
    settings = {"shape": (19, 22), "out_channels": 2, "channels": 8, "layers": 4}
    network = ConvDecoder(**settings)
    assert network().shape == (1, 2, 19, 22)
    assert torch.equal(network.noise, ConvDecoder(**settings).noise)
    assert not torch.equal(network.noise, ConvDecoder(**settings, seed=1).noise)
    assert torch.equal(network.eval()(), network.train()())


def test_it_fits_a_smooth_image():
    network = ConvDecoder((32, 32), out_channels=1, channels=24, layers=4, seed_shape=(4, 4))
    row = torch.linspace(-1, 1, 32)
    target = torch.exp(-4 * (row[:, None] ** 2 + row**2))[None, None]
    optimiser = torch.optim.Adam(network.parameters(), lr=8e-3)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (network() - target).square().sum() / target.square().sum()
        loss.backward()
        optimiser.step()
    assert loss < 0.01


def test_a_decoder_that_cannot_upsample_is_refused():
    with pytest.raises(ValueError, match="layers is 1"):
        ConvDecoder((8, 8), 2, layers=1)
