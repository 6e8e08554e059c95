"""Does noise added in training make a network as robust as adversarial training does, for less?

Paper   A. Krainovic, M. Soltanolkotabi and R. Heckel, NeurIPS 2023 (arXiv:2307.12822).
Claim   jittering is as robust against worst-case perturbations as adversarial training, at the price of
        supervised training; both cost little on clean scans.
Data    knees (PD, 3 T), the two central slices of each test subject; --tiny: small ones.
Cost    about 14 minutes on one core, most of it adversarial training; --tiny: about a minute.
Run     reshim study jittering
"""

from dataclasses import replace

from reshim.evaluation.claims import AllOf, Claim, LowerBoundAbove, LowerBoundAtLeast
from reshim.evaluation.quantities import Difference, Score
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    DosesBlock,
    ImagesBlock,
    TableBlock,
    TextBlock,
)
from reshim.robustness.attack import Attack, GradientAttack, RandomNoise
from reshim.studies import families, lab
from reshim.studies.embedded import Embedded
from reshim.studies.scale import Scale
from reshim.studies.study import Study
from reshim.training.objectives import Adversarial, Jitter, Objective, Supervised

TITLE = "Jittering against adversarial training"
PAPER = "Krainovic, Soltanolkotabi and Heckel, NeurIPS 2023"

HOME = lab.KNEE_PD
NETWORKS = ("U-net", "unrolled")
BUDGETS = (0.01, 0.02, 0.04)
MIDDLE = 0.02
LOSS = Supervised("ssim+l1")
TRAININGS: dict[str, Objective] = {
    "jittered 2 %": Jitter(level=0.02, supervised=LOSS),
    "jittered 5 %": Jitter(level=0.05, supervised=LOSS),
    "adversarial": Adversarial(epsilon=MIDDLE, steps=2, supervised=LOSS),
}
"""Beside plain supervised training, which all studies share."""

JITTERED = "jittered 5 %"
ATTACKED = {"attack": "gradient", "budget": MIDDLE}
"""The rows whose images are shown."""


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, scale=scale)


def label(network: str, training: str = "") -> str:
    """What rows call a model."""
    return f"{network}, {training}" if training else network


def ways(network: str) -> tuple[str, ...]:
    """The models of a network, supervised first."""
    return tuple(label(network, way) for way in ("", *TRAININGS))


def under(network: str, training: str = "", budget: float = MIDDLE, attack: str = "gradient") -> Score:
    """The score of a model under an attack."""
    name = label(network, training)
    return lab.on(name, HOME, attack="none" if budget == 0 else attack, budget=budget)


def _each(first: str, second: str, budget: float, at_least: float) -> AllOf:
    return AllOf(
        tuple(
            LowerBoundAtLeast(Difference(under(n, first, budget), under(n, second, budget)), at_least)
            for n in NETWORKS
        )
    )


CLAIMS = (
    Claim(
        "adversarial-helps",
        f"adversarial training loses less at a budget of {MIDDLE:.0%} than supervised training",
        AllOf(tuple(LowerBoundAbove(Difference(under(n, "adversarial"), under(n))) for n in NETWORKS)),
    ),
    Claim(
        "jittering-helps",
        f"jittering loses less at a budget of {MIDDLE:.0%} than supervised training",
        AllOf(tuple(LowerBoundAbove(Difference(under(n, JITTERED), under(n))) for n in NETWORKS)),
    ),
    Claim(
        "jittering-suffices",
        f"at a budget of {MIDDLE:.0%}, jittering is within 0.01 of adversarial training",
        _each(JITTERED, "adversarial", MIDDLE, -0.01),
        paper="as robust, by theory and on knees",
    ),
    Claim(
        "clean-scans",
        "on clean scans, jittering is within 0.01 of supervised training",
        _each(JITTERED, "", 0.0, -0.01),
    ),
)


def run(study: Study) -> None:
    """Train each network in each way; attack all at every budget."""
    models = dict(families.trained(study, HOME, NETWORKS))
    for network in NETWORKS:
        for training, objective in TRAININGS.items():
            settings = lab.training(study.scale, families.NETWORKS[network], objective=objective)
            name = label(network, training)
            models[name] = study.train(name, families.NETWORKS[network], HOME.where, settings)
    evaluation = replace(lab.EVALUATION, slices=(0, 1) if study.tiny else (1, 2))
    attacks: list[tuple[str, float, Attack | None]] = [("none", 0.0, None)]
    for budget in BUDGETS:
        attacks.append(
            ("gradient", budget, GradientAttack(budget, "reference", steps=2 if study.tiny else 10))
        )
        attacks.append(("noise", budget, RandomNoise(budget)))
    for attack, budget, disturbance in attacks:
        columns = {"attack": attack, "budget": budget}
        study.compare(
            models,
            HOME.where,
            evaluation,
            test=HOME.label,
            columns=columns,
            keep_images=False,
            disturbance=disturbance,
        )
        if columns == ATTACKED:
            for network in NETWORKS:
                study.show(
                    {name: model for name, model in models.items() if name in ways(network)},
                    HOME.where,
                    evaluation,
                    by=label(network),
                    test=HOME.label,
                    columns=columns,
                    disturbance=disturbance,
                )


def page(study: Study) -> tuple[Block, ...]:
    """Score against budget for each network, images under attack, and a table."""
    return (
        ClaimsBlock(),
        *(
            DosesBlock(
                f"{network} under {kind}",
                "Budget 0 is the clean scan.",
                dose="budget",
                lines=tuple(
                    Choice(way or "supervised", {"method": label(network, way)}) for way in ("", *TRAININGS)
                ),
                where={**lab.SHOWN, "attack": ("none", attack)},
                x_label="norm of the perturbation over that of the samples",
            )
            for network in NETWORKS
            for attack, kind in (("gradient", "attack"), ("noise", "noise of the same norm"))
        ),
        *(
            ImagesBlock(
                f"What it looks like: {network} under attack",
                f"Each model under its own attack at {MIDDLE:.0%}: the slices with the median and the worst "
                "score of supervised training.",
                examples=study.examples(HOME.label, label(network), ways(network), ATTACKED, called=network),
            )
            for network in NETWORKS
        ),
        *(
            TableBlock(
                f"The table to copy: {network}",
                "Differences are to supervised training, paired over subjects; p is corrected by Holm over "
                "the table.",
                rows=tuple(Choice(name, {"method": name}) for name in ways(network)),
                columns=(
                    Choice("clean", {"attack": "none"}),
                    *(
                        Choice(f"{attack} {budget:.0%}", {"attack": attack, "budget": budget})
                        for budget in BUDGETS
                        for attack in ("gradient", "noise")
                    ),
                ),
                where=lab.SHOWN,
                compare_to=label(network),
            )
            for network in NETWORKS
        ),
        TextBlock(
            "How models are trained and attacked",
            paragraphs=(
                "All see the same scans for the same number of epochs. Jittering adds noise of the stated "
                "norm to the samples; adversarial training adds the worst perturbation that two steps of "
                "ascent find, for three times the work. The attack goes away from the reference, as training "
                "does, through the acquired samples.",
            ),
        ),
    )
