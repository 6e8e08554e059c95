"""The image-quality metrics of scans, as rows: one a scan, mode and metric.

The image is the root sum of squares of what was acquired; of an undersampled scan it is zero-filled, and the
row says so.

The columns are those of all rows (`reshim.rows`), so that `read_rows` reads them and they lie beside scores
of reconstructions: one scan has the same ``dataset``, ``subject`` and ``scan_id``. What tells them apart:
the ``method`` is `METHOD` and the mode, no reconstruction; ``target`` is null, for there is no reference, and
``slice``, for a value is of the whole volume.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import torch

from reshim.errors import BadScanError
from reshim.physics.fourier import center_crop, to_image
from reshim.quality.metrics import METRICS, Mode, quality
from reshim.rows import SCHEMA as ROWS
from reshim.scans import load
from reshim.types import RealImage, ScanRecord

METHOD = "quality"
"""First word of the rows' method; the second is the mode."""

OWN = (
    ("mode", pa.string()),
    ("grey_levels", pa.int32()),  # of the brightest pixel, in mode mrqy; null where values are as they are
    ("n_slices", pa.int32()),  # slices that the value is the mean of; the value is null where there are none
    ("fully_sampled", pa.bool_()),
)
SCHEMA = pa.schema([*ROWS, *OWN])
ABOUT = (
    "scan_id", "dataset", "data_kind", "subject", "split", "view", "anatomy", "contrast", "vendor",
    "field_tesla", "fully_sampled",
)  # fmt: skip
"""What a row takes from its scan."""


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
    about = {name: getattr(record, name) for name in ABOUT}
    for mode in modes:
        found = quality(volume, mode)
        about |= {"method": f"{METHOD} {mode}", "mode": mode, "grey_levels": found.grey_levels}
        for metric in METRICS:
            measured = {"value": found.values[metric], "n_slices": found.n_slices[metric]}
            yield {**about, "metric": metric, **measured}


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
