"""Means and intervals over subjects: slice, volume, subject, and training seeds as a level of their own.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13;
T. Hesterberg, Am. Stat. 69:371 (2015), on how narrow percentile intervals are for few subjects;
F. Satterthwaite, Biometrics Bull. 2:110 (1946).
Ours differs: each resample is stretched about the estimate by t(df) / z * sqrt(n / (n - 1)), with one
Satterthwaite df over subjects and seeds; Hesterberg's moved levels lie outside all resamples below eight.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

RESAMPLES = 10_000
CONFIDENCE = 0.95

Statistic: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Means of the cells (draw, cell) to one number a draw."""


class UndefinedError(ValueError):
    """A quantity that the rows cannot answer; the message says why."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval over subjects (and training seeds); None where undefined."""

    value: float | None
    low: float | None
    high: float | None
    n_subjects: int = 0
    n_seeds: int = 0
    """Training seeds that the interval covers; 0 where nothing was trained."""

    note: str = ""
    """Why a number is missing, or what the reader should know about it."""

    @property
    def defined(self) -> bool:
        """True where both ends are finite numbers."""
        return all(end is not None and math.isfinite(end) for end in (self.value, self.low, self.high))


@dataclass(frozen=True)
class Scores:
    """The mean score of each subject under each training seed."""

    values: Float[np.ndarray, "seed subject"]
    subjects: tuple[str, ...]
    seeds: tuple[int | None, ...] = (None,)
    """Training seeds; (None,) where nothing was trained."""

    n_slices: tuple[int, ...] = ()
    """Slices behind each subject; empty where not counted."""

    note: str = ""

    @property
    def by_subject(self) -> Float[np.ndarray, " subject"]:
        """Subject means over the seeds."""
        return self.values.mean(axis=0)

    @property
    def least_p(self) -> float:
        """The smallest two-sided p of a mean of 0 that so few subjects can give: all signs alike."""
        return 2 / 2 ** len(self.subjects)

    def only(self, subjects: Sequence[str]) -> "Scores":
        """The same scores for these subjects, in this order."""
        position = {subject: index for index, subject in enumerate(self.subjects)}
        chosen = [position[subject] for subject in subjects]
        counted = tuple(self.n_slices[index] for index in chosen) if self.n_slices else ()
        return Scores(self.values[:, chosen], tuple(subjects), self.seeds, counted, self.note)

    def resampled(
        self, of_seeds: Float[np.ndarray, "draw seed"], of_subjects: Float[np.ndarray, "draw subject"]
    ) -> Float[np.ndarray, " draw"]:
        """The mean in each resample, from the share that every seed and subject has in it."""
        return np.einsum("bk,kn,bn->b", of_seeds, self.values, of_subjects, optimize=True)

    def stretched(
        self, draws: Float[np.ndarray, " draw"], observed: float, factor: float
    ) -> Float[np.ndarray, " draw"]:
        """Resampled means that lie `factor` times as far from the observed one."""
        return observed + factor * (draws - observed)


def subject_means(table: pa.Table) -> Scores:
    """Rows of one score to subject means: slice to volume to subject, each a plain mean of what is below it.

    Several rows of one slice (mask seeds) are averaged first. A subject is known by data set and name, or by
    its scan where the name is unknown. Subjects that lack one of the training seeds are left out, and noted.
    A null value is a slice in which the region is empty: it has no score for any method and is passed over.

    Raises
    ------
    UndefinedError
        If there are no rows, if they mix metrics, targets, regions or methods, or if a value is NaN or
        infinite: a mean that skips the scans on which a method failed would flatter it.
    """
    _check_one_score(table)
    table = table.filter(pc.is_valid(table["value"]))
    known = pc.coalesce(table["subject"].cast(pa.string()), table["scan_id"].cast(pa.string()))
    means = table.set_column(table.column_names.index("subject"), "subject", known)
    levels = ["train_seed", "dataset", "subject", "scan_id", "slice"]
    means = _mean_over(means, levels)
    slices = means.group_by(levels[:3]).aggregate([("value", "count")])
    counts = {_subject_of(row): row["value_count"] for row in slices.to_pylist()}
    return _arrange(_mean_over(_mean_over(means, levels[:4]), levels[:3]).to_pylist(), counts)


def _mean_over(table: pa.Table, levels: list[str]) -> pa.Table:
    means = table.group_by(levels).aggregate([("value", "mean")])
    return means.rename_columns([name.removesuffix("_mean") for name in means.column_names])


def _subject_of(row: dict) -> str:
    return f"{row['dataset']}/{row['subject']}"


def _check_one_score(table: pa.Table) -> None:
    if table.num_rows == 0:
        raise UndefinedError("no rows match")
    for column in ("metric", "target", "region", "method"):
        found = pc.unique(table[column]).to_pylist()
        if len(found) > 1:
            raise UndefinedError(f"the rows mix {column} {sorted(map(str, found))}; name one of them")
    bad = pc.sum(pc.invert(pc.is_finite(table["value"]))).as_py()
    if bad is None:
        raise UndefinedError(f"none of {table.num_rows} rows has a value: the region is empty in every slice")
    if bad:
        raise UndefinedError(f"{bad} of {table.num_rows} rows have no finite value")


def _arrange(means: list[dict], counts: dict[str, int]) -> Scores:
    found = {(row["train_seed"], _subject_of(row)): row["value"] for row in means}
    seeds = sorted({seed for seed, _ in found}, key=lambda seed: (seed is not None, seed or 0))
    everyone = sorted({subject for _, subject in found})
    complete = [subject for subject in everyone if all((seed, subject) in found for seed in seeds)]
    if not complete:
        raise UndefinedError(f"no subject was scored under all training seeds {seeds}")
    missing = len(everyone) - len(complete)
    note = f"{missing} subjects lack one of the training seeds {seeds} and are left out" if missing else ""
    values = np.array([[found[seed, subject] for subject in complete] for seed in seeds], dtype=np.float64)
    return Scores(values, tuple(complete), tuple(seeds), tuple(counts[each] for each in complete), note)


def align(cells: Sequence[Scores]) -> list[Scores]:
    """Pair the cells that share subjects by keeping the common ones; cells that share none stay independent.

    Raises
    ------
    UndefinedError
        If cells overlap in a chain but have no subject common to all.
    """
    groups: list[set[int]] = []
    for index, cell in enumerate(cells):
        touching = [
            group
            for group in groups
            if any(not set(cell.subjects).isdisjoint(cells[i].subjects) for i in group)
        ]
        groups = [group for group in groups if group not in touching] + [{index}.union(*touching)]
    aligned = list(cells)
    for group in groups:
        common = set.intersection(*(set(cells[index].subjects) for index in group))
        if not common:
            raise UndefinedError("the scores compared have no subject in common")
        for index in group:
            aligned[index] = cells[index].only(sorted(common))
        covered = {aligned[index].n_slices for index in group if aligned[index].n_slices}
        if len(covered) > 1:
            first = min(group)
            note = "the scores compared do not cover the same slices"
            aligned[first] = replace(
                aligned[first], note="; ".join(filter(None, (aligned[first].note, note)))
            )
    return aligned


def bootstrap(
    cells: Sequence[Scores],
    statistic: Statistic,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Interval of a statistic of the cells' means by resampling subjects and training seeds.

    Cells with the same subjects are resampled together (paired), and so are cells with the same seeds.
    The same rows and seed give the same interval, bit by bit.

    Parameters
    ----------
    cells
        Scores whose means the statistic combines, aligned by `align`.
    statistic
        From means (draw, cell) to one number a draw; smooth where it is evaluated.
    """
    observed = np.array([cell.values.mean() for cell in cells])
    value = float(statistic(observed[None])[0])
    n_subjects = min(len(cell.subjects) for cell in cells)
    n_seeds = min((len(cell.seeds) for cell in cells if cell.seeds != (None,)), default=0)
    notes = [cell.note for cell in cells if cell.note]
    if n_seeds == 1:
        notes.append("one training seed: the interval does not cover retraining")
    note = "; ".join(dict.fromkeys(notes))
    if n_subjects < 2:
        return Interval(value, None, None, n_subjects, n_seeds, note)
    low, high = _ends(cells, statistic, resampled_means(cells, resamples, seed), confidence)
    if math.isnan(low) or not math.isfinite(value):
        return Interval(None, None, None, n_subjects, n_seeds, "undefined in some resamples")
    return Interval(value, low, high, n_subjects, n_seeds, note)


def p_value(scores: Scores, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p of a score being 0: one less the confidence at which `bootstrap`'s interval reaches it.

    So a value below 0.05 and a 95 % interval that leaves 0 out are one statement. No smaller than resamples
    tell, nor than chance allows for this few subjects (`Scores.least_p`); 1 where there is no interval.
    """
    least = max(2 / resamples, scores.least_p)
    if len(scores.subjects) < 2 or least >= 1:
        return 1.0
    means = resampled_means([scores], resamples, seed)

    def leaves_0_out(p: float) -> bool:
        low, high = _ends([scores], lambda drawn: drawn[:, 0], means, 1 - p)
        return low > 0 or high < 0

    low, high = least, 1.0
    if leaves_0_out(low):
        return low
    for _ in range(15):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if leaves_0_out(middle) else (middle, high)
    return high


def _ends(
    cells: Sequence[Scores], statistic: Statistic, means: Float[np.ndarray, "draw cell"], confidence: float
) -> tuple[float, float]:
    """Of the interval, from means in each resample; NaN where the statistic is undefined in some."""
    observed = np.array([cell.values.mean() for cell in cells])
    factor = _stretch(cells, statistic, observed, confidence)
    columns = [
        cell.stretched(means[:, index], float(observed[index]), factor) for index, cell in enumerate(cells)
    ]
    draws = np.sort(statistic(np.stack(columns, axis=-1)))
    if np.isnan(draws).any():
        return math.nan, math.nan
    last = len(draws) - 1
    tail = (1 - confidence) / 2 * last
    return float(draws[math.floor(tail)]), float(draws[math.ceil(last - tail)])


def resampled_means(cells: Sequence[Scores], resamples: int, seed: int) -> Float[np.ndarray, "draw cell"]:
    """Means of the cells in each resample, without any small-sample stretch."""
    weights: dict[tuple, np.ndarray] = {}
    for key in dict.fromkeys(key for cell in cells for key in _levels(cell)):
        generator = np.random.default_rng([seed, len(weights)])
        weights[key] = _shares(len(key[1]), resamples, generator)
    means = np.empty((resamples, len(cells)))
    for index, cell in enumerate(cells):
        of_subjects, of_seeds = (weights[key] for key in _levels(cell))
        means[:, index] = cell.resampled(of_seeds, of_subjects)
    return means


def _levels(cell: Scores) -> tuple[tuple[str, tuple], tuple[str, tuple]]:
    return ("subject", cell.subjects), ("seed", cell.seeds)


def _shares(n: int, resamples: int, generator: np.random.Generator) -> Float[np.ndarray, "draw member"]:
    """The share each member has in each resample with replacement; rows sum to 1."""
    if n == 1:
        return np.ones((resamples, 1))
    drawn = generator.integers(n, size=(resamples, n))
    drawn += n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n) / n


def _stretch(
    cells: Sequence[Scores], statistic: Statistic, observed: Float[np.ndarray, " cell"], confidence: float
) -> float:
    """How much wider than the resamples an honest interval is, for this few subjects and seeds."""
    gradient = _gradient(statistic, observed)
    contributions: dict[tuple, np.ndarray] = {}
    for slope, cell in zip(gradient, cells, strict=True):
        subjects, seeds = _levels(cell)
        contributions[subjects] = contributions.get(subjects, 0.0) + slope * cell.values.mean(axis=0)
        contributions[seeds] = contributions.get(seeds, 0.0) + slope * cell.values.mean(axis=1)
    several = [each for each in contributions.values() if len(each) > 1]
    variances = np.array([each.var(ddof=1) / len(each) for each in several])
    total = variances.sum()
    if not total > 0:
        return 1.0
    sizes = np.array([len(each) for each in several])
    degrees = total**2 / (variances**2 / (sizes - 1)).sum()
    resampled = (variances * (sizes - 1) / sizes).sum()
    tail = (1 + confidence) / 2
    return (
        student_quantile(tail, max(int(degrees + 1e-9), 1))
        / NormalDist().inv_cdf(tail)
        * math.sqrt(total / resampled)
    )


def _gradient(statistic: Statistic, observed: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    step = 1e-6 * max(float(np.abs(observed).max()), 1e-12)
    shifts = step * np.eye(len(observed))
    with np.errstate(invalid="ignore"):
        slopes = (statistic(observed + shifts) - statistic(observed - shifts)) / (2 * step)
    # A rank correlation is flat at a point: then all cells count alike.
    return slopes if np.isfinite(slopes).all() and slopes.any() else np.ones_like(observed)


def student_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t above 0.5, by bisection on its finite series.

    Source: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    low, high = 0.0, 1.0
    while _student_cumulative(high, degrees) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cumulative(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _student_cumulative(t: float, degrees: int) -> float:
    if degrees > 300:
        # Hill's first-order normal approximation is exact to 1e-6 here, and the series grows with df.
        return NormalDist().cdf(t * (1 - 1 / (4 * degrees)) / math.sqrt(1 + t * t / (2 * degrees)))
    angle = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term, series = (cosine, cosine) if odd else (1.0, 1.0)
    if degrees == 1:
        series = 0.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (k - 1) / k
        series += term
    inside = math.sin(angle) * series
    return 0.5 + (angle + inside) / math.pi if odd else 0.5 + inside / 2


def mean(scores: Scores, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean over subjects."""
    return bootstrap([scores], lambda means: means[:, 0], resamples, seed)


def difference(first: Scores, second: Scores, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """First minus second: paired over the subjects they share, unpaired where they share none."""
    return bootstrap(align([first, second]), lambda means: means[:, 0] - means[:, 1], resamples, seed)


def ratio_of(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """A ratio draw by draw, without division by 0: where the denominator is not positive, it is infinite.

    With that, an end of the percentile interval is the theta at which numerator - theta * denominator just
    excludes 0: Fieller's construction, with resamples in place of normal theory.
    """
    positive = denominator > 0
    endless = np.where(numerator == 0, 0.0, np.copysign(np.inf, numerator))
    return np.where(positive, numerator / np.where(positive, denominator, 1.0), endless)


def share_of_gap(
    source: Scores, adapted: Scores, target: Scores, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The share of the gap that adapting closes, (adapted - source) / (target - source), higher is better.

    Undefined, with the reason in the note, where the interval of the gap does not lie above 0.
    """
    cells = align([source, adapted, target])
    gap = bootstrap(cells, lambda means: means[:, 2] - means[:, 0], resamples, seed)
    if gap.low is None or gap.low <= 0:
        return Interval(None, None, None, gap.n_subjects, gap.n_seeds, no_gap(gap))
    return bootstrap(
        cells, lambda means: ratio_of(means[:, 1] - means[:, 0], means[:, 2] - means[:, 0]), resamples, seed
    )


def no_gap(gap: Interval) -> str:
    """Why a share of this gap has no meaning."""
    if gap.low is None or gap.high is None:
        return "the gap has no interval"
    return f"the denominator's interval, {gap.low:.4f} to {gap.high:.4f}, does not lie above 0"
