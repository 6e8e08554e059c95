"""What training measurements looked like: what a shift alarm compares a new scan's features with."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from reshim.digest import digest
from reshim.training.features import PARTS, Features
from reshim.training.scan_means import ScanMeans, shrunk

FEWEST_SCANS = 5
"""Training scans from which on it is known how unlike the others a usual scan is."""

NINETEEN_OF_TWENTY = 1.6448536269514722
"""Of a standard normal variable, in deviations."""


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of the features over training measurements, and the features' own spread."""

    mean: Float[Tensor, " feature"]
    covariance: Float[Tensor, "feature feature"]
    count: int
    usual: float = 1.0
    """How unlike the others nineteen of twenty scans of the kind are at most; 1 where it is not known."""

    scans: ScanMeans | None = None
    """The same of whole scans; None where it is not known which slices are of one."""

    @classmethod
    def of(cls, rows: Features, scans: Sequence[tuple[str, str]] | None = None) -> "Statistics":
        """Statistics of the feature vectors of some measurements.

        `scans` names the subject and the scan of each. Then every scan is compared with the scans of all
        other subjects, and what is usual follows from the logarithms of these values as if they were normal.
        """
        known = cls._of(rows, scans)
        return known if scans is None else replace(known, usual=_usual(rows, scans))

    @classmethod
    def _of(cls, rows: Features, scans: Sequence[tuple[str, str]] | None) -> "Statistics":
        rows = rows.double()
        centred = rows - rows.mean(0)
        covariance = centred.T @ centred / max(rows.shape[0] - 1, 1)
        means = None if scans is None else ScanMeans.of(rows, scans)
        return cls(rows.mean(0).float(), covariance.float(), rows.shape[0], scans=means)

    @property
    def digest(self) -> str:
        """Of all that a scan is compared with."""
        scans = () if self.scans is None else [each.tolist() for each in self.scans.tensors().values()]
        return digest(self.mean.tolist(), self.covariance.tolist(), self.count, self.usual, scans)

    def unlikeness(self, rows: Features) -> float:
        """How unlike these statistics the slices of a scan are.

        Features of k-space, of tones and of depths each have the median of their slices' distances and, where
        scans are known, the distance of the slices' mean, in units of the distance that one normal vector in
        a hundred exceeds; this is the geometric mean of all.
        """
        rest, logs = rows, []
        for part in self.parts():
            size = part.mean.numel()
            own, rest = rest.split([size, rest.shape[-1] - size], -1)
            distances = [part.distance(own).median().item()]
            if part.scans is not None:
                distances.append(part.scans.distance(own))
            logs += [math.log(max(each, 1e-12) / edge(size)) for each in distances]
        return math.exp(sum(logs) / len(logs))

    def parts(self) -> tuple["Statistics", ...]:
        """Those of k-space, of tones and of depths, each by itself, as many as the run has."""
        ends = tuple(accumulate(PARTS))
        cuts = (slice(end - size, end) for end, size in zip(ends, PARTS, strict=True))
        return tuple(self._part(cut) for cut in cuts if self.mean[cut].numel())

    def _part(self, cut: slice) -> "Statistics":
        scans = None if self.scans is None else self.scans.part(cut)
        return Statistics(self.mean[cut], self.covariance[cut, cut], self.count, scans=scans)

    def distance(self, rows: Features) -> Float[Tensor, " batch"]:
        """Mahalanobis distance of each slice, the covariance shrunk so that few measurements suffice."""
        inverse = torch.linalg.inv(shrunk(self.covariance, self.count))
        centred = rows.double() - self.mean.double()
        return torch.einsum("bi,ij,bj->b", centred, inverse, centred).clamp_min(0).sqrt().float()

    def save(self, path: Path) -> None:
        """Write as safetensors, beside and then renamed."""
        beside = path.with_name(path.name + ".partial")
        tensors = {"mean": self.mean, "covariance": self.covariance, "count": torch.tensor(self.count)}
        tensors["usual"] = torch.tensor(self.usual, dtype=torch.float64)
        tensors.update({} if self.scans is None else self.scans.tensors())
        save_file(tensors, beside)
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read what `save` wrote, or wrote before it was asked what is usual or of whole scans."""
        tensors = load_file(path)
        usual = float(tensors["usual"]) if "usual" in tensors else 1.0
        scans = ScanMeans.from_tensors(tensors)
        return cls(tensors["mean"], tensors["covariance"], int(tensors["count"]), usual, scans)


def edge(n_features: int) -> float:
    """Distance that one in a hundred normal vectors exceeds.

    The Wilson-Hilferty cube: chi-square over its degrees of freedom is nearly the cube of a normal variable.
    """
    z = 2.3263478740408408  # 99 % of a standard normal variable lie below
    ratio = 1 - 2 / (9 * n_features) + z * (2 / (9 * n_features)) ** 0.5
    return (n_features * ratio**3) ** 0.5


def _usual(rows: Features, scans: Sequence[tuple[str, str]]) -> float:
    """What nineteen of twenty scans stay below when each is compared with those of other subjects."""
    logs = []
    for subject, scan in dict.fromkeys(scans):
        own = torch.tensor([each == (subject, scan) for each in scans])
        others = torch.tensor([other != subject for other, _ in scans])
        if others.sum() > 1:
            names = [name for name in scans if name[0] != subject]
            logs.append(math.log(Statistics._of(rows[others], names).unlikeness(rows[own])))
    if len(logs) < FEWEST_SCANS:
        return 1.0
    # The deviation of a new one from the mean of a few holds the error of that mean.
    spread = statistics.stdev(logs) * math.sqrt(1 + 1 / len(logs))
    return math.exp(statistics.fmean(logs) + NINETEEN_OF_TWENTY * spread)
