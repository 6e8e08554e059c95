"""What the alarm sees of many scans, looked at once and kept, and rows of what it made of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reshim.acquire import Scheme, measure, without_oversampling
from reshim.alarm.calibrate import FITTED_SHARE, left_as_is, observed
from reshim.alarm.features import NAMES
from reshim.alarm.prediction import Predictor
from reshim.alarm.shift import Alarm
from reshim.beside import beside
from reshim.digest import digest
from reshim.errors import BadScanError, UserError
from reshim.evaluation.run import LeftOut
from reshim.physics.masks import evaluation_seed
from reshim.progress import steps
from reshim.scans import load
from reshim.seeds import numpy_generator_of
from reshim.studies.engine import lab, relations
from reshim.studies.engine.study import Study
from reshim.training.run_folder import Trained
from reshim.types import Measurement, ScanRecord

KEEP_EVERY_SECONDS = 30.0
"""So that a study that is cut off goes on where it was."""

ALARM = "alarm"
EVERYWHERE, WITHIN = "usual and shifted scans", "scans of one kind"
"""Among which a score is related to the loss; the second counts what differs from scan to scan alone."""


@dataclass(frozen=True)
class Watched:
    """Scans that the alarm looked at: what it saw, and apart from it what the images scored."""

    records: Sequence[ScanRecord]
    rows: Tensor
    ssim: Tensor

    @property
    def scores(self) -> Tensor:
        """Shift scores."""
        return self.rows[:, NAMES.index("shift score")].exp()

    def among(self, others: "Watched") -> "Watched":
        """Those of the scans that the others are, too."""
        there = {record.scan_id for record in others.records}
        kept = [index for index, record in enumerate(self.records) if record.scan_id in there]
        return Watched([self.records[index] for index in kept], self.rows[kept], self.ssim[kept])


def watch(
    study: Study, run: Trained, alarm: Alarm, records: Sequence[ScanRecord], schemes: Sequence[Scheme]
) -> Watched:
    """What the alarm sees of scans, and apart from it the SSIM of their images; looked at once and kept.

    A scan that cannot be read or measured is left out and named; the others go on.
    """
    method = left_as_is(run)
    scans = [record.fingerprint for record in records]
    key = digest(method.network, scans, list(schemes), list(NAMES), alarm)
    path = study.shared / "watched" / f"{key[:16]}.safetensors"
    seen = _read(path, len(records))
    missing = [index for index in range(len(records)) if index not in seen]
    kept_at = time.monotonic()
    with steps("looking at new scans", len(missing)) as tick:
        for index in missing:
            try:
                found = observed(records[index], method, alarm, schemes[index % len(schemes)])
                seen[index] = found.features, found.ssim
            except (BadScanError, ValueError) as error:
                study.left_out.append(LeftOut(records[index].scan_id, str(error)))
            tick(records[index].scan_id)
            if seen and time.monotonic() > kept_at + KEEP_EVERY_SECONDS:
                _write(path, seen)
                kept_at = time.monotonic()
    if not seen:
        raise UserError(f"none of {len(records)} scans could be looked at: {study.left_out[-1].reason}")
    if any(index in seen for index in missing):
        _write(path, seen)
    kept = sorted(seen)
    rows = torch.stack([seen[index][0] for index in kept])
    ssim = torch.tensor([seen[index][1] for index in kept], dtype=torch.float64)
    return Watched([records[index] for index in kept], rows, ssim)


def _read(path: Path, count: int) -> dict[int, tuple[Tensor, float]]:
    """What was seen of each scan, by its place among those asked for."""
    if not path.exists():
        return {}
    kept = load_file(path)
    places = kept["places"].tolist() if "places" in kept else range(count)
    return dict(zip(places, zip(kept["rows"], kept["ssim"].tolist(), strict=True), strict=True))


def _write(path: Path, seen: Mapping[int, tuple[Tensor, float]]) -> None:
    places = sorted(seen)
    tensors = {
        "places": torch.tensor(places),
        "rows": torch.stack([seen[place][0] for place in places]),
        "ssim": torch.tensor([seen[place][1] for place in places], dtype=torch.float64),
    }
    with beside(path) as own:
        save_file(tensors, own)


def measured(record: ScanRecord) -> Measurement:
    """A scan as the network would meet it."""
    return measure(without_oversampling(load(record)), lab.SCHEME, evaluation_seed(Path(record.path).name))


def scored(
    study: Study,
    records: Sequence[ScanRecord],
    scores: Mapping[str, Callable[[ScanRecord, Measurement], float]],
) -> dict[str, dict[str, float]]:
    """Every score of each scan, by scan; one that cannot be read or measured is left out and named."""
    found = {}
    with steps("looking at new scans", len(records)) as tick:
        for record in records:
            try:
                measurement = measured(record)
                found[record.scan_id] = {name: of(record, measurement) for name, of in scores.items()}
            except (BadScanError, ValueError) as error:
                study.left_out.append(LeftOut(record.scan_id, str(error)))
            tick(record.scan_id)
    return found


def middle_of(measurement: Measurement) -> Measurement:
    """One slice of a volume."""
    return measurement.item(measurement.kspace.shape[0] // 2)


def fitted_of(n_known: int) -> int:
    """How many of the known subjects the line is fitted to; the others calibrate it."""
    return round(FITTED_SHARE * n_known)


def predictor_of(study: Study, known: Watched, features: Sequence[str]) -> Predictor:
    """The line through some features, fitted and calibrated on the same subjects for all."""
    order = numpy_generator_of("shift-alarm", study.seed).permutation(len(known.records)).tolist()
    rows = known.rows[:, [NAMES.index(feature) for feature in features]]
    n_fitted = fitted_of(len(order))
    first, second = order[:n_fitted], order[n_fitted:]
    return Predictor.of(features, (rows[first], known.ssim[first]), (rows[second], known.ssim[second]))


def keep_predictions(study: Study, predictor: Predictor, seen: Watched, test: str) -> None:
    """Errors, coverage, width, and the share of scans of which it says that it does not know."""
    keep_errors(study, ALARM, predictor, seen, test)
    foretold = [predictor(row) for row in seen.rows]
    known = [index for index, each in enumerate(foretold) if each.unknown is None]
    covered = [float((foretold[i].low or 0) <= float(seen.ssim[i]) <= (foretold[i].high or 0)) for i in known]
    widths = [(foretold[i].high or 0) - (foretold[i].low or 0) for i in known]
    records = [seen.records[i] for i in known]
    keep(study, ALARM, test, "covered", records, covered)
    keep(study, ALARM, test, "width", records, widths)
    keep(
        study,
        ALARM,
        test,
        "unknown",
        seen.records,
        [float(each.unknown is not None) for each in foretold],
    )


def keep_errors(study: Study, method: str, predictor: Predictor, seen: Watched, test: str) -> None:
    """Distance of predicted from true SSIM, where something is foretold."""
    foretold = [predictor(row) for row in seen.rows]
    known = [index for index, each in enumerate(foretold) if each.value is not None]
    errors = [abs((foretold[i].value or 0) - float(seen.ssim[i])) for i in known]
    keep(study, method, test, "mae_ssim", [seen.records[i] for i in known], errors)


def keep_placements(
    study: Study,
    method: str,
    usual: Tensor,
    shifted: Tensor,
    records: Sequence[ScanRecord],
    test: str,
) -> None:
    """The share of usual scans that score below each shifted one, ties half; its mean is the AUROC."""
    below = (usual < shifted[:, None]).double() + 0.5 * (usual == shifted[:, None]).double()
    keep(study, method, test, "placement", records, below.mean(1).tolist())


def keep_ranks(
    study: Study,
    method: str,
    scores: Mapping[str, Tensor],
    lost: Mapping[str, Tensor],
    seen: Mapping[str, Watched],
    home: str,
) -> None:
    """How the ranks of a score go with those of the SSIM lost: over all scans, and within each shift.

    `home` is the label of the scans that are not shifted.
    """
    shifts = [label for label in seen if label != home]
    for among, labels in ((EVERYWHERE, [home, *shifts]), (WITHIN, shifts)):
        records = [record for label in labels for record in seen[label].records]
        first, second = (torch.cat([each[label] for label in labels]).numpy() for each in (scores, lost))
        groups = [label for label in labels for _ in seen[label].records] if among == WITHIN else None
        rows = list(relations.rows_of(method, records, first, second, groups))
        study.keep(rows, method=method, test=among)


def keep(
    study: Study,
    method: str,
    test: str,
    metric: str,
    records: Sequence[ScanRecord],
    values: Sequence[float],
) -> None:
    """Rows of one number a scan."""
    shared = {"method": method, "adapt": "none", "target": "mvue", "region": "support", "slice": 0}
    rows = [
        {**relations.about(record), **shared, "split": "test", "metric": metric, "value": float(value)}
        for record, value in zip(records, values, strict=True)
    ]
    if rows:
        study.keep(rows, method=method, test=test)
