"""Which image-quality metric of a scan foretells how well it is reconstructed, and is better data better?

Paper   S. Muthusivarajan et al., Med. Phys. 2024, doi 10.1002/mp.17059, who ask it of segmentation; metrics:
        A. R. Sadri et al., Med. Phys. 47:6029 (2020). Here a reconstruction's score stands for Dice.
Claim   a noise metric of a scan correlates with the score of its reconstruction; training on the better half
        by a metric and training on the worse half give models that differ. What was published is asked of
        MRQy's own metrics, with their faults; the corrected ones stand beside.
Data    knees (PD and PD-FS, 3 and 1.5 T) as simulated; metrics of the fully sampled magnitude.
Cost    about 30 minutes of one core; --tiny: about a minute.
Run     reshim study iqm-reconstruction
"""

from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference
from reshim.evaluation.rules import AllOf, LowerBoundAbove, UpperBoundBelow
from reshim.evaluation.store import Store
from reshim.quality.metrics import GREY_LEVELS, METRICS, Mode
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, MatrixBlock, TableBlock, TextBlock
from reshim.studies.engine import lab, relations
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.types import ScanRecord

TITLE = "What the quality of a scan foretells of its reconstruction"
PAPER = "Muthusivarajan et al., Med. Phys. 2024"

SCANS = (lab.KNEE_PD, lab.KNEE_PD_15, lab.KNEE_PDFS, lab.KNEE_PDFS_15)
NETWORK = "unrolled-tiny"
MODES: tuple[Mode, ...] = ("corrected", "mrqy")
ALL, WITHIN = "all scans", "scans of one protocol"
SPLIT_BY: tuple[tuple[Mode, str], ...] = (
    ("corrected", "psnr"),
    ("corrected", "snr1"),
    ("corrected", "cjv"),
    ("mrqy", "psnr"),
    ("mrqy", "cjv"),
    ("mrqy", "cvp"),
)
"""Metrics that part the training scans."""

QUANTILE = relations.MEDIAN
"""Where: the published threshold is relative, and not known. Above the median, the middle is dropped."""

PICTURED: tuple[Mode, str] = ("corrected", "psnr")
"""The one of them whose halves the page shows images of."""

CHOSEN = "corrected psnr"
EVERY_TEST = "knees of all protocols"


def named(metric: str, mode: Mode) -> str:
    """What rows call a metric."""
    return f"{mode} {metric}"


def half(better: bool, mode: Mode, metric: str) -> str:
    """What rows call the model of one half."""
    what = metric if mode == "corrected" else named(metric, mode)
    return f"trained on {'better' if better else 'worse'} {what}"


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*SCANS, scale=scale, needs=(Need.any_of([each.need() for each in SCANS]),))


def _gain(mode: Mode, metric: str) -> Difference:
    better, worse = (lab.on(half(side, mode, metric), EVERY_TEST) for side in (True, False))
    return Difference(better, worse)


CLAIMS = (
    Claim(
        "noise-foretells",
        "the less noise by the corrected PSNR, the better the reconstruction: over all scans, in protocols",
        AllOf(
            (
                LowerBoundAbove(relations.correlation(CHOSEN, ALL), 0.2),
                LowerBoundAbove(relations.correlation(CHOSEN, WITHIN)),
            )
        ),
        unit="rank correlation",
    ),
    Claim(
        "corrected-foretells-better",
        "the corrected PSNR foretells it better than MRQy's, which measures brightness",
        LowerBoundAbove(
            Difference(relations.correlation(CHOSEN, ALL), relations.correlation("mrqy psnr", ALL))
        ),
        unit="rank correlation",
    ),
    Claim(
        "inhomogeneity-foretells",
        "the more inhomogeneous by the corrected CJV, the worse the reconstruction",
        UpperBoundBelow(relations.correlation("corrected cjv", ALL), 0.0),
        unit="rank correlation",
    ),
    Claim(
        "mrqy-inhomogeneity-foretells",
        "the more inhomogeneous by MRQy's CV, CJV and CVP, the worse the reconstruction",
        AllOf(
            tuple(
                UpperBoundBelow(relations.correlation(f"mrqy {metric}", ALL), 0.0)
                for metric in relations.INHOMOGENEITY
            )
        ),
        paper=relations.SELECTED,
        unit="rank correlation",
    ),
    *(
        Claim(
            relations.claim_id(mode, metric),
            f"a network of the better half by {relations.called(mode, metric)} reconstructs better than of "
            "the worse half",
            LowerBoundAbove(_gain(mode, metric)),
            paper=f"{relations.PUBLISHED[metric]} segments better" if mode == "mrqy" else None,
            opposed=mode == "mrqy" and metric == "psnr",
        )
        for mode, metric in SPLIT_BY
    ),
)


def run(study: Study) -> None:
    """Measure all scans, score a network on the test scans, relate both; train on halves."""
    base = lab.any_of(SCANS)
    measured = relations.measured(study, study.scans(base), MODES)
    values = {named(metric, mode): found for (mode, metric), found in measured.items()}
    base = relations.readable(study, base)
    network = study.train("all scans", NETWORK, base, lab.training(study.scale))
    study.compare({"all scans": network}, base, lab.EVALUATION, test=EVERY_TEST)
    _relate(study, values, study.scans(base, "test"))
    names = [record.scan_id for record in study.scans(base, "train")]
    for mode, metric in SPLIT_BY:
        both = relations.halves(names, values[named(metric, mode)], metric, QUANTILE)
        for is_better, chosen in zip((True, False), both, strict=True):
            label = half(is_better, mode, metric)
            model = study.train(label, NETWORK, _only(base, chosen), lab.training(study.scale))
            study.compare({label: model}, base, lab.EVALUATION, test=EVERY_TEST, keep_images=False)
            if (mode, metric) == PICTURED:
                study.show({label: model}, base, lab.EVALUATION, by="all scans", test=EVERY_TEST)


def _relate(study: Study, values: dict[str, dict[str, float]], records: Sequence[ScanRecord]) -> None:
    scores = _scores(study.store, [key for key, _ in study.finished])
    protocols = [f"{record.contrast} {record.field_tesla}" for record in records]
    second = np.array([scores.get(record.scan_id, np.nan) for record in records])
    for what, found in values.items():
        first = np.array([found.get(record.scan_id, np.nan) for record in records])
        known = np.isfinite(first) & np.isfinite(second)
        if known.sum() < 3:
            continue
        chosen = [record for record, there in zip(records, known, strict=True) if there]
        groups = [name for name, there in zip(protocols, known, strict=True) if there]
        for among, within in ((ALL, None), (WITHIN, groups)):
            rows = list(relations.rows_of(what, chosen, first[known], second[known], within))
            study.keep(rows, method=what, test=among)


def _scores(store: Store, keys: Sequence[str]) -> dict[str, float]:
    """The score that claims are made on, a mean for each scan."""
    found: dict[str, list[float]] = {}
    for key in keys:
        for row in pq.read_table(store.path(key)).to_pylist():
            if all(row[name] == wanted for name, wanted in lab.SHOWN.items()) and row["value"] is not None:
                found.setdefault(row["scan_id"], []).append(row["value"])
    return {scan: float(np.mean(values)) for scan, values in found.items()}


def _only(base: str, names: Sequence[str]) -> str:
    """The filter of some training scans, with the validation scans of all."""
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"({base}) and (split <> 'train' or scan_id in ({quoted}))"


def page(study: Study) -> tuple[Block, ...]:
    """Every metric's correlation, and what halves of the data train."""
    columns = tuple(
        Choice(f"{kind}, {among}", {"metric": kind, "test": among})
        for among in (ALL, WITHIN)
        for kind in relations.KINDS
    )
    shared = {"target": "mvue", "region": "support"}
    return (
        ClaimsBlock(),
        TableBlock(
            "Correlation of each metric with the score of the reconstruction",
            "With the SSIM of one network. Standardised over all scans, or inside each protocol, which "
            "leaves out what contrast and field explain. " + relations.CORRECTED,
            rows=tuple(
                Choice(relations.called(mode, metric), {"method": named(metric, mode)})
                for mode in MODES
                for metric in METRICS
                if _has_rows(study, named(metric, mode))
            ),
            columns=columns,
            where=shared,
            against_zero=True,
        ),
        MatrixBlock(
            "Trained on the better and on the worse half",
            f"Training scans better than the {QUANTILE:g} quantile of a metric and worse than the "
            f"{1 - QUANTILE:g} quantile, equally many; the same test scans of all protocols.",
            methods=tuple(
                Choice(name, {"method": name})
                for name in ("all scans", *(half(b, *each) for each in SPLIT_BY for b in (True, False)))
            ),
            tests=(Choice(EVERY_TEST, {"test": EVERY_TEST}),),
            where=lab.SHOWN,
        ),
        ImagesBlock(
            f"What halves by {relations.called(*PICTURED)} train",
            "The slice with the median and the one with the worst score of the network of all scans.",
            examples=study.examples(
                EVERY_TEST,
                by="all scans",
                labels=("all scans", *(half(better, *PICTURED) for better in (True, False))),
            ),
        ),
        TextBlock(
            "What to read in it",
            paragraphs=(
                "Metrics are of the magnitude of the fully sampled scan, which is what a catalog has; MRQy's "
                f"own formulas see it in grey values up to {GREY_LEVELS} and stand beside the corrected "
                "ones, with their faults: its PSNR measures brightness. What was published was found with "
                "those. Halves by a noise metric "
                "part 3 T from 1.5 T here, so that a half is another scanner, too.",
            ),
        ),
        relations.NOISE_LEVELS,
    )


def _has_rows(study: Study, method: str) -> bool:
    return any(called.get("method") == method for _, called in study.finished)
