"""From the files of a study folder to one self-contained page: no network, no script but for copying."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from reshim.errors import UserError
from reshim.evaluation.quantities import Rows
from reshim.report import comparisons, curves, pictures, relations
from reshim.report.blocks import (
    KINDS,
    Block,
    Choice,
    ClaimsBlock,
    CurvesBlock,
    DosesBlock,
    GapBlock,
    ImagesBlock,
    MadeBlock,
    MatrixBlock,
    Page,
    ScatterBlock,
    TableBlock,
    TextBlock,
)
from reshim.report.claims_section import claims, verdict_line
from reshim.report.context import Context, open_folder
from reshim.report.made import DATA_KINDS, render_made
from reshim.report.numbers import count
from reshim.report.page_file import NAME, read_page
from reshim.report.tables import Table

HERE = Path(__file__).parent

RENDERERS: dict[type[Block], Callable[[Any, Context], dict[str, Any]]] = {
    ClaimsBlock: claims,
    TextBlock: lambda block, context: {"paragraphs": block.paragraphs},
    MatrixBlock: comparisons.matrix,
    GapBlock: comparisons.gap,
    TableBlock: comparisons.table,
    ImagesBlock: pictures.images,
    CurvesBlock: curves.curves,
    DosesBlock: relations.doses,
    ScatterBlock: relations.scatter,
    MadeBlock: render_made,
}


def draw(folder: Path, compare_to: str = "") -> Path:
    """Draw `index.html` of a study folder from its files alone; beside first, then renamed.

    `compare_to` is the row that the tables compare every other one to, paired over subjects.

    Raises
    ------
    UserError
        If the folder holds no rows and no summary, its `page.json` is damaged, or no table has that row.
    """
    context = open_folder(folder)
    page = read_page(folder) if (folder / NAME).exists() else plain_page(context)
    page = comparing(page, compare_to) if compare_to else page
    return write_html(folder / "index.html", render(page, context))


def comparing(page: Page, compare_to: str) -> Page:
    """The page with every table that has this row comparing to it.

    Raises
    ------
    UserError
        If no table has it.
    """
    tables = [block for block in page.blocks if isinstance(block, TableBlock)]
    labels = dict.fromkeys(row.label for table in tables for row in table.rows)
    if compare_to not in labels:
        raise UserError(f"no table of {page.study} has a row {compare_to!r}; rows are {', '.join(labels)}")
    told = f"Differences are to {compare_to}, paired over subjects; p is corrected by Holm over the table."
    blocks = (
        replace(block, compare_to=compare_to, note=told)
        if isinstance(block, TableBlock) and compare_to in {row.label for row in block.rows}
        else block
        for block in page.blocks
    )
    return replace(page, blocks=tuple(blocks))


def compared(rows: pa.Table, compare_to: str) -> tuple[str, Table]:
    """The plain table of rows that no study composed, with paired differences to a method, and its score."""
    context = Context(Path(), Rows(rows), {})
    page = comparing(plain_page(context), compare_to)
    (block,) = (block for block in page.blocks if isinstance(block, TableBlock))
    table: Table = comparisons.table(block, context)["table"]
    return comparisons.score_name(block.where), table


def write_html(path: Path, html: str) -> Path:
    """Write beside first, then rename."""
    beside = path.with_name(path.name + ".partial")
    beside.write_text(html, encoding="utf-8")
    return beside.replace(path)


def render(page: Page, context: Context, what: str = "study", counts: str | None = None) -> str:
    """The page as HTML; `what` it is of, and how much that is, unless the rows are to be counted."""
    sections = [_section(index, block, context) for index, block in enumerate(page.blocks)]
    judged = context.summary.get("claims") or []
    return template("page.html").render(
        page=page,
        sections=sections,
        style=stylesheet(),
        verdict=verdict_line(judged) if judged else "",
        kinds=data_kinds(context),
        counts=_counts(context) if counts is None else counts,
        what=what,
    )


def template(name: str) -> Any:
    """A template of this package; whatever it is handed is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def stylesheet() -> Markup:
    """The style that every page carries in itself."""
    return Markup((HERE / "page.css").read_text(encoding="utf-8"))


def _section(index: int, block: Block, context: Context) -> dict[str, Any]:
    kind = next(kind for kind, each in KINDS.items() if each is type(block))
    section = {"kind": kind, "title": block.title, "note": block.note, "anchor": f"s{index}", "error": ""}
    try:
        return section | RENDERERS[type(block)](block, context)
    except UserError as error:
        return section | {"kind": "error", "error": str(error)}


def data_kinds(context: Context) -> list[tuple[str, str]]:
    """Kinds of data in the rows, with what each means."""
    kinds = [str(kind) for kind in context.distinct("data_kind")]
    data = context.summary.get("data")
    if not kinds and isinstance(data, dict) and data.get("data_kind"):
        kinds = [str(data["data_kind"])]
    return [(kind, DATA_KINDS.get(kind, "")) for kind in kinds]


def _counts(context: Context) -> str:
    table = context.rows.table
    if not table.num_rows:
        return "no rows"
    subjects = table.group_by(["dataset", "subject"]).aggregate([]).num_rows
    parts = [count(subjects, "subject"), count(len(context.distinct("scan_id")), "scan")]
    return " · ".join(
        [*parts, count(len(context.distinct("method")), "method"), count(table.num_rows, "row")]
    )


def plain_page(context: Context) -> Page:
    """A page for rows that no study composed: every method on every anatomy and contrast."""
    methods = tuple(Choice(name, {"method": name}) for name in context.distinct("method"))
    seen = context.rows.table.select(["anatomy", "contrast"])
    places = seen.group_by(["anatomy", "contrast"]).aggregate([]).to_pylist()
    tests = tuple(
        Choice(" ".join(str(value) for value in place.values() if value) or "all scans", dict(place))
        for place in sorted(places, key=lambda place: str(tuple(place.values())))
    )
    common = _scores_of(context)
    blocks: list[Block] = [ClaimsBlock()] if context.summary.get("claims") else []
    blocks += [
        MatrixBlock(title=comparisons.score_name(where), methods=methods, tests=tests, where=where)
        for where in common
    ]
    if common:
        title = "The table to copy"
        blocks.append(TableBlock(title=title, rows=methods, columns=tests, where=common[0]))
    return Page(study=context.folder.name, title="Scores", blocks=(*blocks, MadeBlock()))


def _scores_of(context: Context) -> list[dict[str, Any]]:
    """Metric, target and region as they occur: SSIM on mvue, support first, where comparisons are fair."""
    table = context.rows.table.select(["metric", "target", "region"])
    found = table.group_by(table.column_names).aggregate([]).to_pylist()
    liked = {"ssim": 0, "psnr": 1, "nmse": 2, "mvue": 0, "clean": 1, "support": 0}
    return sorted(found, key=lambda row: [(liked.get(str(value), 9), str(value)) for value in row.values()])
