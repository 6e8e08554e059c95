"""Any objective with any network, as the command line puts them together: one epoch of one step each."""

import argparse

import pytest

from reshim.cli import training_plan as command
from reshim.errors import UserError
from reshim.networks import NETWORKS
from reshim.training import OBJECTIVES
from reshim.training.run_folder import RunFolder
from reshim.training.train import train

TINY = {
    "unet-tiny": ["channels=4", "poolings=2"],
    "vit-tiny": ["width=16", "heads=2", "depth=1"],
    "varnet-tiny": ["cascades=1", "channels=2", "poolings=2"],
    "unrolled-tiny": ["channels=4", "blocks=1", "unrolls=1"],
}


def parsed(*words):
    parser = argparse.ArgumentParser()
    command.add_plan(parser, needs_data=False)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(list(words))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("network", TINY)
def test_one_step(network, objective, toy, tmp_path):
    words = ["--network", network, "--network-option", *TINY[network], "--objective", objective]
    arguments = parsed(*words, "--epochs", "1", "--batch", "2", "--acceleration", "2", "--center-lines", "10")
    settings = command.settings_of(arguments)
    name, changes = command.network_of(arguments, settings.objective)
    run = train(
        name,
        [toy.record("a", 2)],
        [toy.record("c", 1)],
        settings,
        tmp_path / "run",
        network_settings=changes,
        pool=toy.pool(),
    )
    assert run.settings["finished"]["steps"] == 1
    assert run.settings["finished"]["skipped"] == 0
    assert 0 < RunFolder(run.path).read_log("epoch")[0]["loss"] < 3
    assert run.has_phase == (settings.objective.needs_phase or network == "unrolled-tiny")


def test_the_remedy_for_magnitudes_is_one_that_works(toy, tmp_path):
    for network, option in (("varnet-tiny", "output=rss"), ("unet-tiny", "input=magnitude")):
        arguments = parsed("--network", network, "--network-option", option, "--objective", "ssdu")
        settings = command.settings_of(arguments)
        _, changes = command.network_of(arguments, settings.objective)
        with pytest.raises(UserError, match="without phase") as error:
            train(network, [toy.record("a", 1)], [], settings, tmp_path / "run", network_settings=changes)
        remedy = "output=mvue" if network == "varnet-tiny" else "--input complex"
        assert remedy in str(error.value)
        key, value = remedy.removeprefix("--").replace(" ", "=").split("=")
        assert NETWORKS[network](**{key: value}).has_phase
