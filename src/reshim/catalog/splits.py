"""Who is train, val and test: whole subjects, in stated shares of every stratum, the same on every machine.

A subject's views, echoes and repetitions never part. Who has a split keeps it, so a catalog that grows moves
nobody from test to train; newcomers fill what their stratum lacks most, in the order of a hash of their name.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from reshim.errors import UserError
from reshim.seeds import seed_of

SPLITS = ("train", "val", "test")
DEFAULT_SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}

Row = Mapping[str, Any]


def parse_shares(text: str) -> dict[str, float]:
    """Shares from text like ``60/20/20``.

    Raises
    ------
    UserError
        If the text is not three numbers of which one is positive and none negative.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or min(numbers) < 0 or sum(numbers) <= 0:
        raise UserError(f"--split is {text!r}; give shares of train, val and test, e.g. 60/20/20")
    return {name: number / sum(numbers) for name, number in zip(SPLITS, numbers, strict=True)}


def assign(
    rows: Sequence[Row],
    shares: Mapping[str, float] = DEFAULT_SHARES,
    by: Sequence[str] = ("anatomy",),
    seed: int = 0,
    keep: bool = True,
) -> list[str]:
    """The split of every row.

    `by` names the columns whose values form the strata, e.g. anatomy and vendor; a subject belongs to the
    stratum of its first row. With `keep`, rows that have a split keep it, and so does the rest of a subject.
    """
    chosen: dict[str, str] = {}
    strata: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        strata.setdefault(row["subject"], tuple(row[name] for name in by))
        if keep and row["split"] is not None:
            chosen.setdefault(row["subject"], row["split"])
    members: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for subject, stratum in strata.items():
        members[stratum].append(subject)
    for stratum, subjects in members.items():
        _fill(subjects, chosen, shares, seed_of("split", seed, *stratum))
    return [row["split"] if keep and row["split"] is not None else chosen[row["subject"]] for row in rows]


def straddling(rows: Sequence[Row]) -> list[str]:
    """Subjects that stand in more than one split, as published lists sometimes have it."""
    seen: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["split"] is not None:
            seen[row["subject"]].add(row["split"])
    return sorted(subject for subject, splits in seen.items() if len(splits) > 1)


def _fill(subjects: list[str], chosen: dict[str, str], shares: Mapping[str, float], seed: int) -> None:
    """Give every newcomer of a stratum the split that lacks most."""
    wanted = {name: share * len(subjects) for name, share in shares.items() if share > 0}
    if len(subjects) >= len(wanted):
        # Three subjects are one each: a split that nobody stands in answers no question.
        wanted = {name: max(number, 1.0) for name, number in wanted.items()}
    have = Counter(chosen[subject] for subject in subjects if subject in chosen)
    newcomers = [subject for subject in subjects if subject not in chosen]
    for subject in sorted(newcomers, key=lambda name: (seed_of(seed, name), name)):
        split = max(wanted, key=lambda name: (round(wanted[name] - have[name], 9), -SPLITS.index(name)))
        chosen[subject] = split
        have[split] += 1
