"""How fast does each method lose when a scan goes wrong: noise, motion, spikes, wrap-around, a wrong mask?

Paper   no single one; the artefacts that scanners show, dosed (M. Zaitsev et al., J. Magn. Reson. Imaging
        42:887 (2015), for motion), asked of every method at once.
Claim   the highest dose of every artefact costs every method; the unrolled network loses no more than
        CG-SENSE does; the order of methods stays.
Data    knees (PD, 3 T); each artefact at three doses on the same test scans.
Cost    about 10 minutes on one core, some networks trained by other studies; --tiny: about a minute.
Run     reshim study stress
"""

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference, RankCorrelation, Score
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    DosesBlock,
    ImagesBlock,
    TableBlock,
    TextBlock,
)
from reshim.robustness.stress import Kind, Stress
from reshim.studies.engine import families, lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TITLE = "What goes wrong in a scan, dose by dose"
PAPER = ""

HOME = lab.KNEE_PD
DOSES: dict[Kind, tuple[float, ...]] = {
    "noise": (0.02, 0.05, 0.1),
    "motion": (0.5, 1.0, 2.0),
    "spikes": (0.1, 0.3, 1.0),
    "wrap-around": (0.1, 0.2, 0.4),
    "wrong mask": (0.05, 0.1, 0.2),
}
UNITS: dict[Kind, str] = {
    "noise": "deviation of the added noise over the brightest tissue",
    "motion": "pixels and degrees, root mean square",
    "spikes": "height over the largest sample",
    "wrap-around": "missing share of the field of view",
    "wrong mask": "share of listed lines that are silent",
}
METHODS = families.EVERY
TAKES_METHODS = True
"""`reshim study stress --with METHOD ...`"""
FOLLOWED = "unrolled"
"""The method whose median and worst slices are shown."""


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, scale=scale)


def at(method: str, kind: Kind, dose: float) -> Score:
    """The score of a method at a dose."""
    return lab.on(method, HOME, stress=kind, dose=dose)


def loss(method: str, kind: Kind) -> Difference:
    """What the highest dose takes."""
    return Difference(at(method, kind, 0.0), at(method, kind, DOSES[kind][-1]))


def order_kept(kind: Kind) -> RankCorrelation:
    """Whether methods stand in the same order at the highest dose."""
    return RankCorrelation(
        tuple(at(method, kind, 0.0) for method in METHODS),
        tuple(at(method, kind, DOSES[kind][-1]) for method in METHODS),
        f"rank correlation over {len(METHODS)} methods between no {kind} and the highest dose",
    )


CLAIMS = (
    Claim(
        "every-artefact-costs",
        "the highest dose of every artefact costs every method",
        AllOf(tuple(LowerBoundAbove(loss(method, kind)) for kind in DOSES for method in METHODS)),
    ),
    *(
        Claim(
            f"network-and-{kind.replace(' ', '-')}",
            f"by {kind}, the unrolled network loses at most 0.01 more than CG-SENSE",
            LowerBoundAtLeast(Difference(loss("CG-SENSE", kind), loss("unrolled", kind)), -0.01),
        )
        for kind in DOSES
    ),
    Claim(
        "order-kept",
        "the order of methods on good scans is their order on bad ones",
        AllOf(tuple(LowerBoundAbove(order_kept(kind), 0.5) for kind in DOSES)),
        unit="rank correlation",
    ),
)


def run(study: Study) -> None:
    """Score every method on good scans and at every dose of every artefact."""
    methods = families.all_of(study, HOME) | families.asked(study, METHODS)
    for kind, doses in DOSES.items():
        for dose in (0.0, *doses):
            study.compare(
                methods,
                HOME.where,
                lab.EVALUATION,
                test=HOME.label,
                columns={"stress": kind, "dose": dose},
                keep_images=dose == 0,
                disturbance=None if dose == 0 else Stress(kind, dose),
            )
        study.show(
            methods,
            HOME.where,
            lab.EVALUATION,
            by=FOLLOWED,
            test=HOME.label,
            columns={"stress": kind, "dose": doses[-1]},
            disturbance=Stress(kind, doses[-1]),
        )


def page(study: Study) -> tuple[Block, ...]:
    """A dose-response curve and images for each artefact, and the ends of them in a table."""
    methods = (*METHODS, *study.methods)
    lines = tuple(Choice(name, {"method": name}) for name in methods)
    return (
        ClaimsBlock(),
        *(
            DosesBlock(
                kind.capitalize(),
                "SSIM inside the body against the MVUE reference of the undisturbed scan.",
                dose="dose",
                lines=lines,
                where={**lab.SHOWN, "stress": kind},
                x_label=UNITS[kind],
            )
            for kind in DOSES
        ),
        *(
            ImagesBlock(
                f"What it looks like: {kind} {doses[-1]:g}",
                f"The slices with the median and the worst score of {FOLLOWED}.",
                examples=study.examples(
                    HOME.label, FOLLOWED, methods, {"stress": kind, "dose": doses[-1]}, called=kind
                ),
            )
            for kind, doses in DOSES.items()
        ),
        TableBlock(
            "The table to copy: good scans and the highest doses",
            families.COMPARED,
            rows=lines,
            columns=(
                Choice("good scans", {"stress": "noise", "dose": 0.0}),
                *(
                    Choice(f"{kind} {doses[-1]:g}", {"stress": kind, "dose": doses[-1]})
                    for kind, doses in DOSES.items()
                ),
            ),
            where=lab.SHOWN,
            compare_to=families.BASELINE,
        ),
        TextBlock(
            "What is disturbed",
            paragraphs=(
                "The scan before it is undersampled, so that coil maps and noise level are those of the "
                "disturbed scan; references are those of the scan as it was. Every dose disturbs a scan in "
                "the same way, only more. With the wrong mask some lines are silent although the mask lists "
                "them; the calibration block is spared.",
            ),
        ),
    )
