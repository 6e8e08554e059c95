"""One page over many studies: every claim with the published figure, ours, and the kind of data behind it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reshim.errors import UserError
from reshim.report.claims_section import claim_line, verdict_line
from reshim.report.context import open_folder
from reshim.report.numbers import duration
from reshim.report.page import data_kinds, stylesheet, template, write_html
from reshim.report.page_file import NAME, read_page


def overview(folders: Sequence[Path], out: Path) -> Path:
    """Write the page that lists all these studies.

    Parameters
    ----------
    folders
        Study folders, or JSON files of the form of `summary.json` (committed results).
    out
        The page; links lead from it to the pages of the studies.

    Raises
    ------
    UserError
        If there is no study to list, or one cannot be read.
    """
    if not folders:
        raise UserError("no study to list; run one with `reshim study NAME`")
    studies = [_of_file(path) if path.is_file() else _of_folder(path, out) for path in folders]
    everything = [claim for study in studies for claim in study.pop("raw")]
    out.parent.mkdir(parents=True, exist_ok=True)
    html = template("overview.html").render(
        studies=studies, style=stylesheet(), verdict=verdict_line(everything)
    )
    return write_html(out, html)


def _of_folder(folder: Path, out: Path) -> dict[str, Any]:
    context = open_folder(folder)
    page = read_page(folder) if (folder / NAME).exists() else None
    study = _entry(context.summary, folder.name)
    study["kinds"] = [kind for kind, _ in data_kinds(context)] or study["kinds"]
    study["title"] = page.title if page else ""
    study["paper"] = page.paper if page else ""
    index = folder / "index.html"
    if index.exists():
        study["link"] = Path(os.path.relpath(index.resolve(), out.parent.resolve())).as_posix()
    return study


def _of_file(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no summary ({error}); give files that a study wrote") from None
    return _entry(summary, path.stem)


def _entry(summary: dict[str, Any], name: str) -> dict[str, Any]:
    data, claims = summary.get("data"), summary.get("claims") or []
    kind = data.get("data_kind") if isinstance(data, dict) else data
    kinds = kind if isinstance(kind, list) else [kind] if kind else []
    seconds = summary.get("seconds")
    return {
        "name": str(summary.get("study") or name),
        "title": "",
        "paper": "",
        "link": "",
        "kinds": [str(each) for each in kinds],
        "seconds": duration(seconds) if isinstance(seconds, int | float) else "",
        "verdict": verdict_line(claims),
        "claims": [claim_line(claim) for claim in claims],
        "raw": claims,
    }
