"""Threads that wait for each other do so briefly, unless the user has said how."""

import os

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


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_what_the_user_said_of_waiting_stays(environment, name, value):
    environment.setenv(name, value)
    assert main([]) == 2
    assert os.environ[name] == value
    assert (os.environ.get("GOMP_SPINCOUNT") == SPINS) is False
