"""One network for all distributions, or one for each: what the studies of diverse data have in common.

Source: K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), sections 3 (`OneForAll`), 4 and 7 (`HeldOut`).
Ours differs: differences are paired over subjects with intervals, a union of the same size and the same
number of updates stands beside the union, and the checkpoint is chosen in distribution.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, TypeAlias

from reshim.evaluation.claims import (
    FEWEST_SUBJECTS,
    AllOf,
    Claim,
    LowerBoundAbove,
    LowerBoundAtLeast,
    NotSignificantlyBelow,
)
from reshim.evaluation.quantities import (
    AboveLine,
    Average,
    Best,
    Difference,
    Quantity,
    ShareAbove,
    Worst,
)
from reshim.evaluation.run import LeftOut
from reshim.report.blocks import (
    Block,
    Choice,
    Curve,
    CurvesBlock,
    ImagesBlock,
    MatrixBlock,
    Point,
    ScatterBlock,
    TableBlock,
)
from reshim.studies.alone import AtWork
from reshim.studies.crowd import one_of_each
from reshim.studies.embedded import Need
from reshim.studies.lab import EVALUATION, NAMES, SHOWN, Distribution, any_of, on, settings_of, training
from reshim.studies.needs import lacking
from reshim.studies.study import Study
from reshim.training.run_folder import Trained
from reshim.types import Reconstructor

TOLERANCE = {"unet-tiny": 0.003, "unrolled-tiny": 0.003, "vit-tiny": 0.005, "varnet-tiny": 0.005}
"""SSIM that one network for all may lack on a specialist's own distribution."""

SHARES = (1.0, 1 / 2, 1 / 4, 1 / 8)
"""Of the training subjects: the points through which the line of effective robustness is fitted."""


Trainings: TypeAlias = Mapping[str, Callable[[], Trained]]
"""By what rows call the network; each trains it, or finds it trained."""


@dataclass(frozen=True)
class Part:
    """What one network is trained on: P, Q or their union, each of one distribution or more."""

    label: str
    distributions: tuple[Distribution, ...]

    @classmethod
    def of(cls, distribution: Distribution) -> "Part":
        """A single distribution."""
        return cls(distribution.label, (distribution,))

    @property
    def where(self) -> str:
        """The filter of its scans."""
        return any_of(self.distributions)

    def train(
        self, study: Study, network: str, share: float = 1.0, label: str = "", seed: int = 0
    ) -> Trained:
        """Train on it: every scan is seen under every scheme as often as a specialist sees its own.

        `seed` is counted from the study's.
        """
        schemes = tuple(dict.fromkeys(each.scheme for each in self.distributions))
        settings = training(study.scale, network, schemes=schemes, seed=seed)
        settings = replace(settings, epochs=(settings.epochs or 1) * len(schemes))
        label = label or called(network, self, share)
        return study.train(
            f"{label}, training seed {study.seed + seed}" if seed else label,
            network,
            self.where,
            settings,
            network_settings=settings_of(network, study.scale),
            share=share,
        )


def called(network: str, part: Part, share: float = 1.0) -> str:
    """What rows call the network that was trained on a part."""
    size = "" if share == 1 else f", 1/{round(1 / share)}"
    return f"{NAMES[network]}: {part.label}{size}"


def seeds_of(study: Study, recipe: int = 1) -> range:
    """Trainings of everything, counted from the study's seed: as many as were asked for, or the recipe says.

    Tiny: two at most, which shows that several run.
    """
    if study.seeds is not None:
        return range(study.seeds)
    return range(min(recipe, 2) if study.tiny else recipe)


def compare(
    study: Study,
    methods: Mapping[str, Reconstructor],
    tests: Sequence[Distribution],
    columns: Mapping[str, Any] | None = None,
) -> None:
    """Score methods on distributions, each undersampled in its own way; tiny: on as few subjects as a
    claim needs. `columns` as in `Study.compare`.
    """
    for test in tests:
        records = study.scans(test.where, "test")
        scored = replace(EVALUATION, scheme=test.scheme)
        some = one_of_each(records)[:FEWEST_SUBJECTS] if study.tiny else records
        study.compare(methods, some, scored, test=test.label, columns=columns)


def train_what_is_free(trainings: Trainings) -> None:
    """Train all that no other process is at just now."""
    for training_ in trainings.values():
        with suppress(AtWork):
            training_()


@dataclass(frozen=True)
class OneForAll:
    """Networks of P1 … Pm against one network of their union, scored on all of them."""

    name: str
    """Begins the ids of the claims."""

    parts: tuple[Part, ...]
    networks: tuple[str, ...]

    union_label: str = ""
    """What the union is called; by default its parts joined."""

    paper: str | None = "one network as good as separate ones (no figure known)"

    seeds: int = 1
    """Trainings of everything; rows tell them apart, and intervals are over them as well as over subjects."""

    @property
    def union(self) -> Part:
        """All parts together."""
        label = self.union_label or " + ".join(part.label for part in self.parts)
        return Part(label, tuple(dict.fromkeys(each for part in self.parts for each in part.distributions)))

    @property
    def tests(self) -> tuple[Distribution, ...]:
        """The distributions that are scored on."""
        return self.union.distributions

    @property
    def needs(self) -> tuple[Need, ...]:
        """All of them, to train on and to score on."""
        return tuple(test.need() for test in self.tests)

    def claims(self) -> tuple[Claim, ...]:
        """As good as each specialist at home; better than any of them where it is worst."""
        return tuple(claim for network in self.networks for claim in self._claims(network))

    def _claims(self, network: str) -> tuple[Claim, ...]:
        start, kind = f"{self.name}-{network.removesuffix('-tiny')}", NAMES[network]
        joint, bound = called(network, self.union), TOLERANCE[network]
        home = [(called(network, part), test) for part in self.parts for test in part.distributions]
        as_good = tuple(
            LowerBoundAtLeast(Difference(on(joint, test), on(one, test)), -bound) for one, test in home
        )
        return (
            Claim(
                f"{start}-as-good",
                f"one {kind} of {self.union.label} is within {bound:g} of each specialist at its home",
                AllOf(as_good),
                paper=self.paper,
            ),
            Claim(
                f"{start}-gap",
                f"each {kind} of one part alone loses on the other parts, in the mean",
                LowerBoundAbove(Average(tuple(self._loss_away(network)))),
            ),
            Claim(
                f"{start}-worst",
                f"the worst test of one {kind} of {self.union.label} is above every specialist's worst",
                LowerBoundAbove(
                    Difference(
                        self._worst(joint), Best(tuple(self._worst(called(network, p)) for p in self.parts))
                    )
                ),
            ),
        )

    def _loss_away(self, network: str) -> list[Quantity]:
        return [
            Difference(on(called(network, home), test), on(called(network, away), test))
            for home in self.parts
            for test in home.distributions
            for away in self.parts
            if away != home
        ]

    def _worst(self, method: str) -> Worst:
        return Worst(tuple(on(method, test) for test in self.tests))

    def run(self, study: Study) -> None:
        """Train each part, the union, and a union of a part's size; score all on all."""
        for trainings in self._trainings(study):
            compare(study, {name: train() for name, train in trainings.items()}, self.tests)

    def train(self, study: Study) -> None:
        """Train what `run` needs and no other process is at."""
        for trainings in self._trainings(study):
            train_what_is_free(trainings)

    def _trainings(self, study: Study) -> list[Trainings]:
        """Of each network and seed."""
        return [
            {
                **{
                    called(network, part): partial(part.train, study, network, seed=seed)
                    for part in (*self.parts, self.union)
                },
                self._matched(network): partial(
                    self.union.train, study, network, 1 / len(self.parts), self._matched(network), seed
                ),
            }
            for network, seed in product(self.networks, seeds_of(study, self.seeds))
        ]

    def _matched(self, network: str) -> str:
        return f"{called(network, self.union)}, same size"

    def methods(self, network: str) -> tuple[str, ...]:
        """Rows of the tables, specialists first."""
        trained = tuple(called(network, part) for part in (*self.parts, self.union))
        return (*trained, self._matched(network))

    def blocks(self, study: Study) -> tuple[Block, ...]:
        """A matrix for each network, images of the first, training curves, the tables to copy."""
        tests = tuple(test.test for test in self.tests)
        matrices = tuple(
            MatrixBlock(
                f"{NAMES[network]}: trained on what, scored on what",
                "SSIM inside the body against the MVUE reference. “Same size” is the union cut down, by "
                "whole subjects, to a specialist's number of slices and updates.",
                methods=_choices(self.methods(network)),
                tests=tests,
                where=SHOWN,
                with_worst=True,
            )
            for network in self.networks
        )
        first, away = self.networks[0], self.parts[-1].distributions[0].label
        shown = tuple(called(first, part) for part in (self.parts[0], self.union, self.parts[-1]))
        images = looks_like(study, away, called(first, self.union), shown, "of all")
        runs = [label for network in self.networks for label in self.methods(network)]
        tables = tuple(
            to_copy(network, self.methods(network), tests, called(network, self.union))
            for network in self.networks
        )
        return (*matrices, images, learning_curves(study, runs), *tables)


@dataclass(frozen=True)
class HeldOut:
    """Networks of single distributions against one of all, on distributions that none of them has seen."""

    name: str
    singles: tuple[Distribution, ...]
    held_out: tuple[Distribution, ...]
    networks: tuple[str, ...]
    shares: tuple[float, ...] = SHARES
    paper: str | None = "at least as robust as the best single distribution (no figure known)"

    @property
    def union(self) -> Part:
        """All that is trained on."""
        return Part(f"all {len(self.singles)}", self.singles)

    @property
    def needs(self) -> tuple[Need, ...]:
        """The singles to train on and to score on, the others to score on."""
        return (*(each.need() for each in self.singles), *(each.need("test") for each in self.held_out))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The singles, each by itself."""
        return tuple(Part.of(each) for each in self.singles)

    def claims(self) -> tuple[Claim, ...]:
        """Not worse than the best single anywhere, better in the mean and at its worst, above the line."""
        return tuple(claim for network in self.networks for claim in self._claims(network))

    def _claims(self, network: str) -> tuple[Claim, ...]:
        start, kind = f"{self.name}-{network.removesuffix('-tiny')}", NAMES[network]
        joint, singles = called(network, self.union), [called(network, part) for part in self.parts]
        gains = tuple(
            Difference(on(joint, test), Best(tuple(on(single, test) for single in singles)))
            for test in self.held_out
        )
        found = [
            Claim(
                f"{start}-not-worse",
                f"{kind} of all is on no held-out distribution significantly worse than the best single one",
                AllOf(tuple(NotSignificantlyBelow(gain, among=len(gains)) for gain in gains)),
                paper=self.paper,
            ),
            Claim(
                f"{start}-better",
                f"{kind} of all is better than the best single one, in the mean of held-out distributions",
                LowerBoundAbove(Average(gains)),
            ),
            Claim(
                f"{start}-above-line",
                f"{kind} of all lies above the line of the single ones of all sizes",
                LowerBoundAbove(self.height(network)),
                paper="effective robustness (no figure known)",
            ),
        ]
        if len(self.held_out) > 1:
            worst = [Worst(tuple(on(method, test) for test in self.held_out)) for method in (joint, *singles)]
            found.append(
                Claim(
                    f"{start}-worst",
                    f"the worst held-out distribution of {kind} of all is above every single one's worst",
                    LowerBoundAbove(Difference(worst[0], Best(tuple(worst[1:])))),
                )
            )
        if len(self.held_out) > 2:
            found.append(
                Claim(
                    f"{start}-most",
                    f"{kind} of all is better than the best single one on more than half of the "
                    f"{len(self.held_out)} held-out distributions",
                    LowerBoundAbove(ShareAbove(gains), 0.5),
                    unit="share",
                )
            )
        return tuple(found)

    def at_home(self) -> tuple[Claim, ...]:
        """Claims that the network of all loses nothing where each single one was trained."""
        return tuple(
            Claim(
                f"{self.name}-{network.removesuffix('-tiny')}-as-good",
                f"{NAMES[network]} of all is within {TOLERANCE[network]:g} of each single one at its home",
                AllOf(
                    tuple(
                        LowerBoundAtLeast(
                            Difference(
                                on(called(network, self.union), test),
                                on(called(network, Part.of(test)), test),
                            ),
                            -TOLERANCE[network],
                        )
                        for test in self.singles
                    )
                ),
                paper="no loss in distribution (no figure known)",
            )
            for network in self.networks
        )

    def height(self, network: str, method: str = "") -> AboveLine:
        """Of a method (the network of all, unless named) above the line of the single ones of all sizes."""
        line = [self._place(called(network, part, share)) for part in self.parts for share in self.shares]
        return AboveLine(*self._place(method or called(network, self.union)), line=tuple(line))

    def _place(self, method: str) -> tuple[Average, Average]:
        home, away = (
            Average(tuple(on(method, test) for test in tests)) for tests in (self.singles, self.held_out)
        )
        return home, away

    def run(self, study: Study) -> None:
        """Train singles and union at every size; score at home and on what is held out."""
        for network, seed in product(self.networks, seeds_of(study)):
            methods = {name: train() for name, train in self._trainings(study, network, seed).items()}
            compare(study, methods, (*self.singles, *self.held_out))

    def train(self, study: Study) -> None:
        """Train what `run` needs and no other process is at."""
        for network, seed in product(self.networks, seeds_of(study)):
            train_what_is_free(self._trainings(study, network, seed))

    def _trainings(self, study: Study, network: str, seed: int) -> Trainings:
        return {
            called(network, part, share): partial(part.train, study, network, share, seed=seed)
            for part in (*self.parts, self.union)
            for share in self.shares
        }

    def blocks(self, study: Study) -> tuple[Block, ...]:
        """The matrix of held-out distributions, and out- against in-distribution, for each network."""
        return tuple(
            block for network in self.networks for block in (self._matrix(network), self.scatter(network))
        )

    def images(self, study: Study) -> ImagesBlock:
        """What the first network makes of the first held-out distribution, trained on one or on all."""
        first, away = self.networks[0], self.held_out[0].label
        shown = tuple(called(first, part) for part in (self.parts[0], self.union, self.parts[-1]))
        return looks_like(study, away, called(first, self.union), shown, "of all")

    def tables(self) -> tuple[TableBlock, ...]:
        """Every network's score on everything, to copy, beside the network of all."""
        tests = tuple(test.test for test in (*self.singles, *self.held_out))
        return tuple(
            to_copy(
                network,
                [called(network, part) for part in (*self.parts, self.union)],
                tests,
                called(network, self.union),
            )
            for network in self.networks
        )

    def _matrix(self, network: str) -> MatrixBlock:
        return MatrixBlock(
            f"{NAMES[network]}: on distributions that no training saw",
            "The worst held-out distribution stands beside the mean. SSIM inside the body against the MVUE "
            "reference.",
            methods=_choices([called(network, part) for part in (*self.parts, self.union)]),
            tests=tuple(test.test for test in self.held_out),
            where=SHOWN,
            with_worst=True,
        )

    def scatter(self, network: str, also: Sequence[str] = ()) -> ScatterBlock:
        """Out- against in-distribution, the line, and further methods beside it."""
        trained = [
            (called(network, part, share), part.label, part != self.union)
            for part in (*self.parts, self.union)
            for share in self.shares
        ]
        return ScatterBlock(
            f"{NAMES[network]}: effective robustness",
            "Each mark is one training; marks of a colour are trained on all, 1/2, 1/4 and 1/8 of the "
            "subjects. The line is fitted through the single distributions; the height above it is "
            "robustness that better scores at home do not explain. Fewer subjects are fewer updates, too.",
            points=tuple(
                Point(
                    method,
                    {"method": method, "test": [test.label for test in self.singles]},
                    {"method": method, "test": [test.label for test in self.held_out]},
                    group=group,
                    in_fit=in_fit,
                )
                for method, group, in_fit in (*trained, *((method, method, False) for method in also))
            ),
            where=SHOWN,
            x_label="mean of the training distributions",
            y_label="mean of the held-out distributions",
            each="test",
        )


Question: TypeAlias = OneForAll | HeldOut


def answerable(study: Study, questions: Sequence[Question]) -> tuple[Question, ...]:
    """Those whose scans the catalog has; the others are left out, named by what is missing.

    Simulated scans answer every question.
    """
    if study.embedded:
        return tuple(questions)
    missing = {question.name: lacking(question.needs, study.catalog) for question in questions}
    left_out = (LeftOut(f"question {name}", "; ".join(each)) for name, each in missing.items() if each)
    study.left_out += [each for each in left_out if each not in study.left_out]
    return tuple(question for question in questions if not missing[question.name])


def looks_like(study: Study, away: str, by: str, shown: Sequence[str], whose: str) -> ImagesBlock:
    """What the networks in `shown` make of the slices on which the one called `by` is median and worst."""
    return ImagesBlock(
        f"What it looks like: {away}",
        f"The slice with the median and the one with the worst score of the network {whose}.",
        examples=study.examples(away, by=by, labels=shown),
    )


def to_copy(network: str, methods: Sequence[str], tests: Sequence[Choice], compare_to: str) -> TableBlock:
    """The scores of one kind of network, and each one's paired difference to the one of all."""
    return TableBlock(
        f"The table to copy: {NAMES[network]}",
        f"Differences are to “{compare_to}”, paired over subjects; p is corrected by Holm over the table.",
        rows=_choices(methods),
        columns=tuple(tests),
        where=SHOWN,
        compare_to=compare_to,
    )


def learning_curves(study: Study, labels: Sequence[str]) -> CurvesBlock:
    """The validation scores that chose each checkpoint, a panel for each network."""
    return CurvesBlock(
        "Training",
        "Validation SSIM in each network's own distribution, which chose its checkpoint.",
        curves=tuple(
            Curve(label, f"curves/{study.slug(label)}.jsonl", x="epoch", y="score", panel=label.split(":")[0])
            for label in labels
        ),
        x_label="epoch",
        y_label="validation SSIM",
    )


def _choices(methods: Sequence[str]) -> tuple[Choice, ...]:
    return tuple(Choice(method, {"method": method}) for method in methods)
