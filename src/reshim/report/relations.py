"""Scores against a dose, and scores elsewhere against scores at home with a fitted line."""

from collections.abc import Sequence
from typing import Any

from reshim.evaluation.quantities import AboveLine
from reshim.evaluation.statistics import Interval
from reshim.report.blocks import DosesBlock, Point, ScatterBlock
from reshim.report.comparisons import score_name
from reshim.report.context import Context
from reshim.report.numbers import fixed, metric_name, span
from reshim.report.svg import Plot


def doses(block: DosesBlock, context: Context) -> dict[str, Any]:
    """Mean and interval at each dose, a line a method."""
    metric = str(block.where.get("metric", ""))
    levels = [float(level) for level in context.distinct(block.dose)]
    lines: dict[str, list[tuple[float, Interval]]] = {}
    for choice in block.lines:
        found = [
            (level, context.interval(choice.label, block.where, choice.where, {block.dose: level}))
            for level in levels
        ]
        lines[choice.label] = [(level, interval) for level, interval in found if interval.value is not None]
    ends = [end for line in lines.values() for _, each in line for end in (each.value, each.low, each.high)]
    heights = [end for end in ends if end is not None]
    missing = [label for label, line in lines.items() if not line]
    note = f"no rows: {', '.join(missing)}" if missing else ""
    if not heights:
        return {"plots": [{"title": "", "svg": "", "legend": [], "note": note or "no rows"}]}
    seen = sorted({level for line in lines.values() for level, _ in line})
    log_x = block.log_x and seen[0] > 0
    x_label = block.x_label or block.dose.replace("_", " ")
    ticks = seen if len(seen) <= 7 else None
    plot = Plot.around(seen, heights, x_label, metric_name(metric), log_x=log_x, x_ticks=ticks)
    spoken = []
    for label, line in lines.items():
        if line:
            _draw_dose(plot, label, line, metric, context)
            spoken.append(
                f"{label} goes from {fixed(line[0][1].value, metric)} to {fixed(line[-1][1].value, metric)}"
            )
    description = (
        f"{score_name(block.where)} against {x_label}, {seen[0]:g} to {seen[-1]:g}: {'; '.join(spoken)}."
    )
    shown = [label for label, line in lines.items() if line]
    drawn: dict[str, Any] = {"title": score_name(block.where), "svg": plot.render(description), "note": note}
    drawn["legend"] = context.legend(shown)
    return {"plots": [drawn]}


def _draw_dose(
    plot: Plot, label: str, line: list[tuple[float, Interval]], metric: str, context: Context
) -> None:
    style = context.style(label)
    band = [(x, each.low, each.high) for x, each in line if each.low is not None and each.high is not None]
    if len(band) > 1:
        plot.band(band, style)
    plot.line([(x, each.value) for x, each in line if each.value is not None], style)
    for x, each in line:
        if each.value is not None:
            text = f"{label} at {x:g}: {fixed(each.value, metric)} ({span(each, metric)})"
            plot.mark(x, each.value, context.colour(label), style, text)


def scatter(block: ScatterBlock, context: Context) -> dict[str, Any]:
    """Points with both intervals, the line fitted through chosen ones, and each point's height above it."""
    metric = str(block.where.get("metric", ""))
    placed = [
        (
            point,
            context.rows.interval(context.averaged(point.label, block.each, block.where, point.x)),
            context.rows.interval(context.averaged(point.label, block.each, block.where, point.y)),
        )
        for point in block.points
    ]
    missing = [point.label for point, x, y in placed if x.value is None or y.value is None]
    placed = [(point, x, y) for point, x, y in placed if x.value is not None and y.value is not None]
    note = f"no rows: {', '.join(missing)}" if missing else ""
    if not placed:
        return {"plots": [{"title": "", "svg": "", "legend": [], "note": note or "no points"}], "heights": []}
    xs = [end for _, x, _ in placed for end in (x.value, x.low, x.high) if end is not None]
    ys = [end for _, _, y in placed for end in (y.value, y.low, y.high) if end is not None]
    plot = Plot.around(xs, ys, block.x_label, block.y_label)
    fitted = fit_line([(x.value or 0.0, y.value or 0.0) for point, x, y in placed if point.in_fit])
    _guides(plot, block, fitted)
    for point, x, y in placed:
        _draw_point(plot, point, x, y, metric, context)
    groups = list(dict.fromkeys(point.group or point.label for point, _, _ in placed))
    line = "" if fitted is None else f"y = {fitted[0]:.3g} + {fitted[1]:.3g} x".replace("-", "−")
    spoken = [
        f"{point.label} at {fixed(x.value, metric)}, {fixed(y.value, metric)}" for point, x, y in placed
    ]
    description = (
        f"{block.y_label} against {block.x_label}, {score_name(block.where)}: {'; '.join(spoken)}. {line}"
    )
    drawn: dict[str, Any] = {"title": score_name(block.where), "svg": plot.render(description), "note": note}
    drawn["legend"] = context.legend(groups)
    shown = [point for point, _, _ in placed]
    return {
        "plots": [drawn],
        "line": line,
        "heights": _heights(block, shown, metric, context) if fitted else [],
    }


def _heights(
    block: ScatterBlock, points: Sequence[Point], metric: str, context: Context
) -> list[dict[str, str]]:
    """How far each point that the line was not fitted through lies above it, with its interval."""
    leaves = {
        point.label: (
            context.averaged(f"{point.label}, x", block.each, block.where, point.x),
            context.averaged(f"{point.label}, y", block.each, block.where, point.y),
        )
        for point in points
    }
    line = tuple(leaves[point.label] for point in points if point.in_fit)
    found = {
        point.label: context.rows.interval(AboveLine(*leaves[point.label], line=line))
        for point in points
        if not point.in_fit
    }
    return [
        {
            "label": label,
            "height": fixed(height.value, metric, signed=True),
            "span": span(height, metric, signed=True),
        }
        for label, height in found.items()
    ]


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Intercept and slope by least squares; None for fewer than two places in x."""
    if len({x for x, _ in points}) < 2:
        return None
    mean_x, mean_y = (sum(side) / len(points) for side in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y - slope * mean_x, slope


def _guides(plot: Plot, block: ScatterBlock, fitted: tuple[float, float] | None) -> None:
    low, high = plot.x.low, plot.x.high
    if block.diagonal:
        _clipped(plot, 0.0, 1.0, low, high, "guide")
    if fitted:
        _clipped(plot, *fitted, low, high, "fit")


def _clipped(plot: Plot, intercept: float, slope: float, low: float, high: float, style: str) -> None:
    """The part of a line that lies inside the axes."""
    if slope:
        at_ends = sorted((end - intercept) / slope for end in (plot.y.low, plot.y.high))
        low, high = max(low, at_ends[0]), min(high, at_ends[1])
    if low < high:
        plot.error((low, high), (intercept + slope * low, intercept + slope * high), style)


def _draw_point(plot: Plot, point: Point, x: Interval, y: Interval, metric: str, context: Context) -> None:
    assert x.value is not None  # the caller kept only what has both
    assert y.value is not None
    group = point.group or point.label
    style = context.style(group)
    if x.low is not None and x.high is not None:
        plot.error((x.low, x.high), (y.value, y.value), f"whisker {style}")
    if y.low is not None and y.high is not None:
        plot.error((x.value, x.value), (y.low, y.high), f"whisker {style}")
    here, there = (f"{fixed(side.value, metric)} ({span(side, metric)})" for side in (x, y))
    text = f"{point.label}: {here}, {there}"
    plot.mark(x.value, y.value, context.colour(group), style, text)
