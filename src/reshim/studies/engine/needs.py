"""What a study needs of a catalog, counted before anything is trained.

A study that finds after most of an hour that a distribution has no scan has wasted the hour; and without the
distribution's name nobody knows which filter to widen.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Protocol, runtime_checkable

from reshim.catalog import Catalog
from reshim.catalog.splits import SPLITS
from reshim.errors import UserError
from reshim.evaluation.run import LeftOut
from reshim.report.blocks import Block
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.study import Study


@runtime_checkable
class Question(Protocol):
    """A part of a study that can be answered by itself."""

    @property
    def name(self) -> str:
        """Begins the ids of its claims."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The scans that it takes."""

    def run(self, study: Study) -> None:
        """Train and score."""

    def train(self, study: Study) -> None:
        """Train what no other process is at."""

    def blocks(self, study: Study) -> tuple[Block, ...]:
        """Its part of the page."""


def subjects(need: Need, catalog: Catalog) -> dict[str, int]:
    """How many subjects of the catalog are in each split of a filter."""
    found = catalog.where(need.where)
    return {split: len(found.part(split).subjects()) for split in SPLITS}


def lacking(needs: Sequence[Need], catalog: Catalog) -> list[str]:
    """A sentence for each need that the catalog does not meet: what was looked for, what was found."""
    sentences = []
    for need in _merged(needs):
        found = subjects(need, catalog)
        missing = [split for split in need.splits if not found[split]]
        if missing or not any(found.values()):
            counted = ", ".join(f"{count} {split}" for split, count in found.items())
            wanted = f"a subject in {', '.join(need.splits)}" if need.splits else "a subject"
            sentences.append(f"{need.label} needs {wanted}; found {counted}; filter: {need.where}")
    return sentences


def _merged(needs: Sequence[Need]) -> list[Need]:
    """Each filter once, under its first name, with every split that it is needed in."""
    merged: dict[str, Need] = {}
    for need in needs:
        known = merged.get(need.where, need)
        splits = tuple(split for split in SPLITS if split in (*known.splits, *need.splits))
        merged[need.where] = Need(known.label, need.where, splits)
    return list(merged.values())


def check_catalog(name: str, recipe: ModuleType, embedded: Embedded, catalog: Catalog) -> None:
    """Refuse a catalog that a study cannot be answered on.

    A recipe of several questions (``QUESTIONS``) goes on where one of them can be answered; it leaves the
    others out and names them.

    Raises
    ------
    UserError
        With every distribution that is missing, its filter, what was found in each split, and the remedy.
    """
    missing = lacking(embedded.needs, catalog)
    questions: Sequence[Question] = getattr(recipe, "QUESTIONS", ())
    if not missing or any(not lacking(question.needs, catalog) for question in questions):
        return
    raise UserError(
        f"the catalog cannot answer {name}; nothing was trained. It lacks\n"
        + "\n".join(f"  {sentence}" for sentence in missing)
        + "\nIndex scans of these kinds too, with subjects in these splits (reshim index FOLDER ... --split "
        "60/20/20 --out CATALOG); see what there is: reshim list CATALOG --by anatomy contrast field_tesla "
        "split; or leave --catalog out for simulated scans"
    )


def answerable(study: Study, questions: Sequence[Question]) -> tuple[Question, ...]:
    """Those whose scans the catalog has; the others are left out, named by what is missing.

    Simulated scans answer every question.
    """
    if study.embedded:
        return tuple(questions)
    missing = {question.name: lacking(question.needs, study.catalog) for question in questions}
    left_out = (LeftOut(f"question {name}", "; ".join(each)) for name, each in missing.items() if each)
    study.left_out += [each for each in left_out if each not in study.left_out]
    return tuple(question for question in questions if not missing[question.name])
