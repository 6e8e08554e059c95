"""Which methods lose under natural shifts: trained ones alone, or sparse and untrained ones as much?

Paper   M. Z. Darestani, A. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103).
Claim   trained methods and methods that were only tuned on one anatomy both lose on another, by similar
        amounts, and the order of methods on shifted scans is that on unshifted ones.
Data    knees (PD, 3 T) as home; fat suppression, 1.5 T, brains, 8x and a random mask as shifts.
Cost    about 43 minutes on one core, some networks trained by other studies; --tiny: about a minute.
Run     reshim study natural-shift
"""

from dataclasses import replace

from reshim.acquire import Scheme
from reshim.classical.zero_filled import ZeroFilled
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, RankCorrelation
from reshim.evaluation.rules import AllOf, LowerBoundAbove, Within
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    ImagesBlock,
    MatrixBlock,
    Point,
    ScatterBlock,
    TableBlock,
    TextBlock,
)
from reshim.studies.engine import families, lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TITLE = "Natural shifts: trained, sparse and parallel-imaging methods side by side"
PAPER = "Darestani, Chaudhari and Heckel, ICML 2021"

HOME, AWAY = lab.KNEE_PD, lab.BRAIN_T2
SCANS = (lab.KNEE_PDFS, lab.KNEE_PD_15, AWAY)
"""Shifts of what is scanned; the methods meet them as they stand."""

SAMPLINGS = {
    "knee PD 3 T at 8x": Scheme("equispaced", acceleration=8),
    "knee PD 3 T, random mask": Scheme("random", acceleration=4),
}
"""Shifts of how it is sampled, on the same test subjects."""

SHIFTS = (*(shift.label for shift in SCANS), *SAMPLINGS)
METHODS = (*families.EVERY, *families.UNTRAINED)
TAKES_METHODS = True
"""`reshim study natural-shift --with METHOD ...`: beside the others, under every shift; in no claim."""
FROM_AWAY = ", from brains"
TUNED = (*families.SPARSE, *families.UNTRAINED)
TWO_HOMES = (*families.NETWORKS, *TUNED)
"""Trained or tuned on brains as well, so that the shift's cost is told apart from how hard brains are."""


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    needs = (HOME.need(), AWAY.need(), *(shift.need("test") for shift in SCANS))
    return lab.embedded(HOME, *SCANS, scale=scale, needs=needs)


def cost(method: str) -> Difference:
    """What a method loses on brains by being trained or tuned on knees."""
    return Difference(on(method + FROM_AWAY, AWAY), on(method, AWAY))


def order_kept(shift: str) -> RankCorrelation:
    """Whether methods stand in the same order under a shift."""
    return RankCorrelation(
        tuple(on(method, HOME) for method in METHODS),
        tuple(on(method, shift) for method in METHODS),
        f"rank correlation over {len(METHODS)} methods between {HOME.label} and {shift}",
    )


CLAIMS = (
    Claim(
        "trained-lose",
        "every network trained on knees loses on brains, against the same network trained on brains",
        AllOf(tuple(LowerBoundAbove(cost(name)) for name in families.NETWORKS)),
        paper="0.042 (U-net), 0.022 (VarNet), one slice",
    ),
    Claim(
        "tuned-lose",
        "methods that are only tuned lose on brains by being tuned on knees",
        AllOf(tuple(LowerBoundAbove(cost(name)) for name in TUNED)),
        paper="0.106 (L1-wavelet), 0.013 (ConvDecoder), one slice",
    ),
    Claim(
        "alike",
        "trained networks lose as much by the shift as tuned methods do, within 0.02",
        Within(
            Difference(
                Average(tuple(cost(name) for name in families.NETWORKS)),
                Average(tuple(cost(name) for name in TUNED)),
            ),
            -0.02,
            0.02,
        ),
        paper='"suffer very similarly"',
    ),
    Claim(
        "order-kept",
        "the order of methods at home is their order under every shift",
        AllOf(tuple(LowerBoundAbove(order_kept(shift), 0.5) for shift in SHIFTS)),
        paper="a line through the scores of all methods",
        unit="rank correlation",
    ),
    Claim(
        "best-stays-ahead",
        "the unrolled network stays ahead of CG-SENSE under every shift",
        AllOf(
            tuple(
                LowerBoundAbove(Difference(on("unrolled", shift), on("CG-SENSE", shift))) for shift in SHIFTS
            )
        ),
    ),
)


def run(study: Study) -> None:
    """Train and tune all on knees, those that have weights on brains too; score all under every shift."""
    methods = {
        "zero-filled": ZeroFilled(),
        **families.all_of(study, HOME),
        **families.tuned(study, HOME, families.UNTRAINED),
        **families.asked(study, ("zero-filled", *METHODS)),
    }
    # The untrained network takes seconds a slice: two slices of each volume, for every method alike.
    two = replace(lab.EVALUATION, slices=(0, 1) if study.tiny else (1, 2))
    for test in (HOME, *SCANS):
        study.compare(methods, test.where, two, test=test.label)
    for label, scheme in SAMPLINGS.items():
        evaluation = replace(two, scheme=scheme)
        study.compare(methods, HOME.where, evaluation, test=label, keep_images=False)
    from_away = {
        **families.trained(study, AWAY, suffix=FROM_AWAY),
        **families.tuned(study, AWAY, TUNED, suffix=FROM_AWAY),
    }
    study.compare(from_away, AWAY.where, two, test=AWAY.label)


def page(study: Study) -> tuple[Block, ...]:
    """The table, the line through shifted against unshifted scores, images."""
    tests = tuple(Choice(label, {"test": label}) for label in (HOME.label, *SHIFTS))
    methods = ("zero-filled", *METHODS, *study.methods)
    both_homes = tuple(
        Choice(label, {"method": label}) for name in TWO_HOMES for label in (name, name + FROM_AWAY)
    )
    labels = ("zero-filled", "CG-SENSE", "L1-wavelet", "unrolled", "unrolled" + FROM_AWAY, *study.methods)
    return (
        ClaimsBlock(),
        MatrixBlock(
            "Every method under every shift",
            f"All of the study's own trained or tuned on {HOME.label}. SSIM inside the body against the MVUE "
            "reference.",
            methods=tuple(Choice(name, {"method": name}) for name in methods),
            tests=tests,
            where=lab.SHOWN,
        ),
        *(
            ScatterBlock(
                f"{shift} against {HOME.label}",
                "Each point is a method; the line is fitted through all of the study's own. Above it: a "
                "method that keeps more than its score at home foretells.",
                points=tuple(
                    Point(
                        name,
                        {"method": name, "test": HOME.label},
                        {"method": name, "test": shift},
                        group=_kind(name),
                        in_fit=name in METHODS,
                    )
                    for name in (*METHODS, *study.methods)
                ),
                where=lab.SHOWN,
                x_label=HOME.label,
                y_label=shift,
            )
            for shift in SHIFTS
        ),
        TableBlock(
            "The table to copy",
            families.COMPARED,
            rows=tuple(Choice(name, {"method": name}) for name in methods),
            columns=tests,
            where=lab.SHOWN,
            compare_to=families.BASELINE,
        ),
        TableBlock(
            f"What the shift to {AWAY.label} costs",
            "Each method from knees above the same from brains, both on the same brains.",
            rows=both_homes,
            columns=(Choice(AWAY.label, {"test": AWAY.label}),),
            where=lab.SHOWN,
        ),
        ImagesBlock(
            "What it looks like",
            f"{AWAY.label}: the slice with the median and with the worst score of the unrolled network from "
            "knees. Error maps on one scale.",
            examples=study.examples(AWAY.label, by="unrolled", labels=labels),
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Brains and knees differ in how hard they are, so a lower score on brains alone shows no "
                "loss. The cost of a shift is therefore taken against the same method trained or tuned on "
                "brains, on the same brains. GRAPPA is fitted to each scan and has no home; CG-SENSE has a "
                "ridge alone.",
            ),
        ),
    )


def _kind(method: str) -> str:
    if method in families.NETWORKS:
        return "trained"
    if method in families.UNTRAINED:
        return "untrained"
    if method in (*families.SPARSE, *families.PARALLEL):
        return "sparse" if method in families.SPARSE else "parallel imaging"
    return "named by the user"
