"""The whole path in one line of sight: scan, measurement, image, score, row.

A method sees a `Measurement`; references are made or read apart from it and meet the image only here.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from reshim.acquire import Sampling, Scheme, measure, reference, sampling_of, without_oversampling
from reshim.digest import digest
from reshim.errors import BadScanError
from reshim.evaluation.regions import BOXES, region_of
from reshim.evaluation.store import Store
from reshim.metrics import METRICS, match_statistics
from reshim.physics.fourier import center_crop
from reshim.physics.maps import default_estimator
from reshim.physics.masks import evaluation_seed
from reshim.robustness.disturbance import Disturbance
from reshim.rows import RECORDED
from reshim.scans import load, load_reference
from reshim.scans.boxes import Annotations, Box, simulated_boxes
from reshim.types import Acquisition, MapEstimator, Measurement, Outcome, Reconstructor, ScanRecord


@runtime_checkable
class Explains(Protocol):
    """A reconstructor that says what it decided."""

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconstruct and say, slice by slice, whether it adapted and why."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """How methods are scored."""

    scheme: Scheme = field(default_factory=Scheme)
    """How scans are undersampled; one that is undersampled already cannot be scored."""

    targets: tuple[str, ...] = ("mvue", "rss")
    """References: ``mvue``, ``rss``, and ``clean`` for simulated scans."""

    regions: tuple[str, ...] = ("support", "all")
    """Where scores are taken: ``support``, ``all``; around findings ``box``, ``box-small``, ``box-large``."""

    metrics: tuple[str, ...] = ("ssim", "psnr", "nmse")
    """Names of `reshim.metrics.METRICS`; with the suffix ``_matched`` after matching mean and deviation."""

    slices: tuple[int, ...] | None = None
    """Which slices; None takes all."""

    estimate: MapEstimator = default_estimator
    """Coil maps, from the acquired samples."""

    remove_oversampling: bool = True
    """Cut the readout's oversampling away first."""

    annotations: Annotations | None = field(default=None, metadata={"digest": False})
    """Boxes for the regions that need them; None takes those in the files of simulated scans."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A scan that could not be evaluated, and why."""

    scan_id: str
    reason: str


def evaluate(
    records: Sequence[ScanRecord],
    methods: Mapping[str, Reconstructor],
    evaluation: Evaluation,
    store: Store,
    *,
    adapt: str = "none",
    on_progress: Callable[[str], None] | None = None,
    extra: Mapping[str, Any] | None = None,
    seen: frozenset[tuple[str, str]] = frozenset(),
    keep_images: bool = False,
    disturbance: Disturbance | None = None,
) -> tuple[list[tuple[str, str]], list[LeftOut]]:
    """Score methods on scans; returns (key, method) of the finished rows and the scans that were left out.

    What stands in the store is not computed again. A bad scan is left out and named; the others go on. Rows
    of the (dataset, subject) in `seen` are marked: a method was trained on them. `extra` adds columns.
    With a disturbance, methods see the disturbed scan and are scored against the undisturbed one.
    """
    finished: list[tuple[str, str]] = []
    left_out: list[LeftOut] = []
    for record in records:
        about = {**(extra or {}), "seen_in_training": (record.dataset, record.subject) in seen}
        if disturbance is not None:
            about["disturbance_sha256"] = digest(disturbance)
        wanted = {name: _key(record, method, evaluation, adapt, about) for name, method in methods.items()}
        missing = {name: methods[name] for name, key in wanted.items() if not store.has(key)}
        try:
            if missing:
                prepared = _Prepared.of(record, evaluation, disturbance)
                for name, method in missing.items():
                    outcome, seconds = _reconstruct(method, prepared.seen_by(method, evaluation, disturbance))
                    magnitude = center_crop(outcome.image.abs(), prepared.measurement.crop)
                    facts = {
                        **about,
                        "method": name,
                        "method_sha256": digest(method),
                        "train_seed": getattr(method, "train_seed", None),
                        "adapt": adapt,
                        "seconds": seconds,
                    }
                    rows = list(_rows(record, prepared, magnitude, outcome, evaluation, facts))
                    if keep_images:
                        first = next(iter(prepared.references.values()))
                        store.put_images(wanted[name], magnitude.numpy(), first.numpy())
                    store.put(wanted[name], [row | {"key": wanted[name]} for row in rows])
                    if on_progress is not None:
                        on_progress(f"{record.scan_id} · {name}")
            elif on_progress is not None:
                on_progress(f"{record.scan_id} · finished before")
            finished.extend((key, name) for name, key in wanted.items())
        except BadScanError as error:
            left_out.append(LeftOut(record.scan_id, str(error)))
    return finished, left_out


@dataclass(frozen=True)
class _Prepared:
    """What all methods share on one scan: the measurement, and apart from it the references."""

    measurement: Measurement
    sampling: Sampling
    references: dict[str, Tensor]
    boxes: list[Box]
    """Around findings: like the references, never shown to a method."""

    @classmethod
    def of(cls, record: ScanRecord, evaluation: Evaluation, disturbance: Disturbance | None) -> "_Prepared":
        acquisition = load(record, evaluation.slices)
        if not acquisition.fully_sampled:
            raise BadScanError(
                f"{record.scan_id} is undersampled, so it has no reference to be scored against; "
                "filter with fully_sampled, or use reconstruct"
            )
        if disturbance is not None:
            acquisition = disturbance.of_source(acquisition)
        reduced = without_oversampling(acquisition) if evaluation.remove_oversampling else acquisition
        if disturbance is not None:
            reduced = disturbance.of_scan(reduced)
        measurement = measure(reduced, evaluation.scheme, evaluation_seed(Path(record.path).name))
        return cls(
            evaluation.estimate(measurement),
            sampling_of(measurement, evaluation.scheme),
            {target: _reference(record, acquisition, target, evaluation) for target in evaluation.targets},
            _boxes(record, evaluation),
        )

    def seen_by(
        self, method: Reconstructor, evaluation: Evaluation, disturbance: Disturbance | None
    ) -> Measurement:
        """What one method is handed."""
        if disturbance is None:
            return self.measurement
        first = next(iter(self.references.values()))
        return disturbance.of_measurement(self.measurement, method, first).with_maps(evaluation.estimate)


def _boxes(record: ScanRecord, evaluation: Evaluation) -> list[Box]:
    if not set(BOXES) & set(evaluation.regions):
        return []
    return evaluation.annotations.of(record) if evaluation.annotations else simulated_boxes(record)


def _reference(record: ScanRecord, acquisition: Acquisition, target: str, evaluation: Evaluation) -> Tensor:
    if target == "clean":
        stored = load_reference(record, "clean", acquisition.slices)
        if stored is None:
            raise BadScanError(f"{record.scan_id} has no clean reference; only simulated scans know one")
        return stored
    return reference(acquisition, target)  # type: ignore[arg-type]


def _reconstruct(method: Reconstructor, measurement: Measurement) -> tuple[Outcome, float]:
    started = time.perf_counter()
    if isinstance(method, Explains):
        outcome = method.explain(measurement)
    else:
        image = method(measurement)
        outcome = Outcome(image, (False,) * image.shape[0], ("",) * image.shape[0])
    return outcome, time.perf_counter() - started + outcome.earlier_seconds


def _rows(
    record: ScanRecord,
    prepared: _Prepared,
    magnitude: Tensor,
    outcome: Outcome,
    evaluation: Evaluation,
    facts: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    measurement = prepared.measurement
    about = {
        **{name: getattr(record, name) for name in RECORDED},
        "mask": prepared.sampling.mask,
        "acceleration": prepared.sampling.acceleration,
        "effective_acceleration": prepared.sampling.effective_acceleration,
        "center_lines": prepared.sampling.center_lines,
        "mask_seed": Path(record.path).name,
        "mask_sha256": prepared.sampling.sha256,
        "crop_rows": measurement.crop[0],
        "crop_columns": measurement.crop[1],
        **facts,
    }
    for target, image in prepared.references.items():
        for scores in _scores(magnitude, image, evaluation, prepared.boxes, measurement.slices or ()):
            values, empty = scores.pop("values"), scores.pop("empty")
            for index, value in enumerate(values):
                number = (measurement.slices or range(len(values)))[index]
                yield {
                    **about,
                    **scores,
                    "slice": int(number),
                    "adapted": outcome.adapted[index],
                    "target": target,
                    # A slice without any pixel of the region has no score; any other NaN is the method's.
                    "value": None if empty[index] else float(value),
                }


def _scores(
    magnitude: Tensor,
    target: Tensor,
    evaluation: Evaluation,
    boxes: Sequence[Box] = (),
    slices: Sequence[int] = (),
) -> Iterator[dict[str, Any]]:
    """Every region and metric of a volume, in double precision."""
    magnitude, target = magnitude.double(), target.double()
    volume_max = target.max().expand(target.shape[0])
    for region in evaluation.regions:
        where = region_of(region, target, volume_max, boxes, slices)
        empty = [False] * len(target) if where is None else (~where.any(-1).any(-1)).tolist()
        for metric in evaluation.metrics:
            base = metric.removesuffix("_matched")
            image = match_statistics(magnitude, target) if base != metric else magnitude
            yield {
                "region": region,
                "metric": metric,
                "values": METRICS[base](image, target, volume_max, where),
                "empty": empty,
            }


def score_one(
    image: Tensor, target: Tensor, region: str = "support", metrics: Iterable[str] = ("ssim", "psnr", "nmse")
) -> dict[str, float]:
    """Mean over slices of each metric of one volume: what `card.json` carries."""
    evaluation = Evaluation(regions=(region,), metrics=tuple(metrics))
    scores = _scores(image, target, evaluation)
    return {entry["metric"]: float(torch.nanmean(entry["values"])) for entry in scores}


def _key(
    record: ScanRecord,
    method: Reconstructor,
    evaluation: Evaluation,
    adapt: str,
    extra: Mapping[str, Any],
) -> str:
    parts = (record.fingerprint, record.scan_id, record.split, method, evaluation, adapt, extra)
    # Named only where there are any: rows that know of no boxes stay where they are.
    return digest(*parts) if evaluation.annotations is None else digest(*parts, evaluation.annotations)
