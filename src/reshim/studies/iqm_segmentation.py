"""Which image-quality metric of a scan foretells how well a tumour is outlined, and is better data better?

Paper   S. Muthusivarajan et al., Med. Phys. 2024, doi 10.1002/mp.17059 (BraTS); metrics: A. R. Sadri et al.,
        Med. Phys. 47:6029 (2020).
Claim   metrics correlate with Dice; networks of the better half by inhomogeneity (CV, CJV, CVP) and of the
        worse half by PSNR outline better than those of the other half: by MRQy's own metrics, as published,
        and by the corrected ones; and what does undersampling cost?
Data    simulated brains with large lesions (FLAIR, 3 and 1.5 T); metrics of the fully sampled magnitude.
Cost    about 26 minutes of one core; --tiny: two minutes. Needs the extra ``segmentation`` (MONAI).
Run     reshim study iqm-segmentation [--with METHOD ...]: what is outlined in images of these, too
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reshim.classical.sense import Sense
from reshim.classical.zero_filled import ZeroFilled
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference, Score, score
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast, UpperBoundBelow
from reshim.quality.metrics import GREY_LEVELS, METRICS, Mode
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, TableBlock, TextBlock
from reshim.studies.engine import lab, relations
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.examples import kept_in
from reshim.studies.engine.outlines import EXAMPLES, FULL, Outliner, Outlines
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study, refuse_seen
from reshim.types import Reconstructor, ScanRecord

TITLE = "What the quality of a scan foretells of a tumour's outline"
PAPER = "Muthusivarajan et al., Med. Phys. 2024"

SCANS = (lab.BRAIN_FLAIR, lab.BRAIN_FLAIR_15)
FOLDS, EPOCHS = 5, 10
LESIONS = 2.5
"""Size of simulated lesions over that of a usual head: at 64 pixels a side those have two or three voxels,
which no network learned to outline, and tumours are what is asked about."""
MODES: tuple[Mode, ...] = ("corrected", "mrqy")
SPLIT_BY = tuple((mode, metric) for mode in MODES for metric in relations.PUBLISHED)
"""Metrics that part the cohort."""
QUANTILE = relations.MEDIAN
"""Where: the published threshold is relative, and not known. Above the median, the middle is dropped."""
COHORT, TEST = "cohort, five folds", "independent test set"
SOURCES: dict[str, Reconstructor] = {"CG-SENSE at 4x": Sense(), "zero-filled at 4x": ZeroFilled()}
"""What the network of the whole cohort is shown in place of the fully sampled image, besides `TRAINED` and
the methods that a user names."""
TRAINED, NETWORK = "U-net at 4x", "unet-tiny"
"""A network that reconstructs, trained on the cohort's training scans: what a user has, and cheap."""
TAKES_METHODS = True
"""`reshim study iqm-segmentation --with METHOD ...`"""
COHORT_NETWORK = "whole cohort"
TOLERANCE = 0.02


def half(better: bool, mode: Mode, metric: str) -> str:
    """What rows call the network of one half."""
    return f"{'better' if better else 'worse'} half by {relations.called(mode, metric)}"


def named(metric: str, mode: Mode) -> str:
    """What rows of correlations call a metric."""
    return metric if mode == "corrected" else f"{mode} {metric}"


def sources(study: Study) -> dict[str, Reconstructor]:
    """What reconstructs the test scans for the network of the whole cohort: ours, and what the user named."""
    base = relations.readable(study, lab.any_of(SCANS))
    unet = study.train(TRAINED, NETWORK, base, lab.training(study.scale, NETWORK))
    return SOURCES | {TRAINED: unet} | asked(study)


def asked(study: Study) -> dict[str, Reconstructor]:
    """What the user named, as rows call it."""
    return {f"{name} at 4x": method for name, method in study.methods.items()}


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
        unit="rank correlation",
    ),
    Claim(
        "mrqy-inhomogeneity-foretells",
        "the more inhomogeneous by MRQy's CV, CJV and CVP, the worse the outline",
        AllOf(
            tuple(
                UpperBoundBelow(foretells(named(metric, "mrqy")), 0.0) for metric in relations.INHOMOGENEITY
            )
        ),
        paper=relations.SELECTED,
        unit="rank correlation",
    ),
    *(
        Claim(
            relations.claim_id(mode, metric),
            f"a network of the better half by {relations.called(mode, metric)} outlines better than one of "
            "the worse half",
            LowerBoundAbove(Difference(dice(half(True, mode, metric)), dice(half(False, mode, metric)))),
            paper=relations.PUBLISHED[metric] if mode == "mrqy" else None,
            unit="Dice",
            opposed=mode == "mrqy" and metric == "psnr",
        )
        for mode, metric in SPLIT_BY
    ),
    *(
        Claim(
            f"undersampling-costs-little{ending}",
            f"on {of} at 4x, Dice is within {TOLERANCE:g} of that on fully sampled ones",
            LowerBoundAtLeast(Difference(dice(source), dice(FULL)), -TOLERANCE),
            unit="Dice",
        )
        for ending, of, source in (
            ("", "CG-SENSE images", next(iter(SOURCES))),
            ("-unet", "images of a U-net", TRAINED),
        )
    ),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(
        *SCANS,
        scale=scale,
        lesions=LESIONS,
        slices=4 if scale.tiny else 8,
        needs=(Need.any_of([each.need() for each in SCANS]),),
    )


def run(study: Study) -> None:
    """Measure all scans, outline in five folds, train on halves, outline reconstructions."""
    everywhere = lab.any_of(SCANS)
    cohort = [*study.scans(everywhere, "train"), *study.scans(everywhere, "val")]
    test = study.scans(everywhere, "test")
    for name, method in asked(study).items():
        refuse_seen(name, method, test)  # before hours are spent
    known = Outlines()
    study.left_out += known.read_all((*cohort, *test))
    cohort, test = ([r for r in some if r.scan_id in known.images] for some in (cohort, test))
    outliner = Outliner(study, known, epochs=2 if study.tiny else EPOCHS)
    values = relations.measured(study, cohort, MODES)
    found = _in_folds(outliner, cohort)
    for mode in MODES:
        for metric in METRICS:
            _relate(study, named(metric, mode), values.get((mode, metric), {}), found, cohort)
    methods = sources(study)
    shown = {FULL: {record.scan_id: known.images[record.scan_id] for record in test}}
    shown |= {name: outliner.reconstructed(name, method, test) for name, method in methods.items()}
    names = [record.scan_id for record in cohort]
    _keep(study, test, outliner.dice(COHORT_NETWORK, names, shown, methods))
    outliner.show(COHORT_NETWORK, names, shown, methods)
    for mode, metric in SPLIT_BY:
        both = relations.halves(names, values.get((mode, metric), {}), metric, QUANTILE)
        for is_better, chosen in zip((True, False), both, strict=True):
            label = half(is_better, mode, metric)
            _keep(study, test, outliner.dice(label, chosen, {label: shown[FULL]}))


def _in_folds(outliner: Outliner, cohort: Sequence[ScanRecord]) -> dict[str, float]:
    """Dice of every scan of the cohort, from the network of the folds that its subject is not in."""
    subjects = sorted({record.subject for record in cohort})
    fold_of = {subject: index % FOLDS for index, subject in enumerate(subjects)}
    images = outliner.known.images
    found: dict[str, float] = {}
    for fold in range(FOLDS):
        own = {r.scan_id: images[r.scan_id] for r in cohort if fold_of[r.subject] == fold}
        others = [r.scan_id for r in cohort if fold_of[r.subject] != fold]
        if own:
            found |= outliner.dice(f"fold {fold + 1}", others, {"fold": own})["fold"]
    return found


def _relate(
    study: Study,
    what: str,
    values: Mapping[str, float],
    found: Mapping[str, float],
    cohort: Sequence[ScanRecord],
) -> None:
    known = [r for r in cohort if r.scan_id in found and np.isfinite(values.get(r.scan_id, np.nan))]
    if len(known) < 3:
        return
    first, second = (np.array([each[r.scan_id] for r in known]) for each in (values, found))
    study.keep(list(relations.rows_of(what, known, first, second)), method=what, test=COHORT)


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
    halves = (half(better, *each) for each in SPLIT_BY for better in (True, False))
    shown = (FULL, *SOURCES, TRAINED, *asked(study), *halves)
    return (
        ClaimsBlock(),
        TableBlock(
            "Correlation of each metric with Dice",
            f"Over the cohort, each scan outlined by the network of the other {FOLDS - 1} folds. "
            + relations.CORRECTED,
            rows=tuple(
                Choice(relations.called(mode, metric), {"method": named(metric, mode)})
                for mode in MODES
                for metric in METRICS
                if named(metric, mode) in there
            ),
            columns=columns,
            where={"target": "mvue", "region": "support", "test": COHORT},
            against_zero=True,
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
            examples=kept_in(study.folder, EXAMPLES),
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Folds and test set are apart by subject; halves have equally many scans, better than the "
                f"{QUANTILE:g} quantile of a metric or worse than the {1 - QUANTILE:g} quantile. What was "
                "published was found with MRQy's own metrics, so it stands beside those; here they see grey "
                f"values up to {GREY_LEVELS}. The paper outlines real tumours in BraTS, whose scans have no "
                "background, so that several of its metrics are of another kind.",
            ),
        ),
        relations.NOISE_LEVELS,
    )
