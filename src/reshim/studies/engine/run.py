"""A recipe from data to page: scans, rows, judged claims, summary, drawing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reshim.catalog import Catalog
from reshim.errors import UserError
from reshim.evaluation.claims import Claim, judge, write_summary
from reshim.methods import methods_of
from reshim.report.blocks import Block, MadeBlock, Page, TextBlock
from reshim.report.made import made
from reshim.report.page import draw
from reshim.report.page_file import write_page
from reshim.rows import read_rows, write_table
from reshim.studies.engine.beside import train_beside
from reshim.studies.engine.embedded import catalog_of
from reshim.studies.engine.needs import check_catalog
from reshim.studies.engine.options import options_of
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.engine.took import Clock, total


@dataclass(frozen=True)
class Result:
    """What a study leaves: its claims as judged, and the page."""

    claims: list[dict[str, Any]]
    page: Path
    left_out: list[str]


def run_study(
    name: str,
    recipe: ModuleType,
    folder: Path,
    catalog: Path | None = None,
    scale: Scale = Scale.EMBEDDED,
    seed: int = 0,
    shared: Path | None = None,
    device: str = "cpu",
    processes: int = 1,
    seeds: int | None = None,
    methods: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Result:
    """Run a recipe from data to page; what is finished, here or for another study, is not done again.

    `shared` is where scans, models and rows lie; the study's own folder by default. `processes` train side
    by side, where the recipe says what it trains. `seeds` trainings of everything are made by a study of
    diverse data, from `seed` on. `methods`, METHOD names, are asked about too, where the recipe takes any.
    `options`, each KEY=VALUE, change what the recipe lets its users change.
    """
    clock = Clock.started()
    study = study_of(name, recipe, folder, catalog, scale, seed, shared, device, seeds, methods, options)
    scans = study.catalog
    before = study.store.keys()
    try:
        if processes > 1:
            train_beside(study, recipe, _train_only(study, catalog), processes)
        recipe.run(study)
    finally:
        took = clock.note(study, catalog, before)
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
        name,
        cost.seconds,
        {
            "data_kind": "/".join(kinds),
            "catalog": None if catalog is None else str(catalog),
            "scans": len(set(tested["scan_id"].to_pylist())),
            "subjects": len(set(tested["subject"].to_pylist())),
            "tiny": scale.tiny,
            "scale": scale.value,
            "seed": seed,
            **({"options": list(options)} if options else {}),
        },
        judged,
        {
            "processor_seconds": None if cost.processor_seconds is None else round(cost.processor_seconds, 1),
            "last_run": {name: getattr(took, name) for name in ("seconds", "processor_seconds", "new")},
        },
    )
    blocks: tuple[Block, ...] = (
        *recipe.page(study),
        *_left_out(study),
        _made(study, name, catalog, methods, options),
    )
    write_page(folder, Page(name, recipe.TITLE, question_of(recipe), recipe.PAPER, blocks))
    return Result(judged, draw(folder), named(study))


def study_of(
    name: str,
    recipe: ModuleType,
    folder: Path,
    catalog: Path | None = None,
    scale: Scale = Scale.EMBEDDED,
    seed: int = 0,
    shared: Path | None = None,
    device: str = "cpu",
    seeds: int | None = None,
    methods: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Study:
    """What `run_study` hands to a recipe; scans are simulated where no catalog is given.

    Raises
    ------
    UserError
        If the catalog lacks what the study needs, for methods where the recipe takes none, and as
        `reshim.methods.methods_of` and `reshim.studies.engine.options.options_of` do.
    """
    if methods and not getattr(recipe, "TAKES_METHODS", False):
        raise UserError(
            f"{name} asks about methods of its own, and --with names {methods[0]!r}; leave it out"
        )
    changed = options_of(name, recipe, options)
    chosen = methods_of(methods, device=device)
    shared = shared or folder
    if catalog is None:
        scans = catalog_of(recipe.embedded(scale), shared, folder / "catalog.parquet", seed)
    else:
        scans = Catalog.read(catalog)
        check_catalog(name, recipe, recipe.embedded(scale), scans)
    folder.mkdir(parents=True, exist_ok=True)
    simulated = catalog is None
    return Study(name, folder, scans, scale, seed, shared, simulated, device, seeds, chosen, changed)


def _train_only(study: Study, catalog: Path | None) -> list[str]:
    """Arguments of `reshim` that train for this study and stop."""
    size = [] if study.scale is Scale.EMBEDDED else [f"--{study.scale.value}"]
    scans = [] if catalog is None else ["--catalog", str(catalog)]
    places = ["--out", str(study.folder), "--shared", str(study.shared)]
    other = ["--seed", str(study.seed), "--device", study.device]
    other += [] if study.seeds is None else ["--seeds", str(study.seeds)]
    return ["study", study.name, "--train-only", *size, *scans, *places, *other]


def question_of(recipe: ModuleType) -> str:
    """The first line of a recipe's docstring."""
    return (recipe.__doc__ or "").strip().splitlines()[0]


def named(study: Study) -> list[str]:
    """What was left out, and why."""
    return [f"{each.scan_id}: {each.reason}" for each in study.left_out]


def _left_out(study: Study) -> tuple[TextBlock, ...]:
    """On the page too: a claim without an answer does not say by itself that nobody asked."""
    return (TextBlock("Left out", paragraphs=tuple(named(study))),) if study.left_out else ()


def _made(
    study: Study, name: str, catalog: Path | None, methods: Sequence[str], options: Sequence[str]
) -> MadeBlock:
    size = "" if study.scale is Scale.EMBEDDED else f" --{study.scale.value}"
    flags = (f" --catalog {catalog}" if catalog else "") + size
    flags += "" if study.seeds is None else f" --seeds {study.seeds}"
    flags += f" --with {' '.join(methods)}" if methods else ""
    flags += f" --option {' '.join(options)}" if options else ""
    settings = {label: dict(run.settings["training"]) for label, run in study.runs.items()}
    return made(f"reshim study {name}{flags} --seed {study.seed}", settings, time.strftime("%Y-%m-%d"))


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
