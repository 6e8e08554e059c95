"""The vision transformer: published sizes, any image size, and the promises of a reconstructor."""

import pytest
import torch

from reshim.networks import NETWORKS
from reshim.networks.vit import ViT, ViTCore

SMALL = {"patch": 5, "width": 24, "heads": 3, "depth": 2, "positions": 8}


@pytest.mark.parametrize(("name", "count"), [("vit-s", 8_029_000), ("vit-l", 127_188_068)])
def test_published_sizes_have_the_published_numbers_of_parameters(name, count):
    with torch.device("meta"):
        network = NETWORKS[name]()
    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("form", ["magnitude", "complex"])
@pytest.mark.parametrize("shape", [(40, 40), (33, 47)])
def test_it_is_a_reconstructor_also_off_the_grid_of_patches(form, shape, blobs, reconstructor_check):
    network = ViT(input=form, **SMALL).eval()
    reconstructor_check(network, blobs(rows=shape[0], columns=shape[1], n_batch=2, crop=(33, 31)))


@pytest.mark.parametrize("form", ["magnitude", "complex"])
def test_gradients_reach_weights_and_kspace(form, blobs, gradient_check):
    gradient_check(ViT(input=form, **SMALL), blobs(rows=36, columns=41, n_batch=2))


def test_patches_come_back_in_the_place_they_were_taken_from():
    # With silent blocks and a head that undoes the embedding, the image itself comes back.
    core = ViTCore(1, patch=4, width=16, heads=2, depth=1, positions=3)
    core.norm = core.blocks = torch.nn.Identity()
    torch.nn.init.zeros_(core.positions)
    torch.nn.init.zeros_(core.embed.bias)
    torch.nn.init.zeros_(core.head.bias)
    with torch.no_grad():
        core.embed.weight.copy_(torch.eye(16).view(16, 1, 4, 4))
        core.head.weight.copy_(torch.eye(16))
    image = torch.randn(2, 1, 12, 8)
    torch.testing.assert_close(core(image), image)


def test_the_grid_of_positions_is_used_as_it_is_at_its_own_size():
    core = ViTCore(1, patch=4, width=8, heads=2, depth=1, positions=3)
    assert core._positions(3, 3) is core.positions
    assert core._positions(2, 5).shape == (1, 8, 2, 5)


def test_an_item_attends_to_itself_alone(blobs):
    network = ViT(**SMALL).eval()
    measurement = blobs(rows=40, columns=40, n_batch=2)
    with torch.no_grad():
        image = network(measurement)
        measurement.kspace[1] *= torch.linspace(0.5, 2, 40)
        again = network(measurement)
    torch.testing.assert_close(again[0], image[0], rtol=1e-5, atol=1e-9)
    assert not torch.allclose(again[1], image[1])
