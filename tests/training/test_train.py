import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reshim.acquire import measure
from reshim.digest import digest
from reshim.errors import BadScanError, UserError
from reshim.physics.fourier import to_image
from reshim.training.joint import Joint
from reshim.training.objectives import Supervised
from reshim.training.pool import Pool
from reshim.training.run_folder import RunFolder, load_run
from reshim.training.sampling import Group
from reshim.training.settings import EarlyStop, TrainingSettings
from reshim.training.ssdu import SSDU
from reshim.training.statistics import Statistics
from reshim.training.train import train

SMALL = {"input": "complex", "channels": 4, "poolings": 2}


def same_bits(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def log_without_times(folder: Path) -> list[dict]:
    return [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in RunFolder(folder).read_log()
    ]


@pytest.fixture
def trainer(toy, tmp_path):
    def run(
        out="run",
        *,
        training=None,
        validation=None,
        network="unet-tiny",
        pool=None,
        start=None,
        dropout=0.0,
        **changes,
    ):
        return train(
            network,
            training or [toy.record("a", 5), toy.record("b", 4)],
            [toy.record("c", 2)] if validation is None else validation,
            toy.settings(**changes),
            tmp_path / out,
            network_settings=SMALL | {"dropout": dropout} if isinstance(network, str) else None,
            pool=pool or toy.pool(),
            start=start,
        )

    return run


def test_overfits_two_slices(toy, trainer):
    run = trainer(
        training=[toy.record("a", 2)],
        epochs=90,
        batch_size=2,
        learning_rate=1e-2,
        warm_up=0.1,
        objective=Supervised("l1"),
        fixed_mask=True,
        keep_epochs=False,
        log_every=10,
    )
    losses = [line["loss"] for line in RunFolder(run.path).read_log("step")]
    assert losses[-1] < 0.5 * losses[0]


def test_the_run_is_a_reconstructor_that_does_what_reconstructors_promise(toy, trainer):
    run = trainer()
    measurement = measure(toy.read(toy.record("d", 3)), toy.SCHEME, 3)
    before = measurement.kspace.clone()
    image = run(measurement)
    assert image.shape == (3, toy.ROWS, toy.COLUMNS)
    assert not image.requires_grad
    assert torch.equal(run(measurement), image)
    assert torch.equal(measurement.kspace, before)
    one_by_one = torch.cat([run(measurement.item(index)) for index in range(3)])
    torch.testing.assert_close(one_by_one, image, rtol=1e-4, atol=1e-5)
    again = load_run(run.path)
    assert torch.equal(again(measurement), image)
    assert again.digest == run.digest
    assert again.training_subjects == {("toy", f"subject of {name}") for name in "abc"}


def test_the_same_run_gives_the_same_bits_and_another_seed_others(toy, trainer):
    trainer("first")
    trainer("second")
    trainer("other", seed=1)
    folders = [
        load_run(trainer(name, seed=int(name == "other")).path).path for name in ("first", "second", "other")
    ]
    assert same_bits(folders[0] / "model.safetensors", folders[1] / "model.safetensors")
    assert not same_bits(folders[0] / "model.safetensors", folders[2] / "model.safetensors")


def test_a_finished_run_is_handed_back_without_reading_a_scan(toy, trainer):
    first = trainer()

    def refuse(*_):
        raise AssertionError("nothing should be read")

    again = trainer(pool=Pool(read=refuse))
    assert again.digest == first.digest


def test_other_settings_in_the_same_folder_are_refused(toy, trainer):
    trainer()
    with pytest.raises(UserError, match=r"training\.seed is 0 there and 5 here"):
        trainer(seed=5)
    with pytest.raises(UserError, match="other settings"):
        trainer(training=[toy.record("a", 5)])


def test_a_folder_with_other_files_is_refused(toy, trainer, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(UserError, match="not empty"):
        trainer()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_asked_to_end_it_saves_leaves_and_goes_on_with_the_same_bits(
    dropout, toy, trainer, tmp_path, monkeypatch
):
    trainer("whole", epochs=3, dropout=dropout)

    builds = []
    from reshim.training.examples import Examples

    build = Examples.build

    def counted(self, *arguments):
        builds.append(1)
        if len(builds) == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return build(self, *arguments)

    monkeypatch.setattr(Examples, "build", counted)
    with pytest.raises(SystemExit) as left:
        trainer("cut", epochs=3, dropout=dropout)
    assert left.value.code == 128 + signal.SIGTERM
    assert json.loads((tmp_path / "cut" / "settings.json").read_text())["finished"] is None
    monkeypatch.undo()
    trainer("cut", epochs=3, dropout=dropout)
    for name in ("model.safetensors", "statistics.safetensors", "epochs/0003.safetensors"):
        assert same_bits(tmp_path / "whole" / name, tmp_path / "cut" / name)
    assert log_without_times(tmp_path / "whole") == log_without_times(tmp_path / "cut")


def test_killed_and_started_again_it_ends_with_the_same_bits(toy, tmp_path):
    toy.run(tmp_path / "whole", 12)
    script = Path(__file__).with_name("toy.py")
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "cut"), "12"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "cut" / "epochs" / "0003.safetensors").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((tmp_path / "cut" / "settings.json").read_text())["finished"] is None
    toy.run(tmp_path / "cut", 12)
    for name in ("model.safetensors", "epochs/0012.safetensors"):
        assert same_bits(tmp_path / "whole" / name, tmp_path / "cut" / name)
    assert log_without_times(tmp_path / "whole") == log_without_times(tmp_path / "cut")


def test_equal_samples_are_equal_whatever_the_number_of_scans(toy, trainer):
    runs = [
        trainer(f"of {n}", training=[toy.record("a", n)], epochs=None, samples=13, batch_size=2)
        for n in (3, 5, 9)
    ]
    assert [run.settings["finished"]["samples"] for run in runs] == [13, 13, 13]


def test_parts_of_a_batch_add_up_to_its_step(toy, trainer, tmp_path):
    trainer("whole", batch_size=4, objective=Supervised())
    trainer("parts", batch_size=4, accumulation=2, objective=Supervised())
    whole, parts = (RunFolder(tmp_path / name).read_log("step") for name in ("whole", "parts"))
    assert [line["loss"] for line in parts] == pytest.approx([line["loss"] for line in whole], rel=1e-4)


def test_bfloat16_draws_nearly_the_same_curve(toy, trainer, tmp_path):
    for name, bf16 in (("float32", False), ("bfloat16", True)):
        trainer(name, epochs=3, objective=Joint(), bf16=bf16)
    exact, rough = (RunFolder(tmp_path / name).read_log("epoch") for name in ("float32", "bfloat16"))
    losses = [[line["loss"] for line in lines] for lines in (exact, rough)]
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_validation_picks_the_checkpoint(toy, trainer, tmp_path):
    run = trainer(epochs=4, learning_rate=0.05)
    scores = [line["validation"]["score"] for line in RunFolder(run.path).read_log("epoch")]
    best = scores.index(max(scores)) + 1
    assert run.settings["finished"]["best_epoch"] == best
    assert same_bits(run.path / "model.safetensors", run.path / f"epochs/{best:04d}.safetensors")
    assert load_run(run.path, epoch=best).digest == run.digest


def test_the_card_says_what_the_weights_were_made_from(toy, trainer):
    run = trainer(objective=Joint())
    text = (run.path / "card.md").read_text()
    assert "2 scans of 2 subjects from toy" in text
    assert "unet-tiny" in text
    assert f"{run.settings['finished']['score']:.4f}" in text
    assert "Not stated" in text


def test_epochs_without_a_number_are_never_the_best(toy, trainer):
    class Sick(torch.nn.Module):
        """Scores well at first and then returns no number any more."""

        has_phase = True

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.calls = 0

        def forward(self, measurement):
            self.calls += not self.training
            image = (measurement.maps[:, 0].conj() * measurement.kspace).sum(1)
            return image * self.weight * (torch.nan if self.calls > 1 else 1.0)

    run = trainer(network=Sick(), epochs=3)
    assert run.settings["finished"]["best_epoch"] == 1


class Late(torch.nn.Module):
    """Returns no number in its first validations, then images that get better."""

    has_phase = True

    def __init__(self, sick):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.sick, self.calls = sick, 0

    def forward(self, measurement):
        self.calls += not self.training
        image = (measurement.maps[:, 0].conj() * to_image(measurement.kspace)).sum(1)
        if self.training:
            return image * self.weight
        quality = torch.nan if self.calls <= self.sick else 1 - 0.5**self.calls
        return image * quality + (1 - quality) * image.abs().amax()


def test_a_first_epoch_without_a_number_does_not_stop_the_run(trainer):
    run = trainer(network=Late(1), epochs=6, early_stop=EarlyStop(share=0.05, window=2))
    assert run.settings["finished"]["epochs"] == 6
    assert run.settings["finished"]["best_epoch"] == 6


def test_where_no_epoch_gives_a_number_the_last_is_kept_and_the_card_says_so(trainer):
    run = trainer(network=Late(99), epochs=2, early_stop=EarlyStop(window=1))
    finished = run.settings["finished"]
    assert (finished["epochs"], finished["best_epoch"], finished["score"]) == (2, None, None)
    assert same_bits(run.path / "model.safetensors", run.path / "epochs" / "0002.safetensors")
    assert "No epoch gave a validation score that is a number" in (run.path / "card.md").read_text()


def test_the_rule_for_stopping_early():
    rule = EarlyStop(share=0.05, window=2)
    rising = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert rule.epoch(rising) is None
    saturating = [0.0, 0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985]
    assert rule.epoch(saturating) == 5  # (0.97 - 0.90) / 2 is below 5 % of 0.97
    assert rule.epoch(saturating[:5]) is None
    assert not rule([0.0])
    assert rule.epoch([0.5, 0.4, 0.4, 0.4]) is None  # no gain yet: nothing to have a share of
    # Epochs without a number are nothing to count a gain from.
    assert rule.epoch([-math.inf, *saturating]) == 6
    assert rule.epoch([-math.inf, -math.inf, *rising]) is None
    assert rule.epoch([-math.inf] * 9) is None


def test_stopping_early_ends_the_run_and_says_so(toy, trainer):
    run = trainer(epochs=40, early_stop=EarlyStop(share=0.3, window=2))
    assert run.settings["finished"]["epochs"] < 40
    assert RunFolder(run.path).read_log("epoch")[-1]["stopped_early"]


def test_site_adaptation_learns_from_undersampled_scans_alone(toy, trainer):
    source = trainer("source", objective=Joint())
    site = [toy.record("site", 4, fully_sampled=False)]
    held_out = [toy.record("site too", 2, fully_sampled=False)]
    run = trainer(
        "adapted", training=site, validation=held_out, start=source.path, objective=SSDU(), learning_rate=1e-4
    )
    entries = RunFolder(run.path).read_log("epoch")
    assert entries[0]["validation"]["measure"] == "-loss"
    assert run.fallback is not None
    assert run.digest != source.digest
    assert digest(run.fallback) == source.digest
    with pytest.raises(UserError, match="fully sampled"):
        trainer("impossible", training=site, validation=held_out, objective=Supervised())


def test_references_of_undersampled_training_are_never_asked_for(toy, trainer, monkeypatch):
    def refuse(*_):
        raise AssertionError("nobody may ask for a reference")

    monkeypatch.setattr("reshim.training.pool.reference", refuse)
    trainer(
        training=[toy.record("site", 4, fully_sampled=False)],
        validation=[toy.record("site too", 2, fully_sampled=False)],
        objective=Joint(),
    )


def test_unacquired_samples_and_references_do_not_reach_a_self_supervised_run(toy, trainer, tmp_path):
    """NaN in every sample that no mask acquires and in every reference: the same bits."""

    def poisoned(of, slices=None):
        acquisition = toy.read(of, slices)
        if acquisition.mask is None:
            return acquisition
        return dataclasses.replace(
            acquisition, kspace=torch.where(acquisition.mask, acquisition.kspace, complex(math.nan, math.nan))
        )

    scans = {
        "training": [toy.record("s", 4, fully_sampled=False)],
        "validation": [toy.record("t", 2, fully_sampled=False)],
    }
    trainer("clean", objective=SSDU(), **scans)
    trainer("poisoned", objective=SSDU(), pool=Pool(read=poisoned), **scans)
    assert same_bits(tmp_path / "clean" / "model.safetensors", tmp_path / "poisoned" / "model.safetensors")
    assert same_bits(
        tmp_path / "clean" / "statistics.safetensors", tmp_path / "poisoned" / "statistics.safetensors"
    )


def test_a_bad_scan_is_left_out_and_named(toy, trainer):
    def read(of, slices=None):
        if of.scan_id == "b":
            raise BadScanError("b is cut short")
        return toy.read(of, slices)

    run = trainer(pool=Pool(read=read))
    assert run.settings["finished"]["left_out"] == {"b": "b is cut short"}
    with pytest.raises(UserError, match="cut short"):
        trainer("nothing left", training=[toy.record("b")], pool=Pool(read=read))


def test_a_subject_in_two_splits_is_refused(toy, trainer):
    with pytest.raises(UserError, match="one split"):
        trainer(validation=[toy.record("a")])


def test_budgets_and_settings_that_do_not_go_together_are_refused():
    for changes, words in [
        ({"epochs": 3, "samples": 4}, "exactly one"),
        ({"epochs": None}, "exactly one"),
        ({"batch_size": 3, "accumulation": 2}, "equal parts"),
        ({"schemes": ()}, "scheme"),
        ({"epochs": 0}, "at least 1"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": math.nan}, "above 0"),
        ({"clip": 0.0}, "above 0"),
        ({"warm_up": 1.5}, "from 0 to 1"),
        ({"start_divisor": 0.0}, "above 0"),
    ]:
        with pytest.raises(UserError, match=words):
            TrainingSettings(**changes)


def test_the_key_of_the_default_settings_is_what_it_was():
    """Runs and rows are found again by it: a new setting at its default must not change it."""
    assert digest(TrainingSettings()) == "b7a0b20de45ae283058591b707731a8b3b9801f5af46455ab04cfea8c00caf55"


def test_weighted_groups_are_seen_as_often_as_their_weights_say(toy, trainer):
    groups = [Group("p", (toy.record("p", 6),), 10.0), Group("q", (toy.record("q", 5),), 1.0)]
    run = trainer(training=groups, epochs=1)
    assert [group["weight"] for group in run.settings["data"]["groups"]] == [10.0, 1.0]
    assert run.settings["finished"]["samples"] == 11


def test_steps_without_a_finite_gradient_change_nothing_and_too_many_end_the_run(toy, trainer, tmp_path):
    class Broken(torch.nn.Module):
        has_phase = True

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, measurement):
            image = (measurement.maps[:, 0].conj() * measurement.kspace).sum(1)
            return image * self.weight * (torch.nan if self.training else 1.0)

    network = Broken()
    with pytest.raises(UserError, match="learning rate"):
        trainer(network=network, epochs=3, bad_steps=4)
    assert network.weight.item() == 1.0
    run = trainer("few", network=Broken(), epochs=1, bad_steps=100)
    assert run.settings["finished"]["skipped"] == run.settings["finished"]["steps"]


class Greedy(torch.nn.Module):
    """Asks for more memory than there is, in training, in validation or in both."""

    def __init__(self, modes=(True, False), **settings):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.modes, self.settings = modes, settings

    def forward(self, measurement):
        if self.training in self.modes:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        return self.weight * (measurement.maps[:, 0].conj() * measurement.kspace).sum(1)


@pytest.mark.parametrize(
    ("changes", "words", "never"),
    [
        ({"batch_size": 2}, ["--accumulation 2", "--batch", "another folder for --out"], "low_memory"),
        ({"batch_size": 3}, ["--accumulation 3"], "--accumulation 2"),
        ({"batch_size": 4, "accumulation": 2}, ["2 slices", "--accumulation 4"], "--accumulation 3"),
        ({"batch_size": 1}, ["1 slice of", "--bf16, or take a smaller network"], "--accumulation"),
        ({"batch_size": 2, "accumulation": 2}, ["--bf16, or take a smaller network"], "--accumulation"),
        ({"batch_size": 1, "bf16": True}, ["; take a smaller network"], "--bf16"),
    ],
)
def test_running_out_of_memory_names_remedies_that_can_work(changes, words, never, toy, trainer):
    # Twelve slices fall into batches of any of these sizes: the first is not a short one.
    with pytest.raises(UserError) as error:
        trainer(network=Greedy(), training=[toy.record("a", 12)], **changes)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert never not in str(error.value)
    if "--accumulation" in words[-1]:
        TrainingSettings(batch_size=changes["batch_size"], accumulation=int(words[-1].split()[1]))


def test_networks_that_can_compute_again_what_they_do_not_keep_are_told_so(trainer):
    for setting, word in (("low_memory", "low_memory=true"), ("implicit", "implicit=true")):
        with pytest.raises(UserError, match=word):
            trainer(setting, network=Greedy(**{setting: False}), batch_size=1)
        with pytest.raises(UserError) as error:
            trainer(f"{setting} already", network=Greedy(**{setting: True}), batch_size=1)
        assert word not in str(error.value)


def test_memory_may_run_out_in_validation_and_in_preparation_too(toy, trainer):
    with pytest.raises(UserError, match=r"in validation on 2 slices .* lower --batch"):
        trainer("validation", network=Greedy(modes=(False,)))

    def read(of, slices=None):
        raise MemoryError

    with pytest.raises(UserError, match=r"while a was read .* 5 slices of 4 coils, 32x28"):
        trainer("preparation", pool=Pool(read=read))

    def broken(of, slices=None):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        trainer("other", pool=Pool(read=broken))


def test_statistics_know_their_own_scans_from_others(toy, trainer):
    from reshim.training.features import features

    run = trainer()
    statistics = Statistics.load(run.path / "statistics.safetensors")
    like = features(measure(toy.read(toy.record("new", 4)), toy.SCHEME, 0))
    noise = toy.read(toy.record("new", 4))
    noise = dataclasses.replace(
        noise, kspace=noise.kspace + 3 * torch.randn(noise.kspace.shape, dtype=torch.complex64)
    )
    unlike = features(measure(noise, toy.SCHEME, 0))
    assert statistics.distance(unlike).min() > 2 * statistics.distance(like).max()
    scaled = dataclasses.replace(noise, kspace=1e-6 * noise.kspace)
    torch.testing.assert_close(features(measure(scaled, toy.SCHEME, 0)), unlike, rtol=1e-4, atol=1e-4)
