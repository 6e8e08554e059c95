"""Fewer virtual coils that hold nearly all of the signal.

Sources: M. Buehrer et al., Magn. Reson. Med. 57:1131 (2007) (SVD); T. Zhang et al., Magn. Reson. Med. 69:571
(2013) (geometric: a compression for each readout position, aligned from one to the next).
Ours differs: the combination is fitted on the calibration block alone and its rows are orthonormal, so that
white noise stays white and images keep their units.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.physics.espirit import calibration_block
from reshim.physics.fourier import to_image, to_kspace
from reshim.types import KSpace, Measurement


@dataclass(frozen=True)
class CoilCompression:
    """Combine coils into `n_virtual` of them, fitted on each batch item's calibration block."""

    n_virtual: int
    """Coils to keep."""

    geometric: bool = False
    """One combination for each row of the image, where rows are read out in one go."""

    def __post_init__(self) -> None:
        if self.n_virtual < 1:
            raise ValueError(f"n_virtual is {self.n_virtual}; keep at least 1 coil")

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Measurement:
        """Return the measurement of the virtual coils, and their maps where the coils' own were known.

        The geometric form returns no maps: each row of the image has coils of its own.

        Raises
        ------
        ValueError
            If there are fewer coils than asked for, no calibration block, or, for the geometric form, rows
            that are not sampled throughout.
        """
        n_coils, name = measurement.kspace.shape[-3], measurement.name
        if n_coils < self.n_virtual:
            raise ValueError(f"{name}: it has {n_coils} coils, fewer than {self.n_virtual}; ask for fewer")
        if measurement.calibration.is_empty:
            raise ValueError(f"{name}: no calibration block to fit a coil compression on")
        acquired = torch.where(measurement.mask, measurement.kspace, 0)
        block = calibration_block(measurement)
        covariance = measurement.noise_covariance
        if self.geometric:
            if measurement.mask.shape[-2] > 1 or block.shape[-2] != acquired.shape[-2]:
                raise ValueError(f"{name}: geometric compression needs rows that are read out in one go")
            hybrid = to_image(acquired, (-2,))
            combination = aligned(row_combinations(to_image(block, (-2,)), self.n_virtual))
            kspace = to_kspace(torch.einsum("...yvc,...cyx->...vyx", combination, hybrid), (-2,))
            covariance = None if covariance is None else torch.eye(self.n_virtual).to(covariance)
            maps = None
        else:
            combination = principal_combination(block.flatten(-2), self.n_virtual)
            kspace = torch.einsum("...vc,...cyx->...vyx", combination, acquired)
            # Items have combinations of their own; one covariance cannot hold them all unless they are one.
            one = combination.reshape(-1, *combination.shape[-2:])
            covariance = one[0] @ covariance @ one[0].mH if covariance is not None and len(one) == 1 else None
            maps = measurement.maps
            if maps is not None:
                maps = torch.einsum("...vc,...scyx->...svyx", combination, maps)
        return replace(measurement, kspace=kspace, maps=maps, noise_covariance=covariance)


def principal_combination(
    samples: Complex[Tensor, "*batch coil sample"], n_virtual: int
) -> Complex[Tensor, "*batch virtual coil"]:
    """Orthonormal rows along the coils' largest principal components."""
    scale = samples.abs().amax((-2, -1), keepdim=True)
    samples = samples / torch.where(scale > 0, scale, 1)
    vectors = torch.linalg.eigh(samples @ samples.mH)[1]
    return vectors[..., -n_virtual:].flip(-1).mH


def row_combinations(
    hybrid: Complex[Tensor, "*batch coil row column"], n_virtual: int
) -> Complex[Tensor, "*batch row virtual coil"]:
    """A combination for each row of (coil, row in the image, column in k-space)."""
    return principal_combination(hybrid.movedim(-2, -3), n_virtual)


def aligned(
    combinations: Complex[Tensor, "*batch row virtual coil"],
) -> Complex[Tensor, "*batch row virtual coil"]:
    """Rotate each row's virtual coils towards the previous row's, so that maps stay smooth."""
    done = [combinations[..., 0, :, :]]
    for current in combinations.unbind(-3)[1:]:
        left, _, right = torch.linalg.svd(done[-1] @ current.mH)
        done.append((left @ right) @ current)
    return torch.stack(done, dim=-3)


def kept_energy(
    kspace: KSpace, compressed: Complex[Tensor, "*batch virtual row column"]
) -> Float[Tensor, "*batch"]:
    """Share of the energy that a compression kept."""
    before, after = (k.abs().square().sum((-3, -2, -1)) for k in (kspace, compressed))
    return torch.where(before > 0, after / before.clamp_min(torch.finfo(before.dtype).tiny), 1)
