import platform
import subprocess
import sys

import pytest

from reshim.cli import main
from reshim.training.memory import keep_freed_memory

PREPARING = """
from pathlib import Path
import torch
from reshim.training.memory import freed_memory_handed_back, keep_freed_memory


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256


def grown(scans):
    before, kept = resident(), []
    for scan in range(scans):
        with freed_memory_handed_back():
            prepare(40 + scan, kept)
    return resident() - before


def prepare(slices, kept):
    volume = torch.ones(slices, 2**18)
    kept.append(volume[0].clone())
    volume = volume * 2


keep_freed_memory()
print(grown(8))
block = torch.ones(2**26)
held = resident()
del block
print(held - resident())
"""


def test_glibc_listens_and_others_are_left_alone(monkeypatch):
    if platform.libc_ver()[0] == "glibc":
        assert keep_freed_memory()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()


@pytest.mark.parametrize(
    "words",
    [
        ["reconstruct", "scan.h5", "--out", "out"],
        ["evaluate", "scans.parquet", "--where", "true", "--with", "sense", "--out", "rows.parquet"],
        ["calibrate", "run", "scans.parquet", "--where", "true"],
        ["serve", "--port", "-1"],
        ["study", "stress", "--device", "no-such-device"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_computes_keeps_what_it_frees(words, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("reshim.training.memory.keep_freed_memory", lambda: told.append(True))
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert told


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_preparing_frees_is_handed_back_and_what_steps_free_is_kept():
    command = [sys.executable, "-c", PREPARING]
    grown, freed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    # Eight slices of 1 MiB stay; a volume has up to 47 MiB, and was there twice while it was doubled.
    assert int(grown) < 30
    assert int(freed) < 50
