"""The shift alarm: is this measurement like those the network was trained on?

From the measurement and the statistics in the RUN alone; no reference, no reconstruction. The score is the
median over slices of the Mahalanobis distance of simple k-space features, in units of the distance that one
in a hundred slices would exceed if the features were normal: 1 is the edge of what training saw.

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
        seen = seen_through(measurement, measurement.mask)
        distance = self.statistics.distance(features(seen)).median().item()
        return distance / _edge(self.statistics.mean.numel())


def _edge(n_features: int) -> float:
    """Distance that one in a hundred normal vectors exceeds.

    The Wilson-Hilferty cube: chi-square over its degrees of freedom is nearly the cube of a normal variable.
    """
    z = 2.3263478740408408  # 99 % of a standard normal variable lie below
    ratio = 1 - 2 / (9 * n_features) + z * (2 / (9 * n_features)) ** 0.5
    return (n_features * torch.tensor(ratio).pow(3).item()) ** 0.5
