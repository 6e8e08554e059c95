"""Prewhitening: coils recombined so that their noise is equal and uncorrelated.

Source: K. P. Pruessmann et al., Magn. Reson. Med. 46:638 (2001).
Ours differs: the mean noise level is kept, so that images stay about in file units; and nothing is whitened
unless a covariance is known, for a guessed one would change the reference too.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Complex
from torch import Tensor

from reshim.types import KSpace, Measurement


def covariance_of_noise(samples: Complex[Tensor, "coil sample"]) -> Complex[Tensor, "coil coil"]:
    """Covariance E[n n^H] of a noise scan, or of any samples without signal.

    Raises
    ------
    ValueError
        If there are fewer samples than coils, for then it has no inverse.
    """
    n_coils, n_samples = samples.shape
    if n_samples < n_coils:
        raise ValueError(f"{n_samples} noise samples cannot fix the covariance of {n_coils} coils; give more")
    centred = samples - samples.mean(-1, keepdim=True)
    return centred @ centred.mH / (n_samples - 1)


def covariance_of_border(measurement: Measurement, share: float = 0.05) -> Complex[Tensor, "coil coil"]:
    """Covariance from the outermost acquired samples of k-space, both ends of the rows: mostly noise.

    Where the readout still holds signal at its ends, that signal is counted as noise.
    """
    n_rows = max(1, round(measurement.kspace.shape[-2] * share))
    acquired = measurement.mask.expand(*measurement.kspace.shape[:-3], 1, *measurement.kspace.shape[-2:])
    edge = torch.cat((measurement.kspace[..., :n_rows, :], measurement.kspace[..., -n_rows:, :]), dim=-2)
    chosen = torch.cat((acquired[..., :n_rows, :], acquired[..., -n_rows:, :]), dim=-2)
    coils_last = edge.movedim(-3, -1)[chosen.squeeze(-3)]
    return covariance_of_noise(coils_last.mT)


def whitening_matrix(covariance: Complex[Tensor, "coil coil"]) -> Complex[Tensor, "coil coil"]:
    """W with W C W^H = mean(diag(C)) I."""
    factor = torch.linalg.cholesky(covariance)
    identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    level = covariance.diagonal().real.mean().sqrt()
    return level * torch.linalg.solve_triangular(factor, identity, upper=False)


def recombine(
    kspace: KSpace, matrix: Complex[Tensor, "new coil"]
) -> Complex[Tensor, "*batch new row column"]:
    """Apply a matrix to the coils."""
    return torch.einsum("nc,...cyx->...nyx", matrix.to(kspace.dtype), kspace)


def whiten(measurement: Measurement) -> Measurement:
    """The measurement with white noise, where its covariance is known; as it is, where not."""
    covariance = measurement.noise_covariance
    if covariance is None:
        return measurement
    level = covariance.diagonal().real.mean()
    acquired = torch.where(measurement.mask, measurement.kspace, 0)
    return replace(
        measurement,
        kspace=recombine(acquired, whitening_matrix(covariance)),
        noise_covariance=level * torch.eye(len(covariance)).to(covariance),
        noise_std=torch.full(measurement.kspace.shape[:-3], math.sqrt(float(level) / 2)),
        maps=None,
    )
