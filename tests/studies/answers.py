"""Rows with a value of our own for every score that a recipe's claims name: what the judge makes of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from reshim.evaluation.claims import Claim, judge
from reshim.evaluation.rules import rules_of

N_SUBJECTS = 8


def rows_for(
    claims: tuple[Claim, ...], value: Callable[[Mapping[str, Any]], float], seed: int = 0
) -> pa.Table:
    """Rows of every score that the claims name, `value` plus what a subject and a method on it differ by.

    Subjects are those of an anatomy: tests whose name starts alike have them in common.
    """
    generator = np.random.default_rng(seed)
    subjects: dict[str, np.ndarray] = {}
    rows = []
    for where in _scores(claims):
        group = str(where["test"]).split()[0] if where.get("test") else "all"
        if group not in subjects:
            subjects[group] = generator.normal(0, 0.02, N_SUBJECTS)
        for subject, offset in enumerate(subjects[group]):
            name = f"{group}-{subject}"
            score = value(where) + offset + generator.normal(0, 0.001)
            about = {"subject": name, "scan_id": name, "dataset": "made", "slice": 0, "train_seed": None}
            rows.append({**about, **where, "value": score})
    columns = sorted({key for row in rows for key in row})
    return pa.Table.from_pylist([{column: row.get(column) for column in columns} for row in rows])


def verdicts(claims: tuple[Claim, ...], value: Callable[[Mapping[str, Any]], float]) -> dict[str, str]:
    """How each claim is judged on such rows."""
    return {claim["id"]: claim["verdict"] for claim in judge(rows_for(claims, value), claims, resamples=400)}


def _scores(claims: tuple[Claim, ...]) -> list[dict[str, Any]]:
    leaves = {}
    for claim in claims:
        for rule in rules_of(claim.rule):
            for leaf in rule.quantity.leaves():
                leaves[leaf.where] = dict(leaf.where)
    return list(leaves.values())
