"""ESPIRiT: coil sensitivities as eigenvectors of the calibration block's local k-space correlations.

Source: M. Uecker et al., Magn. Reson. Med. 71:990 (2014); parameters as in SigPy 0.1.27 and BART 0.8.
Ours differs: the operator of a pixel is formed from the projector onto the row space, summed along its
diagonals (11 x 11 lags of a 6 x 6 kernel), so its cost does not depend on how many kernels are kept; and
eigenvectors are solved on a coarse grid, then carried to each finer grid by midpoints and a few power steps.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Complex, Float, Shaped
from torch import Tensor

from reshim.physics.one_each import one_each
from reshim.types import Maps, Measurement

Block: TypeAlias = Complex[Tensor, "*batch coil block_row block_column"]
"""A fully sampled part of k-space, whatever the matrix it was cut from."""

CROPS = ("hard", "soft", "none")
COARSEST = 24
"""Grids are halved until an axis has no more points than this; there every pixel is solved exactly."""
CHUNK_MATRICES = 12_000
"""Pixels whose coil-by-coil operators are held at once: about 20 MB at 15 coils."""


@dataclass(frozen=True)
class Espirit:
    """Fills `Measurement.maps` from the acquired calibration block alone.

    Raises
    ------
    ValueError
        When called on a measurement whose calibration block is smaller than the kernel.
    """

    kernel: int = 6
    """Width of the k-space kernel, in samples."""

    threshold: float = 0.02
    """Singular vectors above this share of the largest are kept (an amplitude, as in SigPy)."""

    crop: float = 0.8
    """Maps are cut where the eigenvalue falls below this."""

    crop_kind: Literal["hard", "soft", "none"] = "hard"
    """`hard` sets to 0, `soft` fades (BART's curve), `none` keeps maps everywhere."""

    n_sets: int = 1
    """Sets of maps: 2 and more for soft-SENSE."""

    width: int = 24
    """The central square of the calibration block that is used; a narrower block gives more rows instead."""

    phase: Literal["principal", "first"] = "principal"
    """Real along the calibration data's principal coil combination (BART) or in the first coil (SigPy)."""

    steps: int = 2
    """Power steps on the finest grid; coarser grids take more."""

    def __post_init__(self) -> None:
        if self.crop_kind not in CROPS:
            raise ValueError(f"crop_kind is {self.crop_kind!r}; choose one of {', '.join(CROPS)}")
        if self.width < self.kernel:
            raise ValueError(f"width {self.width} is smaller than kernel {self.kernel}; raise width")

    @classmethod
    def sigpy(cls, **changes: float | int | str) -> "Espirit":
        """The defaults of `sigpy.mri.app.EspiritCalib` 0.1.27."""
        return replace(cls(threshold=0.02, crop=0.95, phase="first"), **changes)  # type: ignore[arg-type]

    @classmethod
    def bart(cls, *, threshold: float = 0.001, **changes: float | int | str) -> "Espirit":
        """The defaults of `bart ecalib -m 1`; BART's threshold is on the squared singular values."""
        settings = cls(threshold=math.sqrt(threshold), crop=0.8, phase="principal")
        return replace(settings, **changes)  # type: ignore[arg-type]

    def __call__(self, measurement: Measurement) -> Measurement:
        """Return the measurement with maps (batch, set, coil, row, column)."""
        if min(measurement.calibration.shape) < self.kernel:
            rows, columns = measurement.calibration.shape
            raise ValueError(
                f"{measurement.name}: the calibration block is {rows}x{columns} but the kernel needs "
                f"{self.kernel}x{self.kernel}; use reshim.physics.maps.default_estimator, which falls back"
            )
        blocks, shape = calibration_block(measurement), measurement.kspace.shape[-2:]
        # One by one into one array: stacked at the end, a volume would need its maps several times over.
        maps = blocks.new_empty(blocks.shape[0], self.n_sets, blocks.shape[-3], *shape)
        for index, (own, _) in enumerate(one_each(lambda block: self._of_one(block, shape), blocks)):
            maps[index] = own
        return replace(measurement, maps=maps)

    @torch.no_grad()
    def estimate(
        self, calibration: Block, shape: tuple[int, int] | torch.Size
    ) -> tuple[Maps, Float[Tensor, "*batch set row column"]]:
        """Maps of matrix `shape` and their eigenvalues (1 where the calibration data are fully explained)."""
        batch, items = calibration.shape[:-3], calibration.reshape(-1, *calibration.shape[-3:])
        maps, values = zip(*one_each(lambda block: self._of_one(block, shape), items), strict=True)
        return tuple(torch.stack(some).reshape(*batch, *some[0].shape) for some in (maps, values))  # type: ignore[return-value]

    def _of_one(
        self, calibration: Complex[Tensor, "coil block_row block_column"], shape: tuple[int, int] | torch.Size
    ) -> tuple[Complex[Tensor, "set coil row column"], Float[Tensor, "set row column"]]:
        """The same of one slice."""
        block = central_part(calibration, self.width)
        lags = lag_kernel(signal_projector(block, self.kernel, self.threshold), self.kernel)
        vectors, values = dominant_vectors(lags, (shape[0], shape[1]), self.n_sets, self.steps)
        maps = vectors * phase_factor(vectors, block, self.phase)
        return maps * self._weights(values).unsqueeze(-3), values

    def _weights(self, values: Tensor) -> Tensor:
        if self.crop_kind == "none":
            return torch.ones_like(values)
        if self.crop_kind == "hard":
            return (values > self.crop).to(values.dtype)
        return soft_crop(values, self.crop)


def espirit_maps(
    kspace: Block, shape: tuple[int, int] | torch.Size | None = None, settings: Espirit | None = None
) -> Maps:
    """Maps from the centre of a fully sampled k-space: for references, which no method sees.

    Parameters
    ----------
    kspace
        (batch, coil, row, column), sampled throughout its central `settings.width` square.
    shape
        Matrix of the maps; that of `kspace` unless given.
    settings
        `Espirit()` unless given.
    """
    settings = settings or Espirit()
    return settings.estimate(kspace, shape or kspace.shape[-2:])[0]


def calibration_block(measurement: Measurement) -> Block:
    """The fully sampled block of the measurement, 0 where nothing was acquired."""
    rows, columns = measurement.calibration.block
    acquired = torch.where(measurement.mask, measurement.kspace, 0)
    return acquired[..., rows, columns]


def central_part(
    kspace: Shaped[Tensor, "*batch coil row column"], width: int
) -> Shaped[Tensor, "*batch coil block_row block_column"]:
    """The central `width` x `width` samples; where one axis has fewer, as many samples along the other."""
    rows, columns = kspace.shape[-2:]
    n_rows = min(rows, max(width, width**2 // min(columns, width)))
    n_columns = min(columns, max(width, width**2 // min(rows, width)))
    top, left = rows // 2 - n_rows // 2, columns // 2 - n_columns // 2
    return kspace[..., top : top + n_rows, left : left + n_columns]


def calibration_windows(block: Block, kernel: int) -> Complex[Tensor, "*batch window unknown"]:
    """Every complete kernel-sized window as a row; unknowns run over (coil, row, column)."""
    windows = block.unfold(-2, kernel, 1).unfold(-2, kernel, 1)  # (..., coil, y, x, row, column)
    windows = windows.movedim(-5, -3)
    return windows.flatten(-5, -4).flatten(-3)


def signal_projector(
    block: Block, kernel: int, threshold: float
) -> Complex[Tensor, "*batch unknown unknown"]:
    """Projector onto the span of the calibration windows above `threshold` of the largest singular value."""
    windows = calibration_windows(block, kernel)
    # Units leave here: float32 Gram matrices of file units as small as 1e-6 would underflow their squares.
    scale = windows.abs().amax(dim=(-2, -1), keepdim=True)
    windows = windows / torch.where(scale > 0, scale, 1)
    if windows.shape[-2] >= windows.shape[-1]:
        energy, vectors = torch.linalg.eigh(windows.mT @ windows.conj())
        return (vectors * kept(energy, threshold)) @ vectors.mH
    energy, vectors = torch.linalg.eigh(windows.conj() @ windows.mT)
    tiny = torch.finfo(energy.dtype).tiny
    weights = kept(energy, threshold).squeeze(-2) / energy.clamp_min(tiny)
    span = windows.mT @ vectors
    return (span * weights.unsqueeze(-2)) @ span.mH


def kept(energy: Float[Tensor, "*batch n"], threshold: float) -> Float[Tensor, "*batch 1 n"]:
    """1 for eigenvalues (squared singular values) above the threshold, 0 below; nothing of an empty block."""
    largest = energy[..., -1:]
    return ((energy > threshold**2 * largest) & (largest > 0)).to(energy.dtype).unsqueeze(-2)


def lag_kernel(
    projector: Complex[Tensor, "*batch unknown unknown"], kernel: int
) -> Complex[Tensor, "*batch lag_row lag_column coil coil2"]:
    """Sum the projector along its diagonals: what the samples at a distance say about each other's coils."""
    n_coils = projector.shape[-1] // kernel**2
    taps = projector.reshape(*projector.shape[:-2], n_coils, kernel, kernel, n_coils, kernel, kernel)
    taps = taps.movedim(-6, -3).movedim(-3, -4)  # (..., y, x, coil, coil2, y2, x2)
    span = 2 * kernel - 1
    lags = projector.new_zeros((*projector.shape[:-2], span, span, n_coils, n_coils))
    for row in range(kernel):
        for column in range(kernel):
            top, left = kernel - 1 - row, kernel - 1 - column
            lags[..., top : top + kernel, left : left + kernel, :, :] += taps[..., row, column]
    return lags / kernel**2


def dominant_vectors(
    lags: Complex[Tensor, "lag_row lag_column coil coil2"], shape: tuple[int, int], n_sets: int, steps: int
) -> tuple[Complex[Tensor, "set coil row column"], Float[Tensor, "set row column"]]:
    """The first `n_sets` eigenvectors of every pixel's operator, with their eigenvalues."""
    strides = [1]
    while max(math.ceil(size / strides[-1]) for size in shape) > COARSEST:
        strides.append(2 * strides[-1])
    vectors: Tensor | None = None
    values = lags.real
    for level, stride in reversed(list(enumerate(strides))):
        phases = [fourier_rows(size, lags.shape[0], stride, lags) for size in shape]
        columns = torch.einsum("xl,klcd->kxcd", phases[1], lags)
        vectors = None if vectors is None else halve_the_grid(vectors, phases[0].shape[0], phases[1].shape[0])
        vectors, values = _solve_level(phases[0], columns, vectors, n_sets, steps + 2 * level)
    assert vectors is not None
    return vectors.permute(3, 2, 0, 1).contiguous(), values.permute(2, 0, 1).contiguous()


def _solve_level(
    rows: Tensor, columns: Tensor, start: Tensor | None, n_sets: int, steps: int
) -> tuple[Tensor, Tensor]:
    """One grid, a few image rows at a time, so that the coil-by-coil operators stay in cache."""
    n_columns, n_coils = columns.shape[1], columns.shape[-1]
    flat = columns.reshape(columns.shape[0], -1)
    height = max(1, CHUNK_MATRICES * 225 // (n_columns * n_coils**2))
    vectors, values = [], []
    for top in range(0, rows.shape[0], height):
        operators = (rows[top : top + height] @ flat).reshape(-1, n_coils, n_coils)
        if start is None:
            energy, basis = torch.linalg.eigh(operators)
            vector, value = basis[..., -n_sets:].flip(-1), energy[..., -n_sets:].flip(-1)
        else:
            first = start[top : top + height].reshape(-1, n_coils, n_sets)
            vector, value = power_steps(operators, first, steps)
        vectors.append(vector.reshape(-1, n_columns, n_coils, n_sets))
        values.append(value.reshape(-1, n_columns, n_sets))
    return torch.cat(vectors), torch.cat(values)


def fourier_rows(size: int, span: int, stride: int, like: Tensor) -> Complex[Tensor, "point lag"]:
    """The transform from lags to every `stride`-th pixel of an axis."""
    points = torch.arange(0, size, stride, dtype=torch.float64, device=like.device) - size // 2
    lags = torch.arange(span, dtype=torch.float64, device=like.device) - span // 2
    angle = 2 * math.pi / size * points[:, None] * lags
    return torch.polar(torch.ones_like(angle), angle).to(like.dtype)


def halve_the_grid(vectors: Tensor, n_rows: int, n_columns: int) -> Tensor:
    """Twice the points of (row, column, coil, set): old ones stay, new ones are their midpoints.

    A neighbour is first projected onto the other's subspace, so phases and order of sets do not matter.
    The operators are periodic over the image, so the last point's neighbour is the first.
    """
    for axis, size in ((0, n_rows), (1, n_columns)):
        neighbour = vectors.roll(-1, axis)
        middle = vectors + neighbour @ (neighbour.mH @ vectors)
        doubled = torch.stack((vectors, middle), dim=axis + 1).flatten(axis, axis + 1)
        vectors = doubled.narrow(axis, 0, size)
    return orthonormal(vectors)[0]


def power_steps(operators: Tensor, vectors: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Orthogonal iteration; the eigenvalues are what the last step's vectors are divided by."""
    values = vectors.real[..., 0, :]
    for _ in range(steps):
        vectors, values = orthonormal(operators @ vectors)
    return vectors, values


def orthonormal(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Gram-Schmidt over the last axis, and the lengths divided by; a vector of zeros stays one."""
    done: list[Tensor] = []
    lengths: list[Tensor] = []
    for index in range(vectors.shape[-1]):
        vector = vectors[..., index]
        for other in done:
            vector = vector - other * (other.conj() * vector).sum(-1, keepdim=True)
        # Taken of the real view, for torch's own norm of complex tensors takes ten times as long.
        length = torch.linalg.vector_norm(torch.view_as_real(vector).flatten(-2), dim=-1, keepdim=True)
        done.append(vector * torch.where(length > 0, 1 / length, 0))
        lengths.append(length)
    return torch.stack(done, dim=-1), torch.cat(lengths, dim=-1)


def phase_factor(
    vectors: Complex[Tensor, "*batch set coil row column"], block: Block, phase: str
) -> Complex[Tensor, "*batch set 1 row column"]:
    """What turns each pixel's vector so that it is real and positive along the reference coil combination."""
    if phase == "first":
        along = vectors[..., :1, :, :]
    else:
        samples = block.flatten(-2)
        scale = samples.abs().amax(dim=(-2, -1), keepdim=True)
        samples = samples / torch.where(scale > 0, scale, 1)
        reference = torch.linalg.eigh(samples @ samples.mH)[1][..., -1]
        # An eigenvector's phase is the library's choice; real in the strongest coil is the same everywhere.
        strongest = reference.gather(-1, reference.abs().argmax(-1, keepdim=True))
        reference = reference * strongest.conj() / strongest.abs()
        along = torch.einsum("...c,...scyx->...syx", reference.conj(), vectors).unsqueeze(-3)
    size = along.abs()
    return torch.where(size > 0, along.conj() / torch.where(size > 0, size, 1), 1)


def soft_crop(values: Tensor, crop: float) -> Tensor:
    """BART's fade: 0 well below `crop`, 1 where the eigenvalue is 1."""
    position = (values.clamp_min(0).sqrt() - crop) / max(1 - crop, 1e-6)
    curve = 0.5 * (1 + 2 * position / (1 + position**2))
    return torch.where(position < -1, 0, torch.where(position > 1, 1, curve)).to(values.dtype)
