"""Two processes that train toys together, in one start of Python: every scenario forks its own pair.

Run as a script, ``ranks.py OUT SCENARIO@FOLDER ...`` prints the exit statuses of each pair as JSON.
"""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import torch
import toy

from reshim.training import loop
from reshim.training.objectives import Supervised
from reshim.training.ssdu import SSDU
from reshim.training.train import train

TINY: dict[str, dict[str, object]] = {
    "unet-tiny": {"input": "complex", "channels": 4, "poolings": 2},
    "varnet-tiny": {"cascades": 2, "channels": 2, "poolings": 2, "sens_channels": 2, "low_memory": True},
    "vit-tiny": {"input": "complex", "width": 16, "heads": 2, "depth": 2},
    "unrolled-tiny": {"channels": 4, "blocks": 1, "unrolls": 2},
}
"""Small sizes of the tiny networks."""

PARTS = {"varnet-tiny": 1}
"""Parts of a batch; of one part, the VarNet calls its map network as often as a process has coil images."""


def run(out: Path, network: str, *, shards: bool = False, **changes: object) -> None:
    """Five slices in batches of three: shares of two and one slice, and a short batch."""
    usual: dict[str, object] = {"epochs": 2, "batch_size": 3, "accumulation": PARTS.get(network, 3)}
    # A line of the log every 100 steps: nobody may wait for the next one to leave.
    usual |= {"objective": Supervised("l1"), "log_every": 100}
    train(
        network,
        [toy.record("a", 5)],
        [toy.record("c", 3)],
        toy.settings(**(usual | changes)),
        out,
        network_settings=TINY[network],
        pool=toy.pool(),
        sharded=shards,
    )


def stopped(out: Path, rank: int, network: str, *, at_end: bool = False, shards: bool = False) -> None:
    """One process of two is asked to end, in the middle of an epoch or in its validation."""
    if rank == 1:
        owner, name = (loop, "validate") if at_end else (loop.Loop, "_parts")
        work, calls = getattr(owner, name), []

        def asked(*arguments: object, **keywords: object) -> object:
            calls.append(1)
            if len(calls) == (1 if at_end else 3):
                os.kill(os.getpid(), signal.SIGTERM)
            return work(*arguments, **keywords)

        setattr(owner, name, asked)
    run(out, network, shards=shards)


SCENARIOS: dict[str, Callable[[Path, int], None]] = {
    **{f"shard {name}": lambda out, rank, name=name: run(out, name, shards=True) for name in TINY},
    "shard ssdu": lambda out, rank: run(out, "unrolled-tiny", shards=True, objective=SSDU()),
    "stop in an epoch": lambda out, rank: stopped(out, rank, "unet-tiny"),
    "stop at its end": lambda out, rank: stopped(out, rank, "unet-tiny", at_end=True),
    "stop sharded": lambda out, rank: stopped(out, rank, "unrolled-tiny", shards=True),
    **{f"whole {name}": lambda out, rank, name=name: run(out, name) for name in TINY},
}


def pair(scenario: str, out: Path, seconds: float = 60) -> list[int | None]:
    """Exit statuses of two processes; None for one that had to be killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(2):
        if (child := os.fork()) == 0:
            os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            status = 1
            try:
                SCENARIOS[scenario](out, rank)
                status = 0
            except SystemExit as left:
                status = int(left.code or 0)
            except BaseException as error:
                print(f"{scenario}, process {rank}: {error!r}", file=sys.stderr)
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    late = threading.Timer(seconds, lambda: [os.kill(child, signal.SIGKILL) for child in children])
    late.start()
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    late.cancel()
    return [None if status == -signal.SIGKILL else status for status in statuses]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    found = {}
    for spec in sys.argv[2:]:
        scenario, _, place = spec.partition("@")
        found[spec] = pair(scenario, folder / (place or scenario))
    print(json.dumps(found))
