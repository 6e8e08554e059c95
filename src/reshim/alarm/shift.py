"""The shift alarm: is this measurement like those the network was trained on?

From the measurement and the statistics in the RUN alone; no reference, no reconstruction. Simple features of
k-space, of the zero-filled image's tones and of its depths each have two Mahalanobis distances from training,
the median over slices and that of their mean. Among all features together those of the image, which tell a
contrast, would drown in the ordinary variety of k-space, and in the median alone would drown what all slices
have in common, for the outer slices of any volume are unlike its middle ones. How the six come to one score,
and where 1 lies, the edge of what training saw, follows from how unlike each other training scans are
(`reshim.training.usual`). What a normal vector would exceed once in a hundred draws is no such edge: a
volume's median seldom comes near it, and a few subjects' covariance is shrunk (LOG.md, 2026-11-22 and -23).

What it is not: a prediction of image quality. A scan can be unusual and easy, or usual and hard.
"""

from dataclasses import dataclass
from pathlib import Path

from reshim.acquire import seen_through
from reshim.training.features import features
from reshim.training.statistics import Statistics
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
        seen = features(seen_through(measurement, measurement.mask))
        return self.statistics.unlikeness(seen)
