"""Methods beside methods: the matrix of test sets, the gap with what closes it, the table to copy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reshim.evaluation.quantities import (
    Average,
    Difference,
    Quantity,
    Score,
    Worst,
    lower_is_better,
    share_of_gap,
)
from reshim.evaluation.significance import holm, sign_flip_test
from reshim.evaluation.statistics import CONFIDENCE, Interval, UndefinedError, align
from reshim.report.blocks import Bar, GapBlock, MatrixBlock, TableBlock, Where
from reshim.report.context import Context
from reshim.report.glossary import aim
from reshim.report.numbers import count, fixed, gathered, metric_name, p_text, span
from reshim.report.tables import Table


def matrix(block: MatrixBlock, context: Context) -> dict[str, Any]:
    """Cells with mean, interval, heat within the column, and marks for the best and for what equals it."""
    metric = str(block.where.get("metric", ""))
    leaves = [
        [context.leaf(method.label, block.where, test.where, method.where) for method in block.methods]
        for test in block.tests
    ]
    labels = [test.label for test in block.tests]
    columns = [_column(each, metric, context) for each in leaves]
    if block.with_worst:
        across = [tuple(cells) for cells in zip(*leaves, strict=True)]
        columns.append(_column([Average(cells) for cells in across], metric, context))
        columns.append(_column([Worst(cells, lower_is_better(metric)) for cells in across], metric, context))
        labels += ["mean of tests", "worst test"]
    lines = [
        {"label": method.label, "cells": [column["cells"][index] for column in columns]}
        for index, method in enumerate(block.methods)
    ]
    return {
        "metric": score_name(block.where),
        "better": aim(metric),
        "tests": [{"label": label, "n": column["n"]} for label, column in zip(labels, columns, strict=True)],
        "lines": lines,
        "notes": gathered((line["label"], cell["note"]) for line in lines for cell in line["cells"]),
        "tied": any(cell["mark"] == "tied" for line in lines for cell in line["cells"]),
    }


def _column(leaves: Sequence[Quantity], metric: str, context: Context) -> dict[str, Any]:
    intervals = [context.rows.interval(leaf) for leaf in leaves]
    marks = best_marks(leaves, intervals, metric, context)
    heats = _heat([interval.value for interval in intervals], lower_is_better(metric))
    cells = [
        {
            "value": fixed(interval.value, metric),
            "span": span(interval, metric) if interval.value is not None else "",
            "note": interval.note,
            "mark": mark,
            "heat": heat,
        }
        for interval, mark, heat in zip(intervals, marks, heats, strict=True)
    ]
    subjects = [interval.n_subjects for interval in intervals if interval.n_subjects]
    return {"cells": cells, "n": count(max(subjects), "subject") if subjects else "no subjects"}


def best_marks(
    leaves: Sequence[Quantity], intervals: Sequence[Interval], metric: str, context: Context
) -> list[str]:
    """`best` for the best mean, `tied` where the paired difference to it may be 0, else nothing."""
    known = [index for index, interval in enumerate(intervals) if interval.value is not None]
    if len(known) < 2:
        return [""] * len(intervals)
    sign = -1 if lower_is_better(metric) else 1
    best = max(known, key=lambda index: sign * (intervals[index].value or 0.0))
    marks = [""] * len(intervals)
    marks[best] = "best"
    for index in known:
        behind = context.rows.interval(Difference(leaves[best], leaves[index]))
        if index != best and behind.low is not None and behind.high is not None:
            marks[index] = "tied" if behind.low <= 0 <= behind.high else ""
    return marks


def _heat(values: Sequence[float | None], lower: bool) -> list[int]:
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    heats = []
    for value in values:
        share = 0.0 if value is None or high == low else (value - low) / (high - low)
        heats.append(0 if value is None else round(100 * (1 - share if lower else share)))
    return heats


def score_name(where: Where) -> str:
    """`SSIM on mvue, support`: the metric with what it was taken against and where."""
    places = ", ".join(str(where[key]) for key in ("target", "region") if where.get(key))
    name = metric_name(str(where.get("metric", "score")))
    return f"{name} against {places}" if places else name


def gap(block: GapBlock, context: Context) -> dict[str, Any]:
    """Bars on one axis, the gap shaded, and the share of it that each method closes."""
    metric = str(block.where.get("metric", ""))
    leaves = {bar.label: context.leaf(bar.label, block.where, bar.where) for bar in block.bars}
    intervals = {label: context.rows.interval(leaf) for label, leaf in leaves.items()}
    low, high = _axis(list(intervals.values()))
    source, target = _of_role(block.bars, "source"), _of_role(block.bars, "target")
    place = _placer(low, high)
    start = intervals[source].value if source else None
    lines = [_bar(bar, intervals[bar.label], start, metric, place) for bar in block.bars]
    found: dict[str, Any] = {"metric": score_name(block.where), "lines": lines, "low": fixed(low, metric)}
    found |= {"high": fixed(high, metric), "gap": None}
    if source and target:
        _add_shares(block.bars, lines, leaves, source, target, metric, context)
        gap_ends = [intervals[label].value for label in (source, target)]
        if None not in gap_ends:
            ends = sorted(place(end) for end in gap_ends if end is not None)
            found["gap"] = {
                "start": ends[0],
                "width": ends[1] - ends[0],
                "text": _gap_text(leaves, source, target, metric, context),
            }
    found["notes"] = gathered((line["label"], line["note"]) for line in lines)
    return found


def _axis(intervals: Sequence[Interval]) -> tuple[float, float]:
    ends = [end for each in intervals for end in (each.value, each.low, each.high) if end is not None]
    if not ends:
        return 0.0, 1.0
    room = 0.04 * (max(ends) - min(ends)) or 0.01
    return min(ends) - room, max(ends) + room


def _placer(low: float, high: float) -> Callable[[float], float]:
    return lambda value: round(100 * (value - low) / (high - low), 2)


def _of_role(bars: Sequence[Bar], role: str) -> str:
    return next((bar.label for bar in bars if bar.role == role), "")


def _bar(
    bar: Bar, interval: Interval, source: float | None, metric: str, place: Callable[[float], float]
) -> dict[str, Any]:
    """One line; its bar reaches from the source to the method: its length is the change."""
    drawn: dict[str, float] | None = None
    if interval.value is not None:
        low = interval.value if interval.low is None else interval.low
        high = interval.value if interval.high is None else interval.high
        at, start = place(interval.value), place(interval.value if source is None else source)
        drawn = {"at": at, "start": place(low), "width": round(place(high) - place(low), 2)}
        drawn |= {"from": min(at, start), "change": round(abs(at - start), 2)}
    return {
        "label": bar.label,
        "role": bar.role,
        "drawn": drawn,
        "value": fixed(interval.value, metric),
        "span": span(interval, metric),
        "note": interval.note,
        "share": "",
        "share_span": "",
    }


def _add_shares(
    bars: Sequence[Bar],
    lines: Sequence[dict[str, Any]],
    leaves: dict[str, Score],
    source: str,
    target: str,
    metric: str,
    context: Context,
) -> None:
    for bar, line in zip(bars, lines, strict=True):
        if bar.role in ("source", "target"):
            line["share"] = "gap starts" if bar.role == "source" else "gap ends"
            continue
        share = context.rows.interval(
            share_of_gap(leaves[source], leaves[bar.label], leaves[target], lower_is_better(metric))
        )
        line["share"] = _share_text(share)
        if share.low is not None and share.high is not None and share.high >= 0:
            line["share_span"] = f"{percent(share.low)} to {percent(share.high)}"
        if share.value is None:
            line["note"] = line["note"] or share.note


def _share_text(share: Interval) -> str:
    if share.value is None:
        return "undefined"
    behind = share.high is not None and share.high < 0
    return "below the start" if behind else f"{percent(share.value)} closed"


def percent(value: float) -> str:
    """A share as whole percent, with a true minus sign."""
    if not np.isfinite(value):
        return "∞" if value > 0 else "−∞"
    return f"{100 * value:.0f} %".replace("-", "−")


def _gap_text(leaves: dict[str, Score], source: str, target: str, metric: str, context: Context) -> str:
    interval = context.rows.interval(Difference(leaves[target], leaves[source]))
    return f"gap {fixed(interval.value, metric, signed=True)} ({span(interval, metric, signed=True)})"


def table(block: TableBlock, context: Context) -> dict[str, Any]:
    """The table to copy, with paired differences and Holm-corrected p values where a row is compared to."""
    leaves = {
        (row.label, column.label): context.leaf(row.label, block.where, column.where, row.where)
        for row in block.rows
        for column in block.columns
    }
    units = {column.label: str((block.where | column.where).get("metric", "")) for column in block.columns}
    intervals = {place: context.rows.interval(leaf) for place, leaf in leaves.items()}
    made = Table([block.title or score_name(block.where)], [])
    tested = _against_zero(leaves, context) if block.against_zero else {}
    for column in block.columns:
        made.head += [column.label, "95 % interval"]
        if block.against_zero:
            made.head += ["p (Holm)"]
        if block.compare_to:
            made.head += [f"difference to {block.compare_to}", "p (Holm)"]
    tests = _compared(block, leaves, context) if block.compare_to else {}
    for row in block.rows:
        line = [row.label]
        for column in block.columns:
            place, unit = (row.label, column.label), units[column.label]
            line += [fixed(intervals[place].value, unit), span(intervals[place], unit)]
            if block.against_zero:
                line += [p_text(tested[place]) if place in tested else ""]
            if block.compare_to:
                line += _comparison(tests.get(place), unit)
        made.lines.append(line)
    made.head[0] = "method"
    return {
        "table": made,
        "notes": gathered((row, each.note) for (row, _), each in intervals.items()),
        "surviving": _surviving(tested) if block.against_zero else "",
    }


def _against_zero(leaves: dict[tuple[str, str], Score], context: Context) -> dict[tuple[str, str], float]:
    """The p value of each cell, corrected for all that have one."""
    found = {place: context.rows.p_value(leaf) for place, leaf in leaves.items()}
    known = {place: p for place, p in found.items() if p is not None}
    return dict(zip(known, holm(np.array(list(known.values()))).tolist(), strict=True))


def _surviving(corrected: dict[tuple[str, str], float]) -> str:
    """Which cells differ from 0 after the correction, row by row."""
    rows: dict[str, list[str]] = {}
    for (row, column), p in corrected.items():
        if p < 1 - CONFIDENCE:
            rows.setdefault(row, []).append(column)
    named = "; ".join(f"{row} ({', '.join(columns)})" for row, columns in rows.items())
    return f"Not 0 at 5 % after Holm's correction for all {len(corrected)} values: {named or 'none'}."


def _compared(
    block: TableBlock, leaves: dict[tuple[str, str], Score], context: Context
) -> dict[tuple[str, str], tuple[Interval, float]]:
    found: dict[tuple[str, str], tuple[Interval, float]] = {}
    for (row, column), leaf in leaves.items():
        base = leaves.get((block.compare_to, column))
        if base is None or row == block.compare_to:
            continue
        change = context.rows.interval(Difference(leaf, base))
        try:
            ours, theirs = align([context.rows.scores(leaf), context.rows.scores(base)])
        except UndefinedError:
            continue
        if ours.subjects == theirs.subjects:
            found[row, column] = (change, sign_flip_test(ours.by_subject - theirs.by_subject))
    corrected = holm(np.array([p for _, p in found.values()]))
    return {place: (found[place][0], float(p)) for place, p in zip(found, corrected, strict=True)}


def _comparison(test: tuple[Interval, float] | None, unit: str) -> list[str]:
    if test is None:
        return ["", ""]
    change, p = test
    return [f"{fixed(change.value, unit, signed=True)} ({span(change, unit, signed=True)})", p_text(p)]
