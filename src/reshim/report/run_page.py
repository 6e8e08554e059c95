"""The page of a training run: how its scores went, in distribution and where it was only looked at.

Drawn from the RUN folder's `settings.json` and `log.jsonl` alone, at any time, also while the run goes on.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reshim.errors import UserError
from reshim.evaluation.quantities import Rows
from reshim.report.blocks import Curve, CurvesBlock, MadeBlock, Page, TextBlock
from reshim.report.context import Context
from reshim.report.curves import json_lines
from reshim.report.numbers import count, duration
from reshim.report.page import render, write_html
from reshim.rows import SCHEMA

LOG, SETTINGS = "log.jsonl", "settings.json"
NO_MORE = (
    "Scores after each epoch. Validation alone chooses the epoch that is kept and may end the training; the "
    "other curves decide nothing."
)


def is_run(folder: Path) -> bool:
    """True for what `reshim train` wrote."""
    return (folder / LOG).is_file() and (folder / SETTINGS).is_file()


def draw_run(folder: Path) -> Path:
    """Draw `index.html` of a RUN folder.

    Raises
    ------
    UserError
        If its settings or its log cannot be read.
    """
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        epochs = [entry for entry in json_lines(folder / LOG) if entry["kind"] == "epoch"]
        page = _page(folder, settings, epochs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} is no RUN folder that can be drawn: {error!r}") from None
    context = Context(folder, Rows(SCHEMA.empty_table()), {"seconds": _seconds(epochs)})
    return write_html(folder / "index.html", render(page, context, "run", _counts(settings, epochs)))


def _page(folder: Path, settings: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]]) -> Page:
    network, training = settings["network"], settings["training"]
    versions = {name: str(settings[name]) for name in ("reshim", "torch")}
    made = MadeBlock(
        command=f"reshim report {shlex.quote(str(folder))}", versions=versions, settings=dict(settings)
    )
    text = TextBlock(title="What happened", paragraphs=tuple(_happened(settings, epochs)))
    return Page(
        study=folder.name,
        title=f"{network['name'] or network['class']}, {training['objective']['name']}",
        question="How training went, in distribution and, where other scans were looked at, out of it.",
        blocks=(text, *_scores(epochs), _losses(), made),
    )


def _scores(epochs: Sequence[Mapping[str, Any]]) -> list[CurvesBlock]:
    """Validation and every watched filter in one plot."""
    curves = []
    if any("validation" in entry for entry in epochs):
        curves.append(Curve("validation, in distribution", LOG, "epoch", "score", inside=("validation",)))
    names = dict.fromkeys(name for entry in epochs for name in entry.get("watched", {}))
    curves += [
        Curve(f"only looked at: {name}", LOG, "epoch", "score", inside=("watched", name)) for name in names
    ]
    if not curves:
        return []
    metrics = {entry["validation"]["measure"] for entry in epochs if "validation" in entry} or {"score"}
    title = "In and out of distribution" if names else "Validation"
    return [CurvesBlock(title, NO_MORE, tuple(curves), "epoch", ", ".join(sorted(metrics)))]


def _losses() -> CurvesBlock:
    curve = Curve("training loss", LOG, "step", "loss", where={"kind": "step"})
    return CurvesBlock("Loss", "Mean since the line before.", (curve,), "step", "loss")


def _happened(settings: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What ended the training and which epoch was kept, in sentences."""
    finished = settings["finished"]
    if finished is None:
        return [f"The run is not finished; {count(len(epochs), 'epoch')} so far."]
    stopped = any(entry.get("stopped_early") for entry in epochs)
    sentences = [
        f"Validation had nearly ceased to improve after {count(finished['epochs'], 'epoch')}: stopped early."
        if stopped
        else f"Trained to the end of its budget, {count(finished['epochs'], 'epoch')}."
    ]
    best = finished["best_epoch"]
    if best is not None:
        sentences.append(f"The weights kept are those of epoch {best}, validation {finished['score']:.4f}.")
        sentences += list(_elsewhere(epochs, best))
    return sentences


def _elsewhere(epochs: Sequence[Mapping[str, Any]], best: int) -> list[str]:
    """How far each watched filter's score at the chosen epoch lies below its own best."""
    sentences = []
    for name in dict.fromkeys(name for entry in epochs for name in entry.get("watched", {})):
        scores = {entry["epoch"]: entry["watched"][name]["score"] for entry in epochs if "watched" in entry}
        if best not in scores:
            continue
        peak = max(scores, key=lambda epoch: scores[epoch])
        sentences.append(
            f"{name}: {scores[best]:.4f} at that epoch; its own best was {scores[peak]:.4f} at epoch {peak}."
        )
    return sentences


def _seconds(epochs: Sequence[Mapping[str, Any]]) -> float | None:
    return epochs[-1].get("seconds") if epochs else None


def _counts(settings: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]]) -> str:
    groups = settings["data"]["groups"]
    scans = sum(len(group["scans"]) for group in groups)
    took = duration(_seconds(epochs))
    return (
        f"{count(settings['network']['parameters'], 'parameter')} · {count(scans, 'training scan')} · {took}"
    )
