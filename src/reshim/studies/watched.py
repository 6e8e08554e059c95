"""What the alarm sees of many scans, looked at once and kept, and rows of what it made of them."""

from collections.abc import Mapping, Sequence
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
from reshim.digest import digest
from reshim.physics.masks import evaluation_seed
from reshim.progress import steps
from reshim.scans import load
from reshim.seeds import numpy_generator_of
from reshim.studies import lab, relations
from reshim.studies.study import Study
from reshim.training.run_folder import Trained
from reshim.types import Measurement, ScanRecord

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


def watch(
    study: Study, run: Trained, alarm: Alarm, records: Sequence[ScanRecord], schemes: Sequence[Scheme]
) -> Watched:
    """What the alarm sees of scans, and apart from it the SSIM of their images; looked at once and kept."""
    method = left_as_is(run)
    scans = [record.fingerprint for record in records]
    key = digest(method.network, scans, list(schemes), list(NAMES), alarm)
    path = study.shared / "watched" / f"{key[:16]}.safetensors"
    if not path.exists():
        rows, scores = [], []
        with steps("looking at new scans", len(records)) as tick:
            for index, record in enumerate(records):
                scheme = schemes[index % len(schemes)]
                seen = observed(record, method, alarm, scheme)
                rows.append(seen.features)
                scores.append(seen.ssim)
                tick(record.scan_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.partial")
        save_file({"rows": torch.stack(rows), "ssim": torch.tensor(scores, dtype=torch.float64)}, beside)
        beside.replace(path)
    kept = load_file(path)
    return Watched(records, kept["rows"], kept["ssim"])


def measured(record: ScanRecord) -> Measurement:
    """A scan as the network would meet it."""
    return measure(without_oversampling(load(record)), lab.SCHEME, evaluation_seed(Path(record.path).name))


def middle_of(measurement: Measurement) -> Measurement:
    """One slice of a volume."""
    return measurement.item(measurement.kspace.shape[0] // 2)


def predictor_of(study: Study, known: Watched, features: Sequence[str]) -> Predictor:
    """The line through some features, fitted and calibrated on the same subjects for all."""
    order = numpy_generator_of("shift-alarm", study.seed).permutation(len(known.records)).tolist()
    rows = known.rows[:, [NAMES.index(feature) for feature in features]]
    n_fitted = round(FITTED_SHARE * len(order))
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
