"""What one step costs, found out by making a few: seconds by the clock, and bytes that are alive at the peak.

The scan is invented, everything else is the run's own: network, objective, masks, maps, references. Memory is
counted on two small images and extended along the straight line through them, so that a run too large for
this machine can be asked about on it; time is taken at full size where that fits, else on half the side. What
reading takes is no matter of this machine alone, and is reckoned from the bytes.
"""

import math
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reshim.physics.fourier import to_kspace
from reshim.training.batch import Example
from reshim.training.examples import Examples
from reshim.training.losses import one_minus_ssim
from reshim.training.pool import Pool
from reshim.training.sampling import Group
from reshim.training.settings import TrainingSettings
from reshim.types import Acquisition, ScanRecord

SMALL_SIDES = (64, 128)
"""Longer side of the images on which memory is counted."""

PREPARED_SIDES = (128, 256)
"""Of those on which the memory of preparation is counted: on smaller ones, fixed blocks are most of it."""

READ_BYTES = 4e8
"""Bytes a second that scans, and what was kept of them, are read with: a local disk."""

LONGEST_STEP = 20.0
"""Seconds; a step that would take longer is rehearsed on half the side."""


@dataclass(frozen=True)
class Cost:
    """Of one slice, except where it says step."""

    read_seconds: float
    """Read from disk and cut to what is used."""

    reference_seconds: float
    """Make the reference; 0 of an undersampled scan."""

    build_seconds: float
    """Undersample and stack, each time."""

    maps_seconds: float
    """Estimate coil maps; 0 where nobody looks at them."""

    step_seconds: float
    """Of a slice's share in a step."""

    validation_seconds: float
    slice_bytes: float
    """K-space in the pool."""

    reference_bytes: float
    maps_bytes: float

    def scaled(self, factor: float) -> "Cost":
        """Of a slice so many times as large."""
        return Cost(**{f.name: getattr(self, f.name) * factor for f in fields(self)})


def live_bytes(work: Callable[[], None]) -> int:
    """Largest number of bytes of tensors that were made during `work` and alive at the same time."""
    with _Counter() as counter:
        work()
    return counter.peak


class _Counter(TorchDispatchMode):
    """Adds up the storages that operations return, and takes them off as they die."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        before = {
            id(leaf.untyped_storage()) for leaf in tree_leaves((arguments, keywords)) if _is_tensor(leaf)
        }
        results = operation(*arguments, **(keywords or {}))
        for leaf in tree_leaves(results):
            if _is_tensor(leaf):
                storage = leaf.untyped_storage()
                if id(storage) not in before and id(storage) not in self._seen:
                    self._add(storage)
        return results

    def _add(self, storage: torch.UntypedStorage) -> None:
        n_bytes, key = storage.nbytes(), id(storage)
        self.now += n_bytes
        self.peak = max(self.peak, self.now)
        self._seen[key] = weakref.finalize(storage, self._remove, key, n_bytes)

    def _remove(self, key: int, n_bytes: int) -> None:
        self.now -= n_bytes
        self._seen.pop(key, None)


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


@dataclass
class Rehearsal:
    """A run's step on invented scans of one shape."""

    network: nn.Module
    settings: TrainingSettings
    with_maps: bool
    device: torch.device
    processes: int = 1
    """Each takes its share of every batch."""

    @property
    def items(self) -> int:
        """Slices that a process works on at a time."""
        share = math.ceil(self.settings.batch_size / self.processes)
        return math.ceil(share / self.settings.accumulation)

    def activations(self, record: ScanRecord) -> Callable[[int, int], float]:
        """Bytes that a step on images of (rows, columns) has alive at its peak, for each slice at a time.

        From two small images: the line through them in the number of pixels.
        """
        pixels, needed = [], []
        for side in SMALL_SIDES:
            small = _shrunk(record, side)
            example = self._examples(small, 1).build((0,), 0).to(self.device)
            self._step(example)
            pixels.append(small.recon_rows * small.n_columns)
            needed.append(live_bytes(lambda x=example: self._step(x)))
        return lambda rows, columns: _line(pixels, needed, rows * columns)

    def preparation(self, record: ScanRecord) -> float:
        """Bytes alive at the peak while a scan like `record` is read and its references are made.

        All slices of the scan are there, and as many as there are threads are worked on. What each of the two
        takes comes from one and two slices of two sizes, and the lines through them in the number of pixels.
        """
        pixels, kept, worked_on = [], [], []
        with one_thread() as threads:
            for side in PREPARED_SIDES:
                one, two = (replace(_shrunk(record, side), n_slices=n) for n in (1, 2))
                needed = self._preparing(one)
                pixels.append(raw_bytes(one))
                kept.append(self._preparing(two) - needed)
                worked_on.append(needed - kept[-1])
        wanted = raw_bytes(record) / record.n_slices
        at_a_time = min(threads, record.n_slices)
        return record.n_slices * _line(pixels, kept, wanted) + at_a_time * _line(pixels, worked_on, wanted)

    def _preparing(self, record: ScanRecord) -> int:
        return live_bytes(lambda: self._pool().prepare(record, self.settings.target))

    def cost(self, record: ScanRecord, *, fits: bool) -> Cost:
        """Of one slice of a scan like `record`; `fits` says whether a step at full size may be made."""
        longest = max(record.n_rows, record.n_columns)
        quarter, pixels = self._cost(_shrunk(record, max(longest // 4, 48)))
        share = record.n_rows * record.n_columns / pixels
        if fits and quarter.step_seconds * share * self.items < LONGEST_STEP:
            return self._cost(record)[0]
        half, pixels = self._cost(_shrunk(record, max(longest // 2, 64)))
        return half.scaled(record.n_rows * record.n_columns / pixels)

    def _cost(self, record: ScanRecord) -> tuple[Cost, int]:
        items = self.items
        record = replace(record, n_slices=items)
        whole = invented(record)
        pool = self._pool(lambda *_: whole)
        _, reduced = _timed(lambda: pool.prepare(record, None))
        slice_bytes = pool.n_bytes
        # The same again and the reference with it.
        _, referred = _timed(lambda: pool.prepare(record, self.settings.target))
        reference_bytes = pool.n_bytes - slice_bytes
        examples = self._examples_of(pool, record)
        indices = tuple(range(items))
        example, first = _timed(lambda: examples.build(indices, 0).to(self.device))
        maps_bytes = pool.n_bytes - slice_bytes - reference_bytes
        build = _best(lambda: examples.build(indices, 1).to(self.device))
        step = _best(lambda: self._step(example))
        validation = _best(lambda: self._validate(example))
        cost = Cost(
            read_seconds=raw_bytes(record) / READ_BYTES + reduced,
            reference_seconds=max(referred - reduced, 0) if record.fully_sampled else 0,
            build_seconds=build,
            maps_seconds=max(first - build, 0) if self.with_maps else 0,
            step_seconds=step,
            validation_seconds=validation,
            slice_bytes=slice_bytes,
            reference_bytes=reference_bytes,
            maps_bytes=maps_bytes,
        )
        return cost.scaled(1 / items), record.n_rows * record.n_columns

    def _examples(self, record: ScanRecord, n_slices: int) -> Examples:
        record = replace(record, n_slices=n_slices)
        pool = self._pool()
        pool.prepare(record, self.settings.target)
        return self._examples_of(pool, record)

    def _examples_of(self, pool: Pool, record: ScanRecord) -> Examples:
        settings = replace(self.settings, batch_size=record.n_slices, accumulation=1)
        return Examples.of(pool, [Group("rehearsal", (record,))], settings, with_maps=self.with_maps)

    def _pool(self, read: Callable[..., Acquisition] | None = None) -> Pool:
        return Pool(
            read=read or invented,
            read_reference=_invented_reference,
            remove_oversampling=self.settings.remove_oversampling,
        )

    def _step(self, example: Example) -> None:
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            loss, _ = self.settings.objective(
                self.network, example.measurement, example.reference, example.draws
            )
        loss.backward()
        self.network.zero_grad(set_to_none=True)
        self._wait()

    @torch.no_grad()
    def _validate(self, example: Example) -> None:
        self.network.eval()
        image = self.network(example.measurement).abs()
        if example.reference is not None and image.shape == example.reference.image.shape:
            one_minus_ssim(image, example.reference.image, example.reference.data_range)
        self._wait()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextmanager
def one_thread() -> Iterator[int]:
    """Let torch work with one thread, so that the counter sees it all; gives how many there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def raw_bytes(record: ScanRecord) -> int:
    """Of the k-space of a whole scan, as it is read."""
    return 8 * record.n_slices * record.n_coils * record.n_rows * record.n_columns


def step_bytes(
    network: nn.Module,
    settings: TrainingSettings,
    shape: tuple[int, ...],
    with_maps: bool,
    device: torch.device,
) -> float:
    """Bytes alive at the peak of a step for each slice of k-space (slice, coil, row, column)."""
    record = ScanRecord(
        scan_id="rehearsal",
        root="",
        path="",
        dataset="rehearsal",
        data_kind="simulated",
        subject="nobody",
        n_slices=1,
        n_coils=shape[1],
        n_rows=shape[2],
        n_columns=shape[3],
        recon_rows=shape[2],
        recon_columns=shape[3],
        fully_sampled=settings.objective.needs_reference,
        fingerprint="",
    )
    return Rehearsal(network, settings, with_maps, device).activations(record)(shape[2], shape[3])


def invented(record: ScanRecord, slices: tuple[int, ...] | None = None) -> Acquisition:
    """A smooth object seen by smooth coils, with a little noise, in the shape of a record."""
    numbers = tuple(range(record.n_slices)) if slices is None else tuple(slices)
    row = torch.linspace(-1, 1, record.n_rows)[:, None]
    column = torch.linspace(-1, 1, record.n_columns)[None]
    angles = torch.arange(record.n_coils)[:, None, None] * (2 * math.pi / record.n_coils)
    coils = torch.polar(
        torch.exp(-((row - angles.sin()) ** 2 + (column - angles.cos()) ** 2) / 2), angles + row
    )
    body = ((row**2 + column**2) < 0.6) * (1 + 0.3 * torch.cos(9 * row) * torch.cos(7 * column))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(coils.shape, dtype=torch.complex64, generator=generator)
    kspace = to_kspace(coils * body).to(torch.complex64) + 0.01 * noise
    mask = None
    if not record.fully_sampled:
        mask = torch.zeros(1, 1, 1, record.n_columns, dtype=torch.bool)
        centre, reach = record.n_columns // 2, max(record.n_columns // 24, 4)
        mask[..., ::4] = mask[..., centre - reach : centre + reach] = True
        kspace = torch.where(mask[0], kspace, 0)
    return Acquisition(
        kspace=kspace.expand(len(numbers), -1, -1, -1).clone(),
        name=record.scan_id,
        slices=numbers,
        crop=(record.recon_rows, record.recon_columns),
        acquirable=torch.ones(1, 1, 1, record.n_columns, dtype=torch.bool),
        mask=mask,
    )


def _invented_reference(record: ScanRecord, kind: str, slices: tuple[int, ...]) -> Tensor:
    return torch.rand(len(slices), record.recon_rows, record.recon_columns) + 0.1


def _shrunk(record: ScanRecord, side: int) -> ScanRecord:
    share = min(side / max(record.n_rows, record.n_columns), 1.0)
    sides = {
        name: max(round(share * getattr(record, name)), 16)
        for name in ("n_rows", "n_columns", "recon_rows", "recon_columns")
    }
    return replace(record, **sides)


def _line(pixels: list[int], needed: list[int], wanted: float) -> float:
    """Where the line through two points is at `wanted` pixels; in proportion where the points are one."""
    (few, many), (low, high) = pixels, needed
    slope = (high - low) / (many - few) if many > few else low / few
    return max(low + slope * (wanted - few), 0.0)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _best(work: Callable[[], Any], times: int = 3) -> float:
    """The middle one of three, after one to warm up; one alone where it is long."""
    work()
    seconds = [_timed(work)[1]]
    while len(seconds) < times and sum(seconds) < 2:
        seconds.append(_timed(work)[1])
    return sorted(seconds)[len(seconds) // 2]
