"""The simulated scanner: an anatomy, a protocol card and a seed make multi-coil k-space.

The anatomy is drawn on a grid finer than the scan resolves, weighted by the signal equations and by every
coil there, transformed, and cut to the acquired matrix in k-space; so truncation, partial volume and the
coils' shading within a pixel are those of a scan, and no reconstruction can invert the simulation exactly.
Readout (rows) is oversampled twofold. Noise is thermal, correlated between neighbouring coils.

Ours differs from a scanner: blurring by T2 along an echo train and the gradients' imperfections are left out;
B0 displaces nothing, it dephases gradient echoes and spoils fat suppression. A 3D scan's views are written as
slices with noise of their own.
"""

import importlib
import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, UInt8
from torch import Tensor

from reshim.errors import UserError
from reshim.seeds import generator_of, numpy_generator_of
from reshim.simulation.artefacts import Artefacts
from reshim.simulation.coils import Loops
from reshim.simulation.fields import CoilFields
from reshim.simulation.geometry import Anatomy, Draw, Geometry
from reshim.simulation.magnetisation import magnetisation
from reshim.simulation.protocols import Protocol
from reshim.simulation.tissues import properties, varied
from reshim.simulation.truth import boxes_of, labels_of, pixel_positions

ANATOMIES = {
    name: f"reshim.simulation.{name}"
    for name in ("brain", "knee", "prostate", "pelvis", "heart", "abdomen", "breast", "phantom")
}
"""Where each anatomy's `draw` lives."""


# Which of y, x, z rows, columns and slices run along, in the order of the axial view.
_BODY_AXES = {"axial": (0, 1, 2), "coronal": (2, 1, 0), "sagittal": (2, 0, 1)}


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

    noise_covariance: Complex[Tensor, "coil coil"]
    """E[n n^H] / 2 of one sample's noise: its diagonal is the variance of the real part of each coil."""

    fields: CoilFields
    objects: Complex[Tensor, "slice row column"]
    """Transverse magnetisation on the fine grid, in file units."""

    labels: UInt8[Tensor, "slice matrix matrix"]
    artefacts: Artefacts = field(default_factory=Artefacts)

    @property
    def name(self) -> str:
        """What seeds this exam's randomness."""
        return f"{self.card.name}/{self.seed}/{self.subject}"

    def acquire(self, index: int, repetition: int = 0) -> SimulatedSlice:
        """Slice `index` with its noise, which is the same whichever slices were acquired before.

        Another repetition has other noise and, where there are artefacts, others. The clean image has none.
        """
        clean_kspace = self._encode(index)
        owner = (self.name, index, *([repetition] if repetition else []))
        kspace = self.artefacts.in_body(clean_kspace, generator_of("motion", *owner))
        kspace = kspace + self._noise(owner)
        kspace = self.artefacts.in_receiver(kspace, generator_of("spikes", *owner))
        fields = self.fields.at(index, *pixel_positions(self.geometry, self.matrix))
        combined = (fields.conj() * self._cut_image(clean_kspace)).sum(0)
        return SimulatedSlice(
            kspace=kspace,
            rss=_root_sum_of_squares(self._cut_image(kspace)),
            clean=combined.abs() / _root_sum_of_squares(fields),
            labels=self.labels[index],
        )

    def maps(self, index: int) -> Complex[Tensor, "coil oversampled column"]:
        """True coil maps of a slice on the oversampled matrix, sum of squares 1; 0 beyond what is drawn."""
        rows, columns = pixel_positions(self.geometry, self.matrix, 2 * self.matrix)
        drawn = (rows >= 0) & (rows <= self.geometry.rows - 1)
        fields = self.fields.at(index, rows.clamp(0, self.geometry.rows - 1), columns)
        return torch.where(drawn[:, None], fields / _root_sum_of_squares(fields), 0)

    def _encode(self, index: int) -> Complex[Tensor, "coil oversampled column"]:
        """Fine object times coil fields, transformed and cut to the acquired matrix.

        This is `to_kspace` and `center_crop`, with the shifts folded into the copies that are made anyway.
        """
        rows, columns, size = self.geometry.rows, self.geometry.columns, self.matrix
        order = torch.fft.ifftshift(torch.arange(columns))
        images = self.fields.at(index, torch.arange(rows) * 1.0, order * 1.0)
        images *= self.objects[index][:, order]
        # Columns are cut before the rows are transformed: half the work.
        lines = torch.fft.fft(images, dim=-1)
        padded = lines.new_zeros(len(lines), 2 * columns, size)
        above = rows // 2
        for target, source in (
            (slice(-above, None), slice(above)),
            (slice(rows - above), slice(above, None)),
        ):
            padded[:, target, : size // 2] = lines[:, source, -(size // 2) :]
            padded[:, target, size // 2 :] = lines[:, source, : size // 2]
        spectrum = torch.fft.fft(padded, dim=-2)
        # Pixels keep the object's value: the mean over the cells that a pixel covers.
        scale = math.sqrt(2) * size / (2 * columns * columns)
        return torch.cat([spectrum[:, -size:], spectrum[:, :size]], dim=-2) * scale

    def _noise(self, owner: tuple[object, ...]) -> Complex[Tensor, "coil oversampled column"]:
        size, n_coils = self.matrix, len(self.noise_covariance)
        generator = numpy_generator_of("noise", *owner)
        parts = generator.standard_normal((n_coils, 2 * size * size, 2), dtype=np.float32)
        mixing = torch.linalg.cholesky(self.noise_covariance.to(torch.complex128)).to(torch.complex64)
        return (mixing @ torch.view_as_complex(torch.from_numpy(parts))).reshape(n_coils, 2 * size, size)

    def _cut_image(self, kspace: Tensor) -> Complex[Tensor, "coil row column"]:
        """Coil images cut to the matrix, up to a sign that alternates and is the same for all coils."""
        size = self.matrix
        image = torch.fft.ifft(kspace, dim=-2, norm="ortho")
        image = torch.cat([image[:, -(size // 2) :], image[:, : size // 2]], dim=-2)
        return torch.fft.fftshift(torch.fft.ifft(image, dim=-1, norm="ortho"), dim=-1)


def examine(
    card: Protocol,
    subject: int,
    matrix: int = 128,
    slices: int | None = None,
    seed: int = 0,
    lesions: bool | float = False,
    draw: Draw | None = None,
    lesion_contrast: float = 1.0,
    artefacts: Artefacts | None = None,
) -> Exam:
    """Put a subject into the scanner: everything but the slices' own transform and noise.

    Parameters
    ----------
    card
        The protocol.
    subject
        Number of the subject; the same subject and seed is the same anatomy under every protocol.
    matrix
        Pixels a side of the reconstructed image, times the card's `matrix_share`; k-space has twice as many
        rows.
    slices
        How many, spread over the protocol's extent; its own number by default.
    seed
        Of everything random.
    lesions
        Plant lesions, with their boxes; a number is their size, 1 as drawn.
    draw
        What draws the anatomy, where it is not the card's.
    lesion_contrast
        How much of the tissue they replace the lesions take, above 0 and up to 1.
    artefacts
        What goes wrong; nothing by default.

    Raises
    ------
    ValueError
        If the matrix is odd or below 16, there is no slice, or the lesions have no size or contrast.
    """
    if not lesions >= 0 or not 0 < lesion_contrast <= 1:
        raise UserError(
            f"lesions are {float(lesions):g} of their size with contrast {lesion_contrast:g}; "
            "the size is at least 0, the contrast above 0 and at most 1"
        )
    matrix = card.matrix_of(matrix)
    geometry = geometry_of(card, matrix, slices, seed, subject)
    drawer = draw or drawer_of(card.anatomy)
    anatomy = drawer(subject, geometry, seed=seed, lesions=lesions)
    if lesions and lesion_contrast < 1:
        anatomy = _faded(anatomy, drawer(subject, geometry, seed=seed), lesion_contrast)
    owner = (card.scan or card.name, seed, subject)
    tissues = [
        varied(properties(name, card.field_tesla), card.anatomy, seed, subject, name)
        for name in anatomy.tissues
    ]
    objects = magnetisation(anatomy, geometry, card, tissues, generator_of("fields", *owner))
    objects *= _saturation(geometry, card.edge_mm)
    loops = card.coils.loops(*owner)
    fields = CoilFields.of(loops, geometry)
    brightness = _mean_in_body(objects, anatomy.fractions.sum(1) > 0.5, fields, geometry)
    # File units are arbitrary, and differ from scan to scan as a scanner's do.
    gain = 1e-4 * math.exp(0.3 * torch.randn(1, generator=generator_of("gain", *owner)).item()) / brightness
    level, covariance = _noise_of(card, loops, generator_of("receiver", *owner))
    return Exam(
        card=card,
        subject=subject,
        seed=seed,
        matrix=matrix,
        geometry=geometry,
        tissues=anatomy.tissues,
        lesions=boxes_of(anatomy, geometry, matrix),
        fields=fields,
        objects=objects * gain,
        labels=labels_of(anatomy, geometry, matrix),
        noise_covariance=covariance * (gain * brightness / (card.snr * level)) ** 2,
        artefacts=artefacts or Artefacts(),
    )


def _faded(anatomy: Anatomy, healthy: Anatomy, contrast: float) -> Anatomy:
    """The lesions mixed with what they replaced; boxes stay."""
    fractions = torch.lerp(healthy.fractions, anatomy.fractions, contrast)
    return replace(
        anatomy, fractions=fractions, texture=torch.lerp(healthy.texture, anatomy.texture, contrast)
    )


def _saturation(geometry: Geometry, edge_mm: float) -> Float[Tensor, "column"]:
    """What bands of saturation beside the field of view leave: 0 at its edges, 1 from `edge_mm` on."""
    if edge_mm == 0:
        return torch.ones(geometry.columns)
    from_edge = geometry.columns / 2 - (torch.arange(geometry.columns) + 0.5 - geometry.columns / 2).abs()
    share = (from_edge * geometry.spacing_mm[1] / edge_mm).clamp(0, 1)
    return share.square() * (3 - 2 * share)


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
    """The fine grid: twice as fine as the scan, or one and a half times from 192 pixels on.

    Views of one scan see the body where it lies in all of them.
    """
    if matrix < 16 or matrix % 2:
        raise UserError(f"matrix is {matrix}; it must be even and at least 16")
    if slices is not None and slices < 1:
        raise UserError(f"slices is {slices}; it must be at least 1")
    columns = 2 * matrix if matrix < 192 else 2 * round(0.75 * matrix)
    owner = (card.scan or card.name, seed, subject)
    jitter = torch.randn(3, generator=generator_of("position", *owner)) * 3.0
    if card.scan:
        jitter = jitter[list(_BODY_AXES[card.view])]
    spacing = (card.fov_mm[0] / columns, card.fov_mm[1] / columns)
    return Geometry(
        rows=min(2 * round(card.coverage * columns / 2), 2 * columns),
        columns=columns,
        spacing_mm=spacing,
        positions_mm=tuple(position + jitter[2].item() for position in card.positions_mm(slices)),
        thickness_mm=card.thickness_mm,
        view=card.view,
        n_sub=math.ceil(card.thickness_mm / 2),
        center_mm=(jitter[0].item(), jitter[1].item()),
    )


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


def _mean_in_body(
    objects: Complex[Tensor, "slice row column"],
    body: Bool[Tensor, "slice row column"],
    fields: CoilFields,
    geometry: Geometry,
) -> float:
    """Mean of |object| sqrt(sum |C|^2) over the body inside the field of view, on every fourth cell."""
    total, cells = 0.0, 0
    half = min(geometry.columns, geometry.rows) // 2
    rows = torch.arange(geometry.rows // 2 - half, geometry.rows // 2 + half, 4)
    columns = torch.arange(0, geometry.columns, 4)
    for index in range(geometry.n_slices):
        strength = _root_sum_of_squares(fields.at(index, rows * 1.0, columns * 1.0))
        inside = body[index][rows][:, columns]
        total += (strength * objects[index][rows][:, columns].abs())[inside].sum().item()
        cells += int(inside.sum())
    if not total > 0:
        raise ValueError(
            f"the slices at {geometry.positions_mm} mm show no body; "
            "check the anatomy and the card's extent_mm"
        )
    return total / cells


def _root_sum_of_squares(
    images: Complex[Tensor, "coil row column"],
) -> Float[Tensor, "row column"]:
    """Over coils; an order of magnitude faster here than `torch.linalg.vector_norm` along the first axis."""
    return (images.conj() * images).sum(0).real.sqrt()
