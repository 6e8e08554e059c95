"""``--adapt``: how a trained run is fitted to the scan at hand.

``reconcile``          no weight moves: one solve brings the image, the samples and sparsity together
``slice``, ``volume``  test-time training with held-out folds and a guard, weights of each slice or shared;
                       what is handed out is reconciled
``auto``               reconcile the scan where it does not look like the training data; a classical method's
                       image where the network is at a loss; else leave it as it is, unless calibration saw
                       that reconciling helps there too
``reference``          the algorithm of the released code
"""

import logging
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import nn

from reshim.adaptation import MODES
from reshim.adaptation.at_test_time import AdaptedAtTestTime, InBatches
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.errors import UserError
from reshim.types import Image, Measurement, Outcome, Reconstructor

log = logging.getLogger(__name__)

USUAL_SHIFT = 1.0
"""Shift score of the most unusual training measurements; above it a scan counts as unlike them."""

AT_A_LOSS = 0.4
"""Logarithm of the ratio of the energies by which a network's and a classical image miss held-out columns."""


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


@runtime_checkable
class Foretold(Protocol):
    """What is foretold of a scan's un-adapted images."""

    @property
    def unknown(self) -> str | None:
        """Why nothing is foretold, or None where something is."""
        ...


@runtime_checkable
class Foretells(Protocol):
    """Says, from the measurement, how good its un-adapted images will be, or that it does not know."""

    @property
    def mends_usual(self) -> bool:
        """Whether reconciling made the scans better that it was calibrated on."""
        ...

    def __call__(self, measurement: Measurement) -> Foretold:
        """Foretell."""
        ...


@dataclass(frozen=True)
class AdaptedWhereUnusual:
    """Leave a scan alone that looks like the training data; reconcile one that does not.

    Usual is a scan whose shift score is within what training saw, and about which the foreteller, if there is
    one, is not at a loss. A usual scan is reconciled as well where `mends_usual`. Where a classical method
    predicts held-out samples of an unusual scan much better than the network as it is, the network is at a
    loss: the classical image is handed out in place of the reconciled one, with a warning.
    """

    adapted: AdaptedAtTestTime
    """Holds out the samples that judge, and fits where `fits`; its fall-back is handed out on usual scans."""

    shift_score: ShiftScore = field(metadata={"digest": False})
    """Of the run's own training statistics."""

    foretell: Foretells | None = field(default=None, metadata={"digest": False})
    """Predicted quality of the un-adapted images; None where the run was never calibrated."""

    classical: Reconstructor | None = field(default_factory=L1Wavelet)
    """What is handed out where the network is at a loss; None never does."""

    loss: float = AT_A_LOSS
    """Logarithm of the ratio of misfits from which on the network is at a loss."""

    mends_usual: bool = False
    """Whether reconciling makes this run's usual images better, as its calibration saw."""

    fits: bool = False
    """Whether weights are fitted before reconciling. That takes forty times as long, and behind the guard
    it changed the score by less than 0.003 on simulated shifts (LOG.md, 2026-11-22)."""

    has_phase = True

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconstruct, and say whether the scan looked unusual and what was done."""
        measurement = measurement.with_maps(self.adapted.estimate)
        score = self.shift_score(measurement)
        unknown = None if self.foretell is None else self.foretell(measurement).unknown
        if score <= USUAL_SHIFT and unknown is None:
            image = self.adapted.left_as_is(measurement)
            why = f"shift score {score:.2f} is within what training saw; "
            if self.mends_usual:
                image = Reconciled(self.adapted.left_as_is).reconcile(measurement, image)
                why += "reconciled with the samples, which made the calibration scans better"
            else:
                why += "left as it is"
            return Outcome(image, (False,) * image.shape[0], (why,) * image.shape[0])
        why = f"shift score {score:.2f} is {'beyond' if score > USUAL_SHIFT else 'within'} what training saw"
        if unknown is not None:
            why += f", quality {unknown}"
        outcome = Reconciled(self.adapted if self.fits else self.adapted.left_as_is).explain(measurement)
        if not any(outcome.adapted) and self.classical is not None:
            outcome = self._or_classical(measurement, outcome, self.classical)
        reasons = tuple(f"{why}; {reason}" for reason in outcome.reason)
        return Outcome(outcome.image, outcome.adapted, reasons)

    def _or_classical(self, measurement: Measurement, left: Outcome, classical: Reconstructor) -> Outcome:
        """The classical method's image, if it predicts the judging fold much better than the network does.

        Not than the reconciled image, which predicts hidden samples no better than the network's and has the
        better image.
        """
        gain, error = self.adapted.gain_of_other(classical, self.adapted.left_as_is, measurement)
        name, found = type(classical).__name__, f"gain {gain:.2e} with standard error {error:.1e}"
        if gain - self.adapted.margin * error <= self.loss:
            reasons = tuple(f"{reason}; {name} not much better: {found}" for reason in left.reason)
            return Outcome(left.image, left.adapted, reasons)
        log.warning(
            "%s: the network is at a loss on this scan; %s predicts held-out samples much better (%s) and is "
            "used instead",
            measurement.name,
            name,
            found,
        )
        reasons = tuple(f"{reason}; {name} much better: {found}" for reason in left.reason)
        return Outcome(classical(measurement), left.adapted, reasons)


def adapted(
    run: Any,
    mode: str,
    budget_seconds: float | None = None,
    shift_score: ShiftScore | None = None,
    foretell: Foretells | None = None,
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
    if mode == "reconcile":
        return Reconciled(InBatches(fallback), train_seed=seed)
    if mode == "reference":
        return ReferenceAdaptation(run.network, budget_seconds=budget_seconds, train_seed=seed)
    if mode not in ("slice", "volume", "auto"):
        raise UserError(f"there is no --adapt {mode!r}; there are {', '.join(MODES)}")
    method = AdaptedAtTestTime(
        run.network,
        fallback,
        scope="slice" if mode == "slice" else "volume",
        budget_seconds=budget_seconds,
        train_seed=seed,
    )
    if mode != "auto":
        return Reconciled(method, train_seed=seed)
    if shift_score is None:
        raise UserError(
            "this run kept no training statistics, so nobody knows what is unusual; adapt 'volume'"
        )
    mends = foretell is not None and foretell.mends_usual
    return AdaptedWhereUnusual(method, shift_score, foretell, mends_usual=mends)
