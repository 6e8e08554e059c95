"""Whom a run's weights have seen: its own scans, and those of the runs whose weights it took over.

A run that starts from another knows the other's subjects as well as its own, so none of them may be scored;
the licences of their data go with them. What the other took over counts too, however long the line.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reshim.training.sampling import Group
from reshim.types import ScanRecord

LENDERS = ("start", "fallback")
"""Parts of settings.json that name a run whose weights were taken over."""


def provenance(groups: Sequence[Group], validation: Sequence[ScanRecord]) -> dict[str, Any]:
    """Every scan that training looks at, and the subjects that evaluation must not be scored on."""
    records = [record for group in groups for record in group.records]
    subjects = sorted({(record.dataset, record.subject) for record in (*records, *validation)})
    return {
        "groups": [
            {
                "name": group.name,
                "weight": group.weight,
                "scans": [_named(record) for record in group.records],
            }
            for group in groups
        ],
        "validation": [_named(record) for record in validation],
        "training_subjects": [list(subject) for subject in subjects],
        "licences": sorted({record.licence for record in records if record.licence is not None}),
    }


def inherited(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run took over with others' weights: subjects, licences, and whose data nobody knows.

    None where it started afresh. Settings from before this was kept are read through the folders they name.
    """
    if "inherited" in content:
        return None if content["inherited"] is None else dict(content["inherited"])
    runs = dict.fromkeys(str(content[part]["run"]) for part in LENDERS if content.get(part) is not None)
    if not runs:
        return None
    subjects: set[tuple[str, str]] = set()
    licences: set[str] = set()
    unknown: list[str] = []
    for run in runs:
        try:
            lent = json.loads((Path(run) / "settings.json").read_text())
        except (OSError, ValueError):
            unknown.append(f"{run}: its folder is gone")
            continue
        subjects |= subjects_of(lent)
        licences |= set(licences_of(lent))
        unknown += [reason if ": " in reason else f"{run}: {reason}" for reason in unknown_of(lent)]
    return {
        "training_subjects": [list(subject) for subject in sorted(subjects)],
        "licences": sorted(licences),
        "unknown": list(dict.fromkeys(unknown)),
    }


def subjects_of(content: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Data set and subject of every scan that the weights have seen, as far as it is known."""
    more = (inherited(content) or {}).get("training_subjects", [])
    return frozenset(
        (dataset, subject) for dataset, subject in [*content["data"]["training_subjects"], *more]
    )


def licences_of(content: Mapping[str, Any]) -> list[str]:
    """Of all data that the weights come from, as far as they are stated."""
    return sorted({*content["data"]["licences"], *(inherited(content) or {}).get("licences", [])})


def unknown_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Why subjects may be missing from `subjects_of`; empty where all are known."""
    own = content.get("about", {}).get("training_subjects")
    reasons = [own.removeprefix("unknown: ")] if isinstance(own, str) else []
    return (*reasons, *(inherited(content) or {}).get("unknown", []))


def _named(record: ScanRecord) -> dict[str, str]:
    return {
        "scan_id": record.scan_id,
        "dataset": record.dataset,
        "subject": record.subject,
        "fingerprint": record.fingerprint,
    }
