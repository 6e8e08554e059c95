"""How much sooner is the quality of the reference algorithm reached?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204): 0.3 to 14 minutes a slice.
Claim   fitting a volume at once and reconciling reaches the quality of the reference algorithm at least 20
        times sooner, on each of four natural shifts.
Data    the shifts of the other ttt-* studies, of the catalog or simulated: three volumes each (simulated ones
        have 20 slices), two slices of which the reference algorithm is given. Every way of fitting is tried
        on three brains T2 at 3 T, met by a network of knees PD.
Cost    about 75 minutes on one core after the ttt-* studies, which train the same networks; --tiny: minutes.
Run     reshim study ttt-cost
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from reshim.acquire import Scheme
from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.digest import digest
from reshim.evaluation.claims import AllOf, Claim, LowerBoundAtLeast
from reshim.evaluation.quantities import Average, Difference, Ratio, score
from reshim.physics.fourier import center_crop
from reshim.physics.maps import default_estimator
from reshim.report.blocks import Block, Choice, ClaimsBlock, Curve, CurvesBlock, TableBlock, TextBlock
from reshim.simulation.protocols import protocol_of
from reshim.studies import lab
from reshim.studies.crowd import crowd
from reshim.studies.embedded import Embedded
from reshim.studies.lab import Distribution
from reshim.studies.scale import Scale
from reshim.studies.shifts import UNET, VARNET, Kind, fitted, pair
from reshim.studies.study import Study, support_ssim, write_text
from reshim.training.run_folder import Trained
from reshim.types import Image, Measurement, Outcome, ScanRecord

TITLE = "Test-time training: seconds to the same quality"
PAPER = "Darestani, Liu and Heckel, ICML 2022"

SOURCE, TARGET = lab.KNEE_PD, lab.BRAIN_T2
TWO = lab.KNEE_PD.under(Scheme("equispaced", acceleration=2), "knee PD 3 T at 2x")


@dataclass(frozen=True)
class Case:
    """A network of P met with Q, timed."""

    kind: Kind
    source: Distribution
    target: Distribution

    @property
    def test(self) -> str:
        """What rows call it."""
        return f"{self.kind.of(self.source)} on {self.target.label}"


CASES = (
    Case(UNET, SOURCE, TARGET),
    Case(VARNET, SOURCE, TARGET),
    Case(UNET, lab.KNEE_PDFS, lab.KNEE_PD_15),
    Case(UNET, lab.BRAIN_T2, lab.BRAIN_T1),
    Case(UNET, lab.KNEE_PD, TWO),
    Case(UNET, TWO, lab.KNEE_PD),
)
"""The shifts of anatomy, collection, contrast and acceleration, the last both ways."""

VOLUMES, LENGTH, FIRST = 3, 20, 6000
"""Volumes of each case, slices of a simulated one, and the number of the first simulated subject."""

REFERENCE = "reference algorithm"
FAST, RECONCILED = "volume, reconciled", "reconciled, no weight moved"
LEAD = "volume, a sixth of the rate for 2,000 steps"
TRIED_STEPS = 400
"""Of the ways that are tried, where none is named; the shifts have those of the other studies."""

EVERY = 10
"""Steps of the reference algorithm between two images that are looked at."""

Look = Callable[[int, float, Image], None]


@runtime_checkable
class Fit(Protocol):
    """Anything that shows its images on the way and explains its outcome."""

    def explain(self, measurement: Measurement) -> Outcome:
        """Fit."""
        ...


@dataclass(frozen=True)
class Closed:
    """A fit whose every image is reconciled before it is looked at, the time of that counted."""

    make: Callable[[Look], AdaptedAtTestTime]
    look: Look
    every: int = 1
    """Steps between two images that are reconciled and looked at."""

    def explain(self, measurement: Measurement) -> Outcome:
        """Fit, reconciling at every look."""
        spent = 0.0

        def closed(step: int, seconds: float, image: Image) -> None:
            nonlocal spent
            if step % self.every:
                return
            begun = time.perf_counter()
            mended = method.reconcile(measurement, image)
            taken = time.perf_counter() - begun
            # The clock of the fit runs on while a look is reconciled; each image is charged for one solve.
            self.look(step, seconds - spent + taken, mended)
            spent += taken

        method = Reconciled(self.make(closed))
        return method.explain(measurement)


@dataclass(frozen=True)
class AtOnce:
    """Reconciled as it is: one look."""

    network: Trained
    look: Look

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconcile, timed."""
        begun = time.perf_counter()
        outcome = Reconciled(self.network).explain(measurement)
        self.look(0, time.perf_counter() - begun, outcome.image)
        return outcome


def variants(
    joint: Trained, supervised: Trained, tiny: bool, *, steps: int, check_every: int, look_every: int = 1
) -> dict[str, Callable[[Any], Fit]]:
    """Ways of fitting, each made with what looks at its images. All looks are taken: none waits in vain."""

    def reference(network: Trained = joint, **settings: Any) -> Callable[[Any], Fit]:
        few = {"max_steps": 20, "window": 4} if tiny else {"max_steps": 1000}
        return lambda look: ReferenceAdaptation(network.network, on_snapshot=look, **{**few, **settings})

    def ours(start: Trained = joint, **settings: Any) -> Callable[[Any], AdaptedAtTestTime]:
        often: dict[str, Any] = {
            "steps": 4 if tiny else steps,
            "check_every": check_every,
            "patience": steps,
            "guarded": False,
        }
        return lambda look: fitted(start, supervised, tiny, on_snapshot=look, **{**often, **settings})

    made = {
        REFERENCE: reference(learning_rate=1e-4),
        "reference, its paper's rate": reference(),
        "reference, mended": reference(
            learning_rate=1e-4, with_replacement=False, leak=False, return_last=False
        ),
        "reference, from supervised weights": reference(supervised, learning_rate=1e-4),
        RECONCILED: lambda look: AtOnce(supervised, look),
        FAST: lambda look: Closed(ours(), look, look_every),
        "volume": ours(),
        "volume, from supervised weights": ours(supervised),
        "volume, last stage": ours(parameters="last-stage"),
        "volume, affine": ours(parameters="affine"),
        "volume, low rank": ours(parameters="low-rank"),
        "volume, near its start": ours(trust_radius=0.05),
        "volume, half of the rows": ours(readout_share=0.5),
        "volume, plain data fit": ours(hidden_share=0.0),
        "volume, hidden columns alone": ours(fitted="hidden", hidden_share=0.5),
        LEAD: ours(learning_rate=5e-4, steps=4 if tiny else 2000, check_every=50, patience=2000),
        "slice": ours(scope="slice"),
        "slice, from its neighbour": ours(scope="slice", from_neighbour=True),
    }
    return {name: made[name] for name in TIMED} if tiny else made


METHODS = (
    REFERENCE,
    "reference, its paper's rate",
    "reference, mended",
    "reference, from supervised weights",
    RECONCILED,
    FAST,
    "volume",
    "volume, from supervised weights",
    "volume, last stage",
    "volume, affine",
    "volume, low rank",
    "volume, near its start",
    "volume, half of the rows",
    "volume, plain data fit",
    "volume, hidden columns alone",
    LEAD,
    "slice",
    "slice, from its neighbour",
)


TIMED = (REFERENCE, RECONCILED, FAST)
"""What is timed on every case."""


def _cost(method: str, metric: str, test: str = TARGET.label) -> Any:
    return score(f"{metric} ({method}; {test})", method=method, metric=metric, test=test)


def _sooner(method: str, test: str = TARGET.label, until: str = "") -> LowerBoundAtLeast:
    """By what factor a method reaches the reference's quality, or its own end, sooner than the reference."""
    ends = _cost(REFERENCE, TO_END, test)
    return LowerBoundAtLeast(Ratio(ends, _cost(method, until or TO_REFERENCE, test)), 20)


def _lost_by_stopping(method: str, test: str = TARGET.label) -> Difference:
    return Difference(_cost(method, STOPPED, test), _cost(method, BEST_LOOK, test))


STOPPED, BEST_LOOK = "SSIM where it stopped", "SSIM at its best look"
TO_REFERENCE, TO_END = "seconds to the reference's SSIM", "seconds to its end"
CLAIMS = (
    Claim(
        "speedup",
        "fitting a volume at once and reconciling reaches, per slice, the reference's SSIM 20 times sooner, "
        "on every shift",
        AllOf(tuple(_sooner(FAST, case.test) for case in CASES)),
        paper="0.3 to 14 minutes a slice",
        unit="times",
    ),
    Claim(
        "speedup-of-reconciling",
        "reconciling, no weight moved, reaches, per slice, the reference's SSIM 20 times sooner, on every "
        "shift",
        AllOf(tuple(_sooner(RECONCILED, case.test) for case in CASES)),
        paper="0.3 to 14 minutes a slice",
        unit="times",
    ),
    Claim(
        "speedup-whole",
        "from first to last step, fitting a volume and reconciling takes a twentieth of the reference's "
        "time, on every shift",
        AllOf(tuple(_sooner(FAST, case.test, TO_END) for case in CASES)),
        paper="0.3 to 14 minutes a slice",
        unit="times",
    ),
    Claim(
        "speedup-of-fitting",
        f"on {TARGET.label}, fitting a volume at once reaches it 20 times sooner without being reconciled",
        _sooner("volume"),
        paper="0.3 to 14 minutes a slice",
        unit="times",
    ),
    Claim(
        "stopping",
        "what the stopping fold chooses is within 0.002 SSIM of the best look, in the mean of the shifts",
        LowerBoundAtLeast(Average(tuple(_lost_by_stopping(FAST, case.test) for case in CASES)), -0.002),
    ),
    Claim(
        "stopping-of-fitting",
        f"on {TARGET.label}, the same holds of a fit that is not reconciled",
        LowerBoundAtLeast(_lost_by_stopping("volume"), -0.002),
    ),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(
        *dict.fromkeys(each for case in CASES for each in (case.source, case.target)), scale=scale
    )


@dataclass
class Watcher:
    """Keeps images with the time at which they were there; they are scored when the fit has ended."""

    every: int
    fits: list[list[tuple[float, Tensor]]] = field(default_factory=list)
    """Seconds and image of each look, one list a fit."""

    def __call__(self, step: int, seconds: float, image: Image) -> None:
        """Keep the image of every so many steps; step 0 begins a fit."""
        if step == 0:
            self.fits.append([])
        if step % self.every == 0:
            self.fits[-1].append((seconds, image.detach().clone()))


@dataclass(frozen=True)
class Trace:
    """SSIM over seconds of one slice under one way of fitting, and the SSIM of what was handed out."""

    seconds: list[float]
    ssim: list[float]
    final: float
    total: float


def run(study: Study) -> None:
    """Fit a few volumes in every way, and three volumes of each case; look on, score afterwards."""
    supervised, joint = pair(study, UNET, SOURCE)
    for record in study.scans(TARGET.where, "test")[:VOLUMES]:
        ways = variants(joint, supervised, study.tiny, steps=TRIED_STEPS, check_every=10)
        _try(study, record, ways, joint)
    for number, case in enumerate(CASES):
        supervised, joint = pair(study, case.kind, case.source)
        ways = variants(joint, supervised, study.tiny, steps=case.kind.steps, check_every=20, look_every=100)
        for record in _volumes(study, case, number):
            _time(study, case, record, {name: ways[name] for name in TIMED}, joint)


def _volumes(study: Study, case: Case, number: int) -> list[ScanRecord]:
    """Whole volumes of a case; simulated, they are longer than the laboratory's."""
    if not study.embedded:
        return study.scans(case.target.where, "test")[:VOLUMES]
    start = FIRST + VOLUMES * number
    card, slices = protocol_of(case.target.protocol), 4 if study.tiny else LENGTH
    return crowd(study, "cost", [card], range(start, start + VOLUMES), slices=slices)


def _try(study: Study, record: ScanRecord, ways: dict[str, Callable[[Any], Fit]], joint: Trained) -> None:
    """Every way on every second slice of a volume, each with a curve."""
    path = (
        study.folder / "traces" / f"{study.slug(record.scan_id)}-{digest(list(ways), TRIED_STEPS)[:8]}.json"
    )
    if not path.exists():
        measurement, target = study.pair_of(record, TARGET.scheme)
        chosen = list(range(0, measurement.kspace.shape[0], 2))
        measurement = default_estimator(measurement).take(chosen)
        _write(path, chosen, {name: traces(make, measurement, target, chosen) for name, make in ways.items()})
    for name, some in _keep(study, path, record, TARGET.label, joint).items():
        lines = [
            json.dumps({"seconds": second, "ssim": value}) + "\n"
            for second, value in zip(some[0].seconds, some[0].ssim, strict=True)
        ]
        write_text(
            study.folder / "curves" / f"{study.slug(f'{name} {record.scan_id}')}.jsonl", "".join(lines)
        )


def _time(
    study: Study, case: Case, record: ScanRecord, ways: dict[str, Callable[[Any], Fit]], joint: Trained
) -> None:
    """What is timed, on a whole volume; the reference algorithm, which goes slice by slice, on two of it."""
    tried = digest(list(ways), TRIED_STEPS)[:8]
    path = study.folder / "traces" / f"{study.slug(record.scan_id)}-{tried}.json"
    if not path.exists():
        measurement, target = study.pair_of(record, case.target.scheme)
        measurement = default_estimator(measurement)
        n_slices = measurement.kspace.shape[0]
        chosen = sorted({n_slices // 3, 2 * n_slices // 3})
        found = {}
        for name, make in ways.items():
            fitted_to = chosen if name == REFERENCE else list(range(n_slices))
            some = traces(make, measurement.take(fitted_to), target, fitted_to)
            found[name] = [some[fitted_to.index(index)] for index in chosen]
        _write(path, chosen, found)
    _keep(study, path, record, case.test, joint)


def _write(path: Path, chosen: Sequence[int], found: Mapping[str, Sequence["Trace"]]) -> None:
    plain = {name: [vars(trace) for trace in some] for name, some in found.items()}
    write_text(path, json.dumps({"slices": list(chosen), "traces": plain}))


def _keep(
    study: Study, path: Path, record: ScanRecord, test: str, joint: Trained
) -> dict[str, list["Trace"]]:
    """Take what was traced into the study's rows."""
    kept = json.loads(path.read_text())
    seen = {name: [Trace(**each) for each in some] for name, some in kept["traces"].items()}
    levels = [trace.final for trace in seen[REFERENCE]]
    for name, some in seen.items():
        rows = [
            {**_about(record, number), **row, "train_seed": joint.train_seed}
            for number, trace, level in zip(kept["slices"], some, levels, strict=True)
            for row in rows_of(trace, level)
        ]
        study.keep(rows, method=name, test=test)
    return seen


def traces(
    make: Callable[[Any], Fit], measurement: Measurement, target: Tensor, chosen: Sequence[int]
) -> list[Trace]:
    """Fit once; one trace a slice. Slices that share a fit share its time equally."""
    watcher = Watcher(1)
    method = make(watcher)
    watcher.every = EVERY if isinstance(method, ReferenceAdaptation) else 1
    outcome = method.explain(measurement)
    final = _ssim(outcome.image, measurement, target, chosen)
    n_slices = len(chosen)
    if len(watcher.fits) == 1:
        shared = [seconds / n_slices for seconds, _ in watcher.fits[0]]
        each = zip(*(_ssim(image, measurement, target, chosen) for _, image in watcher.fits[0]), strict=True)
        return [Trace(shared, list(one), end, shared[-1]) for one, end in zip(each, final, strict=True)]
    found = []
    for index, looks in enumerate(watcher.fits):
        volumes = [_placed(image, index, n_slices) for _, image in looks]
        scores = [_ssim(volume, measurement, target, chosen)[index] for volume in volumes]
        times = [seconds for seconds, _ in looks]
        found.append(Trace(times, scores, final[index], times[-1]))
    return found


def _placed(image: Tensor, index: int, n_slices: int) -> Tensor:
    """A single slice at its place of a volume, so that it is scored with the volume's range."""
    volume = image.new_zeros(n_slices, *image.shape[-2:])
    volume[index] = image[0]
    return volume


@torch.no_grad()
def _ssim(image: Image, measurement: Measurement, target: Tensor, chosen: Sequence[int]) -> list[float]:
    magnitude = center_crop(image.abs(), measurement.crop).double()
    top = target.double()
    full = top.clone()
    full[list(chosen)] = magnitude
    return support_ssim(full, top)[list(chosen)].tolist()


def rows_of(trace: Trace, level: float) -> list[dict[str, Any]]:
    """What one slice took and reached.

    Where the level is never reached, the time to it counts as ten times the whole: slower than any that did.
    """
    reached = [second for second, value in zip(trace.seconds, trace.ssim, strict=True) if value >= level]
    values = {
        TO_REFERENCE: max(reached[0], 1e-3) if reached else 10 * trace.total,
        "reaches the reference's SSIM": float(bool(reached)),
        TO_END: trace.total,
        STOPPED: trace.final,
        BEST_LOOK: max([*trace.ssim, trace.final]),
    }
    return [{"metric": name, "value": value} for name, value in values.items()]


def _about(record: ScanRecord, number: int) -> dict[str, Any]:
    names = ("scan_id", "dataset", "data_kind", "subject", "split", "anatomy", "contrast")
    about = {name: getattr(record, name) for name in names}
    return {**about, "slice": number, "target": "mvue", "region": "support"}


def page(study: Study) -> tuple[Block, ...]:
    """Claims, quality against seconds, the table of all variants."""
    first = study.scans(TARGET.where, "test")[0].scan_id
    there = [name for name in METHODS if any(called["method"] == name for _, called in study.finished)]
    metrics = (
        STOPPED,
        BEST_LOOK,
        TO_END,
        TO_REFERENCE,
        "reaches the reference's SSIM",
    )
    columns = tuple(Choice(name, {"metric": name}) for name in metrics)
    return (
        ClaimsBlock(),
        CurvesBlock(
            "Quality against seconds",
            f"One slice of {first}; seconds are those of the slice, or of the volume over its slices.",
            curves=tuple(
                Curve(name, f"curves/{study.slug(f'{name} {first}')}.jsonl", x="seconds", y="ssim")
                for name in there
            ),
            x_label="seconds a slice",
            y_label="SSIM",
            log_x=True,
        ),
        TableBlock(
            "On every shift",
            "Means over slices and subjects, for a slice of a whole volume (simulated ones have "
            f"{LENGTH} slices); the reference algorithm was given two slices of each.",
            rows=tuple(
                Choice(f"{case.test}: {name}", {"method": name, "test": case.test})
                for case in CASES
                for name in TIMED
            ),
            columns=columns,
            where={},
        ),
        TableBlock(
            "Every way that was tried",
            "Means over slices and subjects. A slice that never reaches the reference's SSIM counts with "
            "ten times its whole time.",
            rows=tuple(Choice(name, {"method": name}) for name in there),
            columns=columns,
            where={"test": TARGET.label},
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "The reference algorithm is timed with its loop cleaned of monitoring, on as many threads as "
                "ours. At the published rate of 1e-5 the small networks here hardly move, so the reference "
                "is given ten times that; the published rate stands beside it. It may take 1,000 steps a "
                "slice where the release allows 2,500.",
            ),
        ),
    )
