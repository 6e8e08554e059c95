"""What the doctor says before a run: bytes that can be counted by hand, and real runs beside the forecast."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reshim.acquire import reference
from reshim.errors import UserError
from reshim.networks import NETWORKS
from reshim.physics.maps import default_estimator
from reshim.training.forecast import (
    START_SECONDS,
    Processes,
    _Weights,
    available_bytes,
    bytes_of_a_step,
    forecast,
)
from reshim.training.joint import Joint
from reshim.training.pool import Pool
from reshim.training.rehearsal import Cost, Rehearsal, invented, live_bytes, one_thread, step_bytes
from reshim.training.train import train

SECONDS = Cost(
    read_seconds=3.0,
    reference_seconds=5.0,
    build_seconds=0.5,
    maps_seconds=7.0,
    step_seconds=11.0,
    validation_seconds=2.0,
    slice_bytes=4 * 32 * 28 * 8,
    reference_bytes=32 * 28 * 4,
    maps_bytes=4 * 32 * 28 * 8,
)
"""Of a toy slice, on a clock that only a test moves."""


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


@pytest.mark.parametrize("n_slices", [1, 6])
def test_memory_of_preparing_a_scan_is_foretold_from_two_of_its_slices(toy, n_slices):
    record = replace(toy.record("a", n_slices), n_rows=192, n_columns=176, recon_rows=192, recon_columns=176)
    network = NETWORKS["unet-tiny"](input="complex")
    rehearsal = Rehearsal(network, toy.settings(target="mvue"), True, torch.device("cpu"))
    said = rehearsal.preparation(record)
    with one_thread():
        needed = live_bytes(lambda: Pool(read=invented).prepare(record, "mvue"))
    assert said == pytest.approx(needed, rel=0.2)


def test_a_reference_needs_the_memory_of_a_slice_not_of_the_volume(toy):
    acquisition = invented(toy.record("a", 32))
    with one_thread():
        one, all_of_them = (
            live_bytes(lambda x=kspace: reference(replace(acquisition, kspace=x), "mvue"))
            for kspace in (acquisition.kspace[:1], acquisition.kspace)
        )
    assert all_of_them < one + acquisition.kspace.nbytes / 2


def test_disk_parameters_and_steps_are_exact(toy):
    network = NETWORKS["unet-tiny"](input="complex", channels=4, poolings=2)
    records = [toy.record("a", 5), toy.record("b", 4)]
    found = forecast(network, records, [toy.record("c", 2)], toy.settings(epochs=3))
    assert found.n_parameters == sum(weight.numel() for weight in network.parameters())
    assert (found.n_slices, found.n_steps) == (9, 15)
    assert found.disk_bytes == pytest.approx(4 * found.n_parameters * (3 + 1 + 3), abs=2**17)
    # Each of four epochs ends with a batch of one.
    assert forecast(network, records, [], toy.settings(epochs=None, samples=36)).n_steps == 20
    assert all(weight.grad is None for weight in network.parameters())


def test_more_slices_at_a_time_need_more_memory_and_parts_less(toy):
    network = NETWORKS["unet-tiny"](input="complex")
    few, many, parts = (
        bytes_of_a_step(Rehearsal(network, settings, True, torch.device("cpu")), [toy.record("a")])
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
    with pytest.raises(UserError, match=r"each needs about 0\.0\d GiB .*--bf16"):
        toy.run(tmp_path / "run")


def test_a_step_of_two_passes_needs_more_than_one(toy):
    network = NETWORKS["unet-tiny"](input="complex", channels=4, poolings=2)
    shape = (1, 4, 64, 64)
    one, two = (
        step_bytes(network, settings, shape, True, torch.device("cpu"))
        for settings in (toy.settings(), toy.settings(objective=Joint()))
    )
    assert two > 1.1 * one


class Clock:
    """Seconds that the parts of a toy training would take, added up as they are called."""

    def __init__(self, monkeypatch, toy):
        self.seconds = 0.0
        self.toy = toy
        for place, seconds, items in [
            (
                "pool.reference",
                SECONDS.reference_seconds,
                lambda acquisition, target: len(acquisition.kspace),
            ),
            ("examples.Examples.build", SECONDS.build_seconds, lambda examples, indices, epoch: len(indices)),
            ("examples.Examples.as_scanned", SECONDS.build_seconds, lambda examples, index: 1),
            ("loop.Objectified.forward", SECONDS.step_seconds, lambda model, example: example.n_items),
            ("validation._sums", SECONDS.validation_seconds, lambda network, examples, batch, *_: len(batch)),
        ]:
            self.watch(monkeypatch, f"reshim.training.{place}", seconds, items)

    def watch(self, monkeypatch, place, seconds, items):
        """Let the clock go on where something is called."""
        target, _, name = place.rpartition(".")
        work = getattr(monkeypatch_target(target), name)

        def timed(*arguments):
            self.seconds += seconds * items(*arguments)
            return work(*arguments)

        monkeypatch.setattr(place, timed)

    def pool(self, max_bytes):
        def read(record, slices=None):
            self.seconds += SECONDS.read_seconds * (record.n_slices if slices is None else len(slices))
            return self.toy.read(record, slices)

        def estimate(measurement):
            self.seconds += SECONDS.maps_seconds * len(measurement.kspace)
            return default_estimator(measurement)

        return Pool(read=read, estimate=estimate, max_bytes=max_bytes)


def monkeypatch_target(name):
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, member = name.rpartition(".")
        return getattr(importlib.import_module(module), member)


@pytest.mark.parametrize(
    ("share", "budget", "within"),
    [
        (1.0, {"epochs": 3}, 0.001),
        (0.0, {"epochs": 3}, 0.001),
        # What finds room is counted by the mean slice, not one by one.
        (0.3, {"epochs": 3}, 0.05),
        (0.75, {"epochs": 3}, 0.05),
        (0.0, {"epochs": None, "samples": 18}, 0.001),
        # Which slice of those that are watched is a validation slice as well is not looked at.
        (1.0, {"epochs": 3, "validation_slices": 1}, 0.01),
    ],
)
def test_seconds_are_those_of_a_run_whose_parts_take_what_the_rehearsal_says(
    share, budget, within, toy, tmp_path, monkeypatch
):
    training, validation = [toy.record("a", 5), toy.record("b", 4)], [toy.record("c", 2)]
    watched = [toy.record("d", 3), toy.record("c", 2)]
    settings = toy.settings(objective=Joint(), **budget)
    changes = {"input": "complex", "channels": 4, "poolings": 2}
    slices = 9 + 2 + 3
    whole = slices * (SECONDS.slice_bytes + SECONDS.reference_bytes + SECONDS.maps_bytes)
    with monkeypatch.context() as patched:
        patched.setattr(Rehearsal, "cost", lambda *_, **__: SECONDS)
        said = forecast(
            NETWORKS["unet-tiny"](**changes),
            training,
            validation,
            settings,
            watched=[watched],
            pool_bytes=int(share * whole),
        )
    assert said.pool_share == pytest.approx(share, abs=0.01)
    clock = Clock(monkeypatch, toy)
    train(
        "unet-tiny",
        training,
        validation,
        settings,
        tmp_path / "run",
        network_settings=changes,
        pool=clock.pool(int(share * whole)),
        watch={"others": watched},
    )
    assert said.seconds - START_SECONDS == pytest.approx(clock.seconds, rel=within)


def test_several_processes_share_the_steps_and_prepare_everything_each(toy, monkeypatch):
    monkeypatch.setattr(Rehearsal, "cost", lambda *_, **__: SECONDS)
    network = NETWORKS["unet-tiny"](input="complex", channels=4, poolings=2)
    records = [toy.record("a", 8), toy.record("b", 8)]
    one, two, crowded = (
        forecast(network, records, [], toy.settings(epochs=50, batch_size=4), processes=processes)
        for processes in (Processes(), Processes(2), Processes(2, slowdown=2.0))
    )
    assert two.parts["steps_seconds"] == pytest.approx(one.parts["steps_seconds"] / 2, rel=0.01)
    assert two.parts["preparation_seconds"] == pytest.approx(one.parts["preparation_seconds"])
    assert crowded.parts["steps_seconds"] == pytest.approx(one.parts["steps_seconds"], rel=0.01)
    assert 1.5 < two.memory_bytes / one.memory_bytes < 2.1
    with pytest.raises(UserError, match="--processes"):
        Processes(1, sharded=True)


def test_sharded_weights_are_counted_once_and_what_is_gathered_besides():
    layers = torch.nn.Sequential(*(torch.nn.Linear(10, 10, bias=False) for _ in range(8)))
    network = torch.nn.Module()
    network.layers = layers
    whole = 4 * 8 * 100
    step = 1e6
    assert _Weights(network, Processes()).bytes(step, writes=True) == 4 * whole + step
    assert _Weights(network, Processes(4)).bytes(step, writes=False) == 5 * whole + step
    # Two layers are whole at a time, weights and gradients.
    assert _Weights(network, Processes(4, sharded=True)).bytes(step, writes=False) == whole + step + whole / 2
    # Without a step to speak of, saving is the peak: all is gathered, and copied by the one who writes.
    assert _Weights(network, Processes(4, sharded=True)).bytes(0, writes=True) == whole + 9 * whole


def test_what_is_kept_on_disk_is_read_and_not_made_again(toy, monkeypatch):
    monkeypatch.setattr(Rehearsal, "cost", lambda *_, **__: SECONDS)
    network = NETWORKS["unet-tiny"](input="complex", channels=4, poolings=2)
    records = [toy.record("a", 8), toy.record("b", 8)]
    settings = toy.settings(epochs=10, objective=Joint())
    without, kept = (
        forecast(network, records, [], settings, pool_bytes=0, cache_bytes=size) for size in (0, 2**30)
    )
    assert without.parts["remade_seconds"] == pytest.approx(16 * (10 * (3 + 8) + 9 * 7))
    assert kept.parts["remade_seconds"] == pytest.approx(16 * 10 * 3, rel=0.01)
    assert kept.disk_bytes - without.disk_bytes == 16 * (SECONDS.reference_bytes + SECONDS.maps_bytes)


def test_the_doctor_times_in_the_state_that_training_runs_in(toy, monkeypatch):
    told = []
    monkeypatch.setattr("reshim.training.forecast.keep_freed_memory", lambda: told.append(True))
    forecast(NETWORKS["unet-tiny"](channels=4, poolings=2), [toy.record("a")], [], toy.settings())
    assert told
    assert available_bytes(torch.device("cpu")) > 0


@pytest.mark.slow
def test_memory_and_disk_of_runs_are_as_said(tmp_path):
    path = Path(__file__).parents[2] / "benchmarks" / "doctor.py"
    spec = importlib.util.spec_from_file_location("doctor_benchmark", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for name in ("unet-xs-magnitude", "varnet-tiny-rss", "vit-tiny-joint"):
        line = benchmark.compare(name, 6, 1, tmp_path)
        # Seconds depend on what else runs, and are tested above by a clock of the test's own.
        assert 0.75 < line["memory_ratio"] < 1.25, line
        assert 0.95 < line["disk_ratio"] < 1.05, line
