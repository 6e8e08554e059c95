"""Threads that wait for each other do so briefly, unless the user has said how."""

import os
import subprocess
import sys

import pytest

from reshim.cli import SPINS, main


@pytest.fixture
def environment(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        # Set first, so that it is taken back afterwards whoever sets it meanwhile.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_command_lets_threads_spin_briefly(environment):
    assert main([]) == 2
    assert os.environ["GOMP_SPINCOUNT"] == SPINS


@pytest.mark.parametrize(
    ("name", "value", "spins"), [("GOMP_SPINCOUNT", "7", "7"), ("OMP_WAIT_POLICY", "ACTIVE", None)]
)
def test_what_the_user_said_of_waiting_stays(environment, name, value, spins):
    environment.setenv(name, value)
    assert main([]) == 2
    assert os.environ[name] == value
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_the_parser_is_made_before_torch_is_loaded():
    """Torch makes its threads as it is loaded; what is said of them must be said before."""
    code = "import reshim.cli, sys; reshim.cli.build_parser(); raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
