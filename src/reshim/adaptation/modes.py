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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from torch import nn

from reshim.adaptation import MODES
from reshim.adaptation.at_test_time import MEASURED, AdaptedAtTestTime, InBatches
from reshim.adaptation.beside import beside
from reshim.adaptation.budget import Budget, timed
from reshim.adaptation.folds import NothingToHoldOutError
from reshim.adaptation.options import with_options
from reshim.adaptation.reconciled import Price, Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.errors import UserError
from reshim.types import Action, Image, Measurement, Outcome, Reconstructor

log = logging.getLogger(__name__)

USUAL_SHIFT = 1.0
"""Shift score of the most unusual training measurements; above it a scan counts as unlike them."""

CLASSICAL_SOLVES = 2
"""Solves that a classical method is expected to take as long as, and a foretelling's two, within a budget."""

AT_A_LOSS = 0.4
"""Logarithm of the ratio of the energies by which a network's and a classical image miss held-out columns."""


FITTING = ("slice", "volume", "reference")
"""Modes that fit weights, and so have settings to change."""


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
        """Whether reconciling made the scans better that it was calibrated on, hardly a slice excepted."""
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

    The budget of a call is that of `adapted`. The network's image comes first, then the solve; foretelling
    and the classical method are left out where they would not fit in as well, and the reason says so.
    """

    adapted: AdaptedAtTestTime
    """Holds out the samples that judge, and fits where `fits`; its fall-back is handed out on usual scans."""

    shift_score: ShiftScore
    """Of the run's own training statistics."""

    foretell: Foretells | None = field(default=None, metadata={"digest": "unless default"})
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

    @property
    def scope(self) -> str | None:
        """Which slices share fitted weights; None where nothing is fitted."""
        return self.adapted.scope if self.fits else None

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconstruct, and say whether the scan looked unusual and what was done."""
        budget = Budget(self.adapted.budget_seconds)
        measurement = measurement.with_maps(self.adapted.estimate)
        score = self.shift_score(measurement)
        image, inference = timed(lambda: self.adapted.left_as_is(measurement))
        solving = Reconciled(self.adapted.left_as_is)
        price = solving.price(measurement) if budget.is_bounded and budget.left > 0 else None
        solve = None if price is None else image.shape[0] * price.of(solving.iterations)
        costs = _Costs(budget, inference, price, solve)
        foretold, hurried = self._foretold(measurement, costs)
        unknown = None if foretold is None else foretold.unknown
        why = f"shift score {score:.2f} is {'beyond' if score > USUAL_SHIFT else 'within'} what training saw"
        if hurried:
            why += f", {hurried}"
        if unknown is not None:
            why += f", quality {unknown}"
        left = Outcome(image, (False,) * image.shape[0], ("left as it is",) * image.shape[0])
        if score > USUAL_SHIFT or unknown is not None:
            outcome = self._mended(measurement, left, solving, costs)
        elif self.mends_usual:
            outcome = solving.within(measurement, _saying(left, MENDS), budget, price)
        else:
            outcome = self._saying_why_left(left)
        reasons = tuple(f"{why}; {reason}" for reason in outcome.reason)
        return replace(outcome, reason=reasons, shift_score=score, foretold=foretold)

    def _saying_why_left(self, left: Outcome) -> Outcome:
        """A usual scan: with what its calibration has against reconciling it, where it says so."""
        against = getattr(self.foretell, "against_mending", "")
        return _adding(left, f"not reconciled: {against}") if against else left

    def _foretold(self, measurement: Measurement, costs: "_Costs") -> tuple[Foretold | None, str]:
        """What is foretold of the quality, if anybody can; and what was not asked for want of time."""
        if self.foretell is None:
            return None, ""
        if not costs.allow(inferences=2, solves=1 + CLASSICAL_SOLVES):
            return None, f"quality not foretold, {costs.budget} is too short for that"
        return self.foretell(measurement), ""

    def _mended(
        self, measurement: Measurement, left: Outcome, solving: Reconciled, costs: "_Costs"
    ) -> Outcome:
        """An unusual scan: fitted where that is asked for and can be, reconciled, or a classical image."""
        outcome, budget = None, costs.budget
        if self.fits:
            fit = replace(self.adapted, budget_seconds=budget.part().seconds)
            try:
                outcome = Reconciled(fit, budget_seconds=fit.budget_seconds).explain(measurement)
            except NothingToHoldOutError as error:
                left = _saying(left, f"nothing was fitted: {error}")
        if outcome is None:
            moved = left if self.fits else _saying(left, "no weight was moved")
            outcome = solving.within(measurement, moved, budget, costs.price)
        if any(outcome.adapted) or self.classical is None:
            return outcome
        if not costs.allow(inferences=1, solves=2 * CLASSICAL_SOLVES):
            name = type(self.classical).__name__
            return _adding(outcome, f"not compared with {name}, {budget} is too short for that")
        return self._or_classical(measurement, outcome, self.classical)

    def _or_classical(self, measurement: Measurement, left: Outcome, classical: Reconstructor) -> Outcome:
        """The classical method's image, if it predicts the judging fold much better than the network does.

        Not than the reconciled image, which predicts hidden samples no better than the network's and has the
        better image. Where no sample can be held out, nothing is known of that and nothing changes.
        """
        name, classical = type(classical).__name__, beside(self.adapted, classical)
        try:
            gain, error = self.adapted.gain_of_other(classical, self.adapted.left_as_is, measurement)
        except NothingToHoldOutError as reason:
            return _adding(left, f"not compared with {name}: {reason}")
        found = f"gain {gain:.2e} with standard error {error:.1e}"
        if gain - self.adapted.margin * error <= self.loss:
            return _adding(left, f"{name} not much better: {found}")
        log.warning(
            "%s: the network is at a loss on this scan; %s predicts held-out samples much better (%s) and is "
            "used instead",
            measurement.name,
            name,
            found,
        )
        told = _adding(left, f"{name} much better: {found}")
        taken: Action = "classical"
        return replace(told, image=classical(measurement), action=(taken,) * len(left.reason))


MENDS = "usual, and being reconciled made the calibration scans better"


@dataclass(frozen=True)
class _Costs:
    """What is left of a budget, in inferences and solves of the whole scan."""

    budget: Budget
    inference: float
    price: Price | None
    solve: float | None
    """Seconds; None where the image left no time to measure it."""

    def allow(self, inferences: int, solves: int) -> bool:
        """Whether so many fit into what is left."""
        if not self.budget.is_bounded:
            return True
        if self.solve is None:
            return False
        return self.budget.left > inferences * self.inference + solves * self.solve


def _saying(outcome: Outcome, reason: str) -> Outcome:
    return replace(outcome, reason=(reason,) * len(outcome.reason))


def _adding(outcome: Outcome, more: str) -> Outcome:
    return replace(outcome, reason=tuple(f"{reason}; {more}" for reason in outcome.reason))


def adapted(
    run: Any,
    mode: str,
    budget_seconds: float | None = None,
    shift_score: ShiftScore | None = None,
    foretell: Foretells | None = None,
    options: Sequence[str] = (),
) -> Reconstructor:
    """A run that is fitted to each scan, with ``NAME=VALUE`` options that change the mode's settings.

    Raises
    ------
    UserError
        For a magnitude network, an unknown mode, ``auto`` with a run that kept no statistics, or options that
        the mode does not have.
    """
    if not getattr(run.network, "has_phase", True):
        raise UserError(
            "this run's network returns magnitudes without phase, so nothing of it can be compared with the "
            "measurement; adapt a run that was trained with --input complex"
        )
    if mode not in MODES or mode == "none":
        raise UserError(f"there is no --adapt {mode!r}; there are {', '.join(MODES)}")
    if options and mode not in FITTING:
        raise UserError(
            f"--adapt {mode} has no settings to change, and --adapt-option {options[0]!r} was given; the "
            f"modes that fit weights have some: {', '.join(FITTING)}"
        )
    fallback = run.fallback if run.fallback is not None else run.network
    seed = getattr(run, "train_seed", None)
    if mode == "reconcile":
        return Reconciled(InBatches(fallback), train_seed=seed, budget_seconds=budget_seconds)
    if mode == "reference":
        released = ReferenceAdaptation.released(run.network, budget_seconds=budget_seconds, train_seed=seed)
        return with_options(released, options, mode)
    method = AdaptedAtTestTime(run.network, fallback, budget_seconds=budget_seconds, train_seed=seed)
    if mode != "auto":
        fit = replace(method, scope="slice" if mode == "slice" else "volume", **MEASURED)
        fit = with_options(fit, options, mode)
        return Reconciled(fit, train_seed=seed, budget_seconds=budget_seconds)
    if shift_score is None:
        raise UserError(
            "this run kept no training statistics, so nobody knows what is unusual; adapt 'volume'"
        )
    mends = foretell is not None and foretell.mends_usual
    return AdaptedWhereUnusual(method, shift_score, foretell, mends_usual=mends)
