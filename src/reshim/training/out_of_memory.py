"""What to do where memory runs out: in a step, in validation, while scans are prepared.

The remedies are those that can work for the run at hand; most change its settings, and a RUN folder holds one
run, so they go into another.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn

from reshim.errors import UserError
from reshim.training.batch import Example
from reshim.training.rehearsal import raw_bytes, step_bytes
from reshim.training.settings import TrainingSettings
from reshim.types import ScanRecord

ELSEWHERE = "; all of these make another run: give another folder for --out"


@contextmanager
def remedied(message: Callable[[], str]) -> Iterator[None]:
    """Turn a failed allocation within the block into a `UserError` that says `message`."""
    try:
        yield
    except MemoryError as error:
        raise UserError(message()) from error
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise UserError(message()) from error


def in_step(network: nn.Module, settings: TrainingSettings, example: Example, device: torch.device) -> str:
    """What happened in a step, what each slice needs, and what would make it fit."""
    remedies = smaller(network, settings)
    n_items, batch_size = example.n_items, settings.batch_size
    if n_items > 1:
        parts = next(n for n in range(settings.accumulation + 1, batch_size + 1) if batch_size % n == 0)
        first = f"work the batch of {batch_size} off in more parts (--accumulation {parts}, the same step)"
        remedies = [first, "lower --batch", *remedies]
    return (
        f"out of memory in a step on {_shape(example)}{_need(network, settings, example, device)}; "
        f"{_any_of(remedies)}{ELSEWHERE}"
    )


def in_validation(network: nn.Module, settings: TrainingSettings, example: Example) -> str:
    """The same for validation, which works whole batches off at once."""
    remedies = ["lower --batch (validation takes it whole)"] if example.n_items > 1 else []
    return (
        f"out of memory in validation on {_shape(example)}; "
        f"{_any_of([*remedies, *smaller(network, settings, forward_alone=True)])}{ELSEWHERE}"
    )


def in_preparation(record: ScanRecord) -> str:
    """The same while a whole scan is read and its references are made."""
    return (
        f"out of memory while {record.scan_id} was read and its references were made: {record.n_slices} "
        f"slices of {record.n_coils} coils, {record.n_rows}x{record.n_columns}, "
        f"{raw_bytes(record) / 2**30:.2f} GiB of k-space and a multiple of it while it is transformed; leave "
        "such scans out with --where (e.g. "
        f"n_slices * n_coils < {record.n_slices * record.n_coils}), or use a machine with more memory"
    )


def smaller(network: nn.Module, settings: TrainingSettings, *, forward_alone: bool = False) -> list[str]:
    """What makes a slice need less."""
    remedies = []
    own = getattr(network, "settings", {})
    if own.get("low_memory") is False and not forward_alone:
        again = "to compute each cascade again in the backward pass"
        remedies.append(f"give --network-option low_memory=true {again} instead of keeping it")
    if own.get("implicit") is False and not forward_alone:
        remedies.append("give --network-option implicit=true so that no iterate of the solves is kept")
    if not settings.bf16:
        remedies.append("give --bf16")
    return [*remedies, "take a smaller network"]


def _any_of(remedies: list[str]) -> str:
    *most, last = remedies
    return f"{', '.join(most)}, or {last}" if most else last


def _shape(example: Example) -> str:
    items, coils, rows, columns = example.measurement.kspace.shape
    return f"{items} slice{'s' * (items > 1)} of {coils} coils, {rows}x{columns}"


def _need(network: nn.Module, settings: TrainingSettings, example: Example, device: torch.device) -> str:
    """What a slice needs, in words; nothing where not even the rehearsal at a small size can be had.

    Nor among several processes: a rehearsal of one would wait for the others.
    """
    if distributed.is_initialized():
        return ""
    shape = tuple(example.measurement.kspace.shape)
    with_maps = example.measurement.maps is not None
    try:
        each = step_bytes(network, settings, shape, with_maps, device)
    except RuntimeError:
        return ""
    return f", of which each needs about {each / 2**30:.2f} GiB (`reshim doctor` says so beforehand)"
