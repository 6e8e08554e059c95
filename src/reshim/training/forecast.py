"""Memory, time and disk of a training run, said before it starts.

Memory: the process itself, what the pool of slices keeps, four times the weights (themselves, gradient, two
moments of Adam), and what a step has alive at its peak. Time: preparation once, then epochs of steps and
validation. Disk: weights of each epoch, and the state for resuming. What a slice costs comes from a short
rehearsal on this machine; everything else is arithmetic.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reshim.training.pool import Pool
from reshim.training.rehearsal import Cost, Rehearsal, raw_bytes
from reshim.training.run_folder import wants_maps
from reshim.training.settings import TrainingSettings
from reshim.training.train import MOST_STATISTICS
from reshim.types import ScanRecord

SLACK = 1.1
"""Of the bytes alive at the peak: working space inside operations, and holes between blocks."""

PREPARATION_SLACK = 2.2
"""The same while volumes are prepared, whose many sizes leave more holes."""

OPTIMISER_BYTES = 60 * 2**20
"""Of code that torch loads with its first optimiser."""

WRITE_BYTES = 5e8
"""Bytes a second that weights are written with."""

START_SECONDS = 5.0
"""Loading torch, opening the catalog, closing the run."""

MOST_REHEARSED = 3
"""Shapes that are rehearsed; rarer ones count as the last of them, by their pixels."""


@dataclass(frozen=True)
class Forecast:
    """What a run needs."""

    memory_bytes: int
    """At the peak, in the process."""

    device_bytes: int
    """On the GPU at the peak; 0 without one."""

    disk_bytes: int
    """Of the finished run folder."""

    seconds: float
    n_parameters: int
    n_slices: int
    n_steps: int
    step_seconds: float
    parts: dict[str, float]
    """Where bytes and seconds go."""


def forecast(
    network: nn.Module,
    training: Sequence[ScanRecord],
    validation: Sequence[ScanRecord],
    settings: TrainingSettings,
    device: torch.device | str = "cpu",
) -> Forecast:
    """What training `network` on the scans would take on this machine, without reading one of them."""
    device = torch.device(device)
    base = resident_bytes()
    network.to(device)
    maps = settings.objective.needs_phase or wants_maps(network)
    rehearsal = Rehearsal(network, settings, maps, device)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    step_bytes = bytes_of_a_step(rehearsal, [*training, *validation], settings)
    weights = 4 * n_parameters
    fits = step_bytes + 4 * weights < 0.7 * available_bytes(device)
    costs = _costs(rehearsal, [*training, *validation], fits)

    n_slices, held_out = _slices(training), _slices(validation)
    limit = settings.validation_slices
    scored = held_out if limit is None else min(held_out, limit)
    n_steps, epochs = _steps(n_slices, settings)
    seen = n_steps * settings.batch_size if settings.samples is None else settings.samples
    seen = min(seen, epochs * n_slices) if settings.samples is None else seen

    pool = min(_sum(costs, training, "kept_bytes") + _sum(costs, validation, "kept_bytes"), Pool.max_bytes)
    prepared = PREPARATION_SLACK * rehearsal.preparation(max([*training, *validation], key=raw_bytes))
    # Saving the state copies weights and moments twice, while no step is under way.
    step = 4 * weights + max(SLACK * step_bytes, 6 * weights)
    own = 0 if device.type == "cuda" else step
    memory = base + OPTIMISER_BYTES + pool + max(own, prepared)

    mean = _mean(costs, training)
    preparation = sum(
        _sum(costs, records, "prepare_seconds") + _sum(costs, records, "maps_seconds")
        for records in (training, validation)
    )
    step_seconds = settings.batch_size * mean.step_seconds
    steps = seen * (mean.step_seconds + mean.build_seconds) + n_steps * 12e-9 * n_parameters
    per_slice = _mean(costs, validation or training)
    validating = epochs * scored * (per_slice.validation_seconds + per_slice.build_seconds)
    written = epochs * (3 + int(settings.keep_epochs) + 1) * weights
    ending = min(n_slices, MOST_STATISTICS) * mean.build_seconds
    parts = {
        "base_bytes": base,
        "pool_bytes": pool,
        "preparation_bytes": prepared,
        "step_bytes": step,
        "preparation_seconds": preparation,
        "steps_seconds": steps,
        "validation_seconds": validating,
    }
    kept = epochs * int(settings.keep_epochs) + 1 + 3
    return Forecast(
        memory_bytes=int(memory),
        device_bytes=int(step) if device.type == "cuda" else 0,
        disk_bytes=int(kept * weights + 2**16),
        seconds=START_SECONDS + preparation + steps + validating + ending + written / WRITE_BYTES,
        n_parameters=n_parameters,
        n_slices=n_slices,
        n_steps=n_steps,
        step_seconds=step_seconds,
        parts=parts,
    )


def resident_bytes() -> int:
    """What this process holds now; 300 MB, as after loading torch, where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 300 * 2**20


def available_bytes(device: torch.device) -> int:
    """Free memory of the device, or of the machine; 8 GB where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 8 * 2**30


def bytes_of_a_step(rehearsal: Rehearsal, records: Sequence[ScanRecord], settings: TrainingSettings) -> float:
    """Bytes alive at the peak of a step on the largest shape."""
    largest = max(records, key=lambda r: r.n_coils * r.recon_rows * r.n_columns)
    at = rehearsal.activations(largest)
    rows = largest.recon_rows if settings.remove_oversampling else largest.n_rows
    gradients = 4 * sum(parameter.numel() for parameter in rehearsal.network.parameters())
    of_slice = max(at(min(rows, largest.n_rows), largest.n_columns) - gradients, 0)
    return settings.batch_size // settings.accumulation * of_slice


def _shape(record: ScanRecord) -> tuple[int, ...]:
    return (record.n_coils, record.n_rows, record.n_columns, record.recon_rows, record.recon_columns)


def _costs(rehearsal: Rehearsal, records: Sequence[ScanRecord], fits: bool) -> dict[tuple[int, ...], Cost]:
    counts: Counter[tuple[int, ...]] = Counter()
    for record in records:
        counts[_shape(record)] += record.n_slices
    example = {_shape(record): record for record in records}
    costs: dict[tuple[int, ...], Cost] = {}
    for shape, _ in counts.most_common():
        if len(costs) < MOST_REHEARSED:
            costs[shape] = last = rehearsal.cost(example[shape], fits=fits)
            size = _size(shape)
        else:
            costs[shape] = last.scaled(_size(shape) / size)
    return costs


def _size(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[1] * shape[2]


def _sum(costs: dict[tuple[int, ...], Cost], records: Sequence[ScanRecord], name: str) -> float:
    return sum(record.n_slices * getattr(costs[_shape(record)], name) for record in records)


def _mean(costs: dict[tuple[int, ...], Cost], records: Sequence[ScanRecord]) -> Cost:
    n_slices = max(_slices(records), 1)
    values: dict[str, Any] = {
        name: _sum(costs, records, name) / n_slices for name in Cost.__dataclass_fields__
    }
    return Cost(**{**values, "kept_bytes": int(values["kept_bytes"])})


def _slices(records: Sequence[ScanRecord]) -> int:
    return sum(record.n_slices for record in records)


def _steps(n_slices: int, settings: TrainingSettings) -> tuple[int, int]:
    """Steps and epochs of the whole budget."""
    if settings.samples is None:
        assert settings.epochs is not None
        return settings.epochs * -(-n_slices // settings.batch_size), settings.epochs
    return -(-settings.samples // settings.batch_size), -(-settings.samples // n_slices)
