"""The ways of fitting a network to a scan that are timed against the reference algorithm, by name.

Beside them stands L1-wavelet, which needs no network: as it is tuned, and with as many seconds as a fit has.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.studies.engine.shifts import fitted
from reshim.studies.engine.tracing import AtOnce, Closed, Fit
from reshim.training.run_folder import Trained

REFERENCE = "reference algorithm"
FAST, RECONCILED = "volume, reconciled", "reconciled, no weight moved"
LEAD = "volume, a sixth of the rate for 2,000 steps"

LONGER = 50
"""Times the iterations with which L1-wavelet takes about as long as fitting a volume does, a slice of 64x64
pixels and 16 coils: 0.3 s times this."""

WAVELET, LONG_WAVELET = "L1-wavelet", f"L1-wavelet, {LONGER} times the iterations"

NETWORKLESS = (WAVELET, LONG_WAVELET)

FROM_MANY, FROM_RELEASED = "reference, from many protocols", "reference, from the released joint loss"
STARTED = (FROM_MANY, FROM_RELEASED, "volume, from many protocols", "volume, from the released joint loss")
"""Fits of networks that were trained in another way."""

METHODS = (
    REFERENCE,
    "reference, its paper's rate",
    "reference, mended",
    "reference, from supervised weights",
    *STARTED[:2],
    RECONCILED,
    FAST,
    "volume",
    "volume, from supervised weights",
    *STARTED[2:],
    "volume, last stage",
    "volume, affine",
    "volume, low rank",
    "volume, near its start",
    "volume, half of the rows",
    "volume, plain data fit",
    "volume, hidden columns alone",
    "volume, fitted on one of its slices",
    "volume, four virtual coils",
    "volume, stopped at the noise",
    "volume, in bfloat16",
    LEAD,
    "slice",
    "slice, from its neighbour",
    *NETWORKLESS,
)

TIMED = (REFERENCE, RECONCILED, FAST)
"""What is timed on every case."""


def without_network(wavelet: L1Wavelet, tiny: bool) -> dict[str, Callable[[Any], Fit]]:
    """Ways that fit nothing, each made with what looks at its image."""
    longer = replace(wavelet, iterations=(2 if tiny else LONGER) * wavelet.iterations)
    return {
        WAVELET: lambda look: AtOnce(wavelet, look),
        LONG_WAVELET: lambda look: AtOnce(longer, look),
    }


def other_starts(
    many: Trained, released: Trained, supervised: Trained, tiny: bool, *, steps: int, check_every: int
) -> dict[str, Callable[[Any], Fit]]:
    """The reference and ours, from a network of many protocols and from one trained by the released loss."""
    often = {"steps": steps, "check_every": check_every}
    made: tuple[Callable[[Any], Fit], ...] = (
        _reference(many, tiny, learning_rate=1e-4),
        _reference(released, tiny, learning_rate=1e-4),
        _ours(many, supervised, tiny, **often),
        _ours(released, supervised, tiny, **often),
    )
    return dict(zip(STARTED, made, strict=True))


def variants(
    joint: Trained, supervised: Trained, tiny: bool, *, steps: int, check_every: int
) -> dict[str, Callable[[Any], Fit]]:
    """Ways of fitting, each made with what looks at its images.

    All looks are taken, for none waits in vain; but where the noise stops, it stops.
    """

    def reference(network: Trained = joint, **settings: Any) -> Callable[[Any], Fit]:
        return _reference(network, tiny, **settings)

    def ours(start: Trained = joint, **settings: Any) -> Callable[[Any], AdaptedAtTestTime]:
        return _ours(start, supervised, tiny, **{"steps": steps, "check_every": check_every, **settings})

    made = {
        REFERENCE: reference(learning_rate=1e-4),
        "reference, its paper's rate": reference(),
        "reference, mended": reference(
            learning_rate=1e-4, with_replacement=False, leak=False, return_last=False
        ),
        "reference, from supervised weights": reference(supervised, learning_rate=1e-4),
        RECONCILED: lambda look: AtOnce(Reconciled(supervised), look),
        FAST: lambda look: Closed(ours(), look),
        "volume": ours(),
        "volume, from supervised weights": ours(supervised),
        "volume, last stage": ours(parameters="last-stage"),
        "volume, affine": ours(parameters="affine"),
        "volume, low rank": ours(parameters="low-rank"),
        "volume, near its start": ours(trust_radius=0.05),
        "volume, half of the rows": ours(readout_share=0.5),
        "volume, plain data fit": ours(hidden_share=0.0),
        "volume, hidden columns alone": ours(fitted="hidden", hidden_share=0.5),
        "volume, fitted on one of its slices": ours(fit_slices=1),
        "volume, four virtual coils": ours(virtual_coils=4),
        "volume, stopped at the noise": ours(stop="noise"),
        "volume, in bfloat16": ours(bf16=True),
        LEAD: ours(learning_rate=5e-4, steps=2000, check_every=50),
        "slice": ours(scope="slice"),
        "slice, from its neighbour": ours(scope="slice", from_neighbour=True),
    }
    return {name: made[name] for name in TIMED} if tiny else made


def _reference(network: Trained, tiny: bool, **settings: Any) -> Callable[[Any], Fit]:
    few = {"max_steps": 20, "window": 4} if tiny else {"max_steps": 1000}
    return lambda look: ReferenceAdaptation(network.network, on_snapshot=look, **{**few, **settings})


def _ours(
    start: Trained, supervised: Trained, tiny: bool, *, steps: int, **settings: Any
) -> Callable[[Any], AdaptedAtTestTime]:
    """Unguarded, with every look taken; `fitted` makes few steps of it in the tiny form."""
    often: dict[str, Any] = {"steps": 4 if tiny else steps, "patience": steps, "guarded": False}
    return lambda look: fitted(start, supervised, tiny, on_snapshot=look, **{**often, **settings})
