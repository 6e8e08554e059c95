"""What a study took: every run of it is noted, and those that found something new add up.

A run that finds all of its work finished costs seconds, and a tiny one in the same folder is another study:
neither belongs to what the result has cost. A run that is killed outright leaves no note.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reshim.studies.engine.study import Study, write_text

NOTES, BEFORE = "seconds.jsonl", "seconds.txt"
"""A line a run; and the sum of all runs, which is what was kept before there were lines."""


@dataclass(frozen=True)
class Took:
    """One run."""

    form: dict[str, Any]
    """What makes runs in one folder the same study (`reshim.studies.engine.asked.Asked.form`)."""

    seconds: float
    """Wall time, scans included."""

    processor_seconds: float | None
    """Of all threads of this process, and of those that it waited for; None where nobody counted them."""

    new: int
    """Files of rows that were not there before."""


@dataclass(frozen=True)
class Clock:
    """Started before the scans are there, read when the study has run."""

    wall: float
    processor: float

    @classmethod
    def started(cls) -> "Clock":
        """From now on."""
        return cls(time.perf_counter(), _processor())

    def note(self, study: Study, form: dict[str, Any], before: frozenset[str]) -> Took:
        """Write down what this run took; `before` are the keys whose rows stood at its start."""
        took = Took(
            form,
            round(time.perf_counter() - self.wall, 1),
            round(_processor() - self.processor, 1),
            len({key for key, _ in study.finished} - before),
        )
        notes = [*_notes(study.folder, took.form), took]
        write_text(study.folder / NOTES, "".join(json.dumps(asdict(each)) + "\n" for each in notes))
        return took


def _processor() -> float:
    """Seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


@dataclass(frozen=True)
class Total:
    """What a result has cost."""

    seconds: float
    processor_seconds: float | None
    """Other work on the machine does not lengthen these; None where a run did not note them."""


def total(folder: Path, last: Took) -> Total:
    """All runs of the last one's form that found something new; the last one itself where none did."""
    same = [each for each in _notes(folder, last.form) if each.form == last.form and each.new] or [last]
    counted = [each.processor_seconds for each in same if each.processor_seconds is not None]
    return Total(sum(each.seconds for each in same), sum(counted) if len(counted) == len(same) else None)


def _notes(folder: Path, form: dict[str, Any]) -> list[Took]:
    if (folder / NOTES).exists():
        return [Took(**json.loads(line)) for line in (folder / NOTES).read_text().splitlines()]
    if (folder / BEFORE).exists():
        return [Took(form, float((folder / BEFORE).read_text()), None, 1)]
    return []
