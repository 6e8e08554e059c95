"""What the doctor says before a run: bytes that can be counted by hand, and real runs beside the forecast."""

import importlib.util
from pathlib import Path

import pytest
import torch

from reshim.networks import NETWORKS
from reshim.training.forecast import bytes_of_a_step, forecast
from reshim.training.joint import Joint
from reshim.training.rehearsal import Rehearsal, live_bytes, step_bytes


def test_live_bytes_are_those_of_tensors_alive_at_the_same_time():
    def work():
        first = torch.zeros(1000)
        del first
        second = torch.zeros(3000)
        third = second + 1
        return third.view(30, 100)

    assert live_bytes(lambda: [work()].clear()) == 4 * (3000 + 3000)


def test_what_a_network_keeps_for_the_backward_pass_is_counted():
    layers = torch.nn.Sequential(*(torch.nn.Tanh() for _ in range(5)))
    image = torch.zeros(1000, requires_grad=True)
    counted = live_bytes(lambda: layers(image).sum().backward())
    # Five results kept, and in the backward pass the gradients of two layers beside them.
    assert 4 * 1000 * 5 <= counted <= 4 * 1000 * 8


def test_disk_parameters_and_steps_are_exact(toy):
    network = NETWORKS["unet-tiny"](input="complex", channels=4, poolings=2)
    records = [toy.record("a", 5), toy.record("b", 4)]
    found = forecast(network, records, [toy.record("c", 2)], toy.settings(epochs=3))
    assert found.n_parameters == sum(weight.numel() for weight in network.parameters())
    assert (found.n_slices, found.n_steps) == (9, 15)
    assert found.disk_bytes == pytest.approx(4 * found.n_parameters * (3 + 1 + 3), abs=2**17)
    twice = forecast(network, records, [], toy.settings(epochs=None, samples=36))
    assert twice.n_steps == 18
    assert all(weight.grad is None for weight in network.parameters())


def test_more_slices_at_a_time_need_more_memory_and_parts_less(toy):
    network = NETWORKS["unet-tiny"](input="complex")
    few, many, parts = (
        bytes_of_a_step(Rehearsal(network, settings, True, torch.device("cpu")), [toy.record("a")], settings)
        for settings in (
            toy.settings(batch_size=size, accumulation=n) for size, n in ((2, 1), (4, 1), (4, 2))
        )
    )
    assert many == 2 * few
    assert parts == few


def test_out_of_memory_names_the_need_of_a_slice(toy, tmp_path, monkeypatch):
    from reshim.errors import UserError

    def full(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("reshim.training.loop.Objectified.forward", full)
    with pytest.raises(UserError, match=r"each needs about 0\.0\d GiB .*--accumulation"):
        toy.run(tmp_path / "run")


def test_a_step_of_two_passes_needs_more_than_one(toy):
    network = NETWORKS["unet-tiny"](input="complex", channels=4, poolings=2)
    shape = (1, 4, 64, 64)
    one, two = (
        step_bytes(network, settings, shape, True, torch.device("cpu"))
        for settings in (toy.settings(), toy.settings(objective=Joint()))
    )
    assert two > 1.1 * one


@pytest.mark.slow
def test_memory_and_disk_of_runs_are_as_said(tmp_path):
    path = Path(__file__).parents[2] / "benchmarks" / "doctor.py"
    spec = importlib.util.spec_from_file_location("doctor_benchmark", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for name in ("unet-xs-magnitude", "varnet-tiny-rss", "vit-tiny-joint"):
        line = benchmark.compare(name, 6, 1, tmp_path)
        assert 0.5 < line["memory_ratio"] < 2, line
        assert 0.8 < line["disk_ratio"] < 1.25, line
