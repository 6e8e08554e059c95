"""The shift alarm: is this measurement like those the network was trained on?

From the measurement and the statistics in the RUN alone; no reference, no reconstruction. Simple features of
k-space and of the zero-filled image each have a Mahalanobis distance from training, the median over slices in
units of the distance that one in a hundred slices would exceed if the features were normal. The score is
their geometric mean: 1 is the edge of what training saw. Among all features together those of the image,
which tell a contrast, would drown in the ordinary variety of k-space (LOG.md, 2026-11-22).

What it is not: a prediction of image quality. A scan can be unusual and easy, or usual and hard.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from reshim.acquire import seen_through
from reshim.training.statistics import Statistics, features
from reshim.types import Measurement


@dataclass(frozen=True)
class Alarm:
    """How unlike the training data a measurement is."""

    statistics: Statistics

    @classmethod
    def of_run(cls, path: Path) -> "Alarm":
        """The alarm of a RUN folder."""
        return cls(Statistics.load(path / "statistics.safetensors"))

    def __call__(self, measurement: Measurement) -> float:
        """Return the shift score of a scan."""
        rest, ratios = features(seen_through(measurement, measurement.mask)), []
        for part in self.statistics.parts():
            own, rest = rest.split([part.mean.numel(), rest.shape[-1] - part.mean.numel()], -1)
            ratios.append(part.distance(own).median().item() / _edge(part.mean.numel()))
        return float(torch.tensor(ratios, dtype=torch.float64).log().mean().exp())


def _edge(n_features: int) -> float:
    """Distance that one in a hundred normal vectors exceeds.

    The Wilson-Hilferty cube: chi-square over its degrees of freedom is nearly the cube of a normal variable.
    """
    z = 2.3263478740408408  # 99 % of a standard normal variable lie below
    ratio = 1 - 2 / (9 * n_features) + z * (2 / (9 * n_features)) ** 0.5
    return (n_features * torch.tensor(ratio).pow(3).item()) ** 0.5
