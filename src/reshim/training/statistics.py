"""What training measurements looked like: what a shift alarm compares a new scan's features with."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from reshim.digest import digest
from reshim.training.features import PARTS, Features
from reshim.training.scan_means import ScanMeans, shrunk
from reshim.training.usual import Distances, Usual


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of the features over training measurements, and the features' own spread."""

    mean: Float[Tensor, " feature"]
    covariance: Float[Tensor, "feature feature"]
    count: int
    usual: Usual = field(default_factory=Usual)
    """How unlike the others a usual scan of the kind is."""

    scans: ScanMeans | None = None
    """The same of whole scans; None where it is not known which slices are of one."""

    @classmethod
    def of(cls, rows: Features, scans: Sequence[tuple[str, str]] | None = None) -> "Statistics":
        """Statistics of the feature vectors of some measurements.

        `scans` names the subject and the scan of each: then it is known what is usual.
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
        usual = [each.tolist() for each in self.usual.tensors().values()]
        return digest(self.mean.tolist(), self.covariance.tolist(), self.count, usual, scans)

    def unlikeness(self, rows: Features) -> float:
        """How unlike these statistics the slices of a scan are; 1 is the edge of what is usual."""
        return self.usual.score(self.distances(rows))

    def distances(self, rows: Features) -> Distances:
        """How far a scan's slices lie from these statistics.

        Features of k-space, of tones and of depths each have the median of their slices' distances and, where
        scans are known, the distance of the slices' mean, in units of the distance that one normal vector in
        a hundred exceeds.
        """
        rest, found = rows, []
        for part in self.parts():
            size = part.mean.numel()
            own, rest = rest.split([size, rest.shape[-1] - size], -1)
            lengths = [part.distance(own).median().item()]
            if part.scans is not None:
                lengths.append(part.scans.distance(own))
            found += [max(each, 1e-12) / edge(size) for each in lengths]
        return torch.tensor(found, dtype=torch.float64)

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
        tensors.update(self.usual.tensors())
        tensors.update({} if self.scans is None else self.scans.tensors())
        save_file(tensors, beside)
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read what `save` wrote, or wrote before it was asked what is usual or of whole scans."""
        tensors = load_file(path)
        usual, scans = Usual.from_tensors(tensors), ScanMeans.from_tensors(tensors)
        return cls(tensors["mean"], tensors["covariance"], int(tensors["count"]), usual, scans)


def edge(n_features: int) -> float:
    """Distance that one in a hundred normal vectors exceeds.

    The Wilson-Hilferty cube: chi-square over its degrees of freedom is nearly the cube of a normal variable.
    """
    z = 2.3263478740408408  # 99 % of a standard normal variable lie below
    ratio = 1 - 2 / (9 * n_features) + z * (2 / (9 * n_features)) ** 0.5
    return (n_features * ratio**3) ** 0.5


def _usual(rows: Features, scans: Sequence[tuple[str, str]]) -> Usual:
    """What usual scans are like when each is compared with those of other subjects.

    Without a subject of several scans there may be too few left to know how scans vary. Such a comparison has
    fewer distances than new scans will have, and does not count.
    """
    found = []
    for subject, scan in dict.fromkeys(scans):
        own = torch.tensor([each == (subject, scan) for each in scans])
        others = torch.tensor([other != subject for other, _ in scans])
        if others.sum() > 1:
            names = [name for name in scans if name[0] != subject]
            found.append(Statistics._of(rows[others], names).distances(rows[own]))
    most = max(map(len, found), default=0)
    return Usual.of([each for each in found if len(each) == most])
