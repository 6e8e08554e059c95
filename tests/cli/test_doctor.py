"""The doctor from the command line: the machine alone, a plan, and what it refuses."""

import importlib.metadata
import json
import platform
import re

import h5py
import numpy as np
import pytest
import torch

from reshim.catalog import Catalog
from reshim.cli import main

PLAN = ["--plan", "slices=6", "volumes=2", "validation=2", "coils=3", "rows=32", "columns=28", "side=28"]
NETWORK = ["--network", "unet-tiny", "--network-option", "channels=4", "poolings=2"]


def test_the_machine_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "processor cores" in printed
    if platform.libc_ver()[0] == "glibc":
        # Commands tell the C library themselves; no variable of the environment is needed.
        assert re.search(r"large blocks kept by the C library +yes", printed)


def test_what_is_missing_is_named_with_the_extra_that_brings_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    known = importlib.metadata.version

    def version(name):
        if name == "numba":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert main(["doctor", "--out", str(tmp_path)]) == 0  # it is no fault
    assert re.search(r"numba +missing +pip install 'reshim\[fast\]'", capsys.readouterr().out)


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
    printed = capsys.readouterr()
    assert "too little" in printed.out.replace("\n", " ")
    assert "does not fit: memory" in printed.err
    assert main(["doctor", *PLAN, *NETWORK, "--json"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["fits"] is False
    assert "does not fit: memory" in printed.err


def asked(capsys, *words):
    assert main(["doctor", *words, *NETWORK, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_beyond_the_pool_is_said(capsys):
    assert main(["doctor", *PLAN, *NETWORK, "--pool-gib", "0.0001"]) == 0
    printed = capsys.readouterr().out
    assert "kept in memory" in printed
    roomy, cramped = asked(capsys, *PLAN), asked(capsys, *PLAN, "--pool-gib", "0")
    assert (roomy["pool_share"], cramped["pool_share"]) == (1.0, 0.0)
    assert cramped["parts"]["remade_seconds"] > 0 == roomy["parts"]["remade_seconds"]


def test_processes_take_memory_each(capsys):
    words = [*PLAN, "--threads", "1"]
    one, two = asked(capsys, *words), asked(capsys, *words, "--processes", "2")
    assert two["memory_bytes"] > 1.5 * one["memory_bytes"]


def test_scans_that_are_watched_count(capsys, tmp_path):
    for split, name in (("train", "a"), ("val", "b"), ("val", "c")):
        path = tmp_path / f"multicoil_{split}" / f"{name}.h5"
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            file["kspace"] = np.ones((2, 3, 32, 28), np.complex64)
            file["reconstruction_rss"] = np.ones((2, 32, 28), np.float32)
            file.attrs["acquisition"] = "CORPD_FBK"
            file.attrs["patient_id"] = name
    Catalog.index([tmp_path], tmp_path / "scans.parquet", workers=1)
    capsys.readouterr()
    words = [str(tmp_path / "scans.parquet"), "--where", "path NOT LIKE '%c.h5'"]
    plain, watching = asked(capsys, *words), asked(capsys, *words, "--watch", "true")
    # Two of three scans against all.
    assert watching["parts"]["pool_bytes"] == pytest.approx(1.5 * plain["parts"]["pool_bytes"], rel=0.01)
    assert watching["parts"]["validation_seconds"] > plain["parts"]["validation_seconds"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "cuda"], "PyTorch finds none here"),
        (["--device", "abacus"], "no device"),
        (["--fsdp"], "--processes"),
        (["--processes", "0"], "at least 1"),
        (["--pool-gib", "-1"], "0 or more"),
        (["--watch", "true"], "catalog"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, said, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["doctor", *PLAN, *NETWORK, *words]) == 2
    assert said in capsys.readouterr().err
