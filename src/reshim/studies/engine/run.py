"""A recipe from data to page: scans, rows, judged claims, summary, drawing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reshim.catalog import Catalog
from reshim.evaluation.claims import Claim, judge, write_summary
from reshim.report.blocks import Block, MadeBlock, Page, TextBlock
from reshim.report.made import made
from reshim.report.page import draw
from reshim.report.page_file import write_page
from reshim.rows import read_rows, write_table
from reshim.studies.engine.asked import Asked
from reshim.studies.engine.beside import train_beside
from reshim.studies.engine.study import Study
from reshim.studies.engine.took import Clock, total


@dataclass(frozen=True)
class Result:
    """What a study leaves: its claims as judged, and the page."""

    claims: list[dict[str, Any]]
    page: Path
    left_out: list[str]


def run_study(asked: Asked, processes: int = 1) -> Result:
    """Run a recipe from data to page; what is finished, here or for another study, is not done again.

    `processes` train side by side, where the recipe says what it trains.
    """
    clock, folder, recipe = Clock.started(), asked.folder, asked.recipe
    study = asked.study()
    scans = study.catalog
    before = study.store.keys()
    try:
        if processes > 1:
            train_beside(study, recipe, asked.trainings, processes)
        recipe.run(study)
    finally:
        took = clock.note(study, asked.form, before)
    rows_path = folder / "rows.parquet"
    study.store.collect(study.finished, rows_path)
    rows = with_crops(read_rows(rows_path), scans)
    write_table(rows_path, rows)
    claims: Sequence[Claim] = recipe.CLAIMS
    judged = judge(rows, claims)
    kinds = sorted(set(rows["data_kind"].to_pylist()))
    tested = rows.filter(pc.not_equal(rows["split"], "val").fill_null(True))
    cost = total(folder, took)
    write_summary(
        folder,
        asked.name,
        cost.seconds,
        {
            "data_kind": "/".join(kinds),
            "catalog": None if asked.catalog is None else str(asked.catalog),
            "scans": len(set(tested["scan_id"].to_pylist())),
            "subjects": len(set(tested["subject"].to_pylist())),
            "tiny": asked.scale.tiny,
            "scale": asked.scale.value,
            "seed": asked.seed,
            **({"options": list(asked.options)} if asked.options else {}),
        },
        judged,
        {
            "processor_seconds": None if cost.processor_seconds is None else round(cost.processor_seconds, 1),
            "last_run": {name: getattr(took, name) for name in ("seconds", "processor_seconds", "new")},
        },
    )
    blocks: tuple[Block, ...] = (*recipe.page(study), *_left_out(study), _made(study, asked))
    write_page(folder, Page(asked.name, recipe.TITLE, asked.question, recipe.PAPER, blocks))
    return Result(judged, draw(folder), named(study))


def named(study: Study) -> list[str]:
    """What was left out, and why."""
    return [f"{each.scan_id}: {each.reason}" for each in study.left_out]


def _left_out(study: Study) -> tuple[TextBlock, ...]:
    """On the page too: a claim without an answer does not say by itself that nobody asked."""
    return (TextBlock("Left out", paragraphs=tuple(named(study))),) if study.left_out else ()


def _made(study: Study, asked: Asked) -> MadeBlock:
    settings = {label: dict(run.settings["training"]) for label, run in study.runs.items()}
    return made(" ".join(asked.command), settings, time.strftime("%Y-%m-%d"))


def with_crops(rows: pa.Table, catalog: Catalog) -> pa.Table:
    """The size of the images that were scored, from the catalog where rows do not say it themselves."""
    said = catalog.table.select(["scan_id", "recon_rows", "recon_columns"]).to_pylist()
    known = {scan["scan_id"]: (scan["recon_rows"], scan["recon_columns"]) for scan in said}
    sizes = [known.get(scan, (None, None)) for scan in rows["scan_id"].to_pylist()]
    for name, found in zip(("crop_rows", "crop_columns"), zip(*sizes, strict=True), strict=True):
        told = rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows
        column = pa.array([own or other for own, other in zip(told, found, strict=True)], pa.int64())
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, column)
        else:
            rows = rows.append_column(name, column)
    return rows
