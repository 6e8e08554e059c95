"""Findings planted in a digital head."""

from dataclasses import dataclass

from reshim.simulation.brain_form import Form


@dataclass(frozen=True)
class Finding:
    """One planted finding."""

    name: str


def findings_of(form: Form) -> tuple[Finding, ...]:
    """The findings of a subject."""
    return ()
