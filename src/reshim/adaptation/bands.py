"""A band of a scan: some neighbouring readout positions, as a smaller scan of its own.

A mask along the columns leaves the rows of the image alone, so after a transform along the readout every row
is a measurement by itself, and a band of rows is one of a smaller matrix: exact, at a share of the work.
"""

from dataclasses import replace

import torch

from reshim.physics.fourier import to_image, to_kspace
from reshim.types import Measurement


def band_of(measurement: Measurement, first: int, n_rows: int) -> Measurement:
    """Rows `first` to `first + n_rows` of the image as a measurement, in the same units.

    Raises
    ------
    ValueError
        If the readout does not run along the rows or the mask is not the same in all of them, so that rows do
        not come apart; or the band does not lie in the image.
    """
    rows = measurement.kspace.shape[-2]
    if measurement.readout_axis != "row" or measurement.mask.shape[-2] > 1:
        raise ValueError(
            f"{measurement.name}: a band of rows is a measurement by itself only where rows are read out in "
            "one go and the mask runs along the columns; set readout_share to 1"
        )
    if not 0 < n_rows <= rows - first or first < 0:
        raise ValueError(f"{measurement.name}: rows {first} to {first + n_rows} of an image of {rows} rows")
    band = slice(first, first + n_rows)
    kspace = to_kspace(to_image(measurement.kspace, (-2,))[..., band, :], (-2,))
    acquirable = measurement.acquirable
    if acquirable.shape[-2] > 1:
        # Zero-padding along the readout is no longer zero in a band.
        acquirable = acquirable.any(-2, keepdim=True)
    # The transforms of a missing sample are zero up to rounding, and what was not acquired is exactly zero.
    kspace = torch.where(measurement.mask, kspace, 0)
    block = measurement.calibration
    return replace(
        measurement,
        kspace=kspace,
        maps=None if measurement.maps is None else measurement.maps[..., band, :],
        acquirable=acquirable,
        calibration=block if block.is_empty else block._replace(row_start=0, row_stop=n_rows),
        crop=(min(measurement.crop[0], n_rows), measurement.crop[1]),
    )
