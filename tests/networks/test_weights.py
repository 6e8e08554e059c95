"""Networks by name, and their weights on disk."""

import pytest
import torch
from safetensors.torch import save_file

from reshim.errors import UserError
from reshim.networks import NETWORKS, build
from reshim.networks.weights import load_weights, save_weights

TINY = [name for name in NETWORKS if name.endswith("-tiny")]


@pytest.mark.parametrize("name", TINY)
def test_a_network_is_built_again_from_its_settings_and_weights(name, tmp_path, blobs):
    network = build(name).eval()
    path = save_weights(tmp_path / "run" / "model.safetensors", network)
    torch.manual_seed(5)
    again = load_weights(path, build(name, network.settings)).eval()
    with torch.no_grad():
        assert torch.equal(again(blobs()), network(blobs()))
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_an_unknown_name_or_setting_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'u-net'.*unet-tiny"):
        build("u-net")
    with pytest.raises(ValueError, match=r"no such setting.*colour"):
        build("unet-tiny", {"colour": 3})


def test_weights_of_another_size_are_refused_by_the_first_key_that_differs(tmp_path):
    path = save_weights(tmp_path / "model.safetensors", build("unet-tiny", {"channels": 4}))
    with pytest.raises(
        UserError, match=r"'core.down_sample_layers.0.layers.0.weight' has shape \(4, 1, 3, 3\)"
    ):
        load_weights(path, build("unet-tiny", {"channels": 5}))


def test_missing_and_foreign_weights_are_refused(tmp_path):
    network = build("unet-tiny", {"channels": 4})
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    save_file({**weights, "stranger": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(UserError, match="'stranger'"):
        load_weights(tmp_path / "more.safetensors", network)
    first = next(iter(weights))
    save_file({key: value for key, value in weights.items() if key != first}, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=f"{first}' is missing"):
        load_weights(tmp_path / "less.safetensors", network)


def test_a_refused_file_leaves_the_network_as_it_was(tmp_path):
    network = build("unet-tiny", {"channels": 4})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = save_weights(tmp_path / "model.safetensors", build("unet-tiny", {"channels": 5}))
    with pytest.raises(UserError):
        load_weights(path, network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    path = save_weights(tmp_path / "model.safetensors", build("unet-tiny"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="no readable safetensors"):
        load_weights(path, build("unet-tiny"))
    with pytest.raises(UserError, match="no readable safetensors"):
        load_weights(tmp_path / "absent.safetensors", build("unet-tiny"))


@pytest.mark.parametrize("name", TINY)
def test_bfloat16_convolutions_leave_the_image_in_single_precision(name, blobs):
    network = build(name).eval()
    measurement = blobs(rows=48, columns=48)
    with torch.no_grad():
        image = network(measurement)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(measurement)
    assert half.dtype == torch.complex64
    assert (half - image).norm() < 0.1 * image.norm()
