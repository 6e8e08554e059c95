"""Zero filling: what was not acquired counts as 0. The least that a method has to beat.

Ours differs from fastMRI's baseline: coils are combined by their maps, which is what every SENSE method
starts from; the root sum of squares stands beside it.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from reshim.classical.sense import shown
from reshim.physics.fourier import to_image
from reshim.physics.maps import default_estimator
from reshim.physics.sense import SenseOperator
from reshim.types import Image, MapEstimator, Measurement


@dataclass(frozen=True)
class ZeroFilled:
    """The inverse transform of the acquired samples, coils combined."""

    combine: Literal["maps", "rss"] = "maps"
    """By conj(maps), or by the root sum of squares, which has no phase."""

    estimate_maps: MapEstimator = default_estimator
    """Used where the measurement has no maps yet."""

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Image:
        """Return the image (batch, row, column) in the measurement's units."""
        return self.solve(measurement)

    def solve(self, measurement: Measurement) -> Image:
        """The same with a gradient of the k-space; the maps are constants."""
        if self.combine == "rss":
            acquired = torch.where(measurement.mask, measurement.kspace, 0)
            size = to_image(acquired).abs().square().sum(-3).sqrt()
            return torch.complex(size, torch.zeros_like(size))
        measurement = measurement.with_maps(self.estimate_maps)
        return shown(
            SenseOperator.of(measurement).adjoint(torch.where(measurement.mask, measurement.kspace, 0))
        )
