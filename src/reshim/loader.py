"""From catalog to batches: full k-space slices of equal shape, mixed by weights, the same on every machine.

What an epoch holds is a plan made from records alone: which slices, in which batches, on which rank. It
depends on seed, epoch and the records, so a run that stopped at a step goes on from that step. Threads read
ahead; masks, noise and transforms are left to the device that trains, unless a `scheme` is given: then slices
are undersampled while they are read, which on a processor spares most of the work.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from reshim.acquire import Scheme, measure
from reshim.errors import BadScanError, UserError
from reshim.order import Order, dealt_whole, in_step, times_seen
from reshim.physics.masks import evaluation_seed
from reshim.scans.slices import SliceReader
from reshim.seeds import seed_of
from reshim.types import Acquisition, Measurement, ScanRecord
from reshim.undersampled import MaskedKSpace, Recycled, ZeroFilledMagnitude

OWN_MASK = Scheme(mask="file")
"""The scheme of scans that are undersampled already."""

Item: TypeAlias = tuple[int, int]
"""Which record, and which of its slices."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Slices of equal shape, maybe of different scans, and apart from them their references."""

    acquisitions: Acquisition
    """k-space (batch, coil, row, column); its name is that of the first item."""

    names: tuple[str, ...]
    slices: tuple[int, ...]
    subjects: tuple[str, ...]
    scan_ids: tuple[str, ...]
    references: dict[str, Tensor]
    """(batch, row, column) on the crop; a kind that one of the scans does not store is left out."""

    noise_covariances: tuple[Tensor | None, ...] = ()
    """One an item; the acquisitions carry a covariance only where all items share it."""

    measurement: Measurement | None = None
    """What the loader's scheme acquires; None where it has none. The acquisitions hold no samples then."""

    magnitude: Tensor | None = None
    """(batch, row, column), zero-filled root sum of squares on the crop, in place of the measurement."""


@dataclass
class Loader:
    """Batches of an epoch, in the order of its plan."""

    records: Sequence[ScanRecord]
    batch_size: int = 1
    seed: int = 0
    epoch: int = 0
    weights: Mapping[str, float] | None = None
    """How often a slice of each distribution is seen in an epoch; 1 if not named. A fraction is a chance."""

    group_by: str = "dataset"
    """The field of the record that names its distribution."""

    repeats: Mapping[tuple[str, int], float] | None = None
    """How often single slices (scan_id, slice) are seen, on top of the weights."""

    references: tuple[str, ...] = ("rss",)
    """Stored references to read along."""

    shuffle: bool = True
    shard: tuple[int, int] = (0, 1)
    """Rank and number of ranks; a scan stays on one rank."""

    scheme: Scheme | None = None
    """Undersample while reading; None hands over what was stored."""

    magnitude: bool = False
    """With a scheme: the zero-filled magnitude on the crop instead of k-space."""

    new_masks: bool = True
    """A mask for each slice and epoch, as trainings draw them; False takes the masks of evaluation."""

    workers: int = 2
    """Threads that read ahead; 0 reads when asked."""

    cache_bytes: int = 2 << 30
    """Slices are kept in memory if all of this rank's fit into so much; 0 never keeps."""

    skip_bad: bool = False
    """Leave slices that cannot be read out of their batch and name them in `left_out`; else stop there."""

    reader: SliceReader = field(default_factory=SliceReader, repr=False)
    left_out: dict[Item, str] = field(default_factory=dict, init=False)
    _skip: int = field(default=0, init=False, repr=False)
    _plan: tuple[Any, list[list[Item]]] | None = field(default=None, init=False, repr=False)
    _cache: dict[Item, Tensor] = field(default_factory=dict, init=False, repr=False)
    _may_cache: bool | None = field(default=None, init=False, repr=False)
    _blocks: Recycled = field(default_factory=Recycled, init=False, repr=False)

    def __post_init__(self) -> None:
        rank, world = self.shard
        if not 0 <= rank < world:
            raise UserError(f"shard is {self.shard}; the rank lies between 0 and {world - 1}")
        if self.batch_size < 1:
            raise UserError(f"batch_size is {self.batch_size}; a batch holds at least one slice")
        if self.magnitude and self.scheme is None:
            raise UserError("a zero-filled magnitude needs a scheme to leave something out; give one")
        if not self.records:
            raise UserError(
                "there is no scan to load; loosen the filter: reshim list CATALOG shows what there is"
            )

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch, and how many of its steps are finished already."""
        self.epoch, self._skip = epoch, skip

    def __len__(self) -> int:
        """Steps of this epoch, those already finished included."""
        return len(self.plan())

    def plan(self) -> list[list[Item]]:
        """The batches of this epoch and rank, as record and slice numbers."""
        key = (self.seed, self.epoch)
        if self._plan is None or self._plan[0] != key:
            rank, n_ranks = self.shard
            seen = [self._items(number) for number in range(len(self.records))]
            names = [record.scan_id for record in self.records]
            shares = [
                [item for number in sorted(scans) for item in seen[number]]
                for scans in dealt_whole([len(items) for items in seen], names, n_ranks)
            ]
            plans = [self._order(items)(self.epoch) for items in shares]
            if not plans[rank]:
                raise UserError(
                    f"rank {rank} of {n_ranks} has no scan: {len(self.records)} scans are shared out "
                    "whole; use fewer ranks"
                )
            items = shares[rank]
            self._plan = key, [[items[index] for index in batch] for batch in in_step(plans, rank)]
        return self._plan[1]

    def _order(self, items: Sequence[Item]) -> Order:
        keys = [_shape_key(record) for record in self.records]
        return Order(
            groups=(tuple(range(len(items))),) if items else (),
            shapes={index: keys[number] for index, (number, _) in enumerate(items)},
            batch_size=self.batch_size,
            seed=self.seed,
            shuffle=self.shuffle,
        )

    def _items(self, number: int) -> list[Item]:
        """A scan's slices, each as often as it is seen in this epoch."""
        record = self.records[number]
        weight = 1.0 if self.weights is None else self.weights.get(str(getattr(record, self.group_by)), 1.0)
        repeats = self.repeats or {}
        return [
            (number, slice_)
            for slice_ in range(record.n_slices)
            for _ in range(
                times_seen(
                    weight * repeats.get((record.scan_id, slice_), 1.0),
                    record.scan_id,
                    slice_,
                    self.seed,
                    self.epoch,
                )
            )
        ]

    def __iter__(self) -> Iterator[Batch]:
        plan, self._skip = self.plan()[self._skip :], 0
        if self.workers < 1:
            for items in plan:
                yield from self._read(items)
            return
        with ThreadPoolExecutor(self.workers, thread_name_prefix="loader") as pool:
            waiting: deque[Future[list[Batch]]] = deque()
            try:
                for items in plan:
                    waiting.append(pool.submit(self._read, items))
                    if len(waiting) > self.workers:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _read(self, items: list[Item]) -> list[Batch]:
        if self.scheme is not None:
            return self._read_undersampled(items, self.scheme)
        record = self.records[items[0][0]]
        kspace = self._blocks.empty(len(items), record.n_coils, record.n_rows, record.n_columns)
        good = [position for position, item in enumerate(items) if self._read_slice(item, kspace[position])]
        if not good:
            return []
        if len(good) < len(items):
            kspace, items = kspace[good], [items[position] for position in good]
        return [self._batch(items, kspace)]

    def _read_undersampled(self, items: list[Item], scheme: Scheme) -> list[Batch]:
        drawn, results, good = [], [], []
        record = self.records[items[0][0]]
        shape = record.n_coils, record.n_rows, record.n_columns
        kspace = None if self.magnitude else self._blocks.empty(len(items), *shape)
        for position, item in enumerate(items):
            # Drawn for a measurement without samples: the mask is all that is wanted.
            empty = self.reader.head(self.records[item[0]])
            own = OWN_MASK if empty.mask is not None else scheme
            measured = measure(empty, own, self._mask_seed(item))
            mask = measured.mask[0, 0]
            taker = (
                ZeroFilledMagnitude(mask, shape[1:], empty.crop)
                if kspace is None
                else MaskedKSpace(mask, kspace[position])
            )
            if not self._take_slice(item, taker):
                continue
            good.append(position)
            drawn.append(measured)
            if isinstance(taker, ZeroFilledMagnitude):
                results.append(taker.image)
        if not good:
            return []
        items = [items[position] for position in good]
        batch = self._batch(items, torch.empty(0, *shape, dtype=torch.complex64))
        if kspace is None:
            return [replace(batch, magnitude=torch.stack(results))]
        kept = kspace if len(good) == kspace.shape[0] else kspace[good]
        return [replace(batch, measurement=self._measured(batch, items, drawn, kept))]

    def _measured(
        self, batch: Batch, items: list[Item], drawn: list[Measurement], kspace: Tensor
    ) -> Measurement:
        heads = [self.reader.head(self.records[number]) for number, _ in items]
        noise = [head.noise_std for head in heads if head.noise_std is not None]
        return replace(
            drawn[0],
            kspace=kspace,
            mask=torch.cat([one.mask for one in drawn]),
            slices=batch.slices,
            noise_std=torch.tensor(noise) if len(noise) == len(heads) else None,
            noise_covariance=batch.acquisitions.noise_covariance,
        )

    def _mask_seed(self, item: Item) -> int | tuple[int, ...]:
        record = self.records[item[0]]
        if not self.new_masks:
            return evaluation_seed(Path(record.path).name)
        # RandomState takes 32 bits.
        return seed_of("mask", self.seed, record.scan_id, item[1], self.epoch) % 2**32

    def _take_slice(self, item: Item, taker: Callable[[int, Tensor], None]) -> bool:
        """Hand a slice's coils to `taker`, from memory where they are kept."""
        record = self.records[item[0]]
        if item not in self._cache and not self._fits():
            return self._try(item, lambda: self.reader.each_coil(record, item[1], taker))
        if item not in self._cache:
            whole = torch.empty(record.n_coils, record.n_rows, record.n_columns, dtype=torch.complex64)
            if not self._read_slice(item, whole):
                return False
        for coil, block in enumerate(self._cache[item]):
            taker(coil, block)
        return True

    def _try(self, item: Item, read: Callable[[], None]) -> bool:
        try:
            read()
        except BadScanError as error:
            if not self.skip_bad:
                raise
            self.left_out[item] = str(error)
            return False
        return True

    def _read_slice(self, item: Item, out: Tensor) -> bool:
        record = self.records[item[0]]
        if item in self._cache:
            out.copy_(self._cache[item])
            return True
        if not self._try(item, lambda: self.reader.kspace_into(record, item[1], out)):
            return False
        if self._fits():
            self._cache[item] = out.clone()
        return True

    def _fits(self) -> bool:
        if self._may_cache is None:
            total = sum(8 * r.n_slices * r.n_coils * r.n_rows * r.n_columns for r in self.records)
            self._may_cache = total <= self.cache_bytes
        return self._may_cache

    def _batch(self, items: list[Item], kspace: Tensor) -> Batch:
        records = [self.records[number] for number, _ in items]
        heads = [self.reader.head(record) for record in records]
        covariances = tuple(head.noise_covariance for head in heads)
        slices = tuple(slice_ for _, slice_ in items)
        return Batch(
            acquisitions=replace(
                heads[0], kspace=kspace, slices=slices, noise_covariance=_common(covariances)
            ),
            names=tuple(head.name for head in heads),
            slices=slices,
            subjects=tuple(record.subject for record in records),
            scan_ids=tuple(record.scan_id for record in records),
            references=self._stored(items),
            noise_covariances=covariances,
        )

    def _stored(self, items: list[Item]) -> dict[str, Tensor]:
        found = {}
        for kind in self.references:
            images = [self.reader.reference(self.records[number], kind, slice_) for number, slice_ in items]
            if all(image is not None for image in images):
                found[kind] = torch.stack([image for image in images if image is not None])
        return found


def _common(covariances: tuple[Tensor | None, ...]) -> Tensor | None:
    first = covariances[0]
    if first is None or any(other is None or not torch.equal(first, other) for other in covariances[1:]):
        return None
    return first


def _shape_key(record: ScanRecord) -> Any:
    """What a batch shares: shape, crop, padding, readout, and the mask where it is the scan's own."""
    padding = tuple(np.atleast_1d(record.extra.get("padding") or (0, record.n_columns)))
    own_mask = None if record.fully_sampled else record.scan_id
    shape = record.n_coils, record.n_rows, record.n_columns, record.recon_rows, record.recon_columns
    return *shape, *padding, record.extra.get("readout_axis"), own_mask
