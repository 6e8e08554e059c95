"""What a claim or a figure measures, written before the run: scores of chosen rows, and what is made of them.

A quantity is a small tree: leaves choose rows (`Score`), nodes combine the means of leaves. One bootstrap of
all leaves together keeps whatever is paired paired.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reshim.evaluation.correlation import correlated, holds_pairs
from reshim.evaluation.significance import rank_correlation
from reshim.evaluation.statistics import (
    CONFIDENCE,
    RESAMPLES,
    Interval,
    Scores,
    UndefinedError,
    align,
    bootstrap,
    no_gap,
    p_value,
    ratio_of,
    subject_means,
)

LOWER_IS_BETTER = ("nmse", "nrmse", "rmse", "mse", "mae", "hfen", "lpips", "dists", "gmsd")
COSTS = ("block_mse", "false", "width", "seconds", "loses")
"""Whole names, or first words, of metrics of single studies of which a small value is a good one."""


def lower_is_better(metric: str) -> bool:
    """Whether a small value of this metric is a good one; a suffix such as `_volume` changes nothing."""
    return metric.split("_")[0] in LOWER_IS_BETTER or metric in COSTS or metric.split(" ")[0] in COSTS


def select(table: pa.Table, where: Mapping[str, Any]) -> pa.Table:
    """The rows whose columns have these values. A tuple or list means any of them, None means null.

    Raises
    ------
    UndefinedError
        If a column does not exist, or a value does not occur in it (and which do).
    """
    for column, wanted in where.items():
        if column not in table.column_names:
            raise UndefinedError(f"the rows have no column {column!r}")
        before, table = table, table.filter(_matches(table[column], wanted))
        if table.num_rows == 0:
            there = sorted(map(str, pc.unique(before[column]).to_pylist()))[:12]
            raise UndefinedError(
                f"no rows with {column} = {wanted!r}; left there: {', '.join(there) or 'none'}"
            )
    return table


def _matches(column: pa.ChunkedArray, wanted: Any) -> Any:
    values = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    known = pa.array([value for value in values if value is not None], type=column.type)
    matches = pc.is_in(column, value_set=known)
    return pc.or_(matches, pc.is_null(column)) if None in values else matches


class Quantity(ABC):
    """A number that rows answer."""

    @abstractmethod
    def leaves(self) -> tuple["Score", ...]:
        """The scores it is made of, in order."""

    @abstractmethod
    def draw(self, means: Mapping["Score", np.ndarray]) -> np.ndarray:
        """Its value in each resample, from the means of its leaves in each resample."""

    @abstractmethod
    def __str__(self) -> str:
        """In words, for the printed rule."""

    def parts(self) -> tuple["Quantity", ...]:
        """The quantities right below it."""
        return ()


@dataclass(frozen=True)
class Score(Quantity):
    """The mean score of the rows chosen, slice to volume to subject."""

    where: tuple[tuple[str, Any], ...]
    """Column and value, as sorted pairs; write `score(...)` to make one."""

    label: str

    def leaves(self) -> tuple["Score", ...]:
        """Itself."""
        return (self,)

    def draw(self, means: Mapping["Score", np.ndarray]) -> np.ndarray:
        """Its mean."""
        return means[self]

    def __str__(self) -> str:
        return self.label


def score(label: str = "", **where: Any) -> Score:
    """The mean score of rows chosen by column.

    >>> str(score(method="sense", anatomy="knee", metric="ssim", target="mvue", region="support"))
    'sense on knee'
    """
    pairs = tuple(
        sorted((key, tuple(value) if isinstance(value, list) else value) for key, value in where.items())
    )
    return Score(pairs, label or _words(where))


def _words(where: Mapping[str, Any]) -> str:
    what = str(where.get("method", where.get("metric", "score")))
    skipped = ("method", "metric", "target", "region", "adapted", "adapt", "split")
    rest = [_text(value) for key, value in where.items() if key not in skipped and value is not None]
    return f"{what} on {' '.join(rest)}" if rest else what


def _text(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True)
class _Combined(Quantity):
    def leaves(self) -> tuple[Score, ...]:
        """The leaves of all parts, each once."""
        return tuple(dict.fromkeys(leaf for part in self.parts() for leaf in part.leaves()))


@dataclass(frozen=True)
class Difference(_Combined):
    """First minus second; paired over the subjects that both have."""

    first: Quantity
    second: Quantity

    def parts(self) -> tuple[Quantity, ...]:
        """Both sides."""
        return self.first, self.second

    def draw(self, means: Mapping[Score, np.ndarray]) -> np.ndarray:
        """First minus second."""
        return self.first.draw(means) - self.second.draw(means)

    def __str__(self) -> str:
        return f"{self.first} − {_bracketed(self.second)}"


@dataclass(frozen=True)
class Ratio(_Combined):
    """Numerator over denominator; undefined where the denominator's interval does not lie above 0."""

    numerator: Quantity
    denominator: Quantity

    def parts(self) -> tuple[Quantity, ...]:
        """Numerator and denominator."""
        return self.numerator, self.denominator

    def draw(self, means: Mapping[Score, np.ndarray]) -> np.ndarray:
        """Numerator over denominator."""
        return ratio_of(self.numerator.draw(means), self.denominator.draw(means))

    def __str__(self) -> str:
        return f"{_bracketed(self.numerator)} / {_bracketed(self.denominator)}"


@dataclass(frozen=True)
class Average(_Combined):
    """The plain mean of several quantities, e.g. over test sets."""

    members: tuple[Quantity, ...]

    def parts(self) -> tuple[Quantity, ...]:
        """The members."""
        return self.members

    def draw(self, means: Mapping[Score, np.ndarray]) -> np.ndarray:
        """Their mean."""
        return np.mean([member.draw(means) for member in self.members], axis=0)

    def __str__(self) -> str:
        return f"mean of ({', '.join(map(str, self.members))})"


@dataclass(frozen=True)
class Worst(_Combined):
    """The worst of several quantities: the worst-group score.

    The smallest of noisy means lies below the mean of the worst group; between methods this mostly cancels.
    """

    members: tuple[Quantity, ...]
    lower_is_better: bool = False

    def parts(self) -> tuple[Quantity, ...]:
        """The members."""
        return self.members

    def draw(self, means: Mapping[Score, np.ndarray]) -> np.ndarray:
        """The smallest, or the largest where lower is better."""
        stacked = np.stack([member.draw(means) for member in self.members])
        return stacked.max(0) if self.lower_is_better else stacked.min(0)

    def __str__(self) -> str:
        return f"worst of ({', '.join(map(str, self.members))})"


@dataclass(frozen=True)
class Best(Worst):
    """The best of several quantities, e.g. of the specialists on one test set.

    The largest of noisy means lies above the mean of the best member: whatever is held against it has the
    harder task.
    """

    def draw(self, means: Mapping["Score", np.ndarray]) -> np.ndarray:
        """The largest, or the smallest where lower is better."""
        stacked = np.stack([member.draw(means) for member in self.members])
        return stacked.min(0) if self.lower_is_better else stacked.max(0)

    def __str__(self) -> str:
        return f"best of ({', '.join(map(str, self.members))})"


@dataclass(frozen=True)
class ShareAbove(_Combined):
    """The share of several quantities that lie above 0: on how many of the tests there is a gain."""

    members: tuple[Quantity, ...]

    def parts(self) -> tuple[Quantity, ...]:
        """The members."""
        return self.members

    def draw(self, means: Mapping[Score, np.ndarray]) -> np.ndarray:
        """Their count over all, in each resample."""
        return np.mean([member.draw(means) > 0 for member in self.members], axis=0)

    def __str__(self) -> str:
        return f"share above 0 of ({', '.join(map(str, self.members))})"


@dataclass(frozen=True)
class RankCorrelation(_Combined):
    """Spearman's rank correlation of two lists of quantities, e.g. of two metrics over the same methods."""

    first: tuple[Quantity, ...]
    second: tuple[Quantity, ...]
    label: str = ""

    def __post_init__(self) -> None:
        if len(self.first) != len(self.second) or len(self.first) < 3:
            raise ValueError(
                f"a rank correlation of {len(self.first)} and {len(self.second)} quantities; "
                "give two lists of the same length, three at least"
            )

    def parts(self) -> tuple[Quantity, ...]:
        """Both lists."""
        return self.first + self.second

    def draw(self, means: Mapping[Score, np.ndarray]) -> np.ndarray:
        """The correlation in each resample."""
        first = np.stack([member.draw(means) for member in self.first], axis=-1)
        second = np.stack([member.draw(means) for member in self.second], axis=-1)
        return rank_correlation(first, second)

    def __str__(self) -> str:
        return self.label or f"rank correlation over {len(self.first)} pairs"


@dataclass(frozen=True)
class AboveLine(_Combined):
    """How far a point lies above the line fitted through others: effective robustness.

    Source: R. Taori et al., NeurIPS 2020, section 3. Ours differs: a straight line through the raw scores.
    """

    x: Quantity
    y: Quantity
    line: tuple[tuple[Quantity, Quantity], ...]
    """Pairs (x, y) through which the line is fitted by least squares; two at least."""

    def parts(self) -> tuple[Quantity, ...]:
        """The point and the pairs of the line."""
        return self.x, self.y, *(side for pair in self.line for side in pair)

    def draw(self, means: Mapping[Score, np.ndarray]) -> np.ndarray:
        """The height above the line in each resample."""
        x = np.stack([pair[0].draw(means) for pair in self.line], axis=-1)
        y = np.stack([pair[1].draw(means) for pair in self.line], axis=-1)
        spread = x - x.mean(-1, keepdims=True)
        slope = (spread * y).sum(-1) / (spread**2).sum(-1)
        return self.y.draw(means) - y.mean(-1) - slope * (self.x.draw(means) - x.mean(-1))

    def __str__(self) -> str:
        return f"height of ({self.x}, {self.y}) above the line through {len(self.line)} others"


def share_of_gap(
    source: Quantity, adapted: Quantity, target: Quantity, lower_is_better: bool = False
) -> Ratio:
    """The share of the gap between source and target that adapting closes: 0 none, 1 all."""
    if lower_is_better:
        return Ratio(Difference(source, adapted), Difference(source, target))
    return Ratio(Difference(adapted, source), Difference(target, source))


def _bracketed(quantity: Quantity) -> str:
    return f"({quantity})" if isinstance(quantity, Difference | Ratio) else str(quantity)


class Rows:
    """Rows with the subject means already worked out kept, so that a page of many figures stays quick."""

    def __init__(self, table: pa.Table, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.table = table
        self.resamples = resamples
        self.seed = seed
        self._scores: dict[tuple[tuple[str, Any], ...], Scores] = {}

    def scores(self, leaf: Score) -> Scores:
        """Subject means of one leaf; where its rows hold pairs of numbers, their correlation.

        Raises
        ------
        UndefinedError
            If no rows match, they mix scores, or one is not finite.
        """
        if leaf.where not in self._scores:
            try:
                chosen = select(self.table, dict(leaf.where))
                self._scores[leaf.where] = (
                    correlated(chosen) if holds_pairs(chosen) else subject_means(chosen)
                )
            except UndefinedError as error:
                raise UndefinedError(f"{leaf.label}: {error}") from None
        return self._scores[leaf.where]

    def p_value(self, leaf: Score) -> float | None:
        """Two-sided p of a score, or of a correlation, being 0; None where the rows cannot answer."""
        try:
            return p_value(self.scores(leaf), self.resamples, self.seed)
        except UndefinedError:
            return None

    def interval(self, quantity: Quantity, confidence: float = CONFIDENCE) -> Interval:
        """The quantity with its interval; undefined, and why in `note`, where the rows cannot answer."""
        try:
            return self._interval(quantity, confidence)
        except UndefinedError as error:
            return Interval(None, None, None, note=str(error))

    def _interval(self, quantity: Quantity, confidence: float) -> Interval:
        leaves = quantity.leaves()
        cells = align([self.scores(leaf) for leaf in leaves])
        for ratio in _ratios(quantity):
            gap = bootstrap(cells, _statistic(ratio.denominator, leaves), self.resamples, self.seed)
            if gap.low is None or gap.low <= 0:
                return Interval(None, None, None, gap.n_subjects, gap.n_seeds, no_gap(gap))
        return bootstrap(cells, _statistic(quantity, leaves), self.resamples, self.seed, confidence)


def _ratios(quantity: Quantity) -> list[Ratio]:
    below = [ratio for part in quantity.parts() for ratio in _ratios(part)]
    return [*below, quantity] if isinstance(quantity, Ratio) else below


def _statistic(quantity: Quantity, leaves: Sequence[Score]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda means: quantity.draw({leaf: means[:, index] for index, leaf in enumerate(leaves)})
