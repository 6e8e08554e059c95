"""How much do interpolated, magnitude or denoised images, taken for raw data, flatter each method?

Paper   E. Shimron, J. I. Tamir, K. Wang and M. Lustig, PNAS 119:e2117203119 (2022).
Claim   on data that were zero-padded or otherwise processed, methods seem better than they are on raw data.
        Two networks and the L1-wavelet method that were trained and tuned on processed data, the crime of
        the paper, seem better still.
Data    knees (PD, 1.5 T, where noise counts): as measured, zero-padded, without phase, denoised; every method
        trained and tuned on raw scans, and two networks and the L1-wavelet method on each kind of processed
        ones, too.
Cost    about 17 minutes on one core; --tiny: minutes.
Run     reshim study data-crimes
"""

from collections.abc import Callable, Mapping
from functools import partial

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, RankCorrelation, Score
from reshim.evaluation.rules import AllOf, LowerBoundAbove
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
from reshim.robustness.sources import Kind, Processed
from reshim.studies.engine import families, lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.types import Reconstructor

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
CRIMINALS = ("U-net", "unrolled", "L1-wavelet")
"""What is trained and tuned on processed data as well."""

FOLLOWED = "unrolled"
"""The method whose median and worst slices are shown."""


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


def of_processed(name: str, kind: Kind) -> str:
    """What rows call a method that was trained or tuned on processed data, of the highest dose."""
    return f"{name}, made for {kind} data"


def crime(kind: Kind, beside: Callable[[str], Score]) -> Average:
    """How much higher methods that were made for processed data score on them, over methods."""
    return Average(tuple(Difference(at(of_processed(name, kind), kind), beside(name)) for name in CRIMINALS))


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
    *(
        Claim(
            f"{kind}-crime",
            f"methods trained or tuned on {kind} data and tested on them score higher than those trained or "
            "tuned on raw data and tested on these, on average",
            LowerBoundAbove(crime(kind, partial(raw, kind=kind))),
            paper="errors 25 to 48 % lower in some cases" if kind == "interpolated" else None,
        )
        for kind in DOSES
    ),
    *(
        Claim(
            f"{kind}-made-for-it",
            f"on {kind} data, methods trained or tuned on them score higher than those of raw data do, "
            "on average",
            LowerBoundAbove(crime(kind, partial(at, kind=kind))),
        )
        for kind in DOSES
    ),
)


def run(study: Study) -> None:
    """Score every method on raw data and on every dose of every processing."""
    methods = families.all_of(study, HOME)
    for kind, doses in DOSES.items():
        for dose in (UNDONE[kind], *doses):
            meet(study, methods, kind, dose)
        study.show(
            methods,
            HOME.where,
            lab.EVALUATION,
            by=FOLLOWED,
            test=HOME.label,
            columns={"source": kind, "dose": doses[-1]},
            disturbance=Processed(kind, doses[-1]),
        )
        made = made_for(study, kind)
        for dose in (UNDONE[kind], doses[-1]):
            meet(study, made, kind, dose)


def meet(study: Study, methods: Mapping[str, Reconstructor], kind: Kind, dose: float) -> None:
    """Score methods on scans processed in one way and dose, or left undone."""
    study.compare(
        methods,
        HOME.where,
        lab.EVALUATION,
        test=HOME.label,
        columns={"source": kind, "dose": dose},
        keep_images=False,
        disturbance=None if dose == UNDONE[kind] else Processed(kind, dose),
    )


def made_for(study: Study, kind: Kind) -> dict[str, Reconstructor]:
    """Networks trained, and the L1-wavelet method tuned, on processed training and validation scans."""
    processed = Processed(kind, DOSES[kind][-1])
    made: dict[str, Reconstructor] = {}
    for name in CRIMINALS:
        label = of_processed(name, kind)
        if name in families.NETWORKS:
            network = families.NETWORKS[name]
            settings = lab.training(study.scale, network)
            made[label] = study.train(label, network, HOME.where, settings, processed=processed)
        else:
            make, values = families.TUNED[name]
            tried = values[:1] if study.tiny else values
            made[label] = study.tune(label, make, tried, HOME.where, lab.SCHEME, processed)
    return made


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
        *(
            ImagesBlock(
                f"What it looks like: {kind} {doses[-1]:g}",
                f"The slices with the median and the worst score of {FOLLOWED}; references are processed.",
                examples=study.examples(
                    HOME.label, FOLLOWED, METHODS, {"source": kind, "dose": doses[-1]}, called=kind
                ),
            )
            for kind, doses in DOSES.items()
        ),
        *(
            TableBlock(
                f"Made for {kind} data, or for raw ones",
                "The crime: the lower rows in the last column. Honest: the upper rows in the first one.",
                rows=(
                    *(Choice(name, {"method": name}) for name in CRIMINALS),
                    *(
                        Choice(of_processed(name, kind), {"method": of_processed(name, kind)})
                        for name in CRIMINALS
                    ),
                ),
                columns=(
                    Choice(RAW, {"source": kind, "dose": UNDONE[kind]}),
                    Choice(f"{kind} {doses[-1]:g}", {"source": kind, "dose": doses[-1]}),
                ),
                where=lab.SHOWN,
            )
            for kind, doses in DOSES.items()
        ),
        TableBlock(
            "The table to copy",
            rows=lines,
            columns=(
                Choice(RAW, {"source": "denoised", "dose": 0.0}),
                *(
                    Choice(f"{kind} {dose:g}", {"source": kind, "dose": dose})
                    for kind, doses in DOSES.items()
                    for dose in doses
                ),
            ),
            where=lab.SHOWN,
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Methods are trained and tuned on raw scans and meet processed ones as they are, but for "
                "those that say what they were made for: their training and validation scans were processed "
                "in the same way, at the highest dose. Images are processed after the coils are combined "
                "and sent through the coils' own sensitivities again, so that nothing but the processing "
                "differs.",
            ),
        ),
    )
