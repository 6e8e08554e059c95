"""The doctor from the command line: the machine alone, a plan, and what it refuses."""

import json

import pytest

from reshim.cli import main

PLAN = ["--plan", "slices=6", "volumes=2", "validation=2", "coils=3", "rows=32", "columns=28", "side=28"]
NETWORK = ["--network", "unet-tiny", "--network-option", "channels=4", "poolings=2"]


def test_the_machine_alone(tmp_path, capsys):
    assert main(["doctor", "--out", str(tmp_path)]) == 0
    assert "processor cores" in capsys.readouterr().out


def test_a_plan_is_forecast_as_a_table_and_as_json(tmp_path, capsys):
    assert main(["doctor", "--out", str(tmp_path), *PLAN, *NETWORK, "--epochs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "memory" in printed
    assert "4 steps" in printed
    assert main(["doctor", *PLAN, *NETWORK, "--epochs", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_slices"], found["n_steps"]) == (6, 4)
    assert found["memory_bytes"] > 1e8
    assert found["seconds"] > 0


@pytest.mark.parametrize("words", [["--plan", "slices=many"], ["--plan", "patients=3"]])
def test_a_plan_that_says_nothing_is_refused(words, capsys):
    assert main(["doctor", *words, *NETWORK]) == 2
    assert "whole numbers" in capsys.readouterr().err


def test_a_run_that_does_not_fit_ends_with_2(monkeypatch, capsys):
    monkeypatch.setattr("reshim.training.forecast.available_bytes", lambda device: 2**20)
    assert main(["doctor", *PLAN, *NETWORK]) == 2
    assert "too little" in capsys.readouterr().out.replace("\n", " ")
