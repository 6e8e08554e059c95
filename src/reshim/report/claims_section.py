"""The claims of a summary as a ledger: verdict, sentence, interval against its bound, published figure."""

from collections.abc import Sequence
from typing import Any

from reshim.evaluation.statistics import Interval
from reshim.report.blocks import ClaimsBlock
from reshim.report.comparisons import percent
from reshim.report.context import Context
from reshim.report.numbers import count, fixed, span

VERDICTS = {
    "holds": ("✓", "holds"),
    "undecided": ("~", "undecided"),
    "contradicted": ("✕", "contradicted"),
    "unanswered": ("–", "no answer"),
}


def claims(block: ClaimsBlock, context: Context) -> dict[str, Any]:
    """One line a claim."""
    found = context.summary.get("claims") or []
    lines = [claim_line(claim) for claim in found]
    # What is true of every claim is said once, below.
    notes = {line["note"] for line in lines}
    common = notes.pop() if len(lines) > 1 and len(notes) == 1 else ""
    for line in lines:
        line["note"] = "" if common else line["note"]
    return {"claims": lines, "common": common}


def claim_line(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim of `summary.json` as it is printed."""
    verdict = claim.get("verdict") or ("holds" if claim.get("holds") else "undecided")
    if verdict not in VERDICTS:
        verdict = "unanswered"
    sign, word = VERDICTS[verdict]
    unit = str(claim.get("unit") or "")
    interval = Interval(_number(claim.get("value")), _number(claim.get("low")), _number(claim.get("high")))
    printed, shown_span = _printed(interval, unit)
    return {
        "id": claim.get("id", ""),
        "claim": claim.get("claim", ""),
        "rule": claim.get("rule", ""),
        "verdict": verdict,
        "sign": sign,
        "word": word,
        "value": printed,
        "span": shown_span,
        "unit": "" if unit == "share" or interval.value is None else unit,
        "paper": _paper(claim.get("paper"), unit),
        "note": claim.get("note") or "",
        "basis": _basis(claim),
        "forest": forest(interval, [_number(bound) for bound in claim.get("bounds") or []], unit),
    }


def verdict_line(claims: Sequence[dict[str, Any]]) -> str:
    """`3 of 5 claims hold` in one breath with what the others do."""
    if not claims:
        return "no claims were judged"
    words = [claim_line(claim)["verdict"] for claim in claims]
    held = words.count("holds")
    rest = [
        f"{words.count(word)} {VERDICTS[word][1]}"
        for word in ("undecided", "contradicted", "unanswered")
        if word in words
    ]
    verb = "holds" if len(claims) == 1 else "hold"
    return f"{held} of {count(len(claims), 'claim')} {verb}" + (f" · {' · '.join(rest)}" if rest else "")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _printed(interval: Interval, unit: str) -> tuple[str, str]:
    if unit == "share":
        ends = [interval.low, interval.high]
        text = "—" if interval.value is None else percent(interval.value)
        return text, " to ".join(percent(end) for end in ends if end is not None)
    shown = span(interval, unit, signed=True, extra=_extra(unit)) if interval.low is not None else ""
    return fixed(interval.value, unit, signed=True, extra=_extra(unit)), shown


def _extra(unit: str) -> int:
    return 1 if unit.lower() in ("ssim", "dice") else 0


def _paper(paper: Any, unit: str) -> str:
    number = _number(paper)
    if number is None:
        return str(paper) if paper else ""
    return percent(number) if unit == "share" else fixed(number, unit, signed=True, extra=_extra(unit))


def _basis(claim: dict[str, Any]) -> str:
    subjects, seeds = claim.get("n_subjects") or 0, claim.get("n_seeds") or 0
    parts = [count(subjects, "subject")] if subjects else []
    parts += [count(seeds, "training seed")] if seeds else []
    several = len(claim.get("parts") or [])
    which = f"the weakest of {several} conditions"
    if claim.get("conditional"):
        which = f"given {count(several - 1, 'condition')}"
    return ", ".join(parts) + (f"; {which}" if several else "")


def forest(interval: Interval, bounds: Sequence[float | None], unit: str) -> dict[str, Any] | None:
    """Places in percent of a small axis: interval, estimate, and the bounds of the rule."""
    if interval.value is None or interval.low is None or interval.high is None:
        return None
    known = [bound for bound in bounds if bound is not None]
    ends = [interval.value, interval.low, interval.high, *known]
    room = 0.12 * (max(ends) - min(ends)) or 1.0
    low, high = min(ends) - room, max(ends) + room

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return {
        "at": place(interval.value),
        "start": place(interval.low),
        "width": round(place(interval.high) - place(interval.low), 2),
        "bounds": [
            {
                "at": place(bound),
                "text": percent(bound) if unit == "share" else f"{bound:g}".replace("-", "−"),
            }
            for bound in known
        ],
    }
