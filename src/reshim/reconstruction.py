"""One file in, images and a card out: what ``reshim reconstruct`` does.

The card says what was done and why, so that whoever reads the image later can judge it. A reference, where
there is one, is made apart from the measurement and meets the image only in the scores.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import torch

from reshim.acquire import Scheme, measure, reference, sampling_of, without_oversampling
from reshim.alarm.prediction import Prediction
from reshim.evaluation.run import Explains, score_one
from reshim.formats.write import write
from reshim.methods import alarm_of, foreteller_of, method_of, run_named
from reshim.physics.fourier import center_crop
from reshim.physics.maps import default_estimator
from reshim.physics.masks import evaluation_seed
from reshim.report.glossary import REGIONS, TARGETS, explained
from reshim.scans import open_scan
from reshim.training.run_folder import load_run
from reshim.types import Acquisition, Action, Image, Measurement, Outcome, Reconstructor, ScanRecord

OF_THE_FALLBACK = Prediction(
    None,
    None,
    None,
    unknown="the calibration is of the RUN's fall-back, and --adapt none hands out the network itself; give "
    "--adapt auto",
)


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    method: str = "default"
    """METHOD name or RUN folder."""

    adapt: str = "none"
    """none, reconcile, slice, volume, auto or reference."""

    adapt_options: tuple[str, ...] = ()
    """``NAME=VALUE`` settings of slice, volume and reference."""

    budget_seconds: float | None = None
    """Wall time that the method may take for the scan, after the coil maps."""

    scheme: Scheme | None = None
    """Undersample a fully sampled scan first and score against its own reference; None takes it as it is."""

    formats: tuple[str, ...] = ("h5", "png")
    """What is written beside the card."""

    keep_complex: bool = False
    """Write the complex image too."""

    slices: tuple[int, ...] | None = None
    """Which slices; None takes all."""

    device: str = "cpu"
    """Where the method computes."""


@dataclass
class Card:
    """What was done to a scan and what is known of the result."""

    scan: str
    method: str
    adapt: dict[str, Any]
    """The mode ``asked`` for, with its ``options`` as given and its budget (``budget_s``, null without one).

    ``scope`` is ``slice`` where each slice has fitted weights of its own, ``volume`` where a volume shares
    them, null where no weight is fitted. In how many slices (``done`` ``of_slices``) fitted weights were
    handed out, and ``why``. What each slice's image is stands in ``action``, and ``counts`` counts that.
    """

    effective_acceleration: float
    seconds: float
    shift_score: float | None = None
    metadata_score: float | None = None
    predicted_ssim: dict[str, Any] | None = None
    """Foretold of the un-adapted images, inside the body against the MVUE reference; null without a
    calibrated alarm, and with the reason under ``unknown`` beyond the range it was calibrated on."""

    warnings: list[str] = field(default_factory=list)
    scores: dict[str, float] | None = None
    scores_rss: dict[str, float] | None = None
    metrics: dict[str, Any] | None = None
    """What the scores are: of each metric which way is ``better``, its ``definition`` and data ``range``; of
    ``scores`` and ``scores_rss`` the reference, the region and the size of the images."""

    details: dict[str, Any] = field(default_factory=dict)


def reconstruct_file(path: Path, request: Request, folder: Path) -> Card:
    """Reconstruct one scan and write images and ``card.json`` into `folder`.

    Raises
    ------
    BadScanError
        If the scan cannot be read.
    UserError
        If the method or what is asked of it does not fit the scan.
    """
    scan = open_scan(path)
    method = method_of(
        request.method, request.adapt, request.budget_seconds, request.device, request.adapt_options
    )
    acquisition = scan.load(request.slices)
    images, card = reconstruct_acquisition(acquisition, method, request, path.name, scan.record)
    folder.mkdir(parents=True, exist_ok=True)
    write(
        images if request.keep_complex else images.abs(),
        folder,
        path.stem,
        request.formats,
        spacing_mm=scan.record.spacing_mm,
        orientation=scan.record.orientation,
    )
    write_json(folder / "card.json", asdict(card))
    return card


def reconstruct_acquisition(
    acquisition: Acquisition,
    method: Reconstructor,
    request: Request,
    name: str,
    record: ScanRecord | None = None,
    *,
    scored: bool = True,
) -> tuple[Image, Card]:
    """Images (slice, row, column) of a scan, cropped, and what was done; `method` is the request's.

    Without a record, as of a scan that comes over a network, the card has no metadata score. With `scored`, a
    fully sampled scan is scored against itself.
    """
    measurement = _measure(acquisition, request, name)
    started = time.perf_counter()
    measurement = default_estimator(measurement)
    with logged_warnings() as logged:
        outcome = method.explain(measurement) if isinstance(method, Explains) else _plain(method(measurement))
    seconds = time.perf_counter() - started
    images = center_crop(outcome.image, acquisition.crop)
    sampling = sampling_of(measurement, request.scheme or Scheme(mask="file"))
    kind = "measured" if record is None else record.data_kind
    card = Card(
        scan=name,
        method=_described(request.method, method),
        adapt={
            "asked": request.adapt,
            "options": list(request.adapt_options),
            "budget_s": request.budget_seconds,
            "scope": scope_of(method),
            "done": sum(outcome.adapted),
            "of_slices": len(outcome.adapted),
            "why": sorted(set(outcome.reason) - {""}),
            "action": list(outcome.action),
            "counts": {action: outcome.action.count(action) for action in get_args(Action)},
        },
        effective_acceleration=sampling.effective_acceleration,
        seconds=seconds,
        **_alarm(request, record, measurement, outcome),
        warnings=list(dict.fromkeys((*measurement.warnings, *logged))),
        details={"sampling": asdict(sampling), "data_kind": kind, "matrix": list(images.shape)},
    )
    if scored and acquisition.fully_sampled:
        # Outside the body the noise floor decides, so each reference is scored where it means something.
        card.scores = score_one(images.abs(), reference(acquisition, "mvue"), "support")
        card.scores_rss = score_one(images.abs(), reference(acquisition, "rss"), "all")
        card.metrics = _metrics(card, tuple(images.shape[-2:]))
    return images, card


def _metrics(card: Card, crop: tuple[int, ...]) -> dict[str, Any]:
    """The card of each score, as the page of evaluated rows has it."""
    places = {"scores": ("mvue", "support"), "scores_rss": ("rss", "all")}
    return {
        **{metric: explained(metric) for metric in card.scores or {}},
        **{
            name: {
                "reference": f"{target}: {TARGETS[target]}",
                "region": f"{region}: {REGIONS[region]}",
                "crop": list(crop),
            }
            for name, (target, region) in places.items()
        },
    }


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """What the package logs as a warning meanwhile: a method that falls back on another says so there."""
    collected: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(record.getMessage())

    package, collector = logging.getLogger("reshim"), Collector(logging.WARNING)
    package.addHandler(collector)
    try:
        yield collected
    finally:
        package.removeHandler(collector)


def write_json(path: Path, content: Any) -> None:
    """Write JSON beside `path`, then rename."""
    beside = path.with_name(path.name + ".partial")
    beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    beside.replace(path)


def _measure(acquisition: Acquisition, request: Request, name: str) -> Measurement:
    reduced = without_oversampling(acquisition)
    if request.scheme is not None:
        return measure(reduced, request.scheme, evaluation_seed(name))
    if acquisition.mask is not None:
        return measure(reduced, Scheme(mask="file"), 0)
    everything = torch.ones(1, 1, 1, reduced.kspace.shape[-1], dtype=torch.bool)
    return measure(replace(reduced, mask=everything), Scheme(mask="file"), 0)


def scope_of(method: Any) -> str | None:
    """Which slices share what a method fits to them; None where it fits nothing."""
    while method is not None:
        scope = getattr(method, "scope", None)
        if scope is not None:
            return str(scope)
        # Methods around methods: reconciled, or on another device.
        method = getattr(method, "base", getattr(method, "method", None))
    return None


def _plain(image: torch.Tensor) -> Outcome:
    return Outcome(image, (False,) * image.shape[0], ("",) * image.shape[0])


def _described(name: str, method: Any) -> str:
    return f"{name}: {method.description}" if name == "default" and hasattr(method, "description") else name


def _alarm(
    request: Request, record: ScanRecord | None, measurement: Measurement, outcome: Outcome
) -> dict[str, Any]:
    """What a RUN's alarm says of the scan; nothing for methods that have none.

    What the method asked it already stands in the outcome and is not asked again.
    """
    run = run_named(request.method)
    alarm = None if run is None else alarm_of(run[0])
    if run is None or alarm is None:
        return {}
    score = outcome.shift_score
    said: dict[str, Any] = {"shift_score": alarm(measurement) if score is None else score}
    model = load_run(run[0], epoch=run[1])
    foretell = foreteller_of(model)
    if foretell is not None:
        of_fallback = request.adapt == "none" and model.fallback is not None
        foretold = outcome.foretold or (OF_THE_FALLBACK if of_fallback else foretell(measurement))
        said["predicted_ssim"] = asdict(foretold)
        if foretell.headers is not None and record is not None:
            said["metadata_score"] = foretell.headers(record)
    return said


def formats_of(text: str, known: Sequence[str] = ("h5", "nii", "dcm", "png")) -> tuple[str, ...]:
    """``h5,png`` as a tuple; unknown formats are refused."""
    from reshim.errors import UserError

    formats = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = sorted(set(formats) - set(known))
    if unknown or not formats:
        raise UserError(f"--format {text!r} asks for {unknown or 'nothing'}; choose of {','.join(known)}")
    return formats
