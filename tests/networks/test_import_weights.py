"""Public state dicts become RUN folders, and whatever else a file holds is refused."""

import json
import os
import pickle
import pickletools
import subprocess
import sys
import zipfile

import pytest
import torch
from fastmri.models import Unet
from fastmri.models import VarNet as FastmriVarNet

from reshim.errors import UserError
from reshim.networks import build
from reshim.networks.import_weights import import_weights
from reshim.networks.weights import load_weights

SMALL = {"channels": 4, "poolings": 3}


@pytest.fixture
def theirs():
    """fastMRI's U-net of the size of `SMALL`."""
    return Unet(1, 1, chans=4, num_pool_layers=3).eval()


def rebuilt(out):
    """The network of a RUN folder."""
    network = json.loads((out / "settings.json").read_text())["network"]
    return load_weights(out / "model.safetensors", build(network["name"], network["settings"])).eval()


def test_a_plain_state_dict_gives_the_same_output(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / "unet.pt")
    network = rebuilt(import_weights(tmp_path / "unet.pt", "unet-s", tmp_path / "run", SMALL))
    image = torch.randn(1, 1, 32, 40)
    with torch.no_grad():
        torch.testing.assert_close(network.core(image), theirs(image), rtol=1e-5, atol=1e-5)


def test_a_lightning_checkpoint_with_prefixes_and_other_tensors_is_unwrapped(tmp_path, blobs):
    theirs = FastmriVarNet(num_cascades=2, sens_chans=3, sens_pools=2, chans=4, pools=2).eval()
    inside = {f"varnet.{key}": value for key, value in theirs.state_dict().items()}
    torch.save(
        {"epoch": 3, "state_dict": {"loss.w": torch.ones(1, 1, 7, 7), **inside}}, tmp_path / "last.ckpt"
    )
    settings = {"cascades": 2, "channels": 4, "poolings": 2, "sens_channels": 3, "sens_poolings": 2}
    out = import_weights(tmp_path / "last.ckpt", "varnet-l", tmp_path / "run", settings)
    measurement = blobs(rows=32, columns=32)
    kspace, mask = torch.view_as_real(measurement.kspace), measurement.mask.unsqueeze(-1)
    with torch.no_grad():
        image, expected = rebuilt(out)(measurement).real, theirs(kspace, mask, 8)
    torch.testing.assert_close(image, expected, rtol=1e-5, atol=1e-5 * expected.max().item())
    about = json.loads((out / "settings.json").read_text())["about"]["imported"]
    assert about["prefix"] == "varnet."
    assert about["left_out"] == ["loss.w"]
    assert len(about["sha256"]) == 64


class Creates:
    """Pickled, it makes a file when it is read by an unguarded pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(theirs, tmp_path):
    planted = tmp_path / "planted"
    torch.save({**theirs.state_dict(), "extra": Creates(planted)}, tmp_path / "hostile.pt")
    with pytest.raises(UserError, match="weights_only"):
        import_weights(tmp_path / "hostile.pt", "unet-s", tmp_path / "run", SMALL)
    assert not planted.exists()
    assert not (tmp_path / "run").exists()
    # The test is not of a dud: the file does ask for the folder to be made. Its opcodes are listed, not run.
    with zipfile.ZipFile(tmp_path / "hostile.pt") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        opcodes = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(archive.read(name))]
    asked = [place for place, (_, argument) in enumerate(opcodes) if "mkdir" in str(argument)]
    assert asked
    assert "REDUCE" in [name for name, _ in opcodes[asked[0] :]]
    assert str(planted) in [argument for _, argument in opcodes[asked[0] :]]


def test_a_bare_pickle_is_refused_unread(tmp_path):
    planted = tmp_path / "planted"
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Creates(planted)))
    with pytest.raises(UserError, match="zip archive"):
        import_weights(tmp_path / "bare.pt", "unet-xs", tmp_path / "run")
    assert not planted.exists()


def test_a_file_too_large_for_the_network_is_refused_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (100 * 2**20))
    assert (tmp_path / "bomb.pt").stat().st_size < 2**20
    with pytest.raises(UserError, match="104,857,600 bytes unpacked"):
        import_weights(tmp_path / "bomb.pt", "unet-s", tmp_path / "run", SMALL)


def with_first(state, value):
    """The state dict with its first weight exchanged."""
    first = next(iter(state))
    return {**state, first: value}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda state: [1, 2], "holds a list"),
        (lambda state: {}, "holds a dict without weights"),
        (lambda state: {"a": torch.ones(1)}, "no weight is called 'down_sample_layers.0.layers.0.weight'"),
        (lambda state: with_first(state, torch.ones(4, 1, 5, 5)), r"has shape \(4, 1, 5, 5\)"),
        (lambda state: with_first(state, torch.full((4, 1, 3, 3), torch.nan)), "NaN"),
        (lambda state: with_first(state, "weights"), "is no tensor of floating-point numbers but str"),
        (
            lambda state: with_first(state, torch.ones(4, 1, 3, 3, dtype=torch.int64)),
            "but torch.strided, torch.int64",
        ),
        (lambda state: with_first(state, torch.ones(1).expand(4, 1, 3, 3)), "holds fewer"),
        (lambda state: {**state, "more": torch.ones(1)}, "'more' is not one of"),
        (lambda state: dict(list(state.items())[:-1]), "is missing"),
    ],
)
def test_whatever_is_odd_is_refused_with_a_sentence(theirs, tmp_path, content, message):
    torch.save(content(theirs.state_dict()), tmp_path / "odd.pt")
    with pytest.raises(UserError, match=message):
        import_weights(tmp_path / "odd.pt", "unet-s", tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()


def test_a_missing_or_cut_file_and_a_network_without_public_weights_are_refused(theirs, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        import_weights(tmp_path / "absent.pt", "unet-s", tmp_path / "run")
    torch.save(theirs.state_dict(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:5000])
    with pytest.raises(UserError, match="zip archive"):
        import_weights(tmp_path / "cut.pt", "unet-s", tmp_path / "run")
    with pytest.raises(UserError, match="no public weights"):
        import_weights(tmp_path / "cut.pt", "unrolled", tmp_path / "run")
    with pytest.raises(UserError, match="there is no network"):
        import_weights(tmp_path / "cut.pt", "unet-huge", tmp_path / "run")


def test_a_second_import_does_nothing_and_another_folder_is_not_overwritten(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / "unet.pt")
    out = import_weights(tmp_path / "unet.pt", "unet-s", tmp_path / "run", SMALL)
    before = (out / "model.safetensors").stat().st_mtime_ns
    import_weights(tmp_path / "unet.pt", "unet-s", out, SMALL)
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    torch.save(Unet(1, 1, chans=4, num_pool_layers=3).state_dict(), tmp_path / "other.pt")
    with pytest.raises(UserError, match="holds something else"):
        import_weights(tmp_path / "other.pt", "unet-s", out, SMALL)


def test_the_card_says_what_is_known_and_what_is_not(theirs, tmp_path):
    from reshim.training.card import card

    torch.save(theirs.state_dict(), tmp_path / "unet.pt")
    out = import_weights(tmp_path / "unet.pt", "unet-s", tmp_path / "run", SMALL)
    content = json.loads((out / "settings.json").read_text())
    text = (out / "card.md").read_text()
    assert content["about"]["imported"]["sha256"] in text
    assert f"{content['network']['parameters']:,} parameters" in text
    assert text.count("Unknown: it is not in the file") == 3
    assert card(content) == text
    # An import from before there were cards gets one.
    (out / "card.md").unlink()
    import_weights(tmp_path / "unet.pt", "unet-s", out, SMALL)
    assert (out / "card.md").read_text() == text


def test_the_command_imports_and_says_where(theirs, tmp_path, capsys):
    import argparse

    from reshim.cli import import_weights as command

    torch.save(theirs.state_dict(), tmp_path / "unet.pt")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = [str(tmp_path / "unet.pt"), "--network", "unet-s", "--out", str(tmp_path / "run")]
    sizes = ["--setting", "channels=4", "--setting", "poolings=3"]
    assert command.run(parser.parse_args([*arguments, *sizes])) == 0
    assert str(tmp_path / "run") in capsys.readouterr().out
    with pytest.raises(UserError, match="KEY=VALUE"):
        command.run(parser.parse_args([*arguments, "--setting", "channels"]))


@pytest.mark.parametrize("module", ["reshim.cli.import_weights", "reshim.networks"])
def test_asking_for_help_imports_no_torch(module):
    code = f"import {module}, sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
