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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from reshim.classical.sense import Sense
from reshim.classical.zero_filled import ZeroFilled
from reshim.digest import digest
from reshim.errors import BadScanError
from reshim.evaluation.claims import Claim, LowerBoundAbove, LowerBoundAtLeast, UpperBoundBelow
from reshim.evaluation.quantities import Difference, Score, score
from reshim.evaluation.run import LeftOut
from reshim.evaluation.segmenter import DenseSegmenter, dice_of, outline, train_segmenter
from reshim.networks.weights import load_weights, save_weights
from reshim.physics.fourier import center_crop
from reshim.progress import steps
from reshim.quality.metrics import LOWER_IS_BETTER, METRICS
from reshim.quality.of_catalog import magnitudes_of
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, TableBlock, TextBlock
from reshim.report.pictures import save_example
from reshim.scans import load_reference
from reshim.studies import lab, relations
from reshim.studies.embedded import Embedded
from reshim.studies.examples import kept_in
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
COHORT_NETWORK = "whole cohort"
OUTLINES = "outlines"
"""What the examples of the page are called."""
BRIGHTER = 0.4
"""Share of the range of grey by which examples raise what is outlined."""
TOLERANCE = 0.02

Volumes = dict[str, Tensor]


@dataclass(frozen=True)
class Outlines:
    """What was read, by scan."""

    images: Volumes = field(default_factory=dict)
    masks: Volumes = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    def read(self, record: ScanRecord) -> None:
        """Take in a scan and its outline.

        Raises
        ------
        BadScanError
            If it cannot be read, is undersampled, or has no outline.
        """
        if not record.fully_sampled:
            raise BadScanError(
                f"{record.scan_id} is undersampled, so its own image is not known; filter with fully_sampled"
            )
        images, mask = magnitudes_of(record), outline_of(record)
        self.images[record.scan_id], self.masks[record.scan_id] = images, mask
        self.fingerprints[record.scan_id] = record.fingerprint


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
    known = Outlines()
    with steps("reading volumes and outlines", len(cohort) + len(test)) as tick:
        for record in (*cohort, *test):
            try:
                known.read(record)
            except BadScanError as error:
                study.left_out.append(LeftOut(record.scan_id, str(error)))
            tick(record.scan_id)
    cohort, test = ([r for r in some if r.scan_id in known.images] for some in (cohort, test))
    measured = relations.measured(study, cohort, ("corrected",))
    values = {metric: found for (_, metric), found in measured.items()}
    found = _in_folds(study, cohort, known)
    for metric in METRICS:
        _relate(study, metric, values.get(metric, {}), found, cohort)
    shown = {FULL: {record.scan_id: known.images[record.scan_id] for record in test}}
    shown |= {name: _reconstructed(study, method, test) for name, method in SOURCES.items()}
    names = [record.scan_id for record in cohort]
    _keep(study, test, _outlined(study, COHORT_NETWORK, names, known, shown))
    _show(study, _network(study, COHORT_NETWORK, names, known), known, shown)
    for metric in SPLIT_BY:
        both = halves(names, values.get(metric, {}), metric)
        for is_better, chosen in zip((True, False), both, strict=True):
            label = half(is_better, metric)
            own = _outlined(study, label, chosen, known, {label: shown[FULL]})
            _keep(study, test, own)


def outline_of(record: ScanRecord) -> Tensor:
    """(slice, row, column): True in what is to be outlined.

    Raises
    ------
    BadScanError
        If the scan has no segmentation.
    """
    labels = load_reference(record, "segmentation")
    if labels is None:
        raise BadScanError(
            f"{record.scan_id} has no segmentation; take scans that have one (BraTS, simulated)"
        )
    return labels > 0


def _in_folds(study: Study, cohort: Sequence[ScanRecord], known: Outlines) -> dict[str, float]:
    """Dice of every scan of the cohort, from the network of the folds that its subject is not in."""
    subjects = sorted({record.subject for record in cohort})
    fold_of = {subject: index % FOLDS for index, subject in enumerate(subjects)}
    found: dict[str, float] = {}
    for fold in range(FOLDS):
        own = {r.scan_id: known.images[r.scan_id] for r in cohort if fold_of[r.subject] == fold}
        others = [r.scan_id for r in cohort if fold_of[r.subject] != fold]
        if own:
            found |= _outlined(study, f"fold {fold + 1}", others, known, {"fold": own})["fold"]
    return found


def _outlined(
    study: Study,
    label: str,
    chosen: Sequence[str],
    known: Outlines,
    shown: Mapping[str, Volumes],
) -> dict[str, dict[str, float]]:
    """Dice of volumes outlined by the network of some scans; the same asked again is found again."""
    key = digest(
        _settings(study, chosen, known),
        {name: [known.fingerprints[scan] for scan in volumes] for name, volumes in shown.items()},
        {name: [SOURCES[name], lab.SCHEME] for name in shown if name in SOURCES},
    )
    path = study.folder / "segmenters" / f"{study.slug(label)}-{key[:12]}.json"
    if not path.exists():
        network = _network(study, label, chosen, known)
        results = {name: dice_of(network, volumes, known.masks) for name, volumes in shown.items()}
        write_text(path, json.dumps({"trained on": list(chosen), "dice": results}, indent=1) + "\n")
    kept: dict[str, dict[str, float]] = json.loads(path.read_text())["dice"]
    return kept


def _settings(study: Study, chosen: Sequence[str], known: Outlines) -> list[Any]:
    """What decides the weights of a segmentation network."""
    return [_epochs(study), study.seed, [known.fingerprints[name] for name in chosen]]


def _epochs(study: Study) -> int:
    return 2 if study.tiny else EPOCHS


def _network(study: Study, label: str, chosen: Sequence[str], known: Outlines) -> nn.Module:
    """The network of some scans, trained once."""
    key = digest(_settings(study, chosen, known))
    path = study.folder / "segmenters" / f"{study.slug(label)}-{key[:12]}.safetensors"
    if path.exists():
        return load_weights(path, DenseSegmenter()).eval()
    with steps(f"outlining: {label}", 1) as tick:
        network = train_segmenter(
            [known.images[name] for name in chosen],
            [known.masks[name] for name in chosen],
            epochs=_epochs(study),
            seed=study.seed,
        )
        tick(label)
    save_weights(path, network)
    return network


def _show(study: Study, network: nn.Module, known: Outlines, shown: Mapping[str, Volumes]) -> None:
    """Keep the outlines of the scans with the median and the lowest Dice, where the outline is largest."""
    found = {name: dice_of(network, volumes, known.masks) for name, volumes in shown.items()}
    ranked = sorted(found[FULL], key=lambda scan: (found[FULL][scan], scan))
    for which, scan in zip(("median", "worst"), (ranked[len(ranked) // 2], ranked[0]), strict=True):
        mask = known.masks[scan]
        number = int(mask.flatten(1).sum(1).argmax())
        peak = shown[FULL][scan][number].amax()

        def drawn(image: Tensor, outlined: Tensor, number: int = number, peak: Tensor = peak) -> np.ndarray:
            grey = (image[number] / peak).clamp(0, 1) * (1 - BRIGHTER)
            return (grey + BRIGHTER * outlined[number]).numpy()

        save_example(
            study.folder,
            f"{OUTLINES}-{which}",
            drawn(shown[FULL][scan], mask),
            {name: drawn(volumes[scan], outline(network, volumes[scan])) for name, volumes in shown.items()},
            {name: f"Dice {found[name][scan]:.3f}" for name in shown},
            f"{which} scan of {len(ranked)}: {scan}, slice {number}, {FULL} {found[FULL][scan]:.3f}",
        )


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
    known = [r for r in cohort if r.scan_id in found and np.isfinite(values.get(r.scan_id, np.nan))]
    if len(known) < 3:
        return
    first, second = (np.array([each[r.scan_id] for r in known]) for each in (values, found))
    study.keep(list(relations.rows_of(metric, known, first, second)), method=metric, test=COHORT)


def halves(names: Sequence[str], values: Mapping[str, float], metric: str) -> tuple[list[str], list[str]]:
    """Scans on the better and on the worse side of the median, equally many."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    known = [name for name in names if np.isfinite(values.get(name, np.nan))]
    ordered = sorted(known, key=lambda name: (sign * values[name], name))
    middle = len(ordered) // 2
    return ordered[:middle], ordered[len(ordered) - middle :]


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
        ImagesBlock(
            "What is outlined",
            "What the network of the whole cohort outlines is brighter; so is the true outline in the "
            "reference. The maps show what is missed or outlined in vain, beside errors of the image. The "
            "scans with the median and with the lowest Dice on fully sampled images, in the slice where the "
            "outline is largest.",
            examples=kept_in(study.folder, OUTLINES),
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Folds and test set are apart by subject; halves have equally many scans. Metrics are the "
                "corrected ones. The paper outlines real tumours in BraTS, whose scans have no background, "
                "so that several of its metrics are of another kind.",
            ),
        ),
        relations.NOISE_LEVELS,
    )
