"""The simulated scanner: an anatomy, a protocol card and a seed make multi-coil k-space.

The anatomy is drawn on a grid finer than the scan resolves, weighted by the signal equations and by every
coil there, transformed, and cut to the acquired matrix in k-space; so truncation, partial volume and the
coils' shading within a pixel are those of a scan, and no reconstruction can invert the simulation exactly.
Readout (rows) is oversampled twofold. Noise is thermal, correlated between neighbouring coils.

Ours differs from a scanner: blurring by T2 along an echo train, motion and the gradients' imperfections are
left out; B0 displaces nothing, it dephases gradient echoes and spoils fat suppression.
"""

import importlib
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, UInt8
from torch import Tensor

from reshim.errors import UserError
from reshim.physics.fourier import center_crop, center_pad, to_image, to_kspace
from reshim.seeds import generator_of
from reshim.simulation.coils import Loops, interpolation_matrix
from reshim.simulation.geometry import Draw, Geometry
from reshim.simulation.magnetisation import magnetisation
from reshim.simulation.protocols import Protocol
from reshim.simulation.truth import boxes_of, labels_of, pixel_positions

ANATOMIES = {"brain": "reshim.simulation.brain", "knee": "reshim.simulation.knee"}
"""Where each anatomy's `draw` lives."""

COIL_GRID_MM = 6.0
"""Coil fields are computed this far apart and interpolated: no tissue is nearer than 15 mm to a wire."""


@dataclass(frozen=True)
class SimulatedSlice:
    """One slice, noisy as acquired, and the truth beside it."""

    kspace: Complex[Tensor, "coil oversampled column"]
    rss: Float[Tensor, "row column"]
    """Root sum of squares of the noisy coil images, cut to the matrix."""

    clean: Float[Tensor, "row column"]
    """|sum of conj(S) x| over coils: x the noise-free coil images at the acquired resolution, S the true
    maps at the pixels' centres with unit sum of squares. So it is |object| sqrt(sum |C|^2)."""

    labels: UInt8[Tensor, "row column"]
    """The tissue that is most at the pixel's centre: 0 air, else 1 + index in `Exam.tissues`."""


@dataclass(frozen=True)
class Exam:
    """One subject on one scanner: all that its slices share. Slices are acquired one at a time."""

    card: Protocol
    subject: int
    seed: int
    matrix: int
    geometry: Geometry
    tissues: tuple[str, ...]
    lesions: tuple[tuple[str, int, int, int, int, int], ...]
    """Name, slice, and the box (row0, column0, row1, column1; half open) in pixels of the cut image."""

    loops: Loops
    noise_covariance: Complex[Tensor, "coil coil"]
    """E[n n^H] / 2 of one sample's noise: its diagonal is the variance of the real part of each coil."""

    gain: float
    objects: Complex[Tensor, "slice row column"]
    """Transverse magnetisation on the fine grid."""

    labels: UInt8[Tensor, "slice matrix matrix"]

    @property
    def name(self) -> str:
        """What seeds this exam's randomness."""
        return f"{self.card.name}/{self.seed}/{self.subject}"

    def acquire(self, index: int) -> SimulatedSlice:
        """Slice `index` with its noise, which is the same whichever slices were acquired before."""
        clean_kspace = self._encode(index)
        shape = tuple(clean_kspace.shape)
        white = torch.randn(shape, generator=generator_of("noise", self.name, index), dtype=torch.complex64)
        mixing = torch.linalg.cholesky(self.noise_covariance.to(torch.complex128)).to(torch.complex64)
        # randn of a complex type has variance 1 over both parts; the covariance is that of one.
        noise = math.sqrt(2) * (mixing @ white.flatten(1)).reshape(shape)
        clean_images = center_crop(to_image(clean_kspace), (self.matrix, self.matrix))
        noisy_images = center_crop(to_image(clean_kspace + noise), (self.matrix, self.matrix))
        fields = _fields_at(self, index, *self._pixel_positions())
        maps = fields / fields.abs().square().sum(0).sqrt()
        return SimulatedSlice(
            kspace=clean_kspace + noise,
            rss=noisy_images.abs().square().sum(0).sqrt(),
            clean=(maps.conj() * clean_images).sum(0).abs(),
            labels=self.labels[index],
        )

    def maps(self, index: int) -> Complex[Tensor, "coil row column"]:
        """The true coil maps of a slice at the pixels of the oversampled matrix, sum of squares 1."""
        rows, columns = self._pixel_positions(2 * self.matrix)
        inside = (rows >= 0) & (rows <= self.geometry.rows - 1)
        fields = _fields_at(self, index, rows.clamp(0, self.geometry.rows - 1), columns)
        return torch.where(inside[:, None], fields / fields.abs().square().sum(0).sqrt(), 0)

    def _encode(self, index: int) -> Complex[Tensor, "coil oversampled column"]:
        """Fine object times coil fields, transformed and cut to the acquired matrix."""
        grid = self.geometry
        rows, columns = torch.arange(grid.rows) * 1.0, torch.arange(grid.columns) * 1.0
        coil_images = self.objects[index] * _fields_at(self, index, rows, columns) * self.gain
        # Columns are cut before the rows are transformed: half the work.
        kspace = center_crop(to_kspace(coil_images, axes=(-1,)), (grid.rows, self.matrix))
        full_rows = 2 * grid.columns
        kspace = to_kspace(center_pad(kspace, (full_rows, self.matrix)), axes=(-2,))
        # The orthonormal transform of a larger grid gives smaller values; pixels keep the object's.
        scale = math.sqrt(2 * self.matrix * self.matrix / (full_rows * grid.columns))
        return center_crop(kspace, (2 * self.matrix, self.matrix)) * scale

    def _pixel_positions(self, rows: int | None = None) -> tuple[Tensor, Tensor]:
        """Rows and columns of the fine grid, as fractions, where the pixels' centres lie."""
        return pixel_positions(self.geometry, self.matrix, rows)


def examine(
    card: Protocol,
    subject: int,
    matrix: int = 128,
    slices: int | None = None,
    seed: int = 0,
    lesions: bool = False,
    draw: Draw | None = None,
) -> Exam:
    """Put a subject into the scanner: everything but the slices' own transform and noise.

    Parameters
    ----------
    card
        The protocol.
    subject
        Number of the subject; the same subject and seed is the same anatomy under every protocol.
    matrix
        Pixels a side of the reconstructed image; k-space has ``2 * matrix`` rows.
    slices
        How many, spread over the protocol's extent; its own number by default.
    seed
        Of everything random.
    lesions
        Plant lesions, with their boxes.
    draw
        What draws the anatomy, where it is not the card's.

    Raises
    ------
    ValueError
        If the matrix is odd or below 16, or there is no slice.
    """
    geometry = geometry_of(card, matrix, slices, seed, subject)
    anatomy = (draw or drawer_of(card.anatomy))(subject, geometry, seed=seed, lesions=lesions)
    owner = (card.name, seed, subject)
    objects = magnetisation(anatomy, geometry, card, generator_of("fields", *owner))
    loops = card.coils.loops(*owner)
    level, relative = _noise_of(card, loops, generator_of("receiver", *owner))
    bare = Exam(
        card, subject, seed, matrix, geometry, anatomy.tissues, boxes_of(anatomy, geometry, matrix), loops,
        relative, 1.0, objects, labels_of(anatomy, geometry, matrix),
    )  # fmt: skip
    brightness = _mean_in_body(bare, anatomy.fractions.sum(1) > 0.5)
    # File units are arbitrary, and differ from scan to scan as a scanner's do.
    gain = 1e-4 * math.exp(0.3 * torch.randn(1, generator=generator_of("gain", *owner)).item()) / brightness
    deviation = gain * brightness / (card.snr * level)
    return Exam(**(vars(bare) | {"gain": gain, "noise_covariance": relative * deviation**2}))


def drawer_of(anatomy: str) -> Draw:
    """The function that draws this anatomy; its module is imported on first use.

    Raises
    ------
    ValueError
        If there is no such anatomy.
    """
    if anatomy not in ANATOMIES:
        raise ValueError(f"anatomy {anatomy!r} is not known; it must be one of {sorted(ANATOMIES)}")
    return importlib.import_module(ANATOMIES[anatomy]).draw


def geometry_of(card: Protocol, matrix: int, slices: int | None, seed: int, subject: int) -> Geometry:
    """The fine grid: twice as fine as the scan, or one and a half times from 192 pixels on."""
    if matrix < 16 or matrix % 2:
        raise UserError(f"matrix is {matrix}; it must be even and at least 16")
    if slices is not None and slices < 1:
        raise UserError(f"slices is {slices}; it must be at least 1")
    columns = 2 * matrix if matrix < 192 else 3 * matrix // 2
    jitter = torch.randn(3, generator=generator_of("position", card.name, seed, subject)) * 3.0
    spacing = (card.fov_mm[0] / columns, card.fov_mm[1] / columns)
    return Geometry(
        rows=min(2 * round(card.coverage * columns / 2), 2 * columns),
        columns=columns,
        spacing_mm=spacing,
        positions_mm=tuple(position + jitter[2].item() for position in card.positions_mm(slices)),
        thickness_mm=card.thickness_mm,
        view=card.view,
        center_mm=(jitter[0].item(), jitter[1].item()),
    )


def _fields_at(
    exam: Exam, index: int, rows: Float[Tensor, "rows"], columns: Float[Tensor, "columns"]
) -> Complex[Tensor, "coil rows columns"]:
    """Coil fields of a slice at fractional positions of the fine grid: coarse Biot-Savart, then cubic."""
    grid = exam.geometry
    corner = torch.stack([axis[0, 0] for axis in grid.points(index)])
    down = torch.stack([axis[-1, 0] for axis in grid.points(index)]) - corner
    across = torch.stack([axis[0, -1] for axis in grid.points(index)]) - corner
    counts = [math.ceil(vector.norm().item() / COIL_GRID_MM) + 4 for vector in (down, across)]
    # One sample before the grid and two behind it, as cubic interpolation needs.
    steps = [torch.arange(-1, count - 1) * COIL_GRID_MM for count in counts]
    points = (
        corner
        + steps[0][:, None, None] * torch.nn.functional.normalize(down, dim=0)
        + steps[1][None, :, None] * torch.nn.functional.normalize(across, dim=0)
    )
    coarse = exam.loops.sensitivity(points).to(torch.complex64)
    to_rows = interpolation_matrix(counts[0], rows * grid.spacing_mm[0] / COIL_GRID_MM + 1)
    to_columns = interpolation_matrix(counts[1], columns * grid.spacing_mm[1] / COIL_GRID_MM + 1)
    parts = torch.stack([coarse.real, coarse.imag]) @ to_columns.T
    real, imaginary = to_rows @ parts
    return torch.complex(real, imaginary)


def _noise_of(card: Protocol, loops: Loops, generator: torch.Generator) -> tuple[float, Tensor]:
    """How much better this subject's SNR is than the card's, and the covariance with mean variance 1."""
    n_coils = len(loops.normals)
    spread = torch.exp(0.12 * torch.randn(n_coils, generator=generator, dtype=torch.float64))
    spread = spread / spread.square().mean().sqrt()
    # Currents couple a little from loop to loop before the preamplifiers: that makes it complex.
    shape = (n_coils, n_coils)
    leak = 0.03 * torch.randn(shape, generator=generator, dtype=torch.complex128)
    mixing = torch.eye(n_coils, dtype=torch.complex128) + leak
    correlation = mixing @ loops.noise_correlation(card.coils.coupling).to(torch.complex128) @ mixing.mH
    deviation = correlation.diagonal().real.sqrt() / spread
    covariance = correlation / deviation[:, None] / deviation[None, :]
    level = math.exp(0.08 * torch.randn(1, generator=generator).item())
    return level, (0.5 * (covariance + covariance.mH)).to(torch.complex64)


def _mean_in_body(exam: Exam, body: Bool[Tensor, "slice row column"]) -> float:
    """Mean of |object| sqrt(sum |C|^2) over the body inside the field of view, on every second cell."""
    grid, total, cells = exam.geometry, 0.0, 0
    half = grid.columns // 2
    rows = torch.arange(grid.rows // 2 - half, grid.rows // 2 + half, 2)
    columns = torch.arange(0, grid.columns, 2)
    rows = rows[(rows >= 0) & (rows < grid.rows)]
    for index in range(grid.n_slices):
        inside = body[index][rows][:, columns]
        fields = _fields_at(exam, index, rows * 1.0, columns * 1.0)
        strength = fields.abs().square().sum(0).sqrt() * exam.objects[index][rows][:, columns].abs()
        total += strength[inside].sum().item()
        cells += int(inside.sum())
    if not cells or not total > 0:
        raise ValueError(
            f"{exam.card.name}: the slices at {grid.positions_mm} mm show no body; "
            "check the anatomy and extent_mm"
        )
    return total / cells
