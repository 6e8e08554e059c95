"""Is a network of many distributions more robust on those that it has not seen?

Source: K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), sections 4 and 7.
Ours differs: differences are paired over subjects with intervals, and the checkpoint is chosen in
distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import AboveLine, Average, Best, Difference, ShareAbove, Worst
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast, NotSignificantlyBelow
from reshim.report.blocks import Block, ImagesBlock, MatrixBlock, Point, ScatterBlock, TableBlock
from reshim.studies.engine.diverse import (
    TOLERANCE,
    Part,
    Trainings,
    called,
    choices,
    compare,
    looks_like,
    seeds_of,
    to_copy,
    train_what_is_free,
)
from reshim.studies.engine.embedded import Need
from reshim.studies.engine.lab import NAMES, SHOWN, Distribution, on
from reshim.studies.engine.study import Study

SHARES = (1.0, 1 / 2, 1 / 4, 1 / 8)
"""Of the training subjects: the points through which the line of effective robustness is fitted."""


@dataclass(frozen=True)
class HeldOut:
    """Networks of single distributions against one of all, on distributions that none of them has seen."""

    name: str
    singles: tuple[Distribution, ...]
    held_out: tuple[Distribution, ...]
    networks: tuple[str, ...]
    shares: tuple[float, ...] = SHARES
    paper: str | None = "at least as robust as the best single distribution (no figure known)"

    union_label: str = ""
    """What all that is trained on is called; by default how many they are."""

    unseen: str = "distributions that no training saw"
    """What titles call those held out."""

    one: str = "held-out distribution"
    """What claims call one of them."""

    seeds: int = 1
    """Trainings of everything; rows tell them apart, and intervals are over them as well as over subjects."""

    @property
    def union(self) -> Part:
        """All that is trained on."""
        return Part(self.union_label or f"all {len(self.singles)}", self.singles)

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
                f"{kind} of all is on no {self.one} significantly worse than the best single one",
                AllOf(tuple(NotSignificantlyBelow(gain, among=len(gains)) for gain in gains)),
                paper=self.paper,
            ),
            Claim(
                f"{start}-better",
                f"{kind} of all is better than the best single one, in the mean of {self.one}s",
                LowerBoundAbove(Average(gains)),
            ),
            Claim(
                f"{start}-above-line",
                f"{kind} of all lies above the line of the single ones of all sizes{self._seen_there}",
                LowerBoundAbove(self.height(network)),
                paper="effective robustness (no figure known)",
            ),
        ]
        if len(self.held_out) > 1:
            worst = [Worst(tuple(on(method, test) for test in self.held_out)) for method in (joint, *singles)]
            found.append(
                Claim(
                    f"{start}-worst",
                    f"the worst {self.one} of {kind} of all is above every single one's worst",
                    LowerBoundAbove(Difference(worst[0], Best(tuple(worst[1:])))),
                )
            )
        if len(self.held_out) > 2:
            found.append(
                Claim(
                    f"{start}-most",
                    f"{kind} of all is better than the best single one on more than half of the "
                    f"{len(self.held_out)} {self.one}s",
                    LowerBoundAbove(ShareAbove(gains), 0.5),
                    unit="share",
                )
            )
        return tuple(found)

    @property
    def _seen_there(self) -> str:
        return "" if self.one == HeldOut.one else f", on {self.unseen}"

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
        for network, seed in product(self.networks, seeds_of(study, self.seeds)):
            methods = {name: train() for name, train in self._trainings(study, network, seed).items()}
            compare(study, methods, (*self.singles, *self.held_out))

    def train(self, study: Study) -> None:
        """Train what `run` needs and no other process is at."""
        for network, seed in product(self.networks, seeds_of(study, self.seeds)):
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
            f"{NAMES[network]}: on {self.unseen}",
            "The worst held-out distribution stands beside the mean. SSIM inside the body against the MVUE "
            "reference.",
            methods=choices([called(network, part) for part in (*self.parts, self.union)]),
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
            f"{NAMES[network]}: effective robustness on {self.unseen}",
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
