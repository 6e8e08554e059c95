"""Which scans a network is trained on, and how often each is seen: distributions, mixtures, subsets.

A distribution is a named group of scans. Training on P, on Q, on their union or on many is a list of groups;
a weight skews how often a group is seen; nested subsets (1/2 ... 1/64) hold whole subjects, so that a smaller
one lies inside each larger one and no subject is cut in two. The order itself is `reshim.order`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reshim.errors import UserError
from reshim.order import Order, within_budget
from reshim.seeds import seed_of
from reshim.types import ScanRecord

__all__ = ["Group", "Order", "as_groups", "first_subjects", "nested_subset", "within_budget"]


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
