"""One natural shift, from P to Q, and how much of its gap fitting the weights to each scan closes.

Source: M. Z. Darestani, J. Liu, R. Heckel, ICML 2022 (arXiv:2204.07204).
Ours differs: the share is a ratio of means over subjects with an interval, and it is defined only where the
gap is real and both specialists beat an L1-wavelet method tuned at their home. Two other definitions can be
read out of the published figures and stand beside it: against the target network adapted as well, and
against the better of that one as it is and adapted. The adapted network sees the measurement alone: one
fold of its columns is fitted, one stops the fit, one decides between it and the supervised fall-back.
Whichever it is, one solve reconciles its image with the samples (`reshim.adaptation.reconciled`), as
``--adapt volume`` does; what that alone closes, and what fitting adds to it, are claims of their own. A
network of many protocols, none of them the target's, is met and adapted too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reshim.adaptation.at_test_time import MEASURED, AdaptedAtTestTime
from reshim.adaptation.reconciled import Reconciled, Remembered
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Best, Difference, Ratio, share_of_gap
from reshim.evaluation.rules import AllOf, Given, LowerBoundAbove, LowerBoundAtLeast, PointAndInterval
from reshim.report.blocks import (
    Bar,
    Block,
    Choice,
    ClaimsBlock,
    Curve,
    CurvesBlock,
    GapBlock,
    ImagesBlock,
    Role,
    TableBlock,
    TextBlock,
)
from reshim.studies.engine import lab
from reshim.studies.engine.guarded import keep_guarded
from reshim.studies.engine.lab import EVALUATION, SHOWN, Distribution, on
from reshim.studies.engine.study import Study
from reshim.training.joint import Joint, ReleasedJoint
from reshim.training.objectives import Supervised
from reshim.training.run_folder import Trained
from reshim.training.settings import TrainingSettings
from reshim.types import Reconstructor

JOINT, RELEASED, RECONCILED = ", joint", ", joint as released", ", reconciled"
FITTED, UNGUARDED, ADAPTED = ", fitted", ", fitted and reconciled", ", adapted"
"""Endings of a method's name: trained with the joint objective, or as it was released; reconciled, no weight
moved; the joint one fitted to each scan, by itself and reconciled; and what the guard makes of it, as
``--adapt volume`` does."""


@dataclass(frozen=True)
class Several:
    """Distributions that one network is trained on."""

    label: str
    members: tuple[Distribution, ...]
    passes: float = 1.0
    """Over their scans, in multiples of what one distribution's network makes."""


MANY = Several("many protocols", (lab.KNEE_PD, lab.KNEE_PDFS, lab.BRAIN_FLAIR, lab.BRAIN_T1_POST), passes=0.5)
"""A diverse start: it has seen no target of a shift that is met from it. Twice a single one's updates."""


def wavelet_of(home: Distribution) -> str:
    """The L1-wavelet method that was tuned on a distribution."""
    return f"L1-wavelet of {home.label}"


@dataclass(frozen=True)
class Kind:
    """A network as test-time training needs it: complex, multi-coil, trained a little longer.

    At full size too, for samples are compared by way of given maps: here no VarNet is the published one.
    """

    name: str
    """In claims and rows."""

    network: str
    settings: Mapping[str, Any]
    epochs: int
    steps: int
    """Of a fit, at most."""

    def of(self, part: Distribution | Several, ending: str = "") -> str:
        """What rows call the network that was trained on a part."""
        return f"{self.name} of {part.label}{ending}"


UNET = Kind("U-net", "unet-tiny", {"input": "complex", "start": "sense"}, 20, 300)
VARNET = Kind("VarNet", "varnet-tiny", lab.SETTINGS["varnet-tiny"], 40, 100)
KINDS = (UNET, VARNET)

CORRECTED = Joint(supervised=Supervised("ssim+l1"))
"""The joint objective of the fits here."""

CLOSED = 0.8
"""Share of the gap that every shift has to reach."""


@dataclass(frozen=True)
class Shift:
    """Trained on P, met with Q."""

    source: Distribution
    target: Distribution
    kinds: tuple[Kind, ...] = KINDS
    paper: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Published gap and share of a kind's network, one slice each."""

    many: bool = True
    """Whether each kind's network of `MANY`, adapted too, stands beside."""

    def claims(self) -> tuple[Claim, ...]:
        """Gap and share of every kind, and that nothing is lost at home."""
        return tuple(claim for kind in self.kinds for claim in self._claims(kind))

    def _claims(self, kind: Kind) -> tuple[Claim, ...]:
        ending = kind.name.lower().replace("-", "")
        gap, share = self.paper.get(kind.name, (None, None))
        source, reconciled, unguarded, adapted = (
            on(kind.of(self.source, end), self.target) for end in ("", RECONCILED, UNGUARDED, ADAPTED)
        )
        target, best = (on(kind.of(self.target, end), self.target) for end in ("", RECONCILED))
        gapped = PointAndInterval(Difference(target, source), at_least=0.02)
        at_home = tuple(
            LowerBoundAbove(Difference(on(kind.of(home), home), on(wavelet_of(home), home)))
            for home in (self.source, self.target)
        )
        without = Difference(target, source)
        target_adapted = on(kind.of(self.target, ADAPTED), self.target)
        other_shares = (
            (
                "b",
                "target adapted too",
                Ratio(Difference(without, Difference(target_adapted, adapted)), without),
            ),
            (
                "c",
                "the better of target as it is and adapted",
                share_of_gap(source, adapted, Best((target, target_adapted))),
            ),
        )
        claims = (
            Claim(
                f"gap-{ending}",
                f"the {kind.name} trained on {self.source.label} loses on {self.target.label}",
                gapped,
                paper=gap,
            ),
            Claim(
                f"home-{ending}",
                f"each {kind.name} beats, at home, an L1-wavelet method that was tuned there",
                AllOf(at_home),
            ),
            Claim(
                f"share-{ending}",
                f"fitting and reconciling the {kind.name} closes the gap; defined where gap and home hold",
                Given(LowerBoundAtLeast(share_of_gap(source, adapted, target), CLOSED), (gapped, *at_home)),
                paper=share,
                unit="share",
            ),
            *(
                Claim(
                    f"share-{letter}-{ending}",
                    f"the same share, against {what}",
                    Given(LowerBoundAtLeast(share, CLOSED), (gapped, *at_home)),
                    unit="share",
                )
                for letter, what, share in other_shares
            ),
            Claim(
                f"reconciled-{ending}",
                f"reconciling the {kind.name} with the samples closes the gap, no weight moved",
                Given(LowerBoundAtLeast(share_of_gap(source, reconciled, target), CLOSED), (gapped,)),
                unit="share",
            ),
            Claim(
                f"fit-adds-{ending}",
                f"fitting the {kind.name}'s weights adds to reconciling, without the guard",
                LowerBoundAbove(Difference(unguarded, reconciled)),
            ),
            Claim(
                f"left-{ending}",
                f"adapted, the {kind.name} of {self.source.label} is within 0.01 of that of "
                f"{self.target.label}, which is reconciled too",
                LowerBoundAtLeast(Difference(adapted, best), -0.01),
            ),
            Claim(
                f"home-safe-{ending}",
                f"fitting and reconciling the {kind.name} on scans of its own distribution does no harm",
                LowerBoundAtLeast(
                    Difference(
                        on(kind.of(self.source, ADAPTED), self.source), on(kind.of(self.source), self.source)
                    ),
                    -0.001,
                ),
            ),
        )
        return (*claims, *self._claims_of_many(kind)) if self.many else claims

    def _claims_of_many(self, kind: Kind) -> tuple[Claim, ...]:
        ending = kind.name.lower().replace("-", "")
        many, adapted = (on(kind.of(MANY, end), self.target) for end in ("", ADAPTED))
        source, best = (
            on(kind.of(self.source), self.target),
            on(kind.of(self.target, RECONCILED), self.target),
        )
        return (
            Claim(
                f"many-{ending}",
                f"the {kind.name} of {MANY.label}, {self.target.label} not among them, is above that of "
                f"{self.source.label} there",
                LowerBoundAbove(Difference(many, source)),
            ),
            Claim(
                f"left-many-{ending}",
                f"adapted, the {kind.name} of {MANY.label} is within 0.01 of that of {self.target.label}, "
                "which is reconciled too",
                LowerBoundAtLeast(Difference(adapted, best), -0.01),
            ),
        )

    def run(self, study: Study) -> None:
        """Train on P, on Q and on many, adapt to every test scan, score at home and away."""
        for home in (self.source, self.target):
            label = wavelet_of(home)
            tuned = study.tune(label, lab.wavelet, lab.THRESHOLDS, home.where, home.scheme)
            for test in (self.source, self.target):
                study.compare({label: tuned}, test.where, _scored(test), test=test.label)
        for kind in self.kinds:
            self._run(study, kind)

    def _run(self, study: Study, kind: Kind) -> None:
        away: dict[str, Reconstructor] = {}
        home: dict[str, Reconstructor] = {}
        for part in self.parts:
            supervised, joint = pair(study, kind, part)
            methods = home if part is self.source else away
            steps = 4 if study.tiny else kind.steps
            fit = Remembered(
                fitted(joint, supervised, study.tiny, steps=steps, guarded=False), train_seed=joint.train_seed
            )
            methods[kind.of(part)] = supervised
            methods[kind.of(part, RECONCILED)] = Reconciled(supervised, train_seed=supervised.train_seed)
            methods[kind.of(part, JOINT)] = joint
            methods[kind.of(part, FITTED)] = fit
            methods[kind.of(part, UNGUARDED)] = Reconciled(fit, train_seed=joint.train_seed)
        for test, methods in ((self.source, home), (self.target, {**home, **away})):
            study.compare(methods, test.where, _scored(test), test=test.label)
            for part in self.parts if test is self.target else (self.source,):
                before, without, guarded = (kind.of(part, end) for end in (RECONCILED, UNGUARDED, ADAPTED))
                keep_guarded(study, before, without, guarded, test.label)

    @property
    def parts(self) -> tuple[Distribution | Several, ...]:
        """What networks of every kind are trained on."""
        own = (self.source, self.target)
        return (*own, MANY) if self.many else own

    @property
    def distributions(self) -> tuple[Distribution, ...]:
        """All whose scans are met."""
        return tuple(dict.fromkeys((self.source, self.target, *(MANY.members if self.many else ()))))

    def methods(self) -> tuple[str, ...]:
        """Rows of the tables."""
        own = tuple(
            kind.of(part, ending)
            for kind in self.kinds
            for part in self.parts
            for ending in ("", RECONCILED, JOINT, FITTED, UNGUARDED, ADAPTED)
        )
        return (wavelet_of(self.source), wavelet_of(self.target), *own)

    def _bars(self, kind: Kind) -> tuple[Bar, ...]:
        def bar(label: str, method: str, role: Role = "other") -> Bar:
            return Bar(label, {"method": method}, role)

        many = (
            bar(f"trained on {MANY.label}", kind.of(MANY)),
            bar("… reconciled, no weight moved", kind.of(MANY, RECONCILED), "adapted"),
            bar("… joint, fitted, reconciled, behind the guard", kind.of(MANY, ADAPTED), "adapted"),
        )
        return (
            bar("L1-wavelet, tuned on P", wavelet_of(self.source), "classical"),
            bar("trained on P", kind.of(self.source), "source"),
            bar("… reconciled, no weight moved", kind.of(self.source, RECONCILED), "adapted"),
            bar("trained on P, joint objective", kind.of(self.source, JOINT)),
            bar("… fitted to each scan", kind.of(self.source, FITTED), "adapted"),
            bar("… fitted and reconciled", kind.of(self.source, UNGUARDED), "adapted"),
            bar("… the same behind the guard", kind.of(self.source, ADAPTED), "adapted"),
            *(many if self.many else ()),
            bar("trained on Q", kind.of(self.target), "target"),
            bar("… reconciled", kind.of(self.target, RECONCILED)),
            bar("trained on Q, joint, behind the guard", kind.of(self.target, ADAPTED)),
        )

    def blocks(self, study: Study) -> tuple[Block, ...]:
        """Claims, the gap of each kind, images, the table to copy."""
        where = {**SHOWN, "test": self.target.label}
        gaps = tuple(
            GapBlock(
                f"{kind.name}: the gap on {self.target.label}, and what closes it",
                f"P is {self.source.label}, Q is {self.target.label}. {MANY.label.capitalize()}: "
                f"{', '.join(each.label for each in MANY.members)}.",
                bars=self._bars(kind),
                where=where,
            )
            for kind in self.kinds
        )
        first = self.kinds[0]
        shown = first.of(self.source, RECONCILED)
        labels = (wavelet_of(self.source), first.of(self.source), shown, first.of(self.target))
        runs = [name for name in study.runs if name in self.methods()]
        return (
            ClaimsBlock(),
            *gaps,
            ImagesBlock(
                "What it looks like",
                f"{self.target.label}: the slices with the median and the worst score of the reconciled "
                f"{first.name}. Error maps on one scale.",
                examples=study.examples(self.target.label, by=shown, labels=labels),
            ),
            CurvesBlock(
                "Training",
                "Validation SSIM in each network's own distribution, which chose its checkpoint.",
                curves=tuple(
                    Curve(name, f"curves/{study.slug(name)}.jsonl", x="epoch", y="score",
                          panel=name.split(" of ")[0])
                    for name in runs
                ),
                x_label="epoch",
                y_label="validation SSIM",
            ),
            TableBlock(
                "The table to copy",
                "What P adapted gains over P, by the gap from P to Q, is the share; the claims b and c take "
                "Q adapted in place of Q.",
                rows=tuple(Choice(name, {"method": name}) for name in self.methods()),
                columns=(self.source.test, self.target.test),
                where=SHOWN,
            ),
            TextBlock(
                "What is compared",
                paragraphs=(
                    "All networks of a kind have the same input, target, budget and seed. The fall-back of "
                    "an adapted network is the supervised one of the same data, reconciled. The share is "
                    "the papers' one: against the target's network as it is. That "
                    "network gains by being reconciled too; what is left then is a claim of its own. The "
                    f"network of {MANY.label} makes twice the updates of the others.",
                ),
            ),
        )  # fmt: skip


def supervised(study: Study, kind: Kind, part: Distribution | Several) -> Trained:
    """The supervised network of one distribution or several."""
    settings, where = _training(study, kind, part, _epochs(study, kind, part))
    return study.train(kind.of(part), kind.network, where, settings, network_settings=kind.settings)


def pair(study: Study, kind: Kind, part: Distribution | Several) -> tuple[Trained, Trained]:
    """A supervised network of one distribution or several, and the jointly trained one that falls back to it.

    Joint training goes on from the supervised weights for half as long: begun anew, the joint objective was
    0.06 SSIM behind on validation subjects after the same 20 epochs, and no fit makes that good.
    """
    return supervised(study, kind, part), _jointly(study, kind, part, JOINT, CORRECTED)


def as_released(study: Study, kind: Kind, part: Distribution | Several) -> Trained:
    """The second network of `pair`, which has been asked for, with the joint loss as it was released.

    Budget, start, target and rate are those of the pair.
    """
    return _jointly(study, kind, part, RELEASED, ReleasedJoint())


def _jointly(
    study: Study, kind: Kind, part: Distribution | Several, ending: str, objective: Joint | ReleasedJoint
) -> Trained:
    settings, where = _training(study, kind, part, -(-_epochs(study, kind, part) // 2))
    return study.train(
        kind.of(part, ending),
        kind.network,
        where,
        replace(settings, objective=objective),
        network_settings=kind.settings,
        start=kind.of(part),
        fallback=kind.of(part),
    )


def _training(
    study: Study, kind: Kind, part: Distribution | Several, epochs: int
) -> tuple[TrainingSettings, str]:
    """Supervised settings, and the filter of the scans."""
    parts = _members(part)
    schemes = tuple(dict.fromkeys(each.scheme for each in parts))
    return lab.training(study.scale, kind.network, schemes=schemes, epochs=epochs), lab.any_of(parts)


def _epochs(study: Study, kind: Kind, part: Distribution | Several) -> int:
    """Of supervised training: more where scans are undersampled in several ways."""
    n_schemes = len({each.scheme for each in _members(part)})
    passes = part.passes if isinstance(part, Several) else 1.0
    return 2 if study.tiny else round(kind.epochs * n_schemes * passes)


def _members(part: Distribution | Several) -> tuple[Distribution, ...]:
    return part.members if isinstance(part, Several) else (part,)


def fitted(joint: Trained, supervised: Trained, tiny: bool, **changes: Any) -> AdaptedAtTestTime:
    """The jointly trained network, fitted to each volume."""
    settings: dict[str, Any] = {**MEASURED, "scope": "volume"}
    if tiny:
        settings["steps"] = 4
    return AdaptedAtTestTime(
        joint.network, supervised.network, train_seed=joint.train_seed, **{**settings, **changes}
    )


def _scored(test: Distribution) -> Any:
    return replace(EVALUATION, scheme=test.scheme)
