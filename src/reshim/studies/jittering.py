"""Does noise added in training make a network as robust as adversarial training does, for less?

Paper   A. Krainovic, M. Soltanolkotabi and R. Heckel, NeurIPS 2023 (arXiv:2307.12822).
Claim   jittering is as robust against worst-case perturbations as adversarial training, at the price of
        supervised training; both cost little on clean scans. The level of the noise is chosen, as there,
        on a grid: by the score under attack on validation subjects.
Data    knees (PD, 3 T), the two central slices of each test subject; --tiny: small ones.
Cost    about 19 minutes on one core that other work shared, most of it adversarial training; --tiny: two
        minutes.
Run     reshim study jittering
"""

from dataclasses import replace
from statistics import fmean

from reshim.classical.tune import Tuned
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference, Score
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    DosesBlock,
    ImagesBlock,
    MatrixBlock,
    TableBlock,
    TextBlock,
)
from reshim.robustness.attack import Attack, GradientAttack, RandomNoise
from reshim.studies.engine import families, lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.training.objectives import Adversarial, Jitter, Objective, Supervised
from reshim.training.run_folder import Trained

TITLE = "Jittering against adversarial training"
PAPER = "Krainovic, Soltanolkotabi and Heckel, NeurIPS 2023"

HOME = lab.KNEE_PD
NETWORKS = ("U-net", "unrolled")
BUDGETS = (0.01, 0.02, 0.04)
MIDDLE = 0.02
LOSS = Supervised("ssim+l1")
LEVELS = (0.01, 0.02, 0.05, 0.1)
"""Of the noise that is added in training, over the norm of the samples: one of them is chosen."""

JITTERED, ADVERSARIAL = "jittered", "adversarial"
TRAININGS = (JITTERED, ADVERSARIAL)
"""Beside plain supervised training, which all studies share."""

VALIDATION = f"{HOME.label}, validation subjects"
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


def trained(study: Study, network: str, training: str, objective: Objective) -> Trained:
    """One model, under its name in this study."""
    kind = families.NETWORKS[network]
    settings = lab.training(study.scale, kind, objective=objective)
    return study.train(label(network, training), kind, HOME.where, settings)


def at(level: float) -> str:
    """What the training with noise of a level is called until one is chosen."""
    return f"{JITTERED} {level:.0%}"


def attack_of(study: Study, budget: float) -> GradientAttack:
    """Away from the reference, as training goes."""
    return GradientAttack(budget, "reference", steps=2 if study.tiny else 10)


def chosen_level(study: Study, network: str) -> float:
    """Train at every level; the one with the best score under attack on the validation subjects, noted.

    They choose the checkpoints too, so that no test subject has a say.
    """
    models = {
        level: trained(study, network, at(level), Jitter(level=level, supervised=LOSS)) for level in LEVELS
    }
    study.compare(
        {label(network, at(level)): model for level, model in models.items()},
        HOME.where,
        lab.EVALUATION,
        test=VALIDATION,
        columns=ATTACKED,
        split="val",
        keep_images=False,
        disturbance=attack_of(study, MIDDLE),
    )
    scores = [
        fmean(study.scores(label(network, at(level)), VALIDATION, lab.SHOWN, ATTACKED)) for level in LEVELS
    ]
    tuned = Tuned.of(
        LEVELS,
        scores,
        metric=f"ssim under attack at {MIDDLE:.0%}",
        scans=[record.scan_id for record in study.scans(HOME.where, "val")],
        larger_is_better=True,
    )
    tuned.write(study.folder / "tuned" / f"{study.slug(label(network, JITTERED))}.json")
    return tuned.chosen


def run(study: Study) -> None:
    """Choose the noise of training, train each network in each way; attack all at every budget."""
    models = dict(families.trained(study, HOME, NETWORKS))
    adversarial = Adversarial(epsilon=MIDDLE, steps=2, supervised=LOSS)
    for network in NETWORKS:
        best = chosen_level(study, network)
        models[label(network, JITTERED)] = study.runs[label(network, at(best))]
        models[label(network, ADVERSARIAL)] = trained(study, network, ADVERSARIAL, adversarial)
    evaluation = replace(lab.EVALUATION, slices=(0, 1) if study.tiny else (1, 2))
    attacks: list[tuple[str, float, Attack | None]] = [("none", 0.0, None)]
    for budget in BUDGETS:
        attacks.append(("gradient", budget, attack_of(study, budget)))
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
                where={**lab.SHOWN, "test": HOME.label, "attack": ("none", attack)},
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
            MatrixBlock(
                f"{network}: how much noise in training",
                f"Under attack at {MIDDLE:.0%}, on the validation subjects: the best was taken.",
                methods=tuple(
                    Choice(f"{level:.0%}", {"method": label(network, at(level))}) for level in LEVELS
                ),
                tests=(Choice("validation subjects", {"test": VALIDATION}),),
                where={**lab.SHOWN, **ATTACKED},
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
                "All see the same scans for the same number of epochs. Jittering adds noise to the samples; "
                "adversarial training adds the worst perturbation that two steps of "
                "ascent find, for three times the work. The attack goes away from the reference, as training "
                "does, through the acquired samples.",
                "The norm of the noise, over that of the samples, is the one of "
                f"{', '.join(f'{level:.0%}' for level in LEVELS)} whose network scores best under attack at "
                f"{MIDDLE:.0%} on the validation subjects; no test subject has a say.",
            ),
        ),
    )
