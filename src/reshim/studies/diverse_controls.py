"""Where one network for all falls short of the papers here: is it the data, the budget or the claim?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), sections 3 and 4; B. Yaman et al., Magn. Reson.
        Med. 84:3172 (2020).
Claim   four comparisons that contradicted their claim with one training seed are made again on other
        subjects, with three times the epochs, and with three times the subjects at as many updates. What
        vanishes with epochs was the budget's fault, what vanishes with subjects the data's; what does
        neither is left standing, on such scans.
Data    knees (PD) and brains (T1, T2, FLAIR) at 3 T, 42 subjects of each to train on and 16 to test on; of
        the catalog, or simulated.
Cost    about an hour of one core; --tiny: three minutes.
Run     reshim study diverse-controls
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TypeAlias

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Best, Difference, Quantity
from reshim.evaluation.rules import LowerBoundAbove, LowerBoundAtLeast, NotSignificantlyBelow, Rule
from reshim.report.blocks import Block, Choice, ClaimsBlock, TableBlock, TextBlock
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import (
    TOLERANCE,
    Trainings,
    choices,
    compare,
    learning_curves,
    looks_like,
    of_seed,
    seeds_of,
    train_what_is_free,
)
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import NAMES, SHOWN, Distribution, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.ssdu_vs_supervised import HOME, OBJECTIVE
from reshim.training.run_folder import Trained
from reshim.types import Reconstructor

TITLE = "Data, budget or the claim"
PAPER = "Lin and Heckel, ICML 2024; Yaman et al., Magn. Reson. Med. 2020"
MORE = 3
"""Times the laboratory's epochs, or subjects."""
FEW = 0.1
"""Of the subjects of the rarer distribution, as in `diverse-skew`."""
SUBJECTS, PARTS = 60, (42 / 60, 2 / 60, 16 / 60)


@dataclass(frozen=True)
class Size:
    """How long, and on what part of the training subjects, everything is trained."""

    label: str
    epochs: int
    share: float
    said: str


AGAIN = Size("again", 1, 1 / MORE, "on other subjects")
LONGER = Size("three times the epochs", MORE, 1 / MORE, "with three times the epochs")
WIDER = Size("three times the subjects", 1, 1.0, "with three times the subjects")
SIZES = (AGAIN, LONGER, WIDER)


@dataclass(frozen=True)
class Contender:
    """A network of some distributions, each with a share of its subjects."""

    name: str
    network: str
    of: tuple[tuple[Distribution, float], ...]
    undersampled: bool = False
    """Whether it is trained on undersampled scans alone, as SSDU is."""

    def label(self, size: Size) -> str:
        """What rows call it."""
        return f"{self.name}, {size.label}"

    def train(self, study: Study, size: Size, seed: int) -> Trained:
        """Of one size and seed."""
        schemes = tuple(dict.fromkeys(each.scheme for each, _ in self.of))
        settings = lab.training(study.scale, self.network, schemes=schemes, seed=seed)
        settings = replace(settings, epochs=(settings.epochs or 1) * size.epochs)
        if self.undersampled:
            settings = replace(settings, objective=OBJECTIVE)
        shares = {each.where: share * size.share for each, share in self.of}
        return study.train(
            of_seed(self.label(size), study, seed),
            self.network,
            dict.fromkeys(shares),
            settings,
            network_settings=lab.settings_of(self.network, study.scale),
            share=shares,
            undersampled=schemes[0] if self.undersampled else None,
        )


@dataclass(frozen=True)
class Wavelet:
    """The L1-wavelet method, tuned where it is tested; the same at every size."""

    home: Distribution

    def label(self, size: Size) -> str:
        """What rows call it."""
        del size
        return "L1-wavelet"

    def tune(self, study: Study) -> Reconstructor:
        """With references of validation subjects."""
        label = f"wavelet {self.home.label}"
        return study.tune(label, lab.wavelet, lab.THRESHOLDS, self.home.where, self.home.scheme)


Rival: TypeAlias = Contender | Wavelet


@dataclass(frozen=True)
class Case:
    """A comparison that contradicted its claim: one network, what it is held against, where, and the rule."""

    id: str
    came_from: str
    one: Contender
    rivals: tuple[Rival, ...]
    test: Distribution
    rule: Callable[[Quantity], Rule]
    sentence: str

    def gain(self, size: Size) -> Quantity:
        """Of the network over its best rival."""
        rivals = tuple(on(rival.label(size), self.test) for rival in self.rivals)
        return Difference(
            on(self.one.label(size), self.test), rivals[0] if len(rivals) == 1 else Best(rivals)
        )

    def claims(self) -> tuple[Claim, ...]:
        """The claim at each size, and whether budget and data move it."""
        again, longer, wider = (self.gain(size) for size in SIZES)
        return (
            *(
                Claim(f"{self.id}-{name}", f"{self.sentence}: {size.said}", self.rule(self.gain(size)))
                for name, size in zip(("again", "longer", "wider"), SIZES, strict=True)
            ),
            Claim(
                f"{self.id}-budget",
                f"{self.one.name}: three times the epochs bring it nearer",
                LowerBoundAbove(Difference(longer, again)),
            ),
            Claim(
                f"{self.id}-data",
                f"{self.one.name}: as many updates on three times the subjects bring it nearer still",
                LowerBoundAbove(Difference(wider, longer)),
            ),
        )

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """All that is trained."""
        return (self.one, *(rival for rival in self.rivals if isinstance(rival, Contender)))

    @property
    def labels(self) -> tuple[str, ...]:
        """What rows call everything, sizes in turn."""
        called = (each.label(size) for size in SIZES for each in (self.one, *self.rivals))
        return tuple(dict.fromkeys(called))

    def trainings(self, study: Study, size: Size, seed: int) -> Trainings:
        """Of one size and seed."""
        return {each.label(size): partial(each.train, study, size, seed) for each in self.contenders}

    def run(self, study: Study) -> None:
        """Train everything at each size and score it."""
        for size, seed in product(SIZES, seeds_of(study)):
            trained = {name: train() for name, train in self.trainings(study, size, seed).items()}
            compare(study, trained, (self.test,))
        fixed = {each.label(AGAIN): each.tune(study) for each in self.rivals if isinstance(each, Wavelet)}
        compare(study, fixed, (self.test,))


def _alone(network: str, *homes: Distribution) -> Contender:
    called = " + ".join(home.label for home in homes)
    return Contender(f"{NAMES[network]}: {called}", network, tuple((home, 1.0) for home in homes))


def _with_few(network: str, many: Distribution, few: Distribution) -> Contender:
    name = f"{NAMES[network]}: {many.label} and few {few.label}"
    return Contender(name, network, ((many, 1.0), (few, FEW)))


CASES = (
    Case(
        "flair",
        "diverse-contrast",
        _alone("varnet-tiny", lab.BRAIN_T1, lab.BRAIN_T2),
        (_alone("varnet-tiny", lab.BRAIN_T1), _alone("varnet-tiny", lab.BRAIN_T2)),
        lab.BRAIN_FLAIR,
        NotSignificantlyBelow,
        "on FLAIR, a VarNet of T1 and T2 is not significantly worse than the better of both",
    ),
    Case(
        "many",
        "diverse-skew",
        _with_few("unet-tiny", lab.BRAIN_T2, lab.KNEE_PD),
        (_alone("unet-tiny", lab.BRAIN_T2),),
        lab.BRAIN_T2,
        partial(LowerBoundAtLeast, bound=-TOLERANCE["unet-tiny"]),
        "a few knees cost a U-net of brains at most 0.003 on brains",
    ),
    Case(
        "few",
        "diverse-skew",
        _with_few("unrolled-tiny", lab.KNEE_PD, lab.BRAIN_T2),
        (Contender("unrolled: few brain T2 3 T", "unrolled-tiny", ((lab.BRAIN_T2, FEW),)),),
        lab.BRAIN_T2,
        partial(LowerBoundAtLeast, bound=-TOLERANCE["unrolled-tiny"]),
        "an unrolled network of knees and few brains is within 0.003 of one of these few on brains",
    ),
    Case(
        "ssdu",
        "ssdu-vs-supervised",
        Contender(f"unrolled, SSDU: {HOME.label}", "unrolled-tiny", ((HOME, 1.0),), undersampled=True),
        (Wavelet(HOME),),
        replace(HOME, label=f"{HOME.label}, 16 centre lines"),
        LowerBoundAbove,
        "SSDU is above the tuned L1-wavelet method on brains T1",
    ),
)
CLAIMS = tuple(claim for case in CASES for claim in case.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given: more subjects than other studies have."""
    size = {"subjects": SUBJECTS, "shares": PARTS} if scale is Scale.EMBEDDED else {}
    homes = tuple(dict.fromkeys(home for case in CASES for each in case.contenders for home, _ in each.of))
    tests = tuple(case.test for case in CASES)
    needs = (*(home.need() for home in homes), *(test.need("test") for test in tests))
    return lab.embedded(*homes, *tests, scale=scale, needs=needs, **size)


def run(study: Study) -> None:
    """Each comparison at each size."""
    for case in CASES:
        case.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for case, size, seed in product(CASES, SIZES, seeds_of(study)):
        train_what_is_free(case.trainings(study, size, seed))


def page(study: Study) -> tuple[Block, ...]:
    """Claims, what they mean, a table for each comparison, images of the first, training."""
    first = CASES[0]
    shown = tuple(each.label(AGAIN) for each in first.contenders)
    return (
        ClaimsBlock(),
        TextBlock(
            "How to read it",
            paragraphs=(
                "Of 42 training subjects, “again” and “three times the epochs” have a third, as many as the "
                "laboratory has, and “three times the subjects” all, for as many updates as the longer "
                "training. Validation and test subjects are the same throughout. Of a few, a tenth.",
            ),
        ),
        *(
            TableBlock(
                case.sentence,
                f"Contradicted in {case.came_from}. SSIM inside the body against the MVUE reference.",
                rows=choices(case.labels),
                columns=(Choice(case.test.label, {"test": case.test.label}),),
                where=SHOWN,
            )
            for case in CASES
        ),
        looks_like(study, first.test.label, first.one.label(AGAIN), shown, "of both"),
        learning_curves(study),
    )
