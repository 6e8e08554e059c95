"""Where the centre of k-space is, and a warning where it is not where every method expects it.

Low-field and some older scans have it several samples off (M4Raw: up to 8): centred calibration crops then
miss the signal.
"""

from dataclasses import replace

import torch

from reshim.types import KSpace, Measurement

TOLERANCE = 2
"""Samples that the centre may be off: an echo is rarely sampled at its very top."""


def find_center(kspace: KSpace) -> tuple[int, int]:
    """Row and column of the most energetic 3 x 3 neighbourhood, over all coils and slices."""
    energy = torch.nan_to_num(kspace.abs().square()).flatten(0, -3).sum(0)
    mean = torch.nn.functional.avg_pool2d(energy[None, None] / energy.amax().clamp_min(1e-30), 3, 1, 1)[0, 0]
    index = int(mean.argmax())
    return index // energy.shape[-1], index % energy.shape[-1]


def with_center_warning(measurement: Measurement) -> Measurement:
    """The measurement, with a warning where its k-space centre is off."""
    acquired = torch.where(measurement.mask, measurement.kspace, 0)
    rows, columns = acquired.shape[-2:]
    found = find_center(acquired)
    off = found[0] - rows // 2, found[1] - columns // 2
    if max(abs(off[0]), abs(off[1])) <= TOLERANCE:
        return measurement
    warning = (
        f"the centre of k-space lies at row {found[0]}, column {found[1]}, {off[0]:+d} and {off[1]:+d} "
        f"samples from the middle ({rows // 2}, {columns // 2}), where maps and masks expect it: shift the "
        "data, or acquire enough centre lines to hold it"
    )
    return replace(measurement, warnings=(*measurement.warnings, warning))
