"""A run that was stopped within an epoch ends with the bits of one that was not, whatever is trained how."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from reshim.training.examples import Examples
from reshim.training.joint import Joint
from reshim.training.objectives import Supervised
from reshim.training.sampling import Group
from reshim.training.ssdu import SSDU
from reshim.training.train import train

UNET = {"input": "complex", "channels": 4, "poolings": 2}
CASES = {
    "varnet": ("varnet-tiny", {"cascades": 2, "channels": 2, "poolings": 2}, {}),
    "vit": ("vit-tiny", {"input": "complex", "width": 16, "heads": 2, "depth": 2}, {"objective": Joint()}),
    "unrolled": (
        "unrolled-tiny",
        {"channels": 4, "blocks": 1, "unrolls": 2},
        {"objective": Supervised("l1")},
    ),
    "ssdu": ("unet-tiny", UNET, {"objective": SSDU()}),
    "bf16": ("unet-tiny", UNET, {"bf16": True}),
    "weights": ("unet-tiny", UNET, {"epochs": 3}),
    "samples": ("unet-tiny", UNET, {"epochs": None, "samples": 23}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits(case, toy, tmp_path, monkeypatch):
    network, network_settings, changes = CASES[case]
    scans = [toy.record("a", 5), toy.record("b", 4)]
    if case == "weights":
        scans = [Group("p", (scans[0],), 3.0), Group("q", (scans[1],), 1.0)]

    def run(out):
        return train(
            network,
            scans,
            [toy.record("c", 2)],
            toy.settings(**changes),
            tmp_path / out,
            network_settings=network_settings,
            pool=toy.pool(),
        )

    whole = run("whole")
    build, calls = Examples.build, []

    def asked(self, *arguments):
        calls.append(1)
        if len(calls) == 8:  # the second batch of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return build(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Examples, "build", asked)
        with pytest.raises(SystemExit):
            run("cut")
    assert json.loads((tmp_path / "cut" / "settings.json").read_text())["finished"] is None
    cut = run("cut")
    for name in ("model.safetensors", "state.safetensors", "statistics.safetensors"):
        one, other = load_file(whole.path / name), load_file(cut.path / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    finished = [{**made.settings["finished"], "seconds": 0} for made in (whole, cut)]
    assert finished[0] == finished[1]
