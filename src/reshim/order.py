"""Which slice is seen when, how often, and by whom: the one place for order, mixing, repeats and sharding.

All of it depends on seed, epoch and names alone, so a run that stopped goes on with the same batches, on any
machine and with any number of reading threads. The loader and the trainings take their plans from here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from reshim.seeds import generator_of, numpy_generator_of


@dataclass(frozen=True)
class Order:
    """In which order slices are seen, epoch by epoch; the same on every machine.

    Slices of one shape share a batch. Within an epoch every slice comes once, or, where groups are weighted,
    each group comes as often as its weight says; a group that is seen more than once an epoch is gone through
    in full before any of its slices comes again.
    """

    groups: tuple[tuple[int, ...], ...]
    """Indices of the slices of each group."""

    shapes: Mapping[int, object]
    """What slices must have in common to share a batch."""

    batch_size: int
    weights: tuple[float, ...] | None = None
    seed: int = 0
    shuffle: bool = True
    """False takes the slices as they stand, group by group."""

    def __call__(self, epoch: int) -> list[tuple[int, ...]]:
        """The batches of one epoch."""
        buckets: dict[object, list[int]] = {}
        for index in self._drawn(epoch):
            buckets.setdefault(self.shapes[index], []).append(index)
        batches = [
            tuple(bucket[start : start + self.batch_size])
            for bucket in buckets.values()
            for start in range(0, len(bucket), self.batch_size)
        ]
        if not self.shuffle:
            return batches
        shuffled = torch.randperm(len(batches), generator=generator_of("batches", self.seed, epoch))
        return [batches[index] for index in shuffled.tolist()]

    def __len__(self) -> int:
        """Slices of one epoch."""
        return sum(self._counts())

    def _counts(self) -> list[int]:
        sizes = [len(group) for group in self.groups]
        if self.weights is None:
            return sizes
        total = sum(self.weights)
        return [max(1, round(sum(sizes) * weight / total)) for weight in self.weights]

    def _drawn(self, epoch: int) -> list[int]:
        drawn: list[int] = []
        for number, (group, count) in enumerate(zip(self.groups, self._counts(), strict=True)):
            # The group's slices as an endless sequence of shuffled passes; the epoch takes its stretch of it.
            first, last = epoch * count, (epoch + 1) * count
            for turn in range(first // len(group), -(-last // len(group))):
                order = self._permutation(len(group), "order", self.seed, number, turn)
                start, stop = max(first - turn * len(group), 0), min(last - turn * len(group), len(group))
                drawn.extend(group[index] for index in order[start:stop])
        return [drawn[index] for index in self._permutation(len(drawn), "mixed", self.seed, epoch)]

    def _permutation(self, n: int, *owner: object) -> list[int]:
        if not self.shuffle:
            return list(range(n))
        numbers: list[int] = torch.randperm(n, generator=generator_of(*owner)).tolist()
        return numbers


def within_budget(plan: Sequence[tuple[int, ...]], seen: int, samples: int | None) -> list[tuple[int, ...]]:
    """The batches of an epoch that fit in the budget of slices; the last is cut to meet it exactly."""
    kept: list[tuple[int, ...]] = []
    for batch in plan:
        left = len(batch) if samples is None else min(len(batch), samples - seen)
        if left <= 0:
            break
        kept.append(batch[:left])
        seen += left
    return kept


def times_seen(wanted: float, scan_id: str, slice_index: int, seed: int, epoch: int) -> int:
    """How often a slice comes in an epoch where it is wanted so often; a fraction is a chance."""
    count = math.floor(wanted)
    if wanted > count:
        chance = numpy_generator_of("repeat", seed, epoch, scan_id, slice_index).random()
        count += chance < wanted - count
    return count


def dealt_whole(sizes: Sequence[int], names: Sequence[str], n_ranks: int) -> list[list[int]]:
    """For every rank the scans that fall to it: whole ones, the largest first, to whoever has least.

    `sizes` are the slices that each scan is seen with; a scan that is seen with none falls to nobody.
    """
    dealt: list[list[int]] = [[] for _ in range(n_ranks)]
    loads = [0] * n_ranks
    for number in sorted(range(len(sizes)), key=lambda n: (-sizes[n], names[n])):
        if sizes[number] > 0:
            rank = loads.index(min(loads))
            dealt[rank].append(number)
            loads[rank] += sizes[number]
    return dealt


def in_step(plans: Sequence[Sequence[tuple[int, ...]]], rank: int) -> list[tuple[int, ...]]:
    """A rank's batches, as many as the longest rank has, or one would wait for ever for gradients.

    Empty where the rank has none.
    """
    mine, steps = plans[rank], max(map(len, plans), default=0)
    return [mine[step % len(mine)] for step in range(steps)] if mine else []
