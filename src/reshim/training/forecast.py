"""Memory, time and disk of a training run, said before it starts.

Memory: the process itself, what the pool of slices keeps, four times the weights (themselves, gradient, two
moments of Adam), and what a step has alive at its peak. Time: preparation once, then epochs of steps and
validation; and where slices, references and maps do not all fit into the pool, reading and making the others
again at every draw. Disk: weights of each epoch, and the state for resuming. What a slice costs comes from a
short rehearsal on this machine; everything else is arithmetic. Of several processes each prepares all scans
and keeps a pool of its own.
"""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from reshim.errors import UserError
from reshim.training.memory import keep_freed_memory
from reshim.training.pool import Pool
from reshim.training.rehearsal import READ_BYTES, Cost, Rehearsal, raw_bytes
from reshim.training.run_folder import wants_maps
from reshim.training.settings import TrainingSettings
from reshim.training.sharding import most_gathered
from reshim.training.train import MOST_STATISTICS
from reshim.types import ScanRecord

SLACK = 1.1
"""Of the bytes alive at the peak: working space inside operations, and holes between blocks."""

OPTIMISER_BYTES = 60 * 2**20
"""Of code that torch loads with its first optimiser."""

WRITE_BYTES = 5e8
"""Bytes a second that weights are written with."""

LINK_BYTES = 1e9
"""Bytes a second at which processes of one machine exchange gradients."""

START_SECONDS = 5.0
"""Loading torch, opening the catalog, closing the run."""

MOST_REHEARSED = 3
"""Shapes that are rehearsed; rarer ones count as the last of them, by their pixels."""


@dataclass(frozen=True)
class Forecast:
    """What a run needs."""

    memory_bytes: int
    """At the peak, of all processes together."""

    device_bytes: int
    """On each GPU at the peak; 0 without one."""

    disk_bytes: int
    """Of the run folder at its largest."""

    seconds: float
    n_parameters: int
    n_slices: int
    n_steps: int
    step_seconds: float
    pool_share: float
    """Of slices, references and maps, by their bytes: what stays in memory from draw to draw."""

    parts: dict[str, float]
    """Where bytes and seconds go."""


@dataclass(frozen=True)
class Processes:
    """How a run is dealt out on one machine."""

    count: int = 1
    """Of ``torchrun --nproc-per-node``."""

    sharded: bool = False
    """With ``--fsdp``."""

    slowdown: float = 1.0
    """Of each beside the others, where they have fewer cores than they ask for."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"there are {self.count} processes; give at least 1")
        if self.sharded and self.count == 1:
            raise UserError(
                "--fsdp deals the weights out over several processes; say how many with --processes N"
            )


def forecast(
    network: nn.Module,
    training: Sequence[ScanRecord],
    validation: Sequence[ScanRecord],
    settings: TrainingSettings,
    device: torch.device | str = "cpu",
    *,
    watched: Sequence[Sequence[ScanRecord]] = (),
    processes: Processes | None = None,
    pool_bytes: int = Pool.max_bytes,
    cache_bytes: int = 0,
    lends: bool = False,
    start_seconds: float = START_SECONDS,
) -> Forecast:
    """What training `network` on the scans would take on this machine, without reading one of them.

    Parameters
    ----------
    network
        As it would be trained; it comes back as it was, on `device`.
    training, validation
        Scans that are trained on, and that choose the checkpoint.
    settings
        How it would be trained. A rule for stopping early is taken as never met.
    device
        Where the network computes.
    watched
        Groups of scans that are scored after each epoch besides.
    processes
        How the run is dealt out; by default one process.
    pool_bytes, cache_bytes
        Bounds of what each process keeps in memory, and of references and maps on disk.
    lends
        True where weights of another run are kept beside as fall-back.
    start_seconds
        What loading the code and opening the catalog takes.
    """
    device, processes = torch.device(device), processes or Processes()
    keep_freed_memory()  # as `train` does
    network.to(device)
    base = resident_bytes()
    maps = settings.objective.needs_phase or wants_maps(network)
    rehearsal = Rehearsal(network, settings, maps, device, processes.count)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    groups = [list(training), list(validation), *map(list, watched)]
    everything = [record for group in groups for record in group]
    step_bytes = bytes_of_a_step(rehearsal, everything)
    fits = step_bytes + 16 * n_parameters < 0.7 * available_bytes(device)
    costs = _costs(rehearsal, everything, fits)

    n_slices = _slices(training)
    n_steps, epochs, seen = _budget(training, settings)
    limit = settings.validation_slices
    scored = [min(_slices(group), limit or _slices(group)) for group in groups[1:]]
    draws = [
        _Drawn(fresh, _mean(costs, group), looks / processes.count, chance)
        for group, fresh, looks, chance in zip(
            groups,
            _fresh(groups),
            [seen, *(epochs * count for count in scored)],
            [
                # Which process draws a slice is another one in each epoch; validation is dealt out once.
                1 - (1 - 1 / processes.count) ** max(seen / n_slices, 1),
                *(
                    count / max(_slices(group), 1) / processes.count
                    for group, count in zip(groups[1:], scored, strict=True)
                ),
            ],
            strict=True,
        )
        if group
    ]
    room = _Room(pool_bytes)
    disk = _Room(cache_bytes / processes.count)
    for drawn in draws:
        drawn.prepare(room, disk)
    for drawn in draws:
        drawn.first_maps(room, disk)

    prepared = SLACK * rehearsal.preparation(max(everything, key=raw_bytes))
    weights = _Weights(network, processes)
    own = [weights.bytes(SLACK * step_bytes, writes=index == 0) for index in range(processes.count)]
    memory = sum(
        base + OPTIMISER_BYTES + room.taken + max(0.0 if device.type == "cuda" else of_one, prepared)
        for of_one in own
    )

    mean, first = draws[0].mean, draws[0]
    preparation = sum(drawn.preparing for drawn in draws)
    remade = sum(drawn.looks * drawn.again - drawn.spared for drawn in draws)
    building = first.looks * mean.build_seconds
    working = first.looks * mean.step_seconds
    # A GPU works while the processor builds what comes next.
    steps = max(working, building) if device.type == "cuda" else working + building
    steps += n_steps * weights.update_seconds
    validating = sum(
        drawn.looks * (drawn.mean.validation_seconds + drawn.mean.build_seconds) for drawn in draws[1:]
    )
    size = 4 * n_parameters
    written = epochs * (3 + int(settings.keep_epochs) + 1) * size + processes.count * disk.taken
    # Statistics of the training measurements close the run; they need neither references nor maps.
    ending = min(n_slices, MOST_STATISTICS) * (mean.build_seconds + first.read_again)
    kept = epochs * int(settings.keep_epochs) + 1 + 3 + int(lends)
    parts = {
        "base_bytes": base,
        "pool_bytes": room.taken,
        "preparation_bytes": prepared,
        "step_bytes": own[0],
        "wanted_bytes": room.wanted,
        "cache_bytes": processes.count * disk.taken,
        "preparation_seconds": processes.slowdown * preparation,
        "remade_seconds": processes.slowdown * remade,
        "steps_seconds": processes.slowdown * steps,
        "validation_seconds": processes.slowdown * validating,
    }
    return Forecast(
        memory_bytes=int(memory),
        device_bytes=int(own[0]) if device.type == "cuda" else 0,
        disk_bytes=int(kept * size + 2**16 + processes.count * disk.taken),
        seconds=start_seconds
        + processes.slowdown * (preparation + remade + steps + validating + ending)
        + written / WRITE_BYTES,
        n_parameters=n_parameters,
        n_slices=n_slices,
        n_steps=n_steps,
        step_seconds=processes.slowdown * rehearsal.items * settings.accumulation * mean.step_seconds,
        pool_share=room.taken / room.wanted if room.wanted else 1.0,
        parts=parts,
    )


@dataclass
class _Room:
    """Bytes that may be kept; whoever comes first has them."""

    size: float
    taken: float = 0.0
    wanted: float = 0.0

    def take(self, n_bytes: float) -> float:
        """The share of so many bytes that finds room."""
        fit = min(n_bytes, self.size - self.taken)
        self.taken, self.wanted = self.taken + fit, self.wanted + n_bytes
        return fit / n_bytes if n_bytes else 1.0


@dataclass
class _Drawn:
    """Scans that one process prepares and then draws slices of, and the seconds of what is no step."""

    n_slices: int
    """Without those of scans that stand in an earlier group."""

    mean: Cost
    looks: float
    """Slices that are drawn in the whole run."""

    chance: float
    """Of a slice to be drawn by this process at all."""

    preparing: float = 0.0
    """Seconds once for each slice."""

    again: float = 0.0
    """Seconds at every draw of a slice, in the mean: reading and making what the pool did not keep."""

    read_again: float = 0.0
    """Of these, those of reading the slice alone."""

    spared: float = 0.0
    """Seconds of these that are none, because maps were made just then for the first time."""

    def prepare(self, room: _Room, disk: _Room) -> None:
        """Slices and references, of all scans before the first step."""
        mean, n_slices = self.mean, self.n_slices
        self.preparing = n_slices * (mean.read_seconds + mean.reference_seconds)
        kept = room.take(n_slices * (mean.slice_bytes + mean.reference_bytes))
        on_disk = disk.take(n_slices * mean.reference_bytes)
        # A reference is made of the slice as it was measured, which is read once more for it.
        anew = mean.read_seconds + mean.reference_seconds if mean.reference_bytes else 0.0
        reference = on_disk * mean.reference_bytes / READ_BYTES + (1 - on_disk) * anew
        self.read_again = (1 - kept) * mean.read_seconds
        self.again += (1 - kept) * (mean.read_seconds + reference)

    def first_maps(self, room: _Room, disk: _Room) -> None:
        """Maps, each when its slice is drawn for the first time."""
        mean = self.mean
        distinct = min(self.looks, self.chance * self.n_slices)
        self.preparing += distinct * mean.maps_seconds
        kept = room.take(distinct * mean.maps_bytes)
        on_disk = disk.take(distinct * mean.maps_bytes)
        again = on_disk * mean.maps_bytes / READ_BYTES + (1 - on_disk) * mean.maps_seconds
        self.again += (1 - kept) * again
        self.spared += distinct * (1 - kept) * again


@dataclass(frozen=True)
class _Weights:
    """What weights, gradients and moments cost a process."""

    network: nn.Module
    processes: Processes

    @property
    def whole(self) -> float:
        """Bytes of all weights."""
        return 4.0 * sum(parameter.numel() for parameter in self.network.parameters())

    def bytes(self, step: float, *, writes: bool) -> float:
        """At the peak: in a step, or while the state is saved, which copies weights and moments."""
        whole, count = self.whole, self.processes.count
        if not self.processes.sharded:
            # Gradients are averaged in copies of their own.
            averaging = whole if count > 1 else 0.0
            return 4 * whole + averaging + max(step, 6 * whole if writes else 0.0)
        # With their gradients.
        gathered = 2 * 4.0 * most_gathered(self.network)
        return 4 * whole / count + max(step + gathered, (9 if writes else 3) * whole)

    @property
    def update_seconds(self) -> float:
        """Of a step: Adam, and the exchange of gradients (and, sharded, of weights)."""
        count = self.processes.count
        passes = 3 if self.processes.sharded else 2
        exchanged = passes * (count - 1) / count * self.whole
        own = self.whole / count if self.processes.sharded else self.whole
        return 3e-9 * own + exchanged / LINK_BYTES


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


def bytes_of_a_step(rehearsal: Rehearsal, records: Sequence[ScanRecord]) -> float:
    """Bytes alive at the peak of a process's step on the largest shape."""
    largest = max(records, key=lambda r: r.n_coils * r.recon_rows * r.n_columns)
    at = rehearsal.activations(largest)
    rows = largest.recon_rows if rehearsal.settings.remove_oversampling else largest.n_rows
    gradients = 4 * sum(parameter.numel() for parameter in rehearsal.network.parameters())
    of_slice = max(at(min(rows, largest.n_rows), largest.n_columns) - gradients, 0)
    return rehearsal.items * of_slice


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
    return Cost(**{name: _sum(costs, records, name) / n_slices for name in Cost.__dataclass_fields__})


def _fresh(groups: Sequence[Sequence[ScanRecord]]) -> list[int]:
    """Slices of each group whose scan stands in none before it."""
    known: set[str] = set()
    counts = []
    for group in groups:
        counts.append(sum(record.n_slices for record in group if record.scan_id not in known))
        known |= {record.scan_id for record in group}
    return counts


def _slices(records: Sequence[ScanRecord]) -> int:
    return sum(record.n_slices for record in records)


def _budget(records: Sequence[ScanRecord], settings: TrainingSettings) -> tuple[int, int, int]:
    """Steps, epochs and slices of the whole budget; slices of one shape share a batch."""
    counts: Counter[tuple[int, ...]] = Counter()
    for record in records:
        counts[_shape(record)] += record.n_slices
    n_slices, size = counts.total(), settings.batch_size
    of_epoch = sum(math.ceil(count / size) for count in counts.values())
    if settings.samples is None:
        assert settings.epochs is not None
        return settings.epochs * of_epoch, settings.epochs, settings.epochs * n_slices
    whole, rest = divmod(settings.samples, n_slices)
    return whole * of_epoch + math.ceil(rest / size), whole + (rest > 0), settings.samples
