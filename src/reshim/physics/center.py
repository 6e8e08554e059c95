"""Where the centre of k-space is, and a warning where it is not where every method expects it.

Low-field and some older scans have it several samples off (M4Raw: up to 8): centred calibration crops then
miss the signal.
"""

from dataclasses import replace

import torch

from reshim.types import KSpace, Measurement

TOLERANCE = 2
"""Samples that the centre may be off: an echo is rarely sampled at its very top."""
ENOUGH_SLICES = 4
"""Looked at, evenly spread over a volume: its slices share their centre, and reading all would take long."""


def find_center(kspace: KSpace) -> tuple[int, int]:
    """Row and column of the most energetic 3 x 3 neighbourhood, over all coils and slices."""
    energy = torch.nan_to_num(kspace.abs().square()).flatten(0, -3).sum(0)
    mean = torch.nn.functional.avg_pool2d(energy[None, None] / energy.amax().clamp_min(1e-30), 3, 1, 1)[0, 0]
    index = int(mean.argmax())
    return index // energy.shape[-1], index % energy.shape[-1]


def with_center_warning(measurement: Measurement) -> Measurement:
    """The measurement, with a warning where its k-space centre is off."""
    every = max(1, measurement.kspace.shape[0] // ENOUGH_SLICES)
    mask = measurement.mask[::every] if measurement.mask.shape[0] > 1 else measurement.mask
    acquired = torch.where(mask, measurement.kspace[::every], 0)
    if not bool(acquired.any()):
        return measurement
    rows, columns = acquired.shape[-2:]
    found = find_center(acquired)
    off = found[0] - rows // 2, found[1] - columns // 2
    if all(abs(off[axis]) <= TOLERANCE + _gap(mask, axis) for axis in (0, 1)):
        return measurement
    warning = (
        f"the centre of k-space lies at row {found[0]}, column {found[1]}, {off[0]:+d} and {off[1]:+d} "
        f"samples from the middle ({rows // 2}, {columns // 2}), where maps and masks expect it: shift the "
        "data, or acquire enough centre lines to hold it"
    )
    return replace(measurement, warnings=(*measurement.warnings, warning))


def _gap(mask: torch.Tensor, axis: int) -> int:
    """How far from the middle the nearest acquired line lies: no peak shows where nothing was acquired."""
    lines = mask.reshape(-1, *mask.shape[-2:]).any(0).any(1 - axis)
    if len(lines) == 1:
        return 0
    return int((lines.nonzero().flatten() - len(lines) // 2).abs().min())
