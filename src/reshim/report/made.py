"""How a result was made, and the card of each metric: what a reader needs to doubt or repeat a number."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import pyarrow.compute as pc

from reshim.report.blocks import MadeBlock
from reshim.report.context import Context
from reshim.report.glossary import REGIONS, TARGETS, explained
from reshim.report.numbers import duration, metric_name

PACKAGES = ("reshim", "torch", "numpy", "h5py", "pyarrow", "fastmri")

ORDER = ("ssim", "psnr", "nmse")

DATA_KINDS = {
    "simulated": "Simulated scans: drawn anatomies in a simulated scanner. No person was scanned.",
    "semi-synthetic": "Semi-synthetic scans: k-space made from published images, not measured.",
    "emulated": "Emulated scans: measured k-space that was altered to imitate another scanner or protocol.",
    "measured": "Measured scans.",
}
"""What a reader should think of the numbers, by the kind of their data."""


def made(command: str, settings: dict[str, Any], finished: str = "", note: str = "") -> MadeBlock:
    """The block of this run: versions and machine are looked up.

    Parameters
    ----------
    command
        What to type to make it again.
    settings
        Everything resolved, as JSON.
    finished
        Date of the run; handed in, so that drawing again changes nothing.
    """
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {sys.platform}"
    return MadeBlock(
        note=note, command=command, settings=settings, versions=versions, machine=machine, finished=finished
    )


def render_made(block: MadeBlock, context: Context) -> dict[str, Any]:
    """Facts, settings and metric cards."""
    seconds = context.summary.get("seconds")
    facts = [
        ("Command", block.command),
        ("Time", duration(seconds) if isinstance(seconds, int | float) else ""),
        ("Finished", block.finished),
        ("Machine", block.machine),
        ("Versions", ", ".join(f"{name} {version}" for name, version in block.versions.items())),
        ("Data", "; ".join(data_lines(context))),
        ("Scored on", crops(context)),
        ("Training seeds", ", ".join(map(str, context.distinct("train_seed")))),
    ]
    return {
        "facts": [(name, text) for name, text in facts if text],
        "settings": block.settings,
        "cards": cards(context),
        "words": words(context),
        "sampling": sampling(context),
    }


def data_lines(context: Context) -> list[str]:
    """Each data set with its kind and how many subjects and scans the rows hold of it."""
    table = context.rows.table.select(["dataset", "data_kind", "subject", "scan_id"])
    distinct = table.group_by(table.column_names).aggregate([]).to_pylist()
    lines = []
    for dataset, kind in sorted({(str(row["dataset"]), str(row["data_kind"])) for row in distinct}):
        mine = [row for row in distinct if (str(row["dataset"]), str(row["data_kind"])) == (dataset, kind)]
        subjects, scans = ({row[key] for row in mine} for key in ("subject", "scan_id"))
        lines.append(f"{dataset} ({kind}): {len(subjects)} subjects, {len(scans)} scans")
    return lines


def crops(context: Context, metric: str = "") -> str:
    """The sizes of the images that were scored, by a metric or by any, where the rows know them."""
    table, columns = context.rows.table, ["crop_rows", "crop_columns"]
    if not set(columns) <= set(table.column_names):
        return ""
    table = table.filter(pc.equal(table["metric"], metric)) if metric else table
    sizes = {
        (row["crop_rows"], row["crop_columns"])
        for row in table.select(columns).group_by(columns).aggregate([]).to_pylist()
        if row["crop_rows"] is not None
    }
    return ", ".join(f"{rows} × {columns} pixels" for rows, columns in sorted(sizes))


def cards(context: Context) -> list[dict[str, Any]]:
    """One card a metric that the rows hold, the best known first; its crop where others have others."""
    found = sorted(map(str, context.distinct("metric")), key=lambda name: (name not in ORDER, *_place(name)))
    everywhere = crops(context)
    return [
        _card(metric, _taken(context, metric)) | {"crop": crop if crop != everywhere else ""}
        for metric in found
        for crop in [crops(context, metric)]
    ]


def _place(metric: str) -> tuple[int, str]:
    return (ORDER.index(metric) if metric in ORDER else 0, metric)


def _taken(context: Context, metric: str) -> list[str]:
    """Against which references and where a metric was taken, as `mvue, support`."""
    table = context.rows.table
    mine = table.filter(pc.equal(table["metric"], metric)).select(["target", "region"])
    pairs = mine.group_by(mine.column_names).aggregate([]).to_pylist()
    return sorted(f"{row['target']}, {row['region']}" for row in pairs)


def _card(metric: str, taken: Sequence[str]) -> dict[str, Any]:
    return {"metric": metric_name(metric), **explained(metric), "taken": " · ".join(taken)}


def words(context: Context) -> list[tuple[str, str]]:
    """The references and regions of the rows with what they are."""
    known = TARGETS | REGIONS
    names = map(str, context.distinct("target") + context.distinct("region"))
    return [(name, known[name]) for name in dict.fromkeys(names) if name in known]


def sampling(context: Context) -> list[dict[str, Any]]:
    """One line a mask and nominal acceleration: what was acquired in truth, and every mask's whole hash."""
    keys = ["mask", "acceleration", "effective_acceleration", "center_lines", "mask_sha256"]
    table = context.rows.table.select(keys)
    distinct = table.group_by(keys).aggregate([]).to_pylist()
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in distinct:
        groups.setdefault((str(row["mask"]), row["acceleration"] or 0.0), []).append(row)
    return [_sampling_line(mask, nominal, groups[mask, nominal]) for mask, nominal in sorted(groups)]


def _sampling_line(mask: str, nominal: float, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "mask": mask,
        "nominal": f"{nominal:g}" if nominal else "—",
        "effective": _range([row["effective_acceleration"] for row in rows], 2),
        "center": _range([row["center_lines"] for row in rows], 0),
        "hashes": sorted({row["mask_sha256"] for row in rows if row["mask_sha256"]}),
    }


def _range(values: Sequence[float | None], digits: int) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return "—"
    low, high = (f"{end:.{digits}f}" for end in (known[0], known[-1]))
    return low if low == high else f"{low} to {high}"
