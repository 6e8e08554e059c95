"""The laboratory that the studies share: distributions by name, simulated subjects, one training budget.

A distribution is a filter over any catalog and, where no catalog is given, a protocol of the simulated
scanner. Every study that names the same distributions meets the same subjects in the same split, and a
model that one study trained is there for all (`Study.train`); so keep to these sizes unless the question
forbids it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reshim.acquire import Scheme
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.classical.sense import Sense
from reshim.evaluation.quantities import Score, score
from reshim.evaluation.run import Evaluation
from reshim.report.blocks import Choice
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.scale import EPOCHS, FULL, Scale
from reshim.training.objectives import Supervised
from reshim.training.settings import TrainingSettings

SUBJECTS, MATRIX, SLICES = 24, 64, 4
"""Of each anatomy; a volume has few slices and a study many subjects, because intervals are over subjects.

At 96 pixels a side simulated anatomy is so sparse in wavelets that a tuned L1-wavelet method beats every
network that a minute or two can train (0.899 on knees against 0.872); at 64 it is not (0.793 against 0.824),
and everything costs less than half.
"""

SHARES = (14 / 24, 2 / 24, 8 / 24)
SCANS = {
    Scale.TINY: Embedded((), subjects=8, matrix=48, slices=2, shares=(0.25, 0.25, 0.5)),
    Scale.EMBEDDED: Embedded((), SUBJECTS, MATRIX, SLICES, SHARES),
    Scale.FULL: Embedded((), subjects=96, matrix=320, slices=8, shares=SHARES),
}
"""What is simulated where no catalog is given."""

SCHEME = Scheme("equispaced", acceleration=4)
EVALUATION = Evaluation(scheme=SCHEME)
SHOWN = {"metric": "ssim", "target": "mvue", "region": "support"}
"""The score that claims are made on."""

RATES = {"unet-tiny": 2e-3, "vit-tiny": 5e-4, "varnet-tiny": 2e-3, "unrolled-tiny": 3e-3}
"""Largest learning rate of each network."""

SETTINGS: dict[str, dict[str, Any]] = {"varnet-tiny": {"maps": "given", "output": "mvue", "start": "sense"}}
"""Of networks that differ from their tiny size. Learning maps as well takes a VarNet two and a half times as
long, and what a few cascades of gradient steps do not reach from the samples is not learned in a minute."""

NAMES = {"unet-tiny": "U-net", "vit-tiny": "ViT", "varnet-tiny": "VarNet", "unrolled-tiny": "unrolled"}
"""What pages call the networks."""

RIDGES = (0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 2.0, 3.0)
"""Of CG-SENSE, in multiples of the relative noise."""

THRESHOLDS = (0.08, 0.13, 0.2, 0.3, 0.5, 0.8, 1.3, 2.0)
"""Of the L1-wavelet method, in multiples of the relative noise."""


@dataclass(frozen=True)
class Distribution:
    """Scans of one kind."""

    label: str
    """What rows and figures call it."""

    where: str
    """The filter over a catalog."""

    protocol: str
    """The simulated protocol that stands for it where no catalog is given."""

    scheme: Scheme = SCHEME
    """How its scans are undersampled."""

    def under(self, scheme: Scheme, label: str) -> "Distribution":
        """The same scans undersampled in another way, which is another distribution."""
        return replace(self, scheme=scheme, label=label)

    def need(self, *splits: str) -> Need:
        """What is asked of a catalog: a subject in each of these splits; of all three if none is named."""
        return Need(self.label, self.where, splits) if splits else Need(self.label, self.where)

    @property
    def test(self) -> Choice:
        """The rows that were scored on it."""
        return Choice(self.label, {"test": self.label})


_FIELDS = {"1.5": "field_tesla > 1.2 and field_tesla < 2", "3": "field_tesla > 2 and field_tesla < 4"}
# A catalog of everything has low field, 7 T and volumes cut into views as well. What a file does not say,
# it is not left out for.
_FLAT = {
    anatomy: f"coalesce(view, '{view}') = '{view}' and coalesce(spacing_mm[1], 3) >= 2 and view_of is null"
    for anatomy, view in (("knee", "coronal"), ("brain", "axial"))
}


def _of(anatomy: str, contrast: str, tesla: str) -> Distribution:
    return Distribution(
        f"{anatomy} {contrast} {tesla} T",
        f"anatomy = '{anatomy}' and contrast = '{contrast}' and {_FIELDS[tesla]} and {_FLAT[anatomy]}",
        f"{anatomy}-{contrast.lower()}-{tesla}t",
    )


KNEE_PD, KNEE_PD_15 = _of("knee", "PD", "3"), _of("knee", "PD", "1.5")
KNEE_PDFS, KNEE_PDFS_15 = _of("knee", "PD-FS", "3"), _of("knee", "PD-FS", "1.5")
BRAIN_T1, BRAIN_T1_15 = _of("brain", "T1", "3"), _of("brain", "T1", "1.5")
BRAIN_T1_POST, BRAIN_T1_POST_15 = _of("brain", "T1-post", "3"), _of("brain", "T1-post", "1.5")
BRAIN_T2, BRAIN_T2_15 = _of("brain", "T2", "3"), _of("brain", "T2", "1.5")
BRAIN_FLAIR, BRAIN_FLAIR_15 = _of("brain", "FLAIR", "3"), _of("brain", "FLAIR", "1.5")

# Far from all of them, to be tested on.
ABDOMEN_T2 = Distribution(
    "abdomen T2 3 T", f"anatomy = 'abdomen' and contrast = 'T2' and {_FIELDS['3']}", "abdomen-t2-3t"
)
PROSTATE_T2 = Distribution(
    "prostate T2 3 T", f"anatomy = 'prostate' and contrast = 'T2' and {_FIELDS['3']}", "prostate-t2-3t"
)
HEART_GRE = Distribution(
    "heart GRE 1.5 T, short axis",
    f"anatomy = 'heart' and contrast = 'GRE' and view = 'short-axis' and {_FIELDS['1.5']}",
    "heart-sax-1.5t",
)
BRAIN_GRE_7 = Distribution(
    "brain GRE 7 T", "anatomy = 'brain' and contrast = 'GRE' and field_tesla > 6", "brain-gre-7t"
)
KNEE_SAGITTAL = Distribution(
    "knee PD-FS 3 T, sagittal",
    f"anatomy = 'knee' and contrast = 'PD-FS' and view = 'sagittal' and {_FIELDS['3']}",
    "knee-3d-sagittal-3t",
)


def embedded(*distributions: Distribution, scale: Scale, **changes: Any) -> Embedded:
    """The simulated scans of these distributions, at the size that all studies share.

    A catalog that is given instead must have each of them in every split, unless `changes` say otherwise
    (`needs`).
    """
    protocols = tuple(dict.fromkeys(distribution.protocol for distribution in distributions))
    needs = tuple(distribution.need() for distribution in distributions)
    return replace(SCANS[scale], **{"protocols": protocols, "needs": needs, **changes})


def training(scale: Scale, network: str = "unrolled-tiny", **changes: Any) -> TrainingSettings:
    """The budget that all studies share; `changes` are settings that the question is about.

    One slice a step: of a few hundred slices seen, four times the updates were worth more than the averaging
    (unrolled network on knees, 12 epochs: 0.872 against 0.856 on validation subjects).
    """
    budget = TrainingSettings(
        objective=Supervised("ssim+l1"),
        epochs=2 if scale.tiny else 12,
        batch_size=1,
        learning_rate=RATES[network],
        schemes=(SCHEME,),
        validation_slices=2 if scale.tiny else 8,
    )
    if scale is Scale.FULL:
        full = FULL[network]
        budget = replace(
            budget,
            epochs=EPOCHS,
            batch_size=full.batch_size,
            learning_rate=full.learning_rate,
            validation_slices=200,
        )
    return replace(budget, **changes)


def settings_of(network: str, scale: Scale) -> dict[str, Any] | None:
    """What is changed of a network that is trained and not adapted: at full size it is the published one."""
    return None if scale is Scale.FULL else SETTINGS.get(network)


def on(method: str, test: Distribution | str, **where: Any) -> Score:
    """The score of a method on a test set that claims are made on."""
    label = test if isinstance(test, str) else test.label
    return score(method=method, test=label, **{**SHOWN, **where})


def any_of(distributions: Sequence[Distribution]) -> str:
    """The filter of a union."""
    return " or ".join(dict.fromkeys(f"({distribution.where})" for distribution in distributions))


def sense(ridge: float) -> Sense:
    """CG-SENSE of a ridge, for `Study.tune`."""
    return Sense(ridge=ridge)


def wavelet(weight: float) -> L1Wavelet:
    """The L1-wavelet method of a weight, for `Study.tune`."""
    return L1Wavelet(weight=weight)
