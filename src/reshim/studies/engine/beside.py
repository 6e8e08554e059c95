"""Several processes train what a study needs, each what no other is at; then one of them runs the study.

A recipe that trains many networks says which in ``train(study)``. The networks of a study are small: two of
them side by side on two cores take little longer than one on both.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import torch
from rich.console import Console

from reshim.errors import UserError
from reshim.studies import STUDIES, recipe_of
from reshim.studies.engine.study import Study


def checked_processes(recipe: ModuleType, count: int) -> int:
    """How many processes train, checked.

    Raises
    ------
    UserError
        If there are fewer than one, or several of a study that does not say what it trains.
    """
    if count < 1:
        raise UserError(f"there are {count} processes; give at least 1")
    if count > 1 and not hasattr(recipe, "train"):
        names = ", ".join(sorted(name for name in STUDIES if hasattr(recipe_of(name), "train")))
        raise UserError(
            "this study trains in one process; leave --processes and --train-only out "
            f"(the trainings of {names} can be dealt out)"
        )
    return count


def train_what_is_free(study: Study, recipe: ModuleType) -> None:
    """Train what the study needs, but for what another process is at just now."""
    study.waits = False
    try:
        recipe.train(study)
    finally:
        study.waits = True


def train_beside(study: Study, recipe: ModuleType, command: Sequence[str], processes: int) -> None:
    """Start processes that train what the study needs, do the same beside them, and wait for them.

    Parameters
    ----------
    command
        Arguments of `reshim` that make another process train for this study and stop.

    What one of them could not train is trained by `run`, which says what is the matter.
    """
    threads = max(1, torch.get_num_threads() // processes)
    command = [sys.executable, "-m", "reshim", *command, "--threads", str(threads)]
    with ExitStack() as stack:
        others = [
            stack.enter_context(_started(command, study.folder / f"trainings-{number}.log"))
            for number in range(2, processes + 1)
        ]
        with _threads(threads):
            train_what_is_free(study, recipe)
        for number, other in enumerate(others, 2):
            if other.wait():
                Console(markup=False, stderr=True).print(
                    f"training process {number} ended with {other.returncode}; "
                    f"{study.folder / f'trainings-{number}.log'} says why, its work is done here",
                    style="yellow",
                )


@contextmanager
def _started(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
