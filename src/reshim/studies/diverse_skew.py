"""Is one network still as good on each distribution where one has ten times the scans of the other?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), section 3, skewed data (about 10:1).
Claim   a network of all scans of P and a tenth of those of Q is within 0.003 SSIM (U-net, unrolled; ViT
        and VarNet 0.005) of the specialist of P on P, and of the specialist of that tenth on Q; against the
        specialist of all of Q it is claimed apart. On both at 1.5 T, which no training saw, it is at or above
        the line through single-distribution networks of all training-set sizes.
Data    knees and brains at 3 T either way round, of the catalog, or simulated; three training seeds.
Cost    about 82 minutes on one core, some networks trained by other studies; --tiny: minutes.
Run     reshim study diverse-skew
"""

from dataclasses import dataclass
from functools import partial
from itertools import product

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.report.blocks import Block, Choice, ClaimsBlock, MatrixBlock
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import (
    TOLERANCE,
    Part,
    Trainings,
    called,
    compare,
    learning_curves,
    looks_like,
    of_seed,
    seeds_of,
    to_copy,
    train_what_is_free,
)
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.held_out import HeldOut
from reshim.studies.engine.lab import NAMES, SHOWN, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TITLE = "Ten scans of one kind for each of another"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "vit-tiny", "varnet-tiny", "unrolled-tiny")
SEEDS = 3
"""Trainings of everything."""
ELSEWHERE = HeldOut(
    "skew-unseen", (lab.KNEE_PD, lab.BRAIN_T2), (lab.KNEE_PD_15, lab.BRAIN_T2_15), NETWORKS, seeds=SEEDS
)
FEW = 0.1
"""Of the subjects of the rarer distribution; one of 14 where scans are simulated."""


@dataclass(frozen=True)
class Skew:
    """Many scans of one part, few of another."""

    many: Part
    few: Part

    @property
    def id(self) -> str:
        """Begins the ids of the claims."""
        return f"few-{self.few.label}"

    def joint(self, network: str) -> str:
        """What rows call the network of both."""
        return f"{NAMES[network]}: {self.many.label} and few {self.few.label}"

    def alone(self, network: str) -> str:
        """What rows call the network of the few."""
        return f"{NAMES[network]}: few {self.few.label}"

    def claims(self, network: str) -> tuple[Claim, ...]:
        """No loss on the many, nor on the few."""
        start, bound = f"{self.id}-{network.removesuffix('-tiny')}", TOLERANCE[network]

        def not_below(part: Part, specialist: str) -> AllOf:
            joint = self.joint(network)
            return AllOf(
                tuple(
                    LowerBoundAtLeast(Difference(on(joint, test), on(specialist, test)), -bound)
                    for test in part.distributions
                )
            )

        paper = "comparable at 10:1 (no figure known)"
        joint, few = self.joint(network), self.few.label
        return (
            Claim(
                f"{start}-many",
                f"{joint} is within {bound:g} of the specialist on {self.many.label}",
                not_below(self.many, called(network, self.many)),
                paper=paper,
            ),
            Claim(
                f"{start}-few",
                f"{joint} is within {bound:g} of the specialist of the same few {few}",
                not_below(self.few, self.alone(network)),
                paper=paper,
            ),
            Claim(
                f"{start}-full",
                f"{joint} is within {bound:g} of the specialist of all {few}, ten times as many",
                not_below(self.few, called(network, self.few)),
            ),
            Claim(
                f"{start}-above-line",
                f"{joint} lies, at a field not seen, above the line of the single ones of all sizes",
                LowerBoundAbove(ELSEWHERE.height(network, joint)),
                paper="effective robustness (no figure known)",
            ),
        )

    def run(self, study: Study, network: str, seed: int) -> None:
        """Train on many and few, on the few, and on all of each; score all on both."""
        methods = {name: train() for name, train in self.trainings(study, network, seed).items()}
        compare(study, methods, (*self.many.distributions, *self.few.distributions))
        joint = self.joint(network)
        compare(study, {joint: methods[joint]}, ELSEWHERE.held_out)

    def trainings(self, study: Study, network: str, seed: int) -> Trainings:
        """Of many and few, of the few, and of all of each."""
        settings = lab.training(study.scale, network, seed=seed)
        shares = {self.many.where: 1.0, self.few.where: FEW}
        everywhere = dict.fromkeys(shares)
        joint, made = self.joint(network), lab.settings_of(network, study.scale)
        return {
            joint: lambda: study.train(
                of_seed(joint, study, seed),
                network,
                everywhere,
                settings,
                network_settings=made,
                share=shares,
            ),
            self.alone(network): partial(self.few.train, study, network, FEW, self.alone(network), seed),
            **{
                called(network, part): partial(part.train, study, network, seed=seed)
                for part in (self.many, self.few)
            },
        }


KNEES, BRAINS = Part("knees", (lab.KNEE_PD,)), Part("brains", (lab.BRAIN_T2,))
SKEWS = (Skew(KNEES, BRAINS), Skew(BRAINS, KNEES))
CLAIMS = tuple(claim for skew in SKEWS for network in NETWORKS for claim in skew.claims(network))


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*ELSEWHERE.singles, *ELSEWHERE.held_out, scale=scale, needs=ELSEWHERE.needs)


def run(study: Study) -> None:
    """Both ways round, for each network; then all on the field that was not seen."""
    for skew, network, seed in product(SKEWS, NETWORKS, seeds_of(study, SEEDS)):
        skew.run(study, network, seed)
    ELSEWHERE.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for skew, network, seed in product(SKEWS, NETWORKS, seeds_of(study, SEEDS)):
        train_what_is_free(skew.trainings(study, network, seed))
    ELSEWHERE.train(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, a matrix for each network, images of the first, robustness, training, the tables to copy."""
    tests = (lab.KNEE_PD.test, lab.BRAIN_T2.test)
    rows = {
        network: [called(network, part) for part in (KNEES, BRAINS)]
        + [label for skew in SKEWS for label in (skew.alone(network), skew.joint(network))]
        for network in NETWORKS
    }
    choices = {n: tuple(Choice(label, {"method": label}) for label in labels) for n, labels in rows.items()}
    matrices = tuple(
        MatrixBlock(f"{NAMES[n]}: trained on what, scored on what", "", choices[n], tests, SHOWN, True)
        for n in NETWORKS
    )
    robustness = tuple(ELSEWHERE.scatter(n, [skew.joint(n) for skew in SKEWS]) for n in NETWORKS)
    whole = {n: called(n, ELSEWHERE.union) for n in NETWORKS}
    tables = tuple(to_copy(n, [*rows[n], whole[n]], tests, compare_to=whole[n]) for n in NETWORKS)
    first, away = NETWORKS[0], lab.BRAIN_T2.label
    joint, alone = SKEWS[0].joint(first), SKEWS[0].alone(first)
    shown = (alone, joint, called(first, BRAINS))
    images = looks_like(study, away, joint, shown, "of knees and few brains")
    return (ClaimsBlock(), *matrices, images, *robustness, learning_curves(study), *tables)
