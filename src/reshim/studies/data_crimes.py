"""How much do interpolated, magnitude or denoised images, taken for raw data, flatter each method?

Paper   E. Shimron, J. I. Tamir, K. Wang and M. Lustig, PNAS 119:e2117203119 (2022).
Claim   on data that were zero-padded or otherwise processed, methods seem better than they are on raw data.
Data    knees (PD, 1.5 T, where noise counts): as measured, zero-padded, without phase, denoised; methods are
        trained and tuned on raw scans.
Cost    about 10 minutes on one core; --tiny: about a minute.
Run     reshim study data-crimes
"""

from reshim.evaluation.claims import AllOf, Claim, LowerBoundAbove
from reshim.evaluation.quantities import Average, Difference, RankCorrelation, Score
from reshim.report.blocks import Block, Choice, ClaimsBlock, DosesBlock, MatrixBlock, TextBlock
from reshim.robustness.sources import Kind, Processed
from reshim.studies import families, lab
from reshim.studies.embedded import Embedded
from reshim.studies.scale import Scale
from reshim.studies.study import Study

TITLE = "Data crimes: what processing flatters"
PAPER = "Shimron, Tamir, Wang and Lustig, PNAS 2022"

HOME = lab.KNEE_PD_15
DOSES: dict[Kind, tuple[float, ...]] = {
    "interpolated": (1.25, 1.5, 2.0),
    "magnitude": (1.0,),
    "denoised": (1.0, 2.0, 4.0),
}
UNITS = {"interpolated": "matrix over the measured one", "denoised": "threshold over the noise"}
UNDONE = {"interpolated": 1.0, "magnitude": 0.0, "denoised": 0.0}
"""The dose at which raw data stand on a curve."""

METHODS = families.EVERY
RAW = "raw"


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, scale=scale)


def at(method: str, kind: Kind, dose: float | None = None) -> Score:
    """The score of a method on processed data; of the highest dose unless another is given."""
    return lab.on(method, HOME, source=kind, dose=DOSES[kind][-1] if dose is None else dose)


def raw(method: str, kind: Kind) -> Score:
    """The score on raw data, as it stands on the curve of a kind."""
    return lab.on(method, HOME, source=kind, dose=UNDONE[kind])


def flattery(kind: Kind) -> Average:
    """How much higher scores are than on raw data, over methods."""
    return Average(tuple(Difference(at(method, kind), raw(method, kind)) for method in METHODS))


CLAIMS = (
    *(
        Claim(
            f"{kind}-flatters",
            f"{kind} data flatter: methods score higher on them than on raw data, on average",
            LowerBoundAbove(flattery(kind)),
            paper="errors 25 to 48 % lower in some cases" if kind == "interpolated" else None,
        )
        for kind in DOSES
    ),
    Claim(
        "order-kept",
        "the order of methods on processed data is that on raw data",
        AllOf(
            tuple(
                LowerBoundAbove(
                    RankCorrelation(
                        tuple(raw(method, kind) for method in METHODS),
                        tuple(at(method, kind) for method in METHODS),
                        f"rank correlation over {len(METHODS)} methods of raw and {kind} data",
                    ),
                    0.5,
                )
                for kind in DOSES
            )
        ),
        unit="rank correlation",
    ),
)


def run(study: Study) -> None:
    """Score every method on raw data and on every dose of every processing."""
    methods = families.all_of(study, HOME)
    for kind, doses in DOSES.items():
        for dose in (UNDONE[kind], *doses):
            study.compare(
                methods,
                HOME.where,
                lab.EVALUATION,
                test=HOME.label,
                columns={"source": kind, "dose": dose},
                keep_images=False,
                disturbance=None if dose == UNDONE[kind] else Processed(kind, dose),
            )


def page(study: Study) -> tuple[Block, ...]:
    """Every method on every source, and scores against doses."""
    lines = tuple(Choice(name, {"method": name}) for name in METHODS)
    sources = tuple(
        Choice(f"{kind} {doses[-1]:g}", {"source": kind, "dose": doses[-1]}) for kind, doses in DOSES.items()
    )
    return (
        ClaimsBlock(),
        MatrixBlock(
            "Every method on every source",
            "Each column is scored against its own, processed reference: that is the crime.",
            methods=lines,
            tests=(Choice(RAW, {"source": "denoised", "dose": 0.0}), *sources),
            where=lab.SHOWN,
        ),
        *(
            DosesBlock(
                kind.capitalize(),
                "SSIM inside the body against the processed MVUE reference; the first point is raw data.",
                dose="dose",
                lines=lines,
                where={**lab.SHOWN, "source": kind},
                x_label=unit,
            )
            for kind, unit in UNITS.items()
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Methods are trained and tuned on raw scans and meet processed ones as they are; trained on "
                "processed data they would be flattered more. Images are processed after the coils are "
                "combined and sent through the coils' own sensitivities again, so that nothing but the "
                "processing differs.",
            ),
        ),
    )
