"""Writes docs/results.md from the committed summaries; with study folders, takes their summaries first.

Run `python docs/results.py` after a summary has changed, or, after studies have been run,
`python docs/results.py --take runs/NAME ... --machine "2 cores, x86_64, CPU only"`.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reshim.report import comparisons
from reshim.report.blocks import TableBlock
from reshim.report.context import N_COLOURS, open_folder
from reshim.report.numbers import duration
from reshim.report.page import stylesheet
from reshim.report.page_file import read_page
from reshim.report.svg import Plot
from reshim.report.tables import Table
from reshim.studies import STUDIES, question_of, recipe_of

DOCS = Path(__file__).resolve().parent
RESULTS, PAGE = DOCS / "results", DOCS / "results.md"

HEAD = """\
# Results

What the studies found, each run once with the command that is printed with it: made by `python
docs/results.py` from the summaries in `docs/results/`. A claim holds where its 95 % interval satisfies
the rule that was written before the run. *Undecided*: the interval reaches across the bound.
*Contradicted*: it lies on the wrong side. *Unanswered*: the rows cannot tell, and why. Nearly everything
here is on **simulated** scans and small networks, so a claim that does not appear is a statement about
these, and the published figure stands beside it.

"""
UNREFUTED = "unrefuted"
VERDICTS = {
    "holds": "It appears",
    "undecided": "Undecided at this size",
    "contradicted": "It does not appear",
    "unanswered": "Could not be asked",
}
"""Of a claim; and what that means for one that a paper makes."""
HEADINGS = {"holds": VERDICTS["holds"], UNREFUTED: "Nothing speaks against it", **VERDICTS}
"""In the order of the page. A claim that says no more than "not significantly below", and whose interval
holds 0, is not one that appears: too few subjects would bring it about as well."""


OF_TRAINING = ("distributional-overfitting", "diverse-", "site-adaptation", "ssdu-vs-supervised")
"""How the names of the studies that train networks on distributions begin."""
FIRST = (
    "diverse-anatomy",
    "diverse-contrast",
    "diverse-large",
    "diverse-skew",
    "distributional-overfitting",
    "ssdu-vs-supervised",
)
"""Those of the first questions, which train three times."""

TABLES = {
    "distributional-overfitting": ("The table to copy",),
    "shift-alarm": ("Predicted SSIM",),
    "site-adaptation": ("The table to copy",),
    "ttt-cost": ("On every shift", "Every way that was tried"),
}
"""Tables of pages that stand in the docs, too: by study, their titles."""
PLOTTED = ("ttt-cost", "Every way that was tried", "seconds to its end", "SSIM where it stopped")
"""Study, table, and the columns that are plotted against each other."""


def main() -> int:
    """Take summaries where asked, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--take", type=Path, nargs="+", default=(), metavar="FOLDER", help="finished studies")
    parser.add_argument("--machine", default="", help="what they ran on")
    arguments = parser.parse_args()
    for folder in arguments.take:
        take(folder, arguments.machine)
        if folder.name == PLOTTED[0]:
            plot()
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
    return 0


def take(folder: Path, machine: str) -> Path:
    """Keep the summary of a finished study, with its command and machine."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    if summary["data"].get("tiny"):
        raise SystemExit(f"{folder} holds the tiny form of a study, which shows nothing but that it runs")
    name = summary["study"]
    command = f"reshim study {name}{_seeds(folder)}"
    kept = {"command": command, "machine": machine, "asked": asked(recipe_of(name).__doc__)}
    kept |= summary
    if name in TABLES:
        kept["tables"] = list(tables(folder, TABLES[name]))
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _seeds(folder: Path) -> str:
    """How many training seeds the last run was told to use, as it was told."""
    runs = folder / "seconds.jsonl"
    lines = runs.read_text(encoding="utf-8").splitlines() if runs.exists() else []
    seeds = json.loads(lines[-1])["form"].get("seeds") if lines else None
    return "" if seeds is None else f" --seeds {seeds}"


def asked(description: str | None) -> str:
    """What a recipe claims, and of which data: those parts of its docstring, each as one line."""
    parts = re.findall(r"^(Claim|Data) +(.+?)(?=^\S|\Z)", inspect.cleandoc(description or ""), re.M | re.S)
    return "\n".join(f"{name}: {' '.join(text.split())}" for name, text in parts)


def tables(folder: Path, titles: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Tables of a study's page, from its rows."""
    context = open_folder(folder)
    blocks = {block.title: block for block in read_page(folder).blocks if isinstance(block, TableBlock)}
    for title in titles:
        block = blocks[title]
        made: Table = comparisons.table(block, context)["table"]
        yield {"title": title, "note": block.note, "head": made.head, "lines": made.lines}


def plot() -> Path:
    """Quality against seconds of every way that was tried, from the committed table."""
    name, title, x_name, y_name = PLOTTED
    kept = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    table = next(each for each in kept["tables"] if each["title"] == title)
    x, y = table["head"].index(x_name), table["head"].index(y_name)
    points = {line[0]: (float(line[x]), float(line[y])) for line in table["lines"]}
    drawn = Plot.around(
        [seconds for seconds, _ in points.values()],
        [score for _, score in points.values()],
        "seconds a slice",
        y_name,
        log_x=True,
    )
    for index, (label, (seconds, score)) in enumerate(points.items()):
        drawn.mark(seconds, score, index, f"c{index % N_COLOURS}", label)
        drawn.text(seconds, score, str(index + 1), "label", dx=6, dy=-5)
    said = f"{len(points)} ways of fitting: SSIM over seconds a slice"
    picture = str(drawn.render(said)).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    styled = picture.replace(">", f"><style>{stylesheet()}</style>", 1)
    path = DOCS / "images" / f"{name}.svg"
    path.write_text(styled + "\n", encoding="utf-8")
    return path


def page() -> str:
    """The page as it should stand."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    }
    known = {name: each for name, each in found.items() if name in STUDIES}
    missing = sorted(set(STUDIES) - set(known))
    sections = [overview(known), published(known), *(section(name, each) for name, each in known.items())]
    if missing:
        listed = "\n".join(f"- `{name}`: {question_of(name)}" for name in missing)
        sections.append(
            "## Not run yet at their full embedded size\n\nTheir `--tiny` forms run in the test suite, which "
            f"shows that they run and nothing else.\n\n{listed}\n"
        )
    return HEAD + "\n".join(sections)


def overview(found: dict[str, Any]) -> str:
    """One line a study: how many claims hold."""
    lines = ["| study | data | holds | undecided | contradicted | unanswered |", "|---|---|---|---|---|---|"]
    for name, summary in found.items():
        counts = [sum(claim["verdict"] == word for claim in summary["claims"]) for word in VERDICTS]
        lines.append(
            f"| [{name}](#{name}) | {summary['data']['data_kind']} | {' | '.join(map(str, counts))} |"
        )
    return "\n".join(lines) + f"\n\n{_together(found)}\n"


def _together(found: dict[str, Any]) -> str:
    """What the studies cost, and of them those that train networks on distributions."""
    hours = {
        name: (summary.get("processor_seconds") or summary["seconds"]) / 3600
        for name, summary in found.items()
    }
    those = sum(taken for name, taken in hours.items() if name.startswith(OF_TRAINING))
    first = sum(hours.get(name, 0) for name in FIRST)
    return (
        f"All together took {sum(hours.values()):.1f} hours of one core, runs that were made again counted "
        f"again. Those of training on distributions took {those:.1f}, so {those / 2:.1f} two at a time; of "
        f"these the first questions, of three trainings ({', '.join(FIRST)}), {first:.1f}, so "
        f"{first / 2:.1f}. What further processes did for a run is not in it."
    )


def published(found: dict[str, Any]) -> str:
    """The claims that papers make, by whether what they found appears here."""
    opposed = {(name, claim.id) for name in found for claim in recipe_of(name).CLAIMS if claim.opposed}
    turned = {"holds": "contradicted", "contradicted": "holds"}

    def appears(name: str, claim: dict[str, Any]) -> str:
        verdict: str = claim["verdict"]
        if unrefuted(claim):
            return UNREFUTED
        return turned.get(verdict, verdict) if (name, claim["id"]) in opposed else verdict

    parts = ["## What the papers claim, and whether it appears here\n"]
    for verdict, heading in HEADINGS.items():
        rows = [
            (name, claim)
            for name, summary in found.items()
            for claim in summary["claims"]
            if claim["paper"] is not None and appears(name, claim) == verdict
        ]
        if not rows:
            continue
        parts += [f"**{heading}** ({len(rows)})\n", "| study | claim | here | theirs |", "|---|---|---|---|"]
        for name, claim in rows:
            value, interval = _figures(claim)
            here = value if claim["low"] is None else f"{value} ({interval})"
            parts.append(f"| [{name}](#{name}) | {claim['claim']} | {here} | {claim['paper']} |")
        parts.append("")
    return "\n".join(parts)


def unrefuted(claim: dict[str, Any]) -> bool:
    """Whether a claim holds only because its interval reaches 0: nothing speaks against it."""
    if claim["verdict"] != "holds":
        return False
    return any(
        "not significantly below" in part["rule"] and part["low"] <= 0 for part in claim.get("parts", [claim])
    )


def section(name: str, summary: dict[str, Any]) -> str:
    """A study: question, command, cost, its claims."""
    data = summary["data"]
    about = (
        f"`{summary['command']}`: {data['subjects']} test subjects, {data['data_kind']}, "
        f"seed {data['seed']}, "
        f"{_cost(summary)} ({summary['machine']}). {trained(summary['claims'])}"
    )
    lines = [
        f"## {name}",
        "",
        question_of(name),
        "",
        about,
        "",
        "| claim | verdict | value | 95 % interval | paper |",
        "|---|---|---|---|---|",
        *(line(claim) for claim in summary["claims"]),
    ]
    shown = "".join(_table(each) for each in summary.get("tables", ()))
    if name == PLOTTED[0] and shown:
        tried = next(each for each in summary["tables"] if each["title"] == PLOTTED[1])
        numbered = "; ".join(f"{number} {row[0]}" for number, row in enumerate(tried["lines"], 1))
        shown += f"\n![Quality against seconds](images/{name}.svg)\n\nNumbers: {numbered}.\n"
    return "\n".join(lines) + "\n" + _notes(summary["claims"]) + _asked_since(name, summary) + shown


def _cost(summary: dict[str, Any]) -> str:
    """Time by the clock, and of a processor where it was counted: what a quiet machine would take."""
    worked = summary.get("processor_seconds")
    said = f", {duration(worked)} of a processor" if worked else ""
    return duration(summary["seconds"]) + said


def trained(claims: Sequence[dict[str, Any]]) -> str:
    """From how many trainings the claims are: of one, an interval tells of other subjects alone."""
    ids = {
        number: [claim["id"] for claim in claims if claim["n_seeds"] == number]
        for number in sorted({claim["n_seeds"] for claim in claims}, reverse=True)
    }
    parts = []
    for number, some in ids.items():
        which = "" if len(ids) == 1 else f" for {len(some)} of {len(claims)} claims"
        if number > 1:
            which = "" if len(ids) == 1 else f" for {', '.join(f'`{name}`' for name in some)}"
            parts.append(f"{number} training seeds{which}")
        elif number == 1:
            parts.append(f"one training seed{which}: intervals do not cover retraining")
        else:
            parts.append(f"no training seed in the rows{which}")
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}."


def _asked_since(name: str, summary: dict[str, Any]) -> str:
    """Claims of the recipe that its last run knew nothing of, or knew under another sentence; other data."""
    changed = _changed(summary.get("asked"), asked(recipe_of(name).__doc__))
    judged = {(claim["id"], claim["claim"]) for claim in summary["claims"]}
    new = [claim for claim in recipe_of(name).CLAIMS if (claim.id, claim.claim) not in judged]
    listed = "; ".join(f"`{claim.id}`: {claim.claim}" for claim in new)
    return changed + (f"\nAsked since, and not run yet: {listed}.\n" if new else "")


def _changed(before: str | None, now: str) -> str:
    """What a recipe said when its summary was made, where it says something else now."""
    if before is None or before == now:
        return ""
    lines = [line for line in before.splitlines() if line not in now.splitlines()]
    return f"\nThe recipe has changed since this run, which asked: {' '.join(lines)}\n"


def _table(table: dict[str, Any]) -> str:
    text = Table(table["head"], table["lines"]).markdown()
    return f"\n**{table['title']}.** {table['note']}\n\n{text}\n"


def line(claim: dict[str, Any]) -> str:
    """A row of the table."""
    value, interval = _figures(claim)
    paper = "–" if claim["paper"] is None else str(claim["paper"])
    return f"| `{claim['id']}`: {claim['claim']} | {claim['verdict']} | {value} | {interval} | {paper} |"


def _figures(claim: dict[str, Any]) -> tuple[str, str]:
    value, low, high = (number(claim[key], claim["unit"]) for key in ("value", "low", "high"))
    return value, "–" if claim["low"] is None else f"{low} to {high}"


def number(value: float | None, unit: str) -> str:
    """A value with a true minus sign; shares as percentages."""
    if value is None:
        return "–"
    text = (
        f"{100 * value:.0f} %" if unit == "share" else f"{value:+.4f}" if unit == "SSIM" else f"{value:.3g}"
    )
    return text.replace("-", "−")


def _notes(claims: Iterable[dict[str, Any]]) -> str:
    notes = {
        claim["id"]: claim["note"] for claim in claims if claim["verdict"] == "unanswered" and claim["note"]
    }
    return "".join(f"\n`{name}`: {note}.\n" for name, note in notes.items())


if __name__ == "__main__":
    sys.exit(main())
