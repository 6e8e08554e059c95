"""A Cartesian ISMRMRD scan, whether it lies in a file or comes over a network: header and lines to k-space.

Source: S. J. Inati et al., Magn. Reson. Med. 77:411 (2017), and the quirks in the card of `mrd`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reshim.errors import BadScanError
from reshim.scans.header import ScannerHeader
from reshim.scans.lines import Line, Matrix, Purpose, Sorted, line_mask
from reshim.scans.reader import check_samples, chosen_slices
from reshim.scans.volume import Volume, crop_of
from reshim.types import Acquisition

MAX_COILS = 1024
_NOISE, _PARALLEL_ONLY, _REVERSE, _NAVIGATOR, _PHASE_CORRECTION = 19, 20, 22, 23, 24
_NO_IMAGE = (_NOISE, _PARALLEL_ONLY, _NAVIGATOR, _PHASE_CORRECTION, 25, 26, 27, 28)
_FLAT_FRAME, _FLAT_SCAN = ("slice", "phase"), ("contrast", "repetition", "set")
_COUNTERS = (*_FLAT_SCAN, *_FLAT_FRAME)


@dataclass(frozen=True, slots=True)
class Head:
    """The header as far as it says where lines belong, and how many coils they have."""

    header: ScannerHeader
    n_coils: int

    @property
    def scan_counters(self) -> tuple[str, ...]:
        """Counters that tell scans of the file apart; in a 3D scan there is no slice or frame below them."""
        return _FLAT_SCAN if self.matrix[2] == 1 else _COUNTERS

    @property
    def frame_counters(self) -> tuple[str, ...]:
        """Counters that tell slices of one scan apart."""
        return _FLAT_FRAME if self.matrix[2] == 1 else ()

    def count(self, counters: tuple[str, ...]) -> int:
        """How many values the header allows to some counters together."""
        limits = dict(self.header.limits)
        return int(np.prod([limits.get(name, 0) + 1 for name in counters], dtype=object) or 1)

    @property
    def scans(self) -> list[dict[str, int]]:
        """The scans of the file, each by those counters that count more than one."""
        limits = dict(self.header.limits)
        counted = [name for name in self.scan_counters if limits.get(name, 0) > 0]
        return [
            dict(zip(counted, index, strict=True))
            for index in np.ndindex(*(limits[name] + 1 for name in counted))
        ]

    @property
    def is_segmented(self) -> bool:
        """True where the header counts several segments (shots) of an echo train."""
        return dict(self.header.limits).get("segment", 0) > 0

    @property
    def lines_fit(self) -> Matrix:
        """Sizes that the lines of one scan must fit."""
        return Matrix(self.n_coils, self.count(self.frame_counters), *self.matrix)

    @property
    def declared_bytes(self) -> int:
        """K-space of everything that the header allows."""
        return 8 * self.n_coils * self.count(_COUNTERS) * int(np.prod(self.matrix, dtype=object))

    @property
    def matrix(self) -> tuple[int, int, int]:
        """Encoded matrix: x, y, z."""
        assert self.header.encoded_matrix is not None
        return self.header.encoded_matrix

    @property
    def recon(self) -> tuple[int, int, int]:
        """The part of it that is shown."""
        recon = self.header.recon_matrix or self.matrix
        return tuple(min(a, b) for a, b in zip(recon, self.matrix, strict=True))  # type: ignore[return-value]


def head_of(header: ScannerHeader, n_coils: int, name: str) -> Head:
    """The header with the first line's coils.

    Raises
    ------
    BadScanError
        If the trajectory is not Cartesian, there is no matrix, or no plausible number of coils.
    """
    if header.trajectory not in (None, "cartesian"):
        raise BadScanError(f"{name} has a {header.trajectory} trajectory; only Cartesian scans are read")
    if header.encoded_matrix is None:
        raise BadScanError(f"{name}: the header gives no encoded matrix; add encodedSpace/matrixSize")
    if not 0 < n_coils <= MAX_COILS:
        raise BadScanError(
            f"{name}: the first line has {n_coils} channels; between 1 and {MAX_COILS} are expected"
        )
    return Head(header, n_coils)


def as_acquisition(
    head: Head, lines: Sorted, axis: str, name: str, slices: Sequence[int] | None, check: bool = True
) -> Acquisition:
    """The slices of one scan seen along an axis: "z" (as measured), "x" or "y".

    Raises
    ------
    BadScanError
        If the view would fold, or with `check` a slice is empty or holds NaN.
    """
    flat = head.matrix[2] == 1
    acquired = torch.from_numpy(lines.acquired)
    if flat:
        # A line that some frames lack is no sample of the scan's common mask.
        kspace = torch.where(acquired[:, 0], torch.from_numpy(lines.samples[..., 0]), 0)
        mask, acquirable = line_mask(acquired[:, 0])
        crop = head.recon[:2]
    else:
        volume = Volume(lines.samples[0])
        whole = bool(acquired.all())
        if not whole and axis != "x":
            raise BadScanError(
                f"{name} is a 3D scan undersampled along y and z ({acquired.float().mean():.0%} "
                f"acquired), so "
                "it has no view along either; take the one along readout (part 'x')"
            )
        kspace, crop = volume.view(axis), crop_of(head.recon, axis)
        mask = None if whole or axis != "x" else acquired[None, None]
        acquirable = torch.ones(1, 1, 1, kspace.shape[-1], dtype=torch.bool)
    chosen = chosen_slices(slices, kspace.shape[0], name)
    kspace = kspace[list(chosen)].clone()
    if check:
        check_samples(kspace, chosen, name)
    return Acquisition(
        kspace=kspace,
        name=name,
        slices=chosen,
        crop=crop,
        acquirable=acquirable,
        mask=mask,
        readout_axis=None if axis == "x" and not flat else "row",
        noise_covariance=None if lines.covariance is None else torch.from_numpy(lines.covariance),
    )


def line_of(head: Head, line_head: Any, values: np.ndarray) -> Line:
    """A line and what its head says of it."""
    flags, index = int(line_head["flags"]), line_head["idx"]
    y, z = _place(index, head)
    step = int(index["kspace_encode_step_1"])
    purpose: Purpose = "other" if any(flags >> (bit - 1) & 1 for bit in _NO_IMAGE) else "image"
    if flags >> (_NOISE - 1) & 1:
        purpose = "noise"
    elif purpose == "image" and head.is_segmented and step > (head.header.phase_maximum or step):
        # Stanford's calibration lines are counted on behind the last encoding step.
        purpose, z = "correction", 0
    if (
        purpose in ("image", "correction")
        and (step * head.header.chop[0] + int(index["kspace_encode_step_2"]) * head.header.chop[1]) % 2
    ):
        values = -values
    return Line(
        values,
        int(line_head["center_sample"]),
        y,
        z,
        tuple(int(index[name]) for name in head.scan_counters),
        tuple(int(index[name]) for name in head.frame_counters),
        int(index["segment"]),
        purpose,
        bool(flags >> (_REVERSE - 1) & 1),
    )


def _place(index: Any, head: Head) -> tuple[int, int]:
    """Column and partition of a line, counted from frequency 0 at the middle of the matrix."""
    header, (_, n_y, n_z) = head.header, head.matrix
    y_center = n_y // 2 if header.phase_center is None else header.phase_center
    z_center = n_z // 2 if header.partition_center is None else header.partition_center
    z = 0 if n_z == 1 else int(index["kspace_encode_step_2"]) - z_center + n_z // 2
    return int(index["kspace_encode_step_1"]) - y_center + n_y // 2, z
