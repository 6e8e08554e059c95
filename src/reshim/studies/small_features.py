"""Do small features come through, does anything false appear, and do better methods show them better?

Paper   M. Z. Darestani, A. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103).
Claim   a method that reconstructs better overall also recovers fine detail better.
Data    knees (PD, 3 T) with a feature put into every slice: squares as in the paper, and round lesions of
        three sizes; the difference that the feature makes is scored. Beside the untrained network, which
        takes seconds a slice, all methods show a square and a lesion on two slices of each volume.
Cost    about 19 minutes on one core, most of it the untrained network; --tiny: about a minute.
Run     reshim study small-features
"""

from dataclasses import replace
from typing import Any

from reshim.classical.zero_filled import ZeroFilled
from reshim.evaluation.claims import Claim
from reshim.evaluation.insertion import Feature
from reshim.evaluation.quantities import Difference, RankCorrelation, Score
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    DosesBlock,
    ImagesBlock,
    Point,
    ScatterBlock,
    TableBlock,
    TextBlock,
)
from reshim.studies.engine import families, lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.examples import shown_inserted
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TITLE = "Small features: what comes through and what is made up"
PAPER = "Darestani, Chaudhari and Heckel, ICML 2021"

HOME = lab.KNEE_PD
SIZES = (3, 5, 9)
CONTRASTS = (0.2, 0.5)
SQUARE = Feature("square", 5, 0.3)
LESION = Feature("lesion", 5, 0.5)
FEATURES = (SQUARE, *(Feature("lesion", size, contrast) for contrast in CONTRASTS for size in SIZES))
METHODS = ("zero-filled", *families.EVERY)
TAKES_METHODS = True
"""`reshim study small-features --with METHOD ...`: beside the others, in no claim."""
UNTRAINED = families.UNTRAINED[0]
TWO = f"{HOME.label}, two slices"
"""What rows are called in which the untrained network stands beside the others."""

FOLLOWED = "unrolled"
"""The method whose median and worst slices are shown."""

PUBLISHED = (
    "Published, one sample each, SSIM and block error. A square: VarNet 0.9365 and 2.795, U-net 0.8425 and "
    "1.518, L1 0.7953 and 7.920, ConvDecoder 0.8248 and 0.544. A meniscus lesion: VarNet 0.8159 and 0.050, "
    "U-net 0.6828 and 0.053, L1 0.6676 and 0.125, ConvDecoder 0.7460 and 0.074. They are of other scans and "
    "other networks, with the feature at one place."
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, scale=scale)


def shown(method: str, feature: Feature, metric: str = "fidelity", test: str = HOME.label) -> Score:
    """How a method shows a feature."""
    return lab.on(method, test, metric=metric, region="feature", feature=feature.label)


def block_error(method: str, feature: Feature) -> Score:
    """The published error of the feature's window, on two slices of each volume; lower is better."""
    return shown(method, feature, "block_mse", TWO)


def whole(method: str) -> Score:
    """The score of the whole image, without features."""
    return lab.on(method, HOME, feature=None)


def agreement(feature: Feature) -> RankCorrelation:
    """Whether methods that score better overall show the feature better."""
    return RankCorrelation(
        tuple(whole(method) for method in METHODS),
        tuple(shown(method, feature) for method in METHODS),
        f"rank correlation over {len(METHODS)} methods of overall score and fidelity of {feature.label}",
    )


CLAIMS = (
    Claim(
        "better-overall-better-detail",
        "methods that score better overall show lesions of 3, 5 and 9 pixels better",
        AllOf(tuple(LowerBoundAbove(agreement(Feature("lesion", size, 0.5)), 0.5) for size in SIZES)),
        paper="better overall quality goes with better fine detail",
        unit="rank correlation",
    ),
    Claim(
        "squares-tell-the-same",
        "artificial squares rank methods as lesions of the same size do",
        LowerBoundAbove(
            RankCorrelation(
                tuple(shown(method, SQUARE) for method in METHODS),
                tuple(shown(method, LESION) for method in METHODS),
                f"rank correlation over {len(METHODS)} methods of squares and lesions",
            ),
            0.5,
        ),
        paper="artificial features mislead: the order inverts, one sample",
        unit="rank correlation",
        opposed=True,
    ),
    Claim(
        "larger-is-easier",
        "every method shows lesions of 9 pixels better than those of 3",
        AllOf(
            tuple(
                LowerBoundAbove(
                    Difference(shown(n, Feature("lesion", 9, 0.5)), shown(n, Feature("lesion", 3, 0.5)))
                )
                for n in families.EVERY
            )
        ),
        unit="fidelity",
    ),
    Claim(
        "networks-make-nothing-up",
        "what a lesion changes elsewhere is with every network at most 0.1 more than with CG-SENSE",
        AllOf(
            tuple(
                LowerBoundAtLeast(
                    Difference(shown("CG-SENSE", LESION, "false"), shown(name, LESION, "false")), -0.1
                )
                for name in families.NETWORKS
            )
        ),
        unit="of the lesion's energy, square root",
    ),
    Claim(
        "untrained-shows-squares",
        f"by the published error of the window, the {UNTRAINED} shows squares better than VarNet, the U-net "
        "and the L1-wavelet method",
        AllOf(
            tuple(
                LowerBoundAbove(Difference(block_error(name, SQUARE), block_error(UNTRAINED, SQUARE)))
                for name in ("VarNet", "U-net", "L1-wavelet")
            )
        ),
        paper="0.544 (ConvDecoder), 2.795 (VarNet), 1.518 (U-net), 7.920 (L1), one sample",
        unit="block MSE",
    ),
    Claim(
        "networks-show-lesions",
        f"by that error, VarNet and the U-net show lesions of the square's size better than the {UNTRAINED}",
        AllOf(
            tuple(
                LowerBoundAbove(Difference(block_error(UNTRAINED, LESION), block_error(name, LESION)))
                for name in ("VarNet", "U-net")
            )
        ),
        paper="0.050 (VarNet), 0.053 (U-net), 0.074 (ConvDecoder), one sample of a meniscus lesion",
        unit="block MSE",
    ),
)


def run(study: Study) -> None:
    """Score every method overall, and on every feature."""
    mine = families.asked(study, (*METHODS, UNTRAINED))
    methods = {"zero-filled": ZeroFilled(), **families.all_of(study, HOME), **mine}
    study.compare(methods, HOME.where, lab.EVALUATION, test=HOME.label)
    for feature in FEATURES:
        study.insert(methods, HOME.where, lab.EVALUATION, feature, test=HOME.label, columns=about(feature))
    # The untrained network takes seconds a slice: two slices of each volume, for every method alike.
    methods |= families.tuned(study, HOME, families.UNTRAINED)
    two = replace(lab.EVALUATION, slices=(0, 1) if study.tiny else (1, 2))
    study.compare(methods, HOME.where, two, test=TWO)
    for feature in (SQUARE, LESION):
        study.insert(methods, HOME.where, two, feature, test=TWO, columns=about(feature))
        study.show_inserted(
            methods, HOME.where, two, feature, by=FOLLOWED, test=TWO, columns={"feature": feature.label}
        )


def about(feature: Feature) -> dict[str, Any]:
    """What rows say of a feature."""
    return {
        "feature": feature.label,
        "shape": feature.shape,
        "size": float(feature.size),
        "contrast_share": feature.contrast,
    }


def page(study: Study) -> tuple[Block, ...]:
    """Fidelity against overall score, against size, images, and everything in tables."""
    shared = {"target": "mvue", "region": "feature", "metric": "fidelity"}
    methods = (*METHODS, *study.methods)
    rows = tuple(Choice(name, {"method": name}) for name in methods)
    beside = tuple(Choice(name, {"method": name}) for name in (*METHODS, UNTRAINED, *study.methods))
    home = {"test": HOME.label}
    return (
        ClaimsBlock(),
        *(
            ScatterBlock(
                f"Overall score and {feature.label}",
                "Each point is a method.",
                points=tuple(
                    Point(
                        name,
                        {"method": name, **lab.SHOWN, **home, "feature": None},
                        {"method": name, **shared, **home, "feature": feature.label},
                        in_fit=name in METHODS,
                    )
                    for name in methods
                ),
                x_label="SSIM of the whole image",
                y_label="fidelity of the feature",
                diagonal=False,
            )
            for feature in (LESION, SQUARE)
        ),
        *(
            DosesBlock(
                f"Lesions of contrast {contrast:g} by size",
                "1: all of the feature is shown, as it is; 0: no better than not showing it.",
                dose="size",
                lines=rows,
                where={**shared, **home, "shape": "lesion", "contrast_share": contrast},
                x_label="diameter in pixels",
            )
            for contrast in CONTRASTS
        ),
        *(
            ImagesBlock(
                f"What it looks like: {feature.label}",
                f"The slices on which {FOLLOWED} shows it with the median and with the least fidelity; the "
                "close-up is of the feature.",
                examples=shown_inserted(study.folder, TWO, feature),
            )
            for feature in (LESION, SQUARE)
        ),
        TableBlock(
            f"The table to copy: beside the {UNTRAINED}, two slices of each volume",
            f"{PUBLISHED} {families.COMPARED}",
            rows=beside,
            columns=(
                Choice("SSIM", {**lab.SHOWN, "feature": None}),
                *(
                    Choice(
                        f"{feature.label}, {words}", {**shared, "feature": feature.label, "metric": metric}
                    )
                    for feature in (SQUARE, LESION)
                    for metric, words in (("block_mse", "block error"), ("fidelity", "fidelity"))
                ),
            ),
            where={"test": TWO},
            compare_to=families.BASELINE,
        ),
        *(
            TableBlock(
                title,
                f"{note} {families.COMPARED}",
                rows=rows,
                columns=tuple(Choice(feature.label, {"feature": feature.label}) for feature in FEATURES),
                where={**shared, **home, "metric": metric},
                compare_to=families.BASELINE,
            )
            for metric, title, note in (
                ("recovery", "Share of the contrast that is shown", "1 is all of it."),
                ("false", "What the feature changes elsewhere", "Over the norm of the feature."),
                ("block_mse", "The published score of the window", "Standardised windows; lower is better."),
            )
        ),
        TextBlock(
            "What is scored",
            paragraphs=(
                "Every slice is measured twice, with the feature and without it, through the coils' own "
                "sensitivities and with the same mask and noise. What a method shows of the feature is the "
                "difference between both images; the error of the rest of the image is in neither.",
            ),
        ),
    )
