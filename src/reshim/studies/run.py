"""A recipe from data to page: scans, rows, judged claims, summary, drawing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from reshim.catalog import Catalog
from reshim.evaluation.claims import Claim, judge, write_summary
from reshim.report.blocks import Block, MadeBlock, Page
from reshim.report.made import made
from reshim.report.page import draw
from reshim.report.page_file import write_page
from reshim.rows import read_rows
from reshim.studies.embedded import catalog_of
from reshim.studies.scale import Scale
from reshim.studies.study import Study, write_text


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
) -> Result:
    """Run a recipe from data to page; what is finished, here or for another study, is not done again.

    `shared` is where scans, models and rows lie; the study's own folder by default.
    """
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    shared = shared or folder
    if catalog is None:
        scans = catalog_of(recipe.embedded(scale), shared, folder / "catalog.parquet", seed)
    else:
        scans = Catalog.read(catalog)
    study = Study(name, folder, scans, scale, seed, shared, embedded=catalog is None, device=device)
    recipe.run(study)
    rows_path = folder / "rows.parquet"
    study.store.collect(study.finished, rows_path)
    rows = read_rows(rows_path)
    claims: Sequence[Claim] = recipe.CLAIMS
    judged = judge(rows, claims)
    seconds = time.perf_counter() - started
    kinds = sorted(set(rows["data_kind"].to_pylist()))
    previous = _seconds_before(folder)
    write_summary(
        folder,
        name,
        previous + seconds,
        {
            "data_kind": "/".join(kinds),
            "catalog": None if catalog is None else str(catalog),
            "scans": len(set(rows["scan_id"].to_pylist())),
            "subjects": len(set(rows["subject"].to_pylist())),
            "tiny": scale.tiny,
            "scale": scale.value,
            "seed": seed,
        },
        judged,
    )
    _keep_seconds(folder, previous + seconds)
    blocks: tuple[Block, ...] = (*recipe.page(study), _made(study, name, catalog))
    write_page(folder, Page(name, recipe.TITLE, question_of(recipe), recipe.PAPER, blocks))
    return Result(judged, draw(folder), [f"{scan.scan_id}: {scan.reason}" for scan in study.left_out])


def question_of(recipe: ModuleType) -> str:
    """The first line of a recipe's docstring."""
    return (recipe.__doc__ or "").strip().splitlines()[0]


def _made(study: Study, name: str, catalog: Path | None) -> MadeBlock:
    size = "" if study.scale is Scale.EMBEDDED else f" --{study.scale.value}"
    flags = (f" --catalog {catalog}" if catalog else "") + size
    settings = {label: dict(run.settings["training"]) for label, run in study.runs.items()}
    return made(f"reshim study {name}{flags} --seed {study.seed}", settings, time.strftime("%Y-%m-%d"))


def _seconds_before(folder: Path) -> float:
    path = folder / "seconds.txt"
    return float(path.read_text()) if path.exists() else 0.0


def _keep_seconds(folder: Path, seconds: float) -> None:
    write_text(folder / "seconds.txt", f"{seconds:.1f}\n")
