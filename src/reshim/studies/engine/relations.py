"""Correlations over scans as rows, so that the judge gives them an interval over subjects.

The mean of the products of two standard scores is their correlation. A row holds one scan's product, so the
mean over rows is Pearson's correlation, or Spearman's where ranks are standardised; and it holds the pair
itself, so that each resample of subjects is ranked and standardised anew (`reshim.evaluation.correlation`).
Subjects count alike, as they do to the judge, however many scans they have.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from reshim.evaluation.correlation import COLUMNS, RANKED, Pairs
from reshim.evaluation.quantities import Score, score
from reshim.evaluation.run import LeftOut
from reshim.quality import noise
from reshim.quality.metrics import LOWER_IS_BETTER, Mode
from reshim.quality.of_catalog import quality_table
from reshim.report.blocks import TextBlock
from reshim.rows import write_table
from reshim.studies.engine.study import Study
from reshim.types import ScanRecord

Values = Float[np.ndarray, " scan"]

KINDS = ("pearson", RANKED)

MEDIAN = 0.5
"""The quantile that parts scans into halves."""

PUBLISHED = {
    "cv": "the better half by CV",
    "cjv": "the better half by CJV",
    "cvp": "the better half by CVP",
    "psnr": "the worse half by PSNR",
}
"""Which half trains the better segmentation in S. Muthusivarajan et al., by MRQy's own metrics."""

CORRECTED = (
    "Intervals are of each number by itself, so a few leave 0 by chance; p is corrected by Holm for the "
    "whole table."
)
"""What a table of many correlations has to say of itself."""

INHOMOGENEITY = ("cv", "cjv", "cvp")
SELECTED = "inhomogeneity measures (CV, CJV, CVP) are among those selected, by correlation with Dice"
"""What they found of correlations, by MRQy's own metrics."""

NOISE_LEVELS = TextBlock(
    "What SNR5 to SNR9 are",
    paragraphs=(
        "Each is the mean of the body over a noise level. That is measured where a pixel's 5×5 window is in "
        "the body, two pixels from its rim, and scaled so that white noise of deviation s has level s.",
        *(f"{name.upper()}: {level}." for name, level in noise.DEFINITIONS.items()),
        "MRQy's own have other levels, with faults; its SNR5 has no value, its SNR9 seldom one.",
    ),
)
"""For the pages of studies that show them."""


def correlation(what: str, among: str, kind: str = "spearman") -> Score:
    """The correlation that `rows_of` keeps under these names."""
    return score(
        f"{kind} correlation of {what} with the score, {among}",
        method=what,
        metric=kind,
        test=among,
        target="mvue",
        region="support",
    )


def halves(
    names: Sequence[str], values: Mapping[str, float], metric: str, quantile: float = MEDIAN
) -> tuple[list[str], list[str]]:
    """Scans that are better than a quantile of a metric and those that are worse than one less it.

    Equally many, the middle in neither; nor are scans that have no value. 0.5 parts at the median, 0.75 keeps
    the best and the worst quarter.

    Raises
    ------
    ValueError
        If the quantile is below 0.5, where a scan would be on both sides, or not below 1.
    """
    if not MEDIAN <= quantile < 1:
        raise ValueError(f"quantile is {quantile}; give 0.5 (the median) or more, below 1")
    sign = 1 if metric in LOWER_IS_BETTER else -1
    known = [name for name in names if np.isfinite(values.get(name, np.nan))]
    ordered = sorted(known, key=lambda name: (sign * values[name], name))
    many = int((1 - quantile) * len(ordered) + 1e-9)
    return ordered[:many], ordered[len(ordered) - many :]


def called(mode: Mode, metric: str) -> str:
    """A metric in words; where nothing is said of the mode it is corrected."""
    return f"MRQy's {metric.upper()}" if mode == "mrqy" else metric.upper()


def claim_id(mode: Mode, metric: str) -> str:
    """The id of the claim that the better half by a metric trains better."""
    return f"better-{'mrqy-' if mode == 'mrqy' else ''}{metric}-trains-better"


def readable(study: Study, where: str) -> str:
    """A filter without the scans that the study has left out so far."""
    unread = ", ".join(f"'{each.scan_id}'" for each in study.left_out)
    return f"({where}) and scan_id not in ({unread})" if unread else where


def rows_of(
    what: str,
    records: Sequence[ScanRecord],
    first: Values,
    second: Values,
    groups: Sequence[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """A row for each scan and kind of correlation.

    `groups` are standardised one by one: then what differs between groups alone makes no correlation.
    """
    names = tuple(groups or ["all"] * len(records))
    people = [(record.dataset, record.subject or record.scan_id) for record in records]
    place = {person: index for index, person in enumerate(dict.fromkeys(people))}
    subjects = np.array([place[person] for person in people], dtype=np.int64)
    shares = np.full((1, len(place)), 1 / len(place))
    for kind in KINDS:
        pairs = Pairs(first.astype(float), second.astype(float), names, subjects, kind == RANKED)
        standard = pairs.products(pairs.weights(shares))
        for index, record in enumerate(records):
            yield {
                **about(record),
                **dict(zip(COLUMNS, (float(first[index]), float(second[index]), names[index]), strict=True)),
                "method": what,
                "metric": kind,
                "target": "mvue",
                "region": "support",
                "slice": 0,
                "value": float(standard[0][0, index] * standard[1][0, index]),
            }


def measured(
    study: Study, records: Sequence[ScanRecord], modes: Sequence[Mode]
) -> dict[tuple[Mode, str], dict[str, float]]:
    """Mode and metric to scan to value, NaN where no slice has it; kept beside the rows, to be looked at.

    Scans that cannot be read are left out of the study, and named.
    """
    table, left_out = quality_table(records, modes)
    write_table(study.folder / "quality.parquet", table)
    study.left_out += [LeftOut(*line.split(": ", 1)) for line in left_out]
    values: dict[tuple[Mode, str], dict[str, float]] = {}
    for row in table.to_pylist():
        value = np.nan if row["value"] is None else row["value"]
        values.setdefault((row["mode"], row["metric"]), {})[row["scan_id"]] = value
    return values


def about(record: ScanRecord) -> Mapping[str, Any]:
    """What a row says of its scan."""
    names = ("scan_id", "dataset", "data_kind", "subject", "split", "anatomy", "contrast", "field_tesla")
    return {name: getattr(record, name) for name in names}
