"""The only place where a fully sampled slice becomes an accelerated measurement.

Masks are drawn here, padding is cleared here, and whatever a mask does not acquire is set to zero here, so
nothing that a scanner would not have seen gets past. References are made here too, from the full k-space,
and travel apart from the measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from reshim.errors import UserError
from reshim.physics.center import with_center_warning
from reshim.physics.espirit import espirit_maps
from reshim.physics.fourier import center_crop, to_image, to_kspace
from reshim.physics.masks import LINE_MASKS, LineMask, default_center_fraction, draw_line_mask, mask_digest
from reshim.physics.one_each import one_each
from reshim.physics.plane_masks import PLANE_MASKS, PlaneMask, draw_plane_mask
from reshim.types import Acquisition, Calibration, Mask, Measurement

Target = Literal["rss", "mvue", "clean"]


@dataclass(frozen=True)
class Scheme:
    """How a scan is undersampled."""

    mask: str = "equispaced"
    """Name of the mask; ``file`` takes the scan's own."""

    acceleration: float = 4
    """Nominal rate."""

    center_fraction: float | None = None
    """Share of columns fully sampled around frequency 0; None takes the default of the rate."""

    center_lines: int | None = None
    """The same as a number of columns; give one of the two."""

    def __post_init__(self) -> None:
        known = (*LINE_MASKS, *PLANE_MASKS, "file")
        if self.mask not in known:
            raise UserError(f"there is no mask {self.mask!r}; there are {', '.join(known)}")

    def lines(self, n_columns: int) -> int:
        """Number of fully sampled centre columns of an `n_columns` wide k-space."""
        if self.center_lines is not None:
            return self.center_lines
        fraction = self.center_fraction
        return round(
            n_columns * (default_center_fraction(self.acceleration) if fraction is None else fraction)
        )

    def draw(self, n_columns: int, seed: int | tuple[int, ...]) -> LineMask:
        """Draw the mask of one scan."""
        return draw_line_mask(
            self.mask,
            n_columns,
            self.acceleration,
            center_fraction=self.center_fraction,
            center_lines=self.center_lines,
            seed=seed,
        )

    def draw_plane(self, acquisition: Acquisition, seed: int | tuple[int, ...]) -> PlaneMask:
        """Draw a mask over both axes of one scan."""
        rows, columns = acquisition.kspace.shape[-2:]
        return draw_plane_mask(
            self.mask,
            (rows, columns),
            self.acceleration,
            center_fraction=self.center_fraction,
            center_lines=self.center_lines,
            seed=seed,
        )


@dataclass(frozen=True)
class Sampling:
    """What was sampled, for the rows: the mask's names, rates and digest."""

    mask: str
    acceleration: float | None
    effective_acceleration: float
    center_lines: int
    sha256: str


def measure(acquisition: Acquisition, scheme: Scheme, seed: int | tuple[int, ...]) -> Measurement:
    """Undersample slices of one scan: one mask for all of them, as a scanner would.

    A k-space whose centre is off comes with a warning.

    Raises
    ------
    ValueError
        If a scan that is undersampled already is to be undersampled again, or one without a mask of its own
        is to use it.
    """
    if scheme.mask == "file" or acquisition.mask is not None:
        if acquisition.mask is None:
            raise ValueError(
                f"{acquisition.name} is fully sampled and carries no mask; name one instead of 'file'"
            )
        if scheme.mask != "file":
            raise ValueError(
                f"{acquisition.name} is undersampled already; use its own mask (mask 'file'), "
                f"not {scheme.mask!r} on top"
            )
        return with_center_warning(_measurement(acquisition, acquisition.mask, None))
    if scheme.mask in PLANE_MASKS:
        plane = torch.from_numpy(scheme.draw_plane(acquisition, seed).plane)
        return with_center_warning(_measurement(acquisition, plane[None, None], None))
    line = scheme.draw(acquisition.kspace.shape[-1], seed)
    mask = torch.from_numpy(line.columns)[None, None, None]
    return with_center_warning(_measurement(acquisition, mask, line.center))


def measure_each(
    acquisition: Acquisition, scheme: Scheme, seeds: Sequence[int | tuple[int, ...]]
) -> Measurement:
    """Undersample a batch whose items are slices of different scans, each with a mask of its own seed."""
    if scheme.mask in PLANE_MASKS:
        planes = np.stack([scheme.draw_plane(acquisition, seed).plane for seed in seeds])
        return _measurement(acquisition, torch.from_numpy(planes)[:, None], None)
    lines = [scheme.draw(acquisition.kspace.shape[-1], seed) for seed in seeds]
    mask = torch.from_numpy(np.stack([line.columns for line in lines]))[:, None, None]
    return _measurement(acquisition, mask, lines[0].center)


def seen_through(measurement: Measurement, mask: Mask) -> Measurement:
    """The measurement as if only the samples of `mask` had been acquired; its maps stay."""
    return replace(measurement, kspace=torch.where(mask, measurement.kspace, 0), mask=mask)


def fully_sampled(acquisition: Acquisition) -> Measurement:
    """The measurement of a scan that is not accelerated at all: for references and as a control."""
    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool).expand(1, 1, 1, acquisition.kspace.shape[-1])
    return _measurement(acquisition, everything, (0, acquisition.kspace.shape[-1]))


def without_oversampling(acquisition: Acquisition) -> Acquisition:
    """The same scan with the readout's oversampling removed: the image is cut to the rows that are scored.

    Exact for the rows that stay, and noise keeps its deviation, because both transforms are unitary. Only
    rows are cut and only where they are the readout, so the mask along the columns is untouched.
    """
    rows, columns = acquisition.kspace.shape[-2:]
    wanted = acquisition.crop[0]
    row_mask = acquisition.mask is not None and acquisition.mask.shape[-2] > 1
    if (
        acquisition.readout_axis != "row"
        or wanted >= rows
        or row_mask
        or acquisition.acquirable.shape[-2] > 1
    ):
        return acquisition
    cut = to_kspace(center_crop(to_image(acquisition.kspace, (-2,)), (wanted, columns)), (-2,))
    return replace(acquisition, kspace=cut)


def sampling_of(measurement: Measurement, scheme: Scheme) -> Sampling:
    """The names, rates and digest of a measurement's mask, counted over what could have been acquired."""
    shape = torch.broadcast_shapes(measurement.mask.shape, measurement.acquirable.shape)
    mask, acquirable = measurement.mask.expand(shape), measurement.acquirable.expand(shape)
    acquired = int((mask & acquirable).sum())
    return Sampling(
        mask=scheme.mask,
        acceleration=None if scheme.mask == "file" else float(scheme.acceleration),
        effective_acceleration=int(acquirable.sum()) / max(acquired, 1),
        center_lines=measurement.calibration.shape[1],
        sha256=mask_digest(measurement.mask.numpy()),
    )


def reference(acquisition: Acquisition, target: Target = "mvue") -> Float[Tensor, "slice row column"]:
    """The magnitude that a reconstruction is scored against, from the full k-space, cropped.

    ``rss`` is the root sum of squares of the coil images; ``mvue`` combines them with ESPIRiT maps of the
    full k-space, which no method sees. ``clean`` is known to simulated files alone and is read from them
    (`reshim.scans.load_reference`).

    Raises
    ------
    ValueError
        If the scan is undersampled: then nobody knows a reference.
    """
    if acquisition.mask is not None:
        raise ValueError(f"{acquisition.name} is undersampled, so it has no {target} reference")
    if target not in COMBINATIONS:
        raise ValueError(f"there is no target {target!r} in a full k-space; there are 'rss' and 'mvue'")
    combined = COMBINATIONS[target]

    def of_slice(kspace: Tensor) -> Tensor:
        return combined(torch.where(acquisition.acquirable[0], kspace, 0))

    items, _, *size = acquisition.kspace.shape
    image = acquisition.kspace.real.new_empty((items, *size))
    # Slice by slice: a volume's coil images and maps beside it would take several times its memory.
    for number, magnitude in enumerate(one_each(of_slice, acquisition.kspace)):
        image[number] = magnitude
    return center_crop(image, acquisition.crop)


def _root_sum_of_squares(kspace: Complex[Tensor, "coil row column"]) -> Float[Tensor, "row column"]:
    return to_image(kspace).abs().square().sum(-3).sqrt()


def _minimum_variance(kspace: Complex[Tensor, "coil row column"]) -> Float[Tensor, "row column"]:
    return (espirit_maps(kspace[None])[0, 0].conj() * to_image(kspace)).sum(-3).abs()


COMBINATIONS = {"rss": _root_sum_of_squares, "mvue": _minimum_variance}
"""From a slice's full k-space to the magnitude of each target."""


def find_calibration(mask: Bool[Tensor, "*batch 1 row column"]) -> Calibration:
    """The largest centred block that is fully sampled, grown row- and column-wise from frequency 0.

    For a mask along the columns this is the run of columns around the centre; for a 2-D mask the block
    grows in both directions by turns. Empty where frequency 0 itself was not acquired.
    """
    plane = mask.reshape(-1, *mask.shape[-2:]).all(0).numpy()
    rows, columns = plane.shape
    row, column = rows // 2, columns // 2
    if not plane[row, column]:
        return Calibration(0, 0, 0, 0)
    top, bottom, left, right = row, row + 1, column, column + 1
    grown = True
    while grown:
        grown = False
        if top > 0 and plane[top - 1, left:right].all():
            top, grown = top - 1, True
        if bottom < rows and plane[bottom, left:right].all():
            bottom, grown = bottom + 1, True
        if left > 0 and plane[top:bottom, left - 1].all():
            left, grown = left - 1, True
        if right < columns and plane[top:bottom, right].all():
            right, grown = right + 1, True
    return Calibration(top, bottom, left, right)


def _measurement(acquisition: Acquisition, mask: Tensor, center: tuple[int, int] | None) -> Measurement:
    rows = acquisition.kspace.shape[-2]
    mask = mask & acquisition.acquirable
    if center is None:
        calibration = find_calibration(mask.expand(*mask.shape[:-2], rows, mask.shape[-1]))
    else:
        columns = (
            acquisition.acquirable.reshape(-1, acquisition.acquirable.shape[-1]).all(0).nonzero().flatten()
        )
        first, last = int(columns[0]), int(columns[-1]) + 1
        calibration = Calibration(0, rows, max(center[0], first), min(center[1], last))
    n_items = acquisition.kspace.shape[0]
    noise = acquisition.noise_std
    return Measurement(
        # Not a product: what was not acquired may be NaN in a file, and NaN times 0 is NaN.
        kspace=torch.where(mask, acquisition.kspace, 0),
        mask=mask,
        calibration=calibration,
        acquirable=acquisition.acquirable,
        crop=acquisition.crop,
        name=acquisition.name,
        readout_axis=acquisition.readout_axis,
        slices=acquisition.slices,
        noise_std=None if noise is None else torch.full((n_items,), noise),
        noise_covariance=acquisition.noise_covariance,
    )
