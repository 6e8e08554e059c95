"""``--adapt``: how a trained run is fitted to the scan at hand.

``slice``, ``volume``  test-time training with held-out folds and a guard, weights of each slice or shared
``auto``               leave the scan as it is where it looks like the training data, adapt (volume) where not
``reference``          the algorithm of the released code
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.errors import UserError
from reshim.types import Image, Measurement, Outcome, Reconstructor

USUAL_SHIFT = 1.0
"""Shift score of the most unusual training measurements; above it a scan counts as unlike them."""


@runtime_checkable
class Run(Protocol):
    """What adaptation needs of a trained run."""

    network: nn.Module
    fallback: nn.Module | None

    def __call__(self, measurement: Measurement) -> Image:
        """Reconstruct without adapting."""
        ...


@runtime_checkable
class ShiftScore(Protocol):
    """How unlike the training data a measurement is; 1 is the edge of what training saw."""

    def __call__(self, measurement: Measurement) -> float:
        """Return the score."""
        ...


@dataclass(frozen=True)
class AdaptedWhereUnusual:
    """Leave a scan alone that looks like the training data; adapt to one that does not."""

    adapted: AdaptedAtTestTime
    """What is done where the scan is unusual; its fall-back is what is handed out where it is not."""

    shift_score: ShiftScore = field(metadata={"digest": False})
    """Of the run's own training statistics."""

    has_phase = True

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconstruct, and say whether the scan looked unusual and what was done."""
        measurement = measurement.with_maps(self.adapted.estimate)
        score = self.shift_score(measurement)
        if score <= USUAL_SHIFT:
            with torch.no_grad():
                image = self.adapted.fallback(measurement)
            why = f"shift score {score:.2f} is within what training saw; left as it is"
            return Outcome(image, (False,) * image.shape[0], (why,) * image.shape[0])
        outcome = self.adapted.explain(measurement)
        why = f"shift score {score:.2f} is beyond what training saw"
        return Outcome(outcome.image, outcome.adapted, tuple(f"{why}; {reason}" for reason in outcome.reason))


def adapted(
    run: Any, mode: str, budget_seconds: float | None = None, shift_score: ShiftScore | None = None
) -> Reconstructor:
    """A run that is fitted to each scan.

    Raises
    ------
    UserError
        For a magnitude network, an unknown mode, or ``auto`` with a run that kept no statistics.
    """
    if not getattr(run.network, "has_phase", True):
        raise UserError(
            "this run's network returns magnitudes without phase, so nothing of it can be compared with the "
            "measurement; adapt a run that was trained with --input complex"
        )
    fallback = run.fallback if run.fallback is not None else run.network
    seed = getattr(run, "train_seed", None)
    if mode == "reference":
        return ReferenceAdaptation(run.network, budget_seconds=budget_seconds, train_seed=seed)
    if mode not in ("slice", "volume", "auto"):
        raise UserError(f"there is no --adapt {mode!r}; there are none, slice, volume, auto and reference")
    method = AdaptedAtTestTime(
        run.network,
        fallback,
        scope="slice" if mode == "slice" else "volume",
        budget_seconds=budget_seconds,
        train_seed=seed,
    )
    if mode != "auto":
        return method
    if shift_score is None:
        raise UserError(
            "this run kept no training statistics, so nobody knows what is unusual; adapt 'volume'"
        )
    return AdaptedWhereUnusual(method, shift_score)
