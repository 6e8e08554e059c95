"""Scans that repeat another: the same acquisition under a second name, rescaled, or with other noise.

Each scan's middle slice becomes a thumbnail of 24 x 24 from the centre of its k-space, and thumbnails are
compared by correlation, which neither scale nor a little noise changes. A repetition of the same contrast in
the same person can look as alike, so what is found is marked, never dropped.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from reshim.catalog.catalog import Catalog
from reshim.errors import BadScanError
from reshim.physics.fourier import center_crop, to_image
from reshim.scans import load
from reshim.types import ScanRecord

SIZE = 24
THRESHOLD = 0.999
BLOCK = 1024


def mark_duplicates(
    catalog: Catalog, threshold: float = THRESHOLD, on_progress: Callable[[int, int], None] | None = None
) -> Catalog:
    """The catalog with `duplicate_of` naming, for each scan, the first that it repeats.

    Views of one volume are never each other's duplicates; a scan that cannot be read has none.
    """
    records = catalog.records()
    thumbnails = np.zeros((len(records), SIZE * SIZE), np.float32)
    for number, record in enumerate(records):
        found = thumbnail(record)
        if found is not None:
            thumbnails[number] = found
        if on_progress is not None:
            on_progress(number + 1, len(records))
    first = _first_alike(thumbnails, [record.view_of or record.scan_id for record in records], threshold)
    return catalog._with(duplicate_of=[None if n is None else records[n].scan_id for n in first])


def thumbnail(record: ScanRecord) -> np.ndarray | None:
    """The middle slice at low resolution, flattened, of mean 0 and length 1; None if it cannot be read."""
    try:
        kspace = load(record, [record.n_slices // 2]).kspace
    except (BadScanError, OSError):
        return None
    size = min(SIZE, kspace.shape[-2]), min(SIZE, kspace.shape[-1])
    image = to_image(center_crop(kspace, size)).abs().square().sum((0, 1)).sqrt()
    shown = torch.zeros(SIZE, SIZE)
    shown[: size[0], : size[1]] = image - image.mean()
    length = shown.norm()
    return (shown / length).flatten().numpy() if length > 0 else None


def _first_alike(thumbnails: np.ndarray, volumes: Sequence[str], threshold: float) -> list[int | None]:
    """For every row the first earlier row that correlates above the threshold and is another volume."""
    first: list[int | None] = [None] * len(thumbnails)
    for start in range(0, len(thumbnails), BLOCK):
        alike = thumbnails[start : start + BLOCK] @ thumbnails[: start + BLOCK].T > threshold
        for row, column in zip(*np.nonzero(alike), strict=True):
            later = int(start + row)
            if column < later and first[later] is None and volumes[column] != volumes[later]:
                first[later] = int(column)
    return first
