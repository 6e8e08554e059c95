"""Numbers as they are printed: digits by metric, true minus signs, intervals."""

import math
from collections.abc import Iterable

from reshim.evaluation.statistics import Interval

DIGITS = {"ssim": 3, "psnr": 2, "nmse": 4, "share": 2, "dice": 3}
"""Decimals of a mean; a difference gets one more where the metric lives between 0 and 1."""

UNITS = {"psnr": "dB"}
NAMES = {
    "ssim": "SSIM",
    "psnr": "PSNR",
    "nmse": "NMSE",
    "ms-ssim": "MS-SSIM",
    "hfen": "HFEN",
    "lpips": "LPIPS",
}


def metric_name(metric: str) -> str:
    """A metric's name as papers print it."""
    stem, _, suffix = metric.partition("_")
    return NAMES.get(stem, stem) + (f" ({suffix})" if suffix else "")


def digits_of(unit: str) -> int | None:
    """Decimals of a metric or unit; None where significant digits serve better."""
    stem = unit.lower().split("_")[0]
    return 2 if stem == "db" else DIGITS.get(stem)


def fixed(value: float | None, unit: str, signed: bool = False, extra: int = 0) -> str:
    """A number with the decimals of its unit."""
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    digits = digits_of(unit)
    sign = "+" if signed else ""
    if digits is None:
        text = f"{value:{sign}.3g}"
    else:
        text = f"{value:{sign}.{digits + extra}f}"
        if float(text) == 0:
            text = text.lstrip("-+")
    return text.replace("-", "−")


def span(interval: Interval, unit: str, signed: bool = False, extra: int = 0) -> str:
    """The interval as `0.801 – 0.823`, or why there is none."""
    if interval.low is None or interval.high is None:
        return "no interval"
    return f"{fixed(interval.low, unit, signed, extra)} to {fixed(interval.high, unit, signed, extra)}"


def duration(seconds: float | None) -> str:
    """Seconds in the words one would use."""
    if seconds is None:
        return "—"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """`1 subject`, `12 subjects`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def gathered(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Notes (of whom, what), each said once: `a; b: no rows`; without names where all share it."""
    pairs = list(notes)
    everyone = {owner for owner, _ in pairs}
    owners: dict[str, list[str]] = {}
    for owner, note in pairs:
        if note and owner not in owners.setdefault(note, []):
            owners[note].append(owner)
    return [
        note if len(named) == len(everyone) > 1 else f"{'; '.join(named)}: {note}"
        for note, named in owners.items()
    ]


def p_text(p: float) -> str:
    """A p value to the digits that a resampling test gives."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
