"""Methods of every kind side by side for the robustness studies: trained, sparse, parallel imaging.

All of one table are trained and tuned on the same subjects of one distribution, "at home".
"""

from collections.abc import Callable, Iterable, Sequence

from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.classical.grappa import Grappa
from reshim.classical.total_variation import TotalVariation
from reshim.errors import UserError
from reshim.studies.engine import lab
from reshim.studies.engine.study import Study
from reshim.types import Reconstructor

NETWORKS = {"U-net": "unet-tiny", "VarNet": "varnet-tiny", "unrolled": "unrolled-tiny"}
"""What pages call them, and their names."""

SPARSE = ("L1-wavelet", "total variation")
PARALLEL = ("CG-SENSE", "GRAPPA")
UNTRAINED = ("ConvDecoder",)
"""Fitted to each slice: seconds a slice, so that few studies carry it."""

EVERY = (*NETWORKS, *SPARSE, *PARALLEL)
"""But the untrained."""

BASELINE = "CG-SENSE"
"""What tables compare every method to: linear, with one weight, at every scanner."""

COMPARED = f"Differences are to {BASELINE}, paired over subjects; p is corrected by Holm over the table."
"""What such a table says of them."""


VARIATIONS = (0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 2.0)
"""Weights of total variation, in multiples of the relative noise."""


def variation(weight: float) -> TotalVariation:
    """Total variation of a weight, for `Study.tune`."""
    return TotalVariation(weight=weight)


FITTING = (50, 150, 300)
"""Iterations of the untrained network: nothing else regularises it."""


def decoder(iterations: float) -> FittedDecoder:
    """A ConvDecoder fitted for so many iterations, for `Study.tune`."""
    return FittedDecoder(iterations=int(iterations), channels=32)


TUNED: dict[str, tuple[Callable[[float], Reconstructor], tuple[float, ...]]] = {
    "CG-SENSE": (lab.sense, lab.RIDGES),
    "L1-wavelet": (lab.wavelet, lab.THRESHOLDS),
    "total variation": (variation, VARIATIONS),
    "ConvDecoder": (decoder, FITTING),
}


def trained(
    study: Study, home: lab.Distribution, names: Sequence[str] = tuple(NETWORKS), suffix: str = ""
) -> dict[str, Reconstructor]:
    """Networks with the budget that studies share; `suffix` tells those of another home apart."""
    return {
        f"{name}{suffix}": study.train(
            f"{name}{suffix}",
            network,
            home.where,
            lab.training(study.scale, network),
            network_settings=lab.settings_of(network, study.scale),
        )
        for name, network in ((name, NETWORKS[name]) for name in names)
    }


def tuned(
    study: Study, home: lab.Distribution, names: Sequence[str] = ("CG-SENSE", *SPARSE), suffix: str = ""
) -> dict[str, Reconstructor]:
    """Methods with their weight chosen on the validation subjects of their home; tiny: with the first one."""
    made = {}
    for name in names:
        make, values = TUNED[name]
        label, tried = f"{name}{suffix}", values[:1] if study.tiny else values
        made[label] = study.tune(label, make, tried, home.where, lab.SCHEME)
    return made


def asked(study: Study, own: Iterable[str]) -> dict[str, Reconstructor]:
    """What a user asks about beside the recipe's own methods.

    Raises
    ------
    UserError
        If one of them has the name of one of the recipe's.
    """
    if same := sorted(set(study.methods) & set(own)):
        raise UserError(
            f"--with names {same[0]!r}, which {study.name} calls a method of its own; rename the RUN folder"
        )
    return dict(study.methods)


def all_of(study: Study, home: lab.Distribution) -> dict[str, Reconstructor]:
    """One of each name in `EVERY`; GRAPPA has no weight to tune here, its kernels come from each scan."""
    made = {**trained(study, home), **tuned(study, home), "GRAPPA": Grappa()}
    return {name: made[name] for name in EVERY}
