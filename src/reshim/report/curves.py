"""Curves over steps of training or adaptation, from the files that the run left."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reshim.errors import UserError
from reshim.report.blocks import Curve, CurvesBlock
from reshim.report.context import Context
from reshim.report.svg import Plot

MOST_POINTS = 600
"""A line of more points than pixels is thinned."""


def curves(block: CurvesBlock, context: Context) -> dict[str, Any]:
    """One plot a panel."""
    panels: dict[str, list[Curve]] = {}
    for curve in block.curves:
        panels.setdefault(curve.panel, []).append(curve)
    return {"plots": [_panel(block, name, members, context) for name, members in panels.items()]}


def _panel(block: CurvesBlock, name: str, members: Sequence[Curve], context: Context) -> dict[str, Any]:
    lines = {curve.label: read_curve(context.folder, curve) for curve in members}
    shown = {label: _drawable(points, block.log_x, block.log_y) for label, points in lines.items()}
    points = [point for line in shown.values() for point in line if all(map(math.isfinite, point))]
    missing = [label for label, line in shown.items() if not line]
    note = f"no finite points: {', '.join(missing)}" if missing else ""
    if not points:
        return {"title": name, "svg": "", "legend": [], "note": note or "no points"}
    y_label = block.y_label or ", ".join(dict.fromkeys(curve.y for curve in members))
    plot = Plot.around(
        [x for x, _ in points], [y for _, y in points], block.x_label, y_label, block.log_x, block.log_y
    )
    spoken = []
    for label, line in shown.items():
        if len(line) == 1:
            # A line of one point would not be seen.
            plot.mark(*line[0], 0, context.style(label), label)
        elif line:
            plot.line(line, context.style(label))
        if line:
            spoken.append(f"{label} ends at {line[-1][1]:.4g}")
    description = f"{name or block.title}: {y_label} over {block.x_label}. {'; '.join(spoken)}."
    return {
        "title": name,
        "svg": plot.render(description),
        "legend": context.legend(shown, marks=False),
        "note": note,
    }


def _drawable(points: list[tuple[float, float]], log_x: bool, log_y: bool) -> list[tuple[float, float]]:
    positive = [
        (x, y) for x, y in points if (x > 0 or not log_x) and not (log_y and y <= 0) and math.isfinite(x)
    ]
    stride = math.ceil(len(positive) / MOST_POINTS)
    return positive[::stride] + ([positive[-1]] if stride > 1 else []) if positive else []


def read_curve(folder: Path, curve: Curve) -> list[tuple[float, float]]:
    """The points of a curve in the order of the file.

    Raises
    ------
    UserError
        If the file is missing or lies outside the study folder.
    """
    path = (folder / curve.file).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"curve file {curve.file!r} lies outside {folder}; copy it into the study folder")
    if not path.exists():
        raise UserError(f"curve file {curve.file!r} is not in {folder}")
    entries = _parquet(path) if path.suffix == ".parquet" else json_lines(path)
    chosen = [entry for entry in entries if all(entry.get(key) == curve.where[key] for key in curve.where)]
    pairs = [(entry.get(curve.x), _within(entry, curve.inside).get(curve.y)) for entry in chosen]
    return [(float(x), float(y)) for x, y in pairs if _is_number(x) and _is_number(y)]  # type: ignore[arg-type]


def _within(entry: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    for key in keys:
        inner = entry.get(key)
        entry = inner if isinstance(inner, dict) else {}
    return entry


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parquet(path: Path) -> Iterable[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def json_lines(path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a file with one a line; a line cut short is passed over."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed while writing
        if isinstance(entry, dict):
            yield entry
