"""Data that are not what they seem: interpolated, magnitude or denoised images taken for raw k-space.

Source: E. Shimron et al., PNAS 119:e2117203119 (2022), "Implicit data crimes".
Ours differs: processed images are sent through the coils' own sensitivities again, so that the number of
coils stays and what is compared is the processing alone.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from reshim.acquire import fully_sampled, without_oversampling
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.physics.espirit import espirit_maps
from reshim.physics.fourier import center_crop, center_pad, to_image, to_kspace
from reshim.robustness.disturbance import Disturbance
from reshim.types import Acquisition

Kind = Literal["interpolated", "magnitude", "denoised"]


@dataclass(frozen=True)
class Processed(Disturbance):
    """A scan after processing that its files do not tell of; its reference is processed, too."""

    kind: Kind
    """What was done to it."""

    dose: float
    """``interpolated``: the matrix over the one that was measured (1.5: a third of each side is padding);
    ``magnitude``: share of the phase that is lost, 1 for all; ``denoised``: threshold over the noise."""

    def __post_init__(self) -> None:
        if (self.kind == "interpolated" and self.dose < 1) or self.dose < 0:
            raise ValueError(f"{self.kind} with dose {self.dose}; a matrix grows by 1 at least, a dose by 0")

    def of_source(self, acquisition: Acquisition) -> Acquisition:
        """The scan as such a data set hands it over; the readout's oversampling is gone, as from images."""
        reduced = without_oversampling(acquisition)
        kspace = torch.where(reduced.acquirable, reduced.kspace, 0)
        if self.kind == "interpolated":
            shape = (kspace.shape[-2], kspace.shape[-1])
            measured = (round(shape[0] / self.dose), round(shape[1] / self.dose))
            return replace(reduced, kspace=center_pad(center_crop(kspace, measured), shape))
        maps = espirit_maps(kspace)[..., 0, :, :, :]
        image = (maps.conj() * to_image(kspace)).sum(-3)
        if self.kind == "magnitude":
            image = torch.polar(image.abs(), (1 - self.dose) * image.angle())
        else:
            measurement = replace(fully_sampled(reduced), maps=maps.unsqueeze(-4))
            image = L1Wavelet(weight=self.dose, iterations=20)(measurement)
        return replace(reduced, kspace=to_kspace(maps * image.unsqueeze(-3)), noise_std=None)
