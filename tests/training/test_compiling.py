"""Compiled cores where it works, and one warning where it does not."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reshim.networks import NETWORKS
from reshim.training import compiling


def test_a_machine_that_cannot_compile_goes_on_with_one_warning(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler here\nand a long trace")

    monkeypatch.setattr(torch, "compile", broken)
    network = NETWORKS["unet-tiny"]()
    with pytest.warns(UserWarning, match="going on without it: no compiler here$"):
        assert not compiling.compile_cores(network)
    assert network.core._compiled_call_impl is None


def test_a_network_without_a_core_is_left_alone():
    with pytest.warns(UserWarning, match="no part that is worth"):
        assert not compiling.compile_cores(torch.nn.Linear(2, 2))


COMPILED = """
import torch
from reshim.networks import NETWORKS
from reshim.training import compiling

network = NETWORKS["unet-tiny"](channels=4, poolings=2).eval().core
image = torch.randn(1, 1, 32, 32)
with torch.no_grad():
    expected = network(image)
    holder = torch.nn.Sequential(network)
    assert compiling.compile_cores(holder)
    torch.testing.assert_close(holder(image), expected, rtol=1e-4, atol=1e-5)
"""


TRAINED = """
import sys
from pathlib import Path

import pytest
import toy
import torch

from reshim.training.run_folder import RunFolder
from reshim.training.train import train

torch.set_num_threads(1)
curves = []
for compiled in (False, True):
    out = Path(sys.argv[1]) / str(compiled)
    # Batches of one size and no validation: one shape to compile for.
    small = {"channels": 4, "blocks": 1, "unrolls": 1}
    options = {"network_settings": small, "pool": toy.pool(), "compiled": compiled}
    run = train("unrolled-tiny", [toy.record("a", 4)], [], toy.settings(), out, **options)
    curves.append([line["loss"] for line in RunFolder(out).read_log("epoch")])
    assert (run.network.core._compiled_call_impl is None), "weights come back without the compiled code"
assert curves[1] == pytest.approx(curves[0], rel=1e-3), curves
"""


@pytest.mark.slow
def test_a_compiled_run_draws_the_same_curve(tmp_path):
    words = [sys.executable, "-c", TRAINED, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "going on without it" not in done.stderr


@pytest.mark.slow
def test_compiled_cores_give_the_same_image():
    # Apart from the tests' own type checks and warnings, which are in the way of PyTorch's tracing.
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
