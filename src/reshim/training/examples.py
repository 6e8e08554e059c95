"""From slices in the pool to what a step of training sees: measurement, reference, draws.

In training every slice gets a new mask in each epoch, seeded by scan, slice and epoch. In validation the
masks are those of evaluation, seeded by the file's name, and never change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from reshim.acquire import Scheme, measure, measure_each
from reshim.physics.masks import evaluation_seed
from reshim.seeds import seed_of
from reshim.training.batch import Draws, Example, Reference
from reshim.training.pool import OWN_MASK, Entry, Pool, joined_slices
from reshim.training.sampling import Group, Order
from reshim.training.settings import TrainingSettings
from reshim.types import Acquisition, Measurement


@dataclass(frozen=True)
class Examples:
    """The slices of some scans, their order in each epoch, and how they become examples."""

    pool: Pool
    entries: tuple[Entry, ...]
    order: Order
    settings: TrainingSettings
    fixed: bool = False
    """Validation: the masks of evaluation, in every epoch."""

    with_maps: bool = True
    """False where neither network nor objective looks at coil maps: their estimation is saved."""

    with_references: bool = field(default=True)
    """False where some scan is undersampled."""

    @classmethod
    def of(
        cls,
        pool: Pool,
        groups: Sequence[Group],
        settings: TrainingSettings,
        *,
        fixed: bool = False,
        with_maps: bool = True,
        limit: int | None = None,
    ) -> "Examples":
        """All slices of groups of prepared scans; with a limit, so many of them, spread evenly."""
        entries: list[Entry] = []
        members: list[tuple[int, ...]] = []
        index_of: dict[tuple[str, int], int] = {}
        for group in groups:
            own: list[int] = []
            for record in group.records:
                for number in pool.numbers(record):
                    if (record.scan_id, number) not in index_of:
                        index_of[record.scan_id, number] = len(entries)
                        entries.append((record, number))
                    own.append(index_of[record.scan_id, number])
            members.append(tuple(dict.fromkeys(own)))
        if limit is not None and limit < len(entries):
            kept = [round(index * (len(entries) - 1) / max(limit - 1, 1)) for index in range(limit)]
            entries, members = [entries[index] for index in kept], [tuple(range(limit))]
        weights = tuple(group.weight for group in groups if group.weight is not None)
        if not weights:
            members = [tuple(range(len(entries)))]
        order = Order(
            groups=tuple(members),
            shapes={index: pool.kind(record) for index, (record, _) in enumerate(entries)},
            batch_size=settings.batch_size,
            weights=weights or None,
            seed=settings.seed,
        )
        full = all(record.fully_sampled for record, _ in entries)
        return cls(pool, tuple(entries), order, settings, fixed, with_maps, full)

    def __len__(self) -> int:
        """Slices of one epoch."""
        return len(self.order)

    def plan(self, epoch: int) -> list[tuple[int, ...]]:
        """The batches of an epoch, as indices of slices."""
        return self.order(epoch)

    def build(self, indices: Sequence[int], epoch: int) -> Example:
        """The example made of some slices of one kind."""
        entries = [self.entries[index] for index in indices]
        slices = self.pool.slices(entries)
        scheme = self._scheme(indices, epoch)
        measurement = self._measure(slices, scheme, [self._seed(entry, epoch) for entry in entries])
        if self.with_maps:
            measurement = replace(measurement, maps=self.pool.maps(entries, slices, scheme))
        reference = None
        if all(one.mask is None for one in slices) and self.with_references:
            reference = Reference(*self.pool.references(entries, self.settings.target))
        owners = tuple((record.scan_id, number) for record, number in entries)
        return Example(measurement, reference, Draws(owners, self.settings.seed, 0 if self.fixed else epoch))

    def as_scanned(self, index: int) -> Measurement:
        """One slice under a mask that all slices of its scan share, as they do at a scanner."""
        entry = self.entries[index]
        seed, scan = self.settings.seed, entry[0].scan_id
        scheme = self.settings.schemes[seed_of("scan's scheme", seed, scan) % len(self.settings.schemes)]
        own = seed if self.settings.fixed_mask else seed_of("scan's mask", seed, scan) % 2**32
        return self._measure(self.pool.slices([entry]), scheme, [own])

    def _scheme(self, indices: Sequence[int], epoch: int) -> Scheme:
        schemes = self.settings.schemes
        if len(schemes) == 1:
            return schemes[0]
        # One scheme a batch, because its calibration block is one; in validation one a slice's place.
        turn = indices[0] if self.fixed else seed_of("scheme", self.settings.seed, epoch, *indices)
        return schemes[turn % len(schemes)]

    @staticmethod
    def _measure(
        slices: Sequence[Acquisition], scheme: Scheme, seeds: Sequence[int | tuple[int, ...]]
    ) -> Measurement:
        joined = joined_slices(slices)
        retrospective = joined.mask is None
        measurement = measure_each(joined, scheme, seeds) if retrospective else measure(joined, OWN_MASK, 0)
        noise = [one.noise_std for one in slices]
        known = [value for value in noise if value is not None]
        return replace(measurement, noise_std=torch.tensor(known) if len(known) == len(noise) else None)

    def _seed(self, entry: Entry, epoch: int) -> int | tuple[int, ...]:
        record, number = entry
        if self.fixed:
            return evaluation_seed(Path(record.path).name)
        if self.settings.fixed_mask:
            return self.settings.seed
        # RandomState takes 32 bits.
        return seed_of("mask", self.settings.seed, record.scan_id, number, epoch) % 2**32
