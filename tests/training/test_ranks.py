"""Several processes: the same result as one, whichever is asked to stop, and each on its own GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reshim.errors import UserError
from reshim.networks import build
from reshim.training.ranks import Ranks
from reshim.training.run_folder import RunFolder, load_run
from reshim.training.state import load_state

SCRIPT = Path(__file__).with_name("ranks.py")
NETWORKS = ("unet-tiny", "varnet-tiny", "vit-tiny", "unrolled-tiny")
SCENARIOS = (
    *(f"shard {name}" for name in NETWORKS),
    "shard ssdu",
    "whole unet-tiny",
    "stop in an epoch@cut",
    "whole unet-tiny@cut",
    "stop at its end@late",
    "whole unet-tiny@late",
    "stop sharded",
)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The runs of two processes each, and how the processes ended."""
    return pairs_of(SCENARIOS, tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The same of two processes that each hold all weights."""
    return pairs_of([f"whole {network}" for network in NETWORKS], tmp_path_factory.mktemp("two"))


def pairs_of(scenarios, out):
    words = [sys.executable, str(SCRIPT), str(out), *scenarios]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, json.loads(done.stdout), done.stderr[-3000:]


@pytest.fixture(scope="module")
def ranks(toy):
    """The module `ranks.py`, to make the same runs in one process."""
    import importlib.util

    sys.modules.setdefault("toy", toy)
    spec = importlib.util.spec_from_file_location("reshim_training_ranks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve(folder):
    lines = RunFolder(folder).read_log("epoch")
    return [line["loss"] for line in lines] + [line["validation"]["score"] for line in lines]


@pytest.mark.parametrize("network", NETWORKS)
def test_two_processes_have_the_loss_curve_of_one_at_equal_batch(network, two, ranks, tmp_path):
    out, statuses, said = two
    assert statuses[f"whole {network}"] == [0, 0], said
    ranks.run(tmp_path / "alone", network)
    assert len(curve(tmp_path / "alone")) == 4
    assert curve(out / f"whole {network}") == pytest.approx(curve(tmp_path / "alone"), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_weights_dealt_out_train_like_whole_ones(network, several, ranks, tmp_path):
    out, statuses, said = several
    assert statuses[f"shard {network}"] == [0, 0], said
    ranks.run(tmp_path / "alone", network)
    folder = out / f"shard {network}"
    assert curve(folder) == pytest.approx(curve(tmp_path / "alone"), rel=1e-4)
    files = [path / "state.safetensors" for path in (folder, tmp_path / "alone")]
    shared, alone = (load_file(file) for file in files)
    assert shared.keys() == alone.keys()
    # What several processes save is whole, and one may go on with it.
    weights = [name for name in alone if name.startswith("weights/")]
    for name in weights:
        torch.testing.assert_close(shared[name], alone[name], rtol=1e-2, atol=1e-4)
    module = build(network, ranks.TINY[network])
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    assert load_state(files[0], module, optimizer).step == 4
    shapes = [
        (value.shape, p.shape) for p, s in optimizer.state.items() for k, value in s.items() if k != "step"
    ]
    assert all(found == wanted for found, wanted in shapes)
    assert load_run(folder).network.state_dict().keys() == module.state_dict().keys()


@pytest.mark.slow
def test_an_unrolled_network_learns_from_undersampled_scans_with_its_weights_dealt_out(
    several, ranks, tmp_path
):
    out, statuses, said = several
    assert statuses["shard ssdu"] == [0, 0], said
    ranks.run(tmp_path / "alone", "unrolled-tiny", objective=ranks.SSDU())
    assert curve(out / "shard ssdu") == pytest.approx(curve(tmp_path / "alone"), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "folder"), [("stop in an epoch", "cut"), ("stop at its end", "late")])
def test_all_leave_when_one_is_asked_to_and_go_on_with_the_same_bits(asked, folder, several):
    (out, statuses, said), whole = several, "whole unet-tiny"
    assert statuses[f"{asked}@{folder}"] == [143, 143], said
    assert statuses[f"{whole}@{folder}"] == statuses[whole] == [0, 0], said
    weights = [load_file(out / name / "model.safetensors") for name in (whole, folder)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert curve(out / folder) == curve(out / whole)


@pytest.mark.slow
def test_one_process_goes_on_where_two_that_shared_the_weights_left(several, ranks, tmp_path):
    out, statuses, said = several
    assert statuses["stop sharded"] == [143, 143], said
    ranks.run(out / "stop sharded", "unrolled-tiny")
    ranks.run(tmp_path / "alone", "unrolled-tiny")
    assert curve(out / "stop sharded") == pytest.approx(curve(tmp_path / "alone"), rel=1e-4)


@pytest.fixture
def of_eight(monkeypatch):
    """The environment of a process of torchrun, on a machine with four GPUs that are not there."""
    taken, joined = [], []
    for name, value in {"WORLD_SIZE": "8", "RANK": "6", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", joined.append)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: int(os.environ["RANK"]))
    monkeypatch.setattr("atexit.register", lambda _: None)
    return taken, joined


def test_each_process_takes_the_gpu_of_its_number_on_its_machine(of_eight, monkeypatch):
    taken, joined = of_eight
    ranks, device = Ranks.from_environment(torch.device("cuda"))
    assert (ranks, device) == (Ranks(6, 8), torch.device("cuda", 2))
    assert taken == [2]
    assert "nccl" in joined[0]
    assert Ranks.from_environment(torch.device("cpu"))[1] == torch.device("cpu")
    assert joined[1] == "gloo"
    with pytest.raises(UserError, match="one GPU to all"):
        Ranks.from_environment(torch.device("cuda:1"))
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(UserError, match="--nproc-per-node 4"):
        Ranks.from_environment(torch.device("cuda"))


def test_alone_the_device_is_the_one_that_was_asked_for(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Ranks.from_environment(torch.device("cuda:1")) == (Ranks(), torch.device("cuda:1"))
