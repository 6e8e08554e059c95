"""Readouts put where they belong, for every format that stores a scan line by line.

A line knows its phase-encoding steps, the slice and the moment it was taken in, and what it is for.
Contrasts, repetitions and sets are scans of their own; slices and time frames of a flat scan are slices, time
running fastest. Averages are averaged.

Source: phase correction of segments after C. B. Ahn and Z. H. Cho, IEEE Trans. Med. Imaging 6:32 (1987), as
mridata.org's own scripts apply it (github.com/MRSRL/mridata-recon). Ours differs: the phase of a segment is
one for all coils, weighted by their signal, where theirs is each coil's own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.physics.fourier import to_image, to_kspace

Purpose = Literal["image", "noise", "correction", "other"]


@dataclass(frozen=True, slots=True)
class Line:
    """One readout."""

    values: np.ndarray
    """(coil, sample) complex64."""

    center: int
    """The sample of frequency 0."""

    y: int = 0
    z: int = 0
    """Column and partition, frequency 0 in the middle of the matrix."""

    scan: tuple[int, ...] = ()
    """Counters that tell the scans of a file apart."""

    frame: tuple[int, ...] = ()
    """Counters of the slice within its scan."""

    segment: int = 0
    purpose: Purpose = "image"
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """Sizes that the lines must fit."""

    n_coils: int
    n_frames: int
    x: int
    y: int
    z: int


@dataclass(frozen=True)
class Sorted:
    """All lines of one scan where they belong: (frame, coil, x, y, z), and which of y and z were acquired."""

    samples: np.ndarray
    acquired: np.ndarray
    covariance: np.ndarray | None


def sort_lines(lines: Iterable[Line], matrix: Matrix, scan: tuple[int, ...], name: str) -> Sorted:
    """The lines of one scan, averaged where they repeat; noise lines count for every scan of the file.

    Raises
    ------
    BadScanError
        If a line lies outside the matrix, or the frames have no line in common.
    """
    frames: dict[tuple[int, ...], int] = {}
    samples = np.zeros((matrix.n_frames, matrix.n_coils, matrix.x, matrix.y, matrix.z), np.complex64)
    counts = np.zeros((matrix.n_frames, matrix.y, matrix.z), np.int32)
    segments = np.zeros_like(counts)
    noise, calibration = [], {}
    for line in lines:
        if line.purpose == "noise":
            noise.append(line.values)
        if line.values.shape[0] != matrix.n_coils or line.scan != scan or line.purpose in ("noise", "other"):
            continue
        values = line.values[:, ::-1] if line.reverse else line.values
        rows, columns = rows_of(matrix.x, values.shape[1], line.center)
        frame = frames.setdefault(line.frame, len(frames))
        if frame >= matrix.n_frames or not (0 <= line.z < matrix.z):
            raise _misplaced(name, frame, line, matrix)
        if line.purpose == "correction":
            calibration[frame, line.segment] = np.zeros((matrix.n_coils, matrix.x), np.complex64)
            calibration[frame, line.segment][:, rows] = values[:, columns]
            continue
        if not 0 <= line.y < matrix.y:
            raise _misplaced(name, frame, line, matrix)
        samples[frame, :, rows, line.y, line.z] += values[:, columns]
        counts[frame, line.y, line.z] += 1
        segments[frame, line.y, line.z] = line.segment
    samples /= np.maximum(counts, 1)[:, None, None]
    if calibration:
        _correct_segments(samples, segments, calibration)
    # Frames in the order of their counters, not in the order in which the scanner happened to measure them.
    order = [frames[key] for key in sorted(frames)]
    acquired = np.asarray((counts[order] > 0).all(0) if order else np.zeros((matrix.y, matrix.z), bool))
    if not acquired.any():
        raise BadScanError(f"{name} has no image line in common to its frames; the scan was stopped early")
    return Sorted(samples[order], acquired, covariance_of(noise, matrix.n_coils))


def rows_of(n_x: int, n_samples: int, center: int) -> tuple[slice, slice]:
    """Where a readout goes: its centre sample onto frequency 0, what sticks out is dropped."""
    start = n_x // 2 - (center if 0 < center < n_samples else n_samples // 2)
    first, last = max(start, 0), min(start + n_samples, n_x)
    return slice(first, last), slice(first - start, last - start)


def covariance_of(noise: list[np.ndarray], n_coils: int) -> np.ndarray | None:
    """E[n n^H] / 2 over the noise lines, so that the diagonal is the variance of the real part."""
    usable = [values for values in noise if values.shape[0] == n_coils]
    if not usable or sum(values.shape[1] for values in usable) < 2 * n_coils:
        return None
    values = np.concatenate(usable, axis=1).astype(np.complex128)
    return (values @ values.conj().T / (2 * values.shape[1])).astype(np.complex64)


def line_mask(acquired: Tensor) -> tuple[Tensor | None, Tensor]:
    """The mask of acquired columns, None where only outer columns are missing; and what could be acquired."""
    columns = acquired.nonzero().flatten()
    acquirable = torch.zeros_like(acquired)
    acquirable[columns[0] : columns[-1] + 1] = True
    missing = bool((acquirable & ~acquired).any())
    return (acquired[None, None, None] if missing else None), acquirable[None, None, None]


def segment_phase(line: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The phase over x, constant and slope, that turns one calibration line (coil, x) into another."""
    ours, theirs = (to_image(torch.from_numpy(each), (-1,)).numpy() for each in (line, reference))
    between = (ours.conj() * theirs).sum(0)
    slope = np.angle((between[1:] * between[:-1].conj()).sum())
    x = np.arange(len(between))
    return slope * x + np.angle((between * np.exp(-1j * slope * x)).sum())


def _correct_segments(
    samples: np.ndarray, segments: np.ndarray, calibration: dict[tuple[int, int], np.ndarray]
) -> None:
    for frame in {frame for frame, _ in calibration}:
        mine = {segment: line for (of, segment), line in calibration.items() if of == frame}
        reference = mine[min(mine)]
        for segment, line in mine.items():
            phase = np.exp(1j * segment_phase(line, reference)).astype(np.complex64)
            place = segments[frame] == segment
            turned = (
                to_image(torch.from_numpy(samples[frame][..., place]), (-2,))
                * torch.from_numpy(phase)[:, None]
            )
            samples[frame][..., place] = to_kspace(turned, (-2,)).numpy()


def _misplaced(name: str, frame: int, line: Line, matrix: Matrix) -> BadScanError:
    return BadScanError(
        f"{name}: a line belongs to frame {frame}, y {line.y}, z {line.z} of {matrix.n_frames} frames of "
        f"{matrix.y}x{matrix.z}; the header's limits are those of another scan"
    )
