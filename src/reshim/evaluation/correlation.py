"""Correlations over scans as scores of subjects: every resample ranks and standardises its scans anew.

A row of a correlation holds the pair of numbers that is related (and the group it is standardised in), and as
its `value` the product of their standard scores, whose mean over all rows is the correlation. Subjects count
alike, however many scans they have.

Source: R. Fisher, Metron 1:3 (1921), for the scale on which small samples are stretched: no interval leaves
-1 to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from reshim.evaluation.statistics import Scores, subject_means

COLUMNS = ("pair_first", "pair_second", "pair_group")
"""What rows hold beside the product; the group is one word for all scans where they are not parted."""

RANKED = "spearman"
"""The metric of those that are correlations of ranks; all others are Pearson's."""

LARGEST = 1 - 1e-12
"""Of a correlation on Fisher's scale, where 1 lies at infinity."""


def weighted_ranks(
    values: Float[np.ndarray, " scan"], weights: Float[np.ndarray, "draw scan"]
) -> Float[np.ndarray, "draw scan"]:
    """The weight below each value, with half of the weight that ties with it."""
    below = (values[:, None] < values).astype(np.float64)
    alike = (values[:, None] == values).astype(np.float64)
    return weights @ (below + alike / 2)


def standardised(
    values: Float[np.ndarray, "draw scan"], weights: Float[np.ndarray, "draw scan"]
) -> Float[np.ndarray, "draw scan"]:
    """Weighted mean 0 and deviation 1 in each draw; 0 where all scans that weigh anything are alike."""
    total = np.maximum(weights.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
    centred = values - (weights * values).sum(-1, keepdims=True) / total
    spread = np.sqrt((weights * centred**2).sum(-1, keepdims=True) / total)
    # Equal numbers have a mean that is off by rounding; what is left is no spread.
    largest = np.abs(values).max(-1, keepdims=True, initial=0)
    some = spread > 1e-12 * largest
    return np.where(some, centred / np.where(some, spread, 1), 0)


@dataclass(frozen=True)
class Pairs:
    """Two numbers of each scan."""

    first: Float[np.ndarray, " scan"]
    second: Float[np.ndarray, " scan"]
    groups: tuple[str, ...]
    """Of each scan; standardised one by one, so that what differs between groups alone is no correlation."""

    subject: Int[np.ndarray, " scan"]
    """Place of the scan's subject."""

    ranked: bool

    def products(
        self, weights: Float[np.ndarray, "draw scan"]
    ) -> tuple[Float[np.ndarray, "draw scan"], Float[np.ndarray, "draw scan"]]:
        """Standard scores of both numbers within each scan's group, under the weights of each draw."""
        sides = np.zeros((2, *weights.shape))
        names = np.array(self.groups)
        for name in np.unique(names):
            chosen = np.flatnonzero(names == name)
            own = weights[:, chosen]
            for side, numbers in zip(sides, (self.first[chosen], self.second[chosen]), strict=True):
                values = weighted_ranks(numbers, own) if self.ranked else np.tile(numbers, (len(own), 1))
                side[:, chosen] = standardised(values, own)
        return sides[0], sides[1]

    def weights(self, shares: Float[np.ndarray, "draw subject"]) -> Float[np.ndarray, "draw scan"]:
        """What each scan weighs where subjects have these shares: its part of its subject's."""
        return (shares / np.bincount(self.subject, minlength=shares.shape[-1]))[:, self.subject]

    def correlation(self, shares: Float[np.ndarray, "draw subject"]) -> Float[np.ndarray, " draw"]:
        """In each draw; a group without spread has none, which says nothing for or against one."""
        weights = self.weights(shares)
        first, second = self.products(weights)
        return np.clip((weights * first * second).sum(-1), -1, 1)

    def influence(self, n_subjects: int) -> Float[np.ndarray, " subject"]:
        """Numbers of subjects whose mean is the correlation, and that vary as it does with who is there."""
        weights = self.weights(np.full((1, n_subjects), 1 / n_subjects))
        first, second = (side[0] for side in self.products(weights))
        product, names = first * second, np.array(self.groups)
        numbers = product.copy()
        for name in np.unique(names):
            own = names == name
            inside = np.average(product[own], weights=weights[0, own])
            numbers[own] += inside * (1 - (first[own] ** 2 + second[own] ** 2) / 2)
        return np.bincount(self.subject, weights[0] * numbers, minlength=n_subjects) * n_subjects

    def only(self, places: Sequence[int]) -> "Pairs":
        """Those of the subjects at these places, which are then 0, 1, 2, ..."""
        after = {place: index for index, place in enumerate(places)}
        kept = [scan for scan, place in enumerate(self.subject.tolist()) if place in after]
        return Pairs(
            self.first[kept],
            self.second[kept],
            tuple(self.groups[scan] for scan in kept),
            np.array([after[place] for place in self.subject[kept].tolist()], dtype=np.int64),
            self.ranked,
        )


@dataclass(frozen=True)
class Correlated(Scores):
    """A correlation over the scans of subjects."""

    pairs: Pairs = field(kw_only=True)

    @property
    def least_p(self) -> float:
        """The smallest two-sided p of no correlation that so few subjects can give: one order of all."""
        return min(1.0, 2 / math.factorial(len(self.subjects)))

    def only(self, subjects: Sequence[str]) -> "Correlated":
        """The correlation over these subjects, in this order."""
        position = {subject: index for index, subject in enumerate(self.subjects)}
        pairs = self.pairs.only([position[subject] for subject in subjects])
        values = pairs.influence(len(subjects))[None]
        return replace(self, values=values, subjects=tuple(subjects), n_slices=(), pairs=pairs)

    def resampled(
        self, of_seeds: Float[np.ndarray, "draw seed"], of_subjects: Float[np.ndarray, "draw subject"]
    ) -> Float[np.ndarray, " draw"]:
        """The correlation over the subjects of each resample."""
        return self.pairs.correlation(of_subjects)

    def stretched(
        self, draws: Float[np.ndarray, " draw"], observed: float, factor: float
    ) -> Float[np.ndarray, " draw"]:
        """Away from the estimate on Fisher's scale, which keeps a correlation between -1 and 1."""
        scaled, middle = (np.arctanh(np.clip(each, -LARGEST, LARGEST)) for each in (draws, observed))
        found = np.tanh(middle + factor * (scaled - middle))
        return np.where(np.abs(draws) >= LARGEST, draws, found)


def holds_pairs(table: pa.Table) -> bool:
    """Whether every row of a selection holds the pair that it is the product of."""
    return table.num_rows > 0 and all(
        name in table.column_names and table[name].null_count == 0 for name in COLUMNS
    )


def correlated(table: pa.Table) -> Correlated:
    """The correlation of a selection of rows; none of them is of a training seed.

    Raises
    ------
    UndefinedError
        As `reshim.evaluation.statistics.subject_means`.
    """
    scores = subject_means(table)
    place = {subject: index for index, subject in enumerate(scores.subjects)}
    subjects = [
        place[f"{row['dataset']}/{row['scan_id'] if row['subject'] is None else row['subject']}"]
        for row in table.select(["dataset", "subject", "scan_id"]).to_pylist()
    ]
    first, second = (np.array(table[name].to_pylist(), dtype=np.float64) for name in COLUMNS[:2])
    pairs = Pairs(
        first,
        second,
        tuple(table[COLUMNS[2]].to_pylist()),
        np.array(subjects, dtype=np.int64),
        table["metric"][0].as_py() == RANKED,
    )
    values = pairs.influence(len(scores.subjects))[None]
    return Correlated(values, scores.subjects, note=scores.note, pairs=pairs)
