"""One network for all distributions, or one for each?

Source: K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), section 3.
Ours differs: differences are paired over subjects with intervals, a union of the same size and the same
number of updates stands beside the union, and the checkpoint is chosen in distribution.
"""

from dataclasses import dataclass
from functools import partial
from itertools import product

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Best, Difference, Quantity, Worst
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.report.blocks import Block, MatrixBlock
from reshim.studies.engine.diverse import (
    TOLERANCE,
    Part,
    Trainings,
    called,
    choices,
    compare,
    learning_curves,
    looks_like,
    seeds_of,
    to_copy,
    train_what_is_free,
)
from reshim.studies.engine.embedded import Need
from reshim.studies.engine.lab import NAMES, SHOWN, Distribution, on
from reshim.studies.engine.study import Study


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
                methods=choices(self.methods(network)),
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
