"""Teach a RUN's alarm how its images turn out: predicted SSIM, calibrated on scans with a reference.

Here, and here alone, the alarm meets references. What comes out lies in the RUN as ``alarm.safetensors``;
predicting reads that, the measurement and the un-adapted image. On the same scans it is seen whether being
reconciled makes the RUN's usual images better, in the mean and with hardly a slice that loses; no held-out
sample can tell that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
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

LOSS, MOST_LOSERS = 0.002, 0.02
"""SSIM by which a slice that is reconciled counts as a loser, and the share of the slices that may be losers
where usual scans are reconciled."""


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
        return cls(method, Alarm.of_run(run.path), _without_outdated(predictor))

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
        """Whether reconciling made the calibration scans better, with hardly a slice that lost."""
        return not self.against_mending

    @property
    def against_mending(self) -> str:
        """Why usual scans are not reconciled: what failed on the calibration scans, if anything."""
        known = self.predictor.about.get("reconciling")
        if known is None:
            return "the calibration did not see whether reconciling helps; run `reshim calibrate` for that"
        failed = []
        if known["gain"] - 1.96 * known["error"] <= 0:
            failed.append(f"the mean gain is not surely above 0, {known['gain']:+.4f} ± {known['error']:.4f}")
        if known["losers"] > MOST_LOSERS:
            failed.append(
                f"{100 * known['losers']:.1f} % of {known['slices']} slices lost more than {LOSS} SSIM, and "
                f"{100 * MOST_LOSERS:g} % may"
            )
        return "; ".join(failed)

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
    rows, scores, subjects = [], [], []
    gains: list[Tensor] = []
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
        if seen.gains is not None:
            gains.append(seen.gains)
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
            "reconciling": _reconciling(gains),
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


def _reconciling(gains: Sequence[Tensor]) -> dict[str, float] | None:
    """What reconciling added, of the gains of each scan's slices; None of fewer than two subjects.

    Mean and standard error are over subjects, the share of losers is of all slices.
    """
    if len(gains) < 2:
        return None
    means, slices = torch.stack([each.mean() for each in gains]), torch.cat(list(gains))
    return {
        "gain": means.mean().item(),
        "error": (means.std() / len(gains) ** 0.5).item(),
        "losers": (slices < -LOSS).double().mean().item(),
        "slices": len(slices),
    }


def _without_outdated(predictor: Predictor) -> Predictor:
    """A calibration from before losers were counted has not seen whether usual scans may be reconciled."""
    known = predictor.about.get("reconciling")
    if known is None or "losers" in known:
        return predictor
    about = {name: value for name, value in predictor.about.items() if name != "reconciling"}
    return replace(predictor, about=about)


@dataclass(frozen=True)
class Observed:
    """What the alarm sees of a scan, and apart from it how good its images were."""

    features: Tensor
    ssim: float
    """Of the un-adapted images."""

    gains: Float[Tensor, " slice"] | None
    """SSIM that reconciling added to each that shows some body, where that was asked."""


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
    scores = _support_ssim(image, measurement, target)
    if reconciled is None:
        return Observed(row, float(scores.nanmean()), None)
    gains = _support_ssim(reconciled.reconcile(measurement, image), measurement, target) - scores
    return Observed(row, float(scores.nanmean()), gains[torch.isfinite(gains)])


def _support_ssim(image: Image, measurement: Measurement, target: Tensor) -> Float[Tensor, " slice"]:
    """Of each slice; NaN of one without a body."""
    magnitude, target = center_crop(image.abs(), measurement.crop).double(), target.double()
    top = target.max().expand(target.shape[0])
    return ssim(magnitude, target, top, support(target, top))
