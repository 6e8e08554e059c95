"""How the features of whole scans vary: what a volume is compared with, beside each of its slices.

The outer slices of a volume differ from its middle ones more than scans differ from each other, so that a
median over slices hides what all of them have in common. The mean over n slices of a new scan varies by what
scans differ in and by what is left of the slices' differences, which training scans of m slices each averaged
out to another degree: by between + within (1/n - 1/m), a model of random effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ScanMeans:
    """Mean features of training scans, their covariance, and that of slices within a scan."""

    mean: Float[Tensor, " feature"]
    between: Float[Tensor, "feature feature"]
    within: Float[Tensor, "feature feature"]
    count: int
    """Scans."""

    slices: int
    """Slices of all of them."""

    share: float
    """Mean of one over a scan's number of slices."""

    @classmethod
    def of(cls, rows: Float[Tensor, "slice feature"], scans: Sequence[tuple[str, str]]) -> "ScanMeans | None":
        """Of slices' features and each one's subject and scan; None of fewer than two scans."""
        rows = rows.double()
        names = {name: number for number, name in enumerate(dict.fromkeys(scans))}
        if len(names) < 2:
            return None
        own = torch.tensor([names[name] for name in scans], device=rows.device)
        sizes = torch.bincount(own).double()
        means = rows.new_zeros(len(names), rows.shape[1]).index_add(0, own, rows) / sizes[:, None]
        around, inside = means - means.mean(0), rows - means[own]
        return cls(
            means.mean(0).float(),
            (around.T @ around / (len(names) - 1)).float(),
            (inside.T @ inside / max(len(scans) - len(names), 1)).float(),
            len(names),
            len(scans),
            (1 / sizes).mean().item(),
        )

    def part(self, cut: slice) -> "ScanMeans":
        """Of some features alone."""
        between, within = self.between[cut, cut], self.within[cut, cut]
        return ScanMeans(self.mean[cut], between, within, self.count, self.slices, self.share)

    def distance(self, rows: Float[Tensor, "slice feature"]) -> float:
        """Mahalanobis distance of the mean over a scan's slices."""
        more = max(1 / rows.shape[0] - self.share, 0.0)
        covariance = shrunk(self.between, self.count) + more * shrunk(self.within, self.slices - self.count)
        centred = rows.double().mean(0) - self.mean.double()
        return float((centred @ torch.linalg.solve(covariance, centred)).clamp_min(0).sqrt())

    def tensors(self) -> dict[str, Tensor]:
        """All of it for a file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f"scans.{name}": torch.as_tensor(value).contiguous() for name, value in values.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "ScanMeans | None":
        """What `tensors` gave; None where a file has none of it."""
        if "scans.mean" not in tensors:
            return None
        read = {field.name: tensors[f"scans.{field.name}"] for field in fields(cls)}
        numbers = {name: read.pop(name).item() for name in ("count", "slices", "share")}
        return cls(**read, count=int(numbers["count"]), slices=int(numbers["slices"]), share=numbers["share"])


def shrunk(covariance: Float[Tensor, "feature feature"], count: int) -> Float[Tensor, "feature feature"]:
    """A covariance drawn towards its diagonal, in double precision, so that few measurements suffice."""
    covariance = covariance.double()
    share = covariance.shape[0] / (covariance.shape[0] + count)
    return (1 - share) * covariance + share * torch.diag(covariance.diagonal().clamp_min(1e-6))
