"""Correlations over scans as rows, so that the judge gives them an interval over subjects.

The mean of the products of two standard scores is their correlation. A row holds one scan's product, so the
mean over rows is Pearson's correlation, or Spearman's where ranks are standardised. Subjects count alike, as
they do to the judge, however many scans they have: means and deviations are weighted so. Ours differs from a
bootstrap of the correlation itself: they stay those of all scans.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from reshim.evaluation.quantities import Score, score
from reshim.evaluation.significance import ranks
from reshim.types import ScanRecord

Values = Float[np.ndarray, " scan"]

KINDS = ("pearson", "spearman")


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
    names = np.array(["all"] * len(records) if groups is None else groups)
    scans_of = Counter((record.dataset, record.subject) for record in records)
    weights = np.array([1 / scans_of[record.dataset, record.subject] for record in records])
    for kind in KINDS:
        products = np.zeros(len(records))
        for name in np.unique(names):
            chosen = names == name
            parts = (_standard(each[chosen], kind, weights[chosen]) for each in (first, second))
            products[chosen] = np.multiply(*parts)
        for record, product in zip(records, products, strict=True):
            yield {
                **about(record),
                "method": what,
                "metric": kind,
                "target": "mvue",
                "region": "support",
                "slice": 0,
                "value": float(product),
            }


def _standard(values: Values, kind: str, weights: Values) -> Values:
    values = ranks(values) if kind == "spearman" else values
    centred = values - np.average(values, weights=weights)
    spread = np.sqrt(np.average(centred**2, weights=weights))
    # A metric that is the same for all scans tells nothing: correlation 0.
    return centred / spread if spread > 0 else np.zeros_like(centred)


def about(record: ScanRecord) -> Mapping[str, Any]:
    """What a row says of its scan."""
    names = ("scan_id", "dataset", "data_kind", "subject", "split", "anatomy", "contrast", "field_tesla")
    return {name: getattr(record, name) for name in names}
