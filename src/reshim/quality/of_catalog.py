"""The image-quality metrics of scans, as rows: one a scan, mode and metric.

The image is the root sum of squares of what was acquired; of an undersampled scan it is zero-filled, and the
row says so.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import torch

from reshim.errors import BadScanError
from reshim.physics.fourier import center_crop, to_image
from reshim.quality.metrics import METRICS, Mode, quality
from reshim.scans import load
from reshim.types import RealImage, ScanRecord

SCHEMA = pa.schema(
    [
        ("scan_id", pa.string()),
        ("dataset", pa.string()),
        ("data_kind", pa.string()),
        ("subject", pa.string()),
        ("split", pa.string()),
        ("anatomy", pa.string()),
        ("contrast", pa.string()),
        ("field_tesla", pa.float64()),
        ("fully_sampled", pa.bool_()),
        ("mode", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),  # null where no slice has the metric
        ("n_slices", pa.int32()),  # slices that the value is the mean of
    ]
)


def magnitudes_of(record: ScanRecord) -> RealImage:
    """(slice, row, column): the root sum of squares of what was acquired, cropped."""
    acquisition = load(record)
    kspace = torch.where(acquisition.acquirable, acquisition.kspace, 0)
    if acquisition.mask is not None:
        kspace = torch.where(acquisition.mask, kspace, 0)
    return center_crop(to_image(kspace).abs().square().sum(-3).sqrt(), acquisition.crop)


def rows_of(record: ScanRecord, modes: Sequence[Mode] = ("mrqy", "corrected")) -> Iterator[dict[str, Any]]:
    """The rows of one scan."""
    volume = magnitudes_of(record).numpy()
    about = {
        name: getattr(record, name)
        for name in SCHEMA.names
        if name not in ("mode", "metric", "value", "n_slices")
    }
    for mode in modes:
        found = quality(volume, mode)
        for metric in METRICS:
            measured = {"value": found.values[metric], "n_slices": found.n_slices[metric]}
            yield {**about, "mode": mode, "metric": metric, **measured}


def quality_table(
    records: Sequence[ScanRecord],
    modes: Sequence[Mode] = ("mrqy", "corrected"),
    on_progress: Callable[[str], None] | None = None,
) -> tuple[pa.Table, list[str]]:
    """The table of a catalog's scans, and the scans that could not be read, with the reason."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for record in records:
        try:
            rows.extend(rows_of(record, modes))
        except BadScanError as error:
            left_out.append(f"{record.scan_id}: {error}")
        if on_progress is not None:
            on_progress(record.scan_id)
    return pa.Table.from_pylist(rows, schema=SCHEMA), left_out
