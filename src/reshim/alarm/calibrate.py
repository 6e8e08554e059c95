"""Teach a RUN's alarm how its images turn out: predicted SSIM, calibrated on scans with a reference.

Here, and here alone, the alarm meets references. What comes out lies in the RUN as ``alarm.safetensors``;
predicting reads that, the measurement and the un-adapted image. On the same scans it is seen whether being
reconciled makes the RUN's usual images better, which no held-out sample can tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from reshim.acquire import Scheme, measure, reference, without_oversampling
from reshim.adaptation.reconciled import Reconciled
from reshim.alarm.features import NAMES, foretelling
from reshim.alarm.metadata import KnownHeaders
from reshim.alarm.prediction import Prediction, Predictor
from reshim.alarm.shift import Alarm
from reshim.digest import digest
from reshim.errors import BadScanError, UserError
from reshim.metrics import ssim, support
from reshim.physics.fourier import center_crop
from reshim.physics.maps import default_estimator
from reshim.physics.masks import evaluation_seed
from reshim.scans import load
from reshim.seeds import numpy_generator_of
from reshim.training.run_folder import Trained
from reshim.types import Image, Measurement, ScanRecord

FILE = "alarm.safetensors"
FITTED_SHARE = 0.4
"""Of the subjects; the others calibrate."""


@dataclass(frozen=True)
class Foreteller:
    """Predicted SSIM of what a RUN hands out un-adapted."""

    method: Trained
    shift_score: Alarm
    predictor: Predictor

    @classmethod
    def of_run(cls, run: Trained) -> "Foreteller | None":
        """The foreteller of a RUN; None where its alarm was never calibrated, or for other weights."""
        path = None if run.path is None else run.path / FILE
        if run.path is None or path is None or not path.exists():
            return None
        predictor, method = Predictor.load(path), left_as_is(run)
        if predictor.about.get("weights") != digest(method.network):
            return None
        return cls(method, Alarm.of_run(run.path), predictor)

    def __call__(self, measurement: Measurement) -> Prediction:
        """Foretell the SSIM of a scan's un-adapted images."""
        try:
            row = foretelling(measurement, self.method, self.shift_score(measurement))
        except ValueError as error:
            return Prediction(None, None, None, unknown=str(error))
        return self.predictor(row)

    @property
    def digest(self) -> str:
        """Of the calibration, for it decides what is done; the weights that it speaks of are named in it."""
        return self.predictor.digest

    @property
    def mends_usual(self) -> bool:
        """Whether reconciling made the calibration scans better: the interval of its mean gain is above 0."""
        known = self.predictor.about.get("reconciling")
        return known is not None and known["gain"] - 1.96 * known["error"] > 0

    @property
    def headers(self) -> KnownHeaders | None:
        """What the headers of the training scans said, if that was kept."""
        plain = self.predictor.about.get("headers")
        return None if plain is None else KnownHeaders.of_plain(plain)


def left_as_is(run: Trained) -> Trained:
    """The model whose image is handed out where nothing is adapted: the fall-back, if there is one."""
    return run if run.fallback is None else replace(run, network=run.fallback)


def calibrate_alarm(
    run: Trained,
    records: Sequence[ScanRecord],
    *,
    schemes: Sequence[Scheme] = (Scheme(),),
    trained_on: Sequence[ScanRecord] = (),
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> Predictor:
    """Fit and calibrate predicted SSIM on fully sampled scans that training has not seen; keep it in the RUN.

    Parameters
    ----------
    records
        One scan a subject is used; subjects are dealt to the regression and to the calibration.
    schemes
        How they are undersampled; of several, each scan draws one.
    trained_on
        Records of the training scans, whose headers the metadata-only score compares with.

    Raises
    ------
    UserError
        If the run kept no statistics, or too few of the subjects are usable.
    """
    if run.path is None or not (run.path / "statistics.safetensors").exists():
        raise UserError(
            "the run has no folder with statistics.safetensors; train it again and calibrate that"
        )
    chosen, method, shift_score = one_a_subject(run, records, seed), left_as_is(run), Alarm.of_run(run.path)
    rows, scores, subjects, gains = [], [], [], []
    reconciled = Reconciled(method) if method.has_phase else None
    for index, record in enumerate(chosen):
        try:
            seen = observed(record, method, shift_score, schemes[index % len(schemes)], reconciled)
        except (BadScanError, ValueError) as error:
            if on_progress is not None:
                on_progress(f"{record.scan_id} left out: {error}")
            continue
        rows.append(seen.features)
        scores.append(seen.ssim)
        gains.append(seen.gain)
        subjects.append([record.dataset, record.subject])
        if on_progress is not None:
            on_progress(record.scan_id)
    n_fitted = round(FITTED_SHARE * len(rows))
    table = torch.stack(rows) if rows else torch.zeros(0, len(NAMES), dtype=torch.float64)
    values = torch.tensor(scores, dtype=torch.float64)
    predictor = Predictor.of(
        NAMES,
        (table[:n_fitted], values[:n_fitted]),
        (table[n_fitted:], values[n_fitted:]),
        {
            "weights": digest(method.network),
            "fitted": subjects[:n_fitted],
            "calibrated": subjects[n_fitted:],
            "schemes": [vars(scheme) for scheme in schemes],
            "headers": KnownHeaders.of(trained_on).plain() if trained_on else None,
            "reconciling": _mean_of([gain for gain in gains if gain is not None]),
        },
    )
    predictor.save(Path(run.path) / FILE)
    return predictor


def one_a_subject(run: Trained, records: Sequence[ScanRecord], seed: int) -> list[ScanRecord]:
    """One fully sampled scan of each subject that the run has not seen, in an order drawn from the seed."""
    scans: dict[tuple[str, str], list[ScanRecord]] = {}
    for record in sorted(records, key=lambda record: record.scan_id):
        subject = (record.dataset, record.subject)
        if record.fully_sampled and subject not in run.training_subjects:
            scans.setdefault(subject, []).append(record)
    generator = numpy_generator_of("calibrate", seed)
    order = generator.permutation(len(scans))
    subjects = list(scans.values())
    return [subjects[index][int(generator.integers(len(subjects[index])))] for index in order]


def _mean_of(gains: Sequence[float]) -> dict[str, float] | None:
    """Mean and standard error over subjects; None of fewer than two."""
    if len(gains) < 2:
        return None
    values = torch.tensor(gains, dtype=torch.float64)
    return {"gain": values.mean().item(), "error": (values.std() / len(gains) ** 0.5).item()}


@dataclass(frozen=True)
class Observed:
    """What the alarm sees of a scan, and apart from it how good its images were."""

    features: Tensor
    ssim: float
    """Of the un-adapted images."""

    gain: float | None
    """SSIM that reconciling them added, where that was asked."""


def observed(
    record: ScanRecord,
    method: Trained,
    shift_score: Alarm,
    scheme: Scheme,
    reconciled: Reconciled | None = None,
) -> Observed:
    """Look at a scan under a scheme, and at its reference."""
    acquisition = load(record)
    measurement = default_estimator(
        measure(without_oversampling(acquisition), scheme, evaluation_seed(Path(record.path).name))
    )
    image = method(measurement)
    row = foretelling(measurement, method, shift_score(measurement), image)
    target = reference(acquisition, "mvue")
    score = _support_ssim(image, measurement, target)
    if reconciled is None:
        return Observed(row, score, None)
    mended = _support_ssim(reconciled.reconcile(measurement, image), measurement, target)
    return Observed(row, score, mended - score)


def _support_ssim(image: Image, measurement: Measurement, target: Tensor) -> float:
    magnitude, target = center_crop(image.abs(), measurement.crop).double(), target.double()
    top = target.max().expand(target.shape[0])
    return float(ssim(magnitude, target, top, support(target, top)).nanmean())
