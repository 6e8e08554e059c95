"""Which scans a network is trained on, and how often each is seen: distributions, mixtures, subsets.

A distribution is a named group of scans. Training on P, on Q, on their union or on many is a list of groups;
a weight skews how often a group is seen; nested subsets (1/2 ... 1/64) hold whole subjects, so that a smaller
one lies inside each larger one and no subject is cut in two.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from reshim.errors import UserError
from reshim.seeds import generator_of, seed_of
from reshim.types import ScanRecord


@dataclass(frozen=True)
class Group:
    """A distribution: scans, and how often they are seen."""

    name: str
    records: tuple[ScanRecord, ...]
    weight: float | None = None
    """Share of the slices of an epoch, relative to the other groups; None sees each slice once an epoch."""

    def __post_init__(self) -> None:
        if self.weight is not None and self.weight <= 0:
            raise UserError(f"the weight of {self.name!r} is {self.weight}; weights are above 0")


def as_groups(training: Sequence[ScanRecord] | Sequence[Group]) -> tuple[Group, ...]:
    """Groups as they are; bare records as one group.

    Raises
    ------
    UserError
        If some groups carry weights and some do not, or a scan stands in two weighted groups.
    """
    groups = tuple(item for item in training if isinstance(item, Group))
    if not groups:
        return (Group("all", tuple(item for item in training if isinstance(item, ScanRecord))),)
    weighted = [group.weight is not None for group in groups]
    if any(weighted) and not all(weighted):
        raise UserError("some groups have a weight and some have none; give one to each, or to none")
    return groups


def nested_subset(records: Iterable[ScanRecord], share: float, seed: int = 0) -> tuple[ScanRecord, ...]:
    """The scans of the first `share` of the subjects, in an order that depends on seed and subject alone.

    The subset of a smaller share lies inside that of a larger one, and adding a subject to the catalog moves
    no other. At least one subject is kept.

    Raises
    ------
    UserError
        If the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise UserError(f"the share of subjects is {share}; it lies above 0 and is at most 1")
    records = tuple(records)
    subjects = sorted(
        {(record.dataset, record.subject) for record in records},
        key=lambda key: seed_of("subset", seed, *key),
    )
    kept = set(subjects[: max(1, round(share * len(subjects)))])
    return tuple(record for record in records if (record.dataset, record.subject) in kept)


def first_subjects(records: Iterable[ScanRecord], n_subjects: int, seed: int = 0) -> tuple[ScanRecord, ...]:
    """The scans of so many subjects, in the order of `nested_subset`: quality against number of scans."""
    records = tuple(records)
    n_all = len({(record.dataset, record.subject) for record in records})
    if not 1 <= n_subjects <= n_all:
        raise UserError(f"{n_subjects} subjects of {n_all}; ask for between 1 and {n_all}")
    return nested_subset(records, n_subjects / n_all, seed)


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
                order = torch.randperm(
                    len(group), generator=generator_of("order", self.seed, number, turn)
                ).tolist()
                start, stop = max(first - turn * len(group), 0), min(last - turn * len(group), len(group))
                drawn.extend(group[index] for index in order[start:stop])
        mixed = torch.randperm(len(drawn), generator=generator_of("mixed", self.seed, epoch)).tolist()
        return [drawn[index] for index in mixed]


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
