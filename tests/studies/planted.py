"""Rows that answer a study's claims: with every effect that it looks for, with the opposite, with none."""

import numpy as np
import pyarrow as pa

from reshim.evaluation.quantities import RankCorrelation, Ratio, Score, ShareAbove
from reshim.evaluation.rules import rules_of
from reshim.evaluation.statistics import Interval
from reshim.rows import SCHEMA


def all_rules(claims):
    """All rules, one by one."""
    return [rule for claim in claims for rule in rules_of(claim.rule)]


def leaves_of(claims) -> list[Score]:
    """Every score that the claims are made of, once."""
    return list(dict.fromkeys(leaf for rule in all_rules(claims) for leaf in rule.quantity.leaves()))


def smooth(quantity, drawn):
    """The quantity in each draw; of those without slope, one with: of a rank correlation that of the values,
    of a count the member that makes it more than half.
    """
    if isinstance(quantity, ShareAbove):
        members = np.sort([member.draw(drawn) for member in quantity.members], axis=0)
        return 0.5 + members[(len(members) - 1) // 2]
    if not isinstance(quantity, RankCorrelation):
        return quantity.draw(drawn)
    first, second = (
        np.stack([member.draw(drawn) for member in side]) for side in (quantity.first, quantity.second)
    )
    first, second = first - first.mean(0), second - second.mean(0)
    return (first * second).sum(0) / np.sqrt((first**2).sum(0) * (second**2).sum(0))


def levels(claims, clear_of: float, steps: int = 6000):
    """Means of the leaves at which every rule clears its bound by `clear_of`, or misses it if negative.

    Found by descent on the sum of what is lacking, from seeded levels near 0.8.
    """
    leaves, rules = leaves_of(claims), all_rules(claims)
    means = 0.8 + np.random.default_rng(0).normal(0, 0.002, len(leaves))
    side, step = np.sign(clear_of), 1e-6
    shifts = np.concatenate([np.zeros((1, len(leaves))), step * np.eye(len(leaves))])
    for _ in range(steps):
        drawn = dict(zip(leaves, (means + shifts).T, strict=True))
        slope, lacking = np.zeros(len(leaves)), 0.0
        for rule in rules:
            if isinstance(rule.quantity, Ratio) and side < 0:
                continue  # a share of a gap that is none is undefined, and does not hold
            wanted = abs(clear_of) * (100 if isinstance(rule.quantity, Ratio | RankCorrelation) else 1)
            values = smooth(rule.quantity, drawn)
            margin, beyond = (side * rule.margin(Interval(v, v, v)) for v in (values[0], values[0] + step))
            if margin < wanted:
                lacking += wanted - margin
                slope -= (beyond - margin) / step * (values[1:] - values[0]) / step
        if not lacking > 0:
            return dict(zip(leaves, means, strict=True))
        means = means - 1e-3 * slope / np.abs(slope).max()
    raise AssertionError(f"no levels found: {lacking} is still lacking")


def rows_at(means: dict[Score, float], n_subjects: int = 8, noise: float = 5e-4) -> pa.Table:
    """Rows whose leaves have these means; subjects differ far more than methods on a subject do."""
    generator = np.random.default_rng(1)
    subjects = generator.normal(0, 0.02, n_subjects)
    rows = []
    for leaf, mean in means.items():
        wobble = generator.normal(0, noise, n_subjects)
        wobble -= wobble.mean()
        rows += [
            {"scan_id": f"s{i}", "dataset": "made", "subject": f"s{i}", "slice": 0, "data_kind": "simulated"}
            | dict(leaf.where)
            | {"value": mean + subjects[i] - subjects.mean() + wobble[i]}
            for i in range(n_subjects)
        ]
    schema = SCHEMA
    for name in sorted({name for row in rows for name in row} - set(SCHEMA.names)):
        values = [row[name] for row in rows if row.get(name) is not None]
        schema = schema.append(pa.field(name, pa.array(values).type))
    return pa.Table.from_pylist(rows, schema=schema)
