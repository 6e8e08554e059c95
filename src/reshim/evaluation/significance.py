"""Tests and rank correlations over subjects, and the correction for asking many questions at once.

Source: R. Fisher, The Design of Experiments (1935), section 21 (sign flips); B. Phipson and G. Smyth,
Stat. Appl. Genet. Mol. Biol. 9:39 (2010), for the +1 of sampled permutations; S. Holm, Scand. J. Stat.
6:65 (1979).
"""

import math

import numpy as np
from jaxtyping import Float

from reshim.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval, UndefinedError


def ranks(values: Float[np.ndarray, "*draw member"]) -> Float[np.ndarray, "*draw member"]:
    """Ranks from 1 along the last axis, ties sharing their mean rank."""
    ahead = (values[..., None, :] < values[..., :, None]).sum(-1)
    alike = (values[..., None, :] == values[..., :, None]).sum(-1)
    return ahead + (alike + 1) / 2


def rank_correlation(
    first: Float[np.ndarray, "*draw member"], second: Float[np.ndarray, "*draw member"]
) -> Float[np.ndarray, "*draw"]:
    """Spearman's rank correlation along the last axis; NaN where one side is constant."""
    a, b = (side - side.mean(-1, keepdims=True) for side in (ranks(first), ranks(second)))
    norm = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.divide((a * b).sum(-1), norm, out=np.full(norm.shape, np.nan), where=norm > 0)


def spearman(
    first: Float[np.ndarray, " member"],
    second: Float[np.ndarray, " member"],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Spearman's rank correlation of two lists with a percentile interval over their members (subjects)."""
    value = float(rank_correlation(first, second))
    n = len(first)
    if n < 3 or not math.isfinite(value):
        return Interval(None, None, None, n, note="a rank correlation needs three members that differ")
    generator = np.random.default_rng([seed, 0])
    parts = []
    chunk = max(1, 4_000_000 // n**2)
    for start in range(0, resamples, chunk):
        chosen = generator.integers(n, size=(min(chunk, resamples - start), n))
        parts.append(rank_correlation(first[chosen], second[chosen]))
    # A resample of one member alone has no ranks; it says nothing for or against a correlation.
    draws = np.nan_to_num(np.concatenate(parts), nan=0.0)
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high), n)


def sign_flip_test(
    differences: Float[np.ndarray, " subject"], resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """Two-sided p of paired differences: signs are free under the null. Exact up to 13 subjects."""
    n = len(differences)
    if n == 0:
        raise UndefinedError("no differences to test")
    exact = 2**n <= resamples
    if exact:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng([seed, 0]).choice(np.array([-1, 1]), size=(resamples, n))
    return _two_sided(signs @ differences, float(differences.sum()), exact)


def permutation_test(
    first: Float[np.ndarray, " one"],
    second: Float[np.ndarray, " other"],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Two-sided p of the difference of two groups' means: membership is free under the null."""
    pooled = np.concatenate([first, second])
    order = np.random.default_rng([seed, 0]).permuted(np.tile(np.arange(len(pooled)), (resamples, 1)), axis=1)
    shuffled = pooled[order]
    differences = shuffled[:, : len(first)].mean(1) - shuffled[:, len(first) :].mean(1)
    return _two_sided(differences, float(first.mean() - second.mean()), exact=False)


def _two_sided(null: np.ndarray, observed: float, exact: bool) -> float:
    # Sums of the same numbers in another order differ by rounding; they count as equal.
    as_large = int((np.abs(null) >= abs(observed) * (1 - 1e-9)).sum())
    return as_large / len(null) if exact else (as_large + 1) / (len(null) + 1)


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """The p values corrected for testing them all.

    Source: S. Holm, Scand. J. Stat. 6:65 (1979): the family-wise error stays, without independence.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values), dtype=np.float64)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected
