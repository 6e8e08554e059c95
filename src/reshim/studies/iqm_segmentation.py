"""Which image-quality metric of a scan foretells how well a tumour is outlined, and is better data better?

Paper   S. Muthusivarajan et al., Med. Phys. 2024, doi 10.1002/mp.17059 (BraTS); metrics: A. R. Sadri et al.,
        Med. Phys. 47:6029 (2020).
Claim   metrics correlate with Dice; networks of the better half by inhomogeneity (CV, CJV) and of the worse
        half by PSNR outline better than those of the other half; and what does undersampling cost?
Data    simulated brains with large lesions (FLAIR, 3 and 1.5 T); metrics of the fully sampled magnitude.
Cost    about 24 minutes on one core; --tiny: half a minute. Needs the extra ``segmentation`` (MONAI).
Run     reshim study iqm-segmentation
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from reshim.classical.sense import Sense
from reshim.classical.zero_filled import ZeroFilled
from reshim.evaluation.claims import Claim, LowerBoundAbove, LowerBoundAtLeast, UpperBoundBelow
from reshim.evaluation.quantities import Difference, Score, score
from reshim.evaluation.segmenter import dice_of, train_segmenter
from reshim.physics.fourier import center_crop
from reshim.progress import steps
from reshim.quality.metrics import LOWER_IS_BETTER, METRICS
from reshim.quality.of_catalog import magnitudes_of, quality_table
from reshim.report.blocks import Block, Choice, ClaimsBlock, TableBlock, TextBlock
from reshim.rows import write_table
from reshim.scans import load_reference
from reshim.studies import lab, relations
from reshim.studies.embedded import Embedded
from reshim.studies.scale import Scale
from reshim.studies.study import Study, write_text
from reshim.types import Reconstructor, ScanRecord

TITLE = "What the quality of a scan foretells of a tumour's outline"
PAPER = "Muthusivarajan et al., Med. Phys. 2024"

SCANS = (lab.BRAIN_FLAIR, lab.BRAIN_FLAIR_15)
FOLDS, EPOCHS = 5, 10
LESIONS = 2.5
"""Size of simulated lesions over that of a usual head: at 64 pixels a side those have two or three voxels,
which no network learned to outline, and tumours are what is asked about."""
SPLIT_BY = ("cv", "cjv", "psnr")
"""Metrics that part the cohort at their median."""
COHORT, TEST = "cohort, five folds", "independent test set"
SOURCES: dict[str, Reconstructor] = {"CG-SENSE at 4x": Sense(), "zero-filled at 4x": ZeroFilled()}
"""What the network of the whole cohort is shown in place of the fully sampled image."""
FULL = "fully sampled"
TOLERANCE = 0.02

Volumes = dict[str, Tensor]


def half(better: bool, metric: str) -> str:
    """What rows call the network of one half."""
    return f"better half by {metric.upper()}" if better else f"worse half by {metric.upper()}"


def dice(method: str, test: str = TEST) -> Score:
    """The score that claims are made on."""
    return score(method=method, metric="dice", test=test, target="segmentation", region="lesion")


def foretells(metric: str) -> Score:
    """The rank correlation of a metric with Dice, over the cohort."""
    return relations.correlation(metric, COHORT)


CLAIMS = (
    Claim(
        "noise-foretells",
        "the less noise by PSNR, the better the outline",
        LowerBoundAbove(foretells("psnr")),
        unit="rank correlation",
    ),
    Claim(
        "inhomogeneity-foretells",
        "the more inhomogeneous by CJV, the worse the outline",
        UpperBoundBelow(foretells("cjv"), 0.0),
        paper="inhomogeneity measures (CV, CJV, CVP) are among those selected, by correlation with Dice",
        unit="rank correlation",
    ),
    *(
        Claim(
            f"better-{metric}-trains-better",
            f"a network of the better half by {metric.upper()} outlines better than one of the worse half",
            LowerBoundAbove(Difference(dice(half(True, metric)), dice(half(False, metric)))),
            paper=paper,
            unit="Dice",
            opposed=paper == "the worse half",
        )
        for metric, paper in zip(
            SPLIT_BY, ("the better half", "the better half", "the worse half"), strict=True
        )
    ),
    Claim(
        "undersampling-costs-little",
        f"on CG-SENSE images at 4x, Dice is within {TOLERANCE:g} of that on fully sampled ones",
        LowerBoundAtLeast(Difference(dice(next(iter(SOURCES))), dice(FULL)), -TOLERANCE),
        unit="Dice",
    ),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*SCANS, scale=scale, lesions=LESIONS, slices=4 if scale.tiny else 8)


def run(study: Study) -> None:
    """Measure all scans, outline in five folds, train on halves, outline reconstructions."""
    everywhere = lab.any_of(SCANS)
    cohort = [*study.scans(everywhere, "train"), *study.scans(everywhere, "val")]
    test = study.scans(everywhere, "test")
    with steps("reading volumes and outlines", len(cohort) + len(test)) as tick:
        masks = {record.scan_id: outline_of(record) for record in (*cohort, *test)}
        images = {}
        for record in (*cohort, *test):
            images[record.scan_id] = magnitudes_of(record)
            tick(record.scan_id)
    values = _measured(study, cohort)
    found = _in_folds(study, cohort, images, masks)
    for metric in METRICS:
        _relate(study, metric, values[metric], found, cohort)
    shown = {FULL: {record.scan_id: images[record.scan_id] for record in test}}
    shown |= {name: _reconstructed(study, method, test) for name, method in SOURCES.items()}
    names = [record.scan_id for record in cohort]
    _keep(study, test, _outlined(study, "whole cohort", names, images, masks, shown))
    for metric in SPLIT_BY:
        for is_better, chosen in zip((True, False), halves(names, values[metric], metric), strict=True):
            label = half(is_better, metric)
            own = _outlined(study, label, chosen, images, masks, {label: shown[FULL]})
            _keep(study, test, own)


def outline_of(record: ScanRecord) -> Tensor:
    """(slice, row, column): True in what is to be outlined.

    Raises
    ------
    ValueError
        If the scan has no segmentation.
    """
    labels = load_reference(record, "segmentation")
    if labels is None:
        raise ValueError(f"{record.scan_id} has no segmentation; take scans that have one (BraTS, simulated)")
    return labels > 0


def _measured(study: Study, records: Sequence[ScanRecord]) -> dict[str, dict[str, float]]:
    table, _ = quality_table(records, ("corrected",))
    write_table(study.folder / "quality.parquet", table)
    values: dict[str, dict[str, float]] = {}
    for row in table.to_pylist():
        value = np.nan if row["value"] is None else row["value"]
        values.setdefault(row["metric"], {})[row["scan_id"]] = value
    return values


def _in_folds(
    study: Study, cohort: Sequence[ScanRecord], images: Volumes, masks: Volumes
) -> dict[str, float]:
    """Dice of every scan of the cohort, from the network of the folds that its subject is not in."""
    subjects = sorted({record.subject for record in cohort})
    fold_of = {subject: index % FOLDS for index, subject in enumerate(subjects)}
    found: dict[str, float] = {}
    for fold in range(FOLDS):
        own = {r.scan_id: images[r.scan_id] for r in cohort if fold_of[r.subject] == fold}
        others = [r.scan_id for r in cohort if fold_of[r.subject] != fold]
        if own:
            found |= _outlined(study, f"fold {fold + 1}", others, images, masks, {"fold": own})["fold"]
    return found


def _outlined(
    study: Study,
    label: str,
    chosen: Sequence[str],
    images: Volumes,
    masks: Volumes,
    shown: Mapping[str, Volumes],
) -> dict[str, dict[str, float]]:
    """Train on some scans, outline others; what was done is found again."""
    path = study.folder / "segmenters" / f"{study.slug(label)}.json"
    if not path.exists():
        with steps(f"outlining: {label}", 1) as tick:
            network = train_segmenter(
                [images[name] for name in chosen],
                [masks[name] for name in chosen],
                epochs=2 if study.tiny else EPOCHS,
                seed=study.seed,
            )
            results = {name: dice_of(network, volumes, masks) for name, volumes in shown.items()}
            tick(label)
        write_text(path, json.dumps({"trained on": list(chosen), "dice": results}, indent=1) + "\n")
    kept: dict[str, dict[str, float]] = json.loads(path.read_text())["dice"]
    return kept


def _reconstructed(study: Study, method: Reconstructor, records: Sequence[ScanRecord]) -> Volumes:
    images = {}
    for record in records:
        measurement, _ = study.pair_of(record, lab.SCHEME)
        images[record.scan_id] = center_crop(method(measurement).abs(), measurement.crop)
    return images


def _relate(
    study: Study,
    metric: str,
    values: Mapping[str, float],
    found: Mapping[str, float],
    cohort: Sequence[ScanRecord],
) -> None:
    known = [r for r in cohort if r.scan_id in found and np.isfinite(values[r.scan_id])]
    if len(known) < 3:
        return
    first, second = (np.array([each[r.scan_id] for r in known]) for each in (values, found))
    study.keep(list(relations.rows_of(metric, known, first, second)), method=metric, test=COHORT)


def halves(names: Sequence[str], values: Mapping[str, float], metric: str) -> tuple[list[str], list[str]]:
    """Scans on the better and on the worse side of the median, equally many."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    known = sorted((n for n in names if np.isfinite(values[n])), key=lambda n: (sign * values[n], n))
    middle = len(known) // 2
    return known[:middle], known[-middle:]


def _keep(study: Study, records: Sequence[ScanRecord], found: Mapping[str, Mapping[str, float]]) -> None:
    for method, by_scan in found.items():
        rows: list[dict[str, Any]] = [
            {
                **relations.about(record),
                "method": method,
                "metric": "dice",
                "target": "segmentation",
                "region": "lesion",
                "slice": 0,
                "value": by_scan[record.scan_id],
            }
            for record in records
            if record.scan_id in by_scan
        ]
        study.keep(rows, method=method, test=TEST)


def page(study: Study) -> tuple[Block, ...]:
    """Every metric's correlation with Dice, what halves train, what reconstructions cost."""
    there = {called["method"] for _, called in study.finished}
    columns = tuple(Choice(kind, {"metric": kind}) for kind in relations.KINDS)
    scored = {"metric": "dice", "target": "segmentation", "region": "lesion", "test": TEST}
    shown = (FULL, *SOURCES, *(half(better, metric) for metric in SPLIT_BY for better in (True, False)))
    return (
        ClaimsBlock(),
        TableBlock(
            "Correlation of each metric with Dice",
            f"Over the cohort, each scan outlined by the network of the other {FOLDS - 1} folds.",
            rows=tuple(Choice(m.upper(), {"method": m}) for m in METRICS if m in there),
            columns=columns,
            where={"target": "mvue", "region": "support", "test": COHORT},
        ),
        TableBlock(
            "Dice on the independent test set",
            "The network of the whole cohort on images and on reconstructions; networks of halves on images.",
            rows=tuple(Choice(name, {"method": name}) for name in shown),
            columns=(Choice("Dice", {}),),
            where=scored,
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Folds and test set are apart by subject; halves have equally many scans. Metrics are the "
                "corrected ones. The paper outlines real tumours in BraTS, whose scans have no background, "
                "so that several of its metrics are of another kind.",
            ),
        ),
    )
