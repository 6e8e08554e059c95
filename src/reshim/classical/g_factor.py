"""Noise maps: how much more noise an accelerated image holds than its acceleration alone explains.

Sources: K. P. Pruessmann et al., Magn. Reson. Med. 42:952 (1999) (SENSE); F. A. Breuer et al., Magn. Reson.
Med. 62:739 (2009) (GRAPPA); P. M. Robson et al., Magn. Reson. Med. 60:895 (2008) (pseudo-replicas).
Ours differs: white noise is assumed (whiten first), and pseudo-replicas add noise to acquired samples only.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.classical.grappa import Grappa, axis_cells
from reshim.classical.kernels import Kernel, coils_last, fit_kernels
from reshim.physics.espirit import calibration_block
from reshim.seeds import generator_of
from reshim.types import Maps, Measurement, RealImage, Reconstructor


@torch.no_grad()
def sense_g_factor(maps: Maps, acceleration: tuple[int, int]) -> Float[Tensor, "*batch row column"]:
    """Analytic map for every R-th row and column, without calibration lines or ridge; 1 where maps are 0.

    Raises
    ------
    ValueError
        If the matrix is no multiple of the acceleration, for then pixels do not fold onto pixels.
    """
    rows, columns = maps.shape[-2:]
    if rows % acceleration[0] or columns % acceleration[1]:
        raise ValueError(
            f"a {rows}x{columns} matrix is no multiple of {acceleration}; crop it or use replicas"
        )
    first = maps[..., 0, :, :, :]
    shape = (acceleration[0], rows // acceleration[0], acceleration[1], columns // acceleration[1])
    # Pixels a fraction of the field of view apart fold onto one another: gather each such group.
    folded = first.unflatten(-1, shape[2:]).unflatten(-3, shape[:2])
    front = tuple(range(folded.ndim - 5))
    n = len(front)
    group = folded.permute(*front, n + 2, n + 4, n, n + 1, n + 3).flatten(-2)
    gram = group.mH @ group
    diagonal = gram.diagonal(dim1=-2, dim2=-1).real
    silent = diagonal <= 0
    gram = gram + torch.diag_embed(silent.to(gram.dtype))
    inverse = torch.linalg.pinv(gram, hermitian=True).diagonal(dim1=-2, dim2=-1).real
    factor = torch.where(silent, 1, (inverse * diagonal).clamp_min(0).sqrt())
    back = factor.unflatten(-1, (acceleration[0], acceleration[1]))
    return back.permute(*front, n + 2, n, n + 3, n + 1).flatten(-2).flatten(-3, -2)


@torch.no_grad()
def grappa_g_factor(measurement: Measurement, grappa: Grappa | None = None) -> RealImage:
    """Analytic map of the interior kernel for coils combined by maps, calibration lines left out."""
    if measurement.maps is None:
        raise ValueError(f"{measurement.name}: no maps; fill them with measurement.with_maps(...)")
    grappa = grappa or Grappa()
    cells = axis_cells(measurement, grappa.taps, grappa.readout_taps, block_predicts=False)
    blocks = calibration_block(measurement)
    maps = measurement.maps[..., 0, :, :, :].expand(measurement.kspace.shape)
    weights = grappa.weight(measurement).flatten().tolist()
    each = zip(blocks.flatten(0, -4), maps.flatten(0, -4), weights, strict=True)
    factors = [
        _interior_factor(list(fit_kernels(cells, coils_last(b), w, grappa.falloff)), m) for b, m, w in each
    ]
    return torch.stack(factors).reshape(*maps.shape[:-3], *maps.shape[-2:])


def _interior_factor(kernels: list[Kernel], maps: Tensor) -> Tensor:
    """Of one slice: what unfolds is collected as a row vector that stands in front of the folded coils."""
    kernel = max(kernels, key=lambda k: len(k.rows.anchors) * len(k.columns.anchors))
    rows, columns = kernel.rows, kernel.columns
    n_coils, shape = maps.shape[0], maps.shape[1:]
    weights = kernel.weights.reshape(
        len(rows.sources), len(columns.sources), n_coils, len(rows.targets), len(columns.targets), n_coils
    )
    row_phases = _phases(shape[0], rows.targets, rows.sources, maps)
    column_phases = _phases(shape[1], columns.targets, columns.sources, maps)
    missing = [
        (r, c)
        for r, row_line in enumerate(rows.targets)
        for c, column_line in enumerate(columns.targets)
        if row_line not in rows.sources or column_line not in columns.sources
    ]
    front = maps.conj().resolve_conj()
    total = front.clone()
    for r, c in missing:
        total += torch.einsum(
            "abij,ya,xb,jyx->iyx", weights[:, :, :, r, c], row_phases[r], column_phases[c], front
        )
    size = maps.abs().square().sum(0).sqrt()
    # One acquired line predicts these missing ones, so the acceleration is one more than they are.
    factor = total.abs().square().sum(0).sqrt() / ((1 + len(missing)) * size.clamp_min(1e-12))
    return torch.where(size > 0, factor, 1)


def _phases(size: int, targets: tuple[int, ...], sources: tuple[int, ...], like: Tensor) -> list[Tensor]:
    """For each target, (pixel, source): what a shift from source to target line means in the image."""
    points = torch.arange(size, dtype=torch.float64, device=like.device) - size // 2
    offsets = torch.tensor(sources, dtype=torch.float64, device=like.device)
    angles = [2 * math.pi / size * points[:, None] * (target - offsets) for target in targets]
    return [torch.polar(torch.ones_like(angle), angle).to(like.dtype) for angle in angles]


def pseudo_replicas(
    reconstruct: Reconstructor, measurement: Measurement, noise_std: float, n_replicas: int = 60
) -> RealImage:
    """Standard deviation of the image's real part over noise added to the acquired samples, in file units.

    Divided by what a fully sampled image would have (`noise_std` for unit maps) and by the square root of the
    acceleration, it is the g-factor of any reconstruction, ridge and calibration lines included. Maps, and
    whatever else a method fits to the data, are fitted to each replica anew unless `measurement` has them.
    """
    total = squares = torch.zeros((), dtype=torch.float64)
    for index in range(n_replicas):
        generator = generator_of(measurement.name, "replica", index)
        noise = torch.randn(measurement.kspace.shape, generator=generator, dtype=measurement.kspace.dtype)
        noise = noise.to(measurement.kspace.device) * (noise_std * math.sqrt(2))
        noisy = replace(measurement, kspace=torch.where(measurement.mask, measurement.kspace + noise, 0))
        image = reconstruct(noisy).real.to(torch.float64)
        total, squares = total + image, squares + image.square()
    variance = (squares - total.square() / n_replicas) / (n_replicas - 1)
    return variance.clamp_min(0).sqrt().to(measurement.kspace.real.dtype)
