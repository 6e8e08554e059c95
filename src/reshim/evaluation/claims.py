"""Claims with rules fixed before the run, and the judge that reads nothing but rows.

A claim holds by its interval, never by its mean alone; one about every single slice by there being none that
speaks against it (`NoneOf`). Where the rows cannot answer, it does not hold, and the note says why.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from reshim.evaluation.quantities import Rows
from reshim.evaluation.rules import AllOf, Given, MeanOfDefined, Rule, rules_of
from reshim.evaluation.statistics import RESAMPLES, Interval

Verdict: TypeAlias = Literal["holds", "undecided", "contradicted", "unanswered"]
"""`undecided`: the interval reaches across the bound. `contradicted`: it lies wholly on the wrong side, or,
of a claim about every single row (`NoneOf`), one row does."""

FEWEST_SUBJECTS = 3


@dataclass(frozen=True)
class Claim:
    """A sentence, the rule that decides it, and what the paper found."""

    id: str
    """Fixed in the recipe; scripts know the claim by it."""

    claim: str
    rule: Rule | AllOf | Given | MeanOfDefined
    paper: str | float | None = None
    """The published figure, or None where none is known."""

    unit: str = "SSIM"

    opposed: bool = False
    """Whether the paper says the opposite: where the claim holds, what the paper found does not appear."""


def judge(
    rows: pa.Table, claims: Iterable[Claim], resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """Each claim as `summary.json` keeps it: does it hold, by which interval, and if not, why.

    A quantity without rows, with a value that is not finite or with fewer than 3 subjects has no interval,
    and then the claim does not hold. A claim that one row refutes is contradicted by the rows of one subject.
    """
    answered = Rows(rows, resamples, seed)
    return [_judge_one(answered, claim) for claim in claims]


def _judge_one(rows: Rows, claim: Claim) -> dict[str, Any]:
    if isinstance(claim.rule, MeanOfDefined):
        return _judge_mean(rows, claim, claim.rule)
    rules = rules_of(claim.rule)
    intervals = [_enough(rows.interval(rule.quantity, rule.confidence)) for rule in rules]
    verdicts = [_verdict(rule, interval) for rule, interval in zip(rules, intervals, strict=True)]
    if isinstance(claim.rule, Given):
        shown, (verdict, note) = 0, _given(verdicts, rules)
    else:
        verdict, note = _joint(verdicts), ""
        deciding = [index for index, each in enumerate(verdicts) if each == verdict]
        shown = min(deciding, key=lambda index: _margin(rules[index], intervals[index]))
    interval = intervals[shown]
    if verdict == "holds":
        note = "; ".join(filter(None, (rules[shown].caveat(interval), interval.note)))
    judged = {
        "id": claim.id,
        "claim": claim.claim,
        "rule": str(claim.rule),
        "holds": all(verdict == "holds" for verdict in verdicts),
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "unit": claim.unit,
        "paper": claim.paper,
        "verdict": verdict,
        "note": note or interval.note,
        "bounds": list(rules[shown].bounds),
        "n_subjects": interval.n_subjects,
        "n_seeds": interval.n_seeds,
    }
    if len(rules) > 1:
        judged["conditional"] = isinstance(claim.rule, Given)
        judged["parts"] = [
            {"rule": str(rule), "verdict": verdict, "value": part.value, "low": part.low, "high": part.high}
            for rule, verdict, part in zip(rules, verdicts, intervals, strict=True)
        ]
    return judged


def _judge_mean(rows: Rows, claim: Claim, rule: MeanOfDefined) -> dict[str, Any]:
    """As one rule over the cases that are defined; over all of them, and unanswered, where none is."""
    judged = [_judge_one(rows, Claim(claim.id, claim.claim, case)) for case in rule.cases]
    pairs = list(zip(rule.cases, judged, strict=True))
    defined = [case for case, each in pairs if each["verdict"] != "unanswered"]
    found = _judge_one(rows, replace(claim, rule=rule.mean_of(defined or rule.cases)))
    told = f"the mean of those {len(defined)} of {len(rule.cases)} that are defined"
    if not defined:
        why = "; ".join(dict.fromkeys(str(each["note"]) for each in judged))
        told = f"none of {len(rule.cases)} is defined: {why}"
        found |= {"verdict": "unanswered", "holds": False}
    return found | {"rule": str(rule), "note": "; ".join(filter(None, (told, found["note"])))}


def _enough(interval: Interval) -> Interval:
    if interval.defined and interval.n_subjects >= FEWEST_SUBJECTS:
        return interval
    few = f"{interval.n_subjects} subjects; an interval needs {FEWEST_SUBJECTS}"
    short = interval.value is not None and interval.n_subjects < FEWEST_SUBJECTS
    note = few if short else interval.note or "the interval is not finite"
    return Interval(interval.value, None, None, interval.n_subjects, interval.n_seeds, note)


def _verdict(rule: Rule, interval: Interval) -> Verdict:
    if rule.refuted_by(interval.value):
        return "contradicted"
    if not interval.defined:
        return "unanswered"
    if rule.holds(interval):
        return "holds"
    return "contradicted" if rule.contradicted(interval) else "undecided"


def _given(verdicts: Sequence[Verdict], rules: Sequence[Rule]) -> tuple[Verdict, str]:
    """The first rule's verdict where all the others hold; else unanswered, and which does not."""
    for verdict, condition in zip(verdicts[1:], rules[1:], strict=True):
        if verdict != "holds":
            return "unanswered", f"{verdict}: {condition}"
    return verdicts[0], ""


def _joint(verdicts: Sequence[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("contradicted", "unanswered", "undecided", "holds")
    return next(verdict for verdict in order if verdict in verdicts)


def _margin(rule: Rule, interval: Interval) -> float:
    return rule.margin(interval) if interval.defined else -float("inf")


def write_summary(
    folder: Path,
    study: str,
    seconds: float,
    data: Any,
    claims: Sequence[dict[str, Any]],
    cost: Mapping[str, Any] | None = None,
) -> Path:
    """Write `summary.json` beside first, then rename: a reader never meets half a file.

    Parameters
    ----------
    data
        What was measured on, as JSON: a sentence, or a dictionary with `data_kind` and whatever describes it.
    seconds
        What the result took, over all runs that added to it.
    claims
        From `judge`.
    cost
        What else is known of it: processor time, what the last run by itself took.
    """
    summary = {"study": study, "seconds": round(seconds, 1), "data": data, "claims": list(claims)}
    summary.update(cost or {})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "summary.json"
    beside = path.with_name("summary.json.partial")
    beside.write_text(
        json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    return beside.replace(path)
