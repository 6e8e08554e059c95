"""How unlike others of its kind a usual scan is: what makes a shift score of a scan's distances.

Found by comparing every training scan with those of all other subjects. Distances whose logarithms vary
little among usual scans tell more than others, so each is counted in its own deviations; and one that is far
out is not diluted by those that are not, as in a geometric mean (LOG.md, 2026-11-23).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

FEWEST_SCANS = 5
"""Training scans from which on it is known how unlike the others a usual scan is."""

NINETEEN_OF_TWENTY = 1.6448536269514722
"""Of a standard normal variable, in deviations."""

LEAST_DEVIATION = 0.1
"""Of a logarithm: a few scans that agree by chance shall not make every other one unusual."""

Distances = Float[Tensor, " distance"]


@dataclass(frozen=True)
class Usual:
    """Mean and deviation of the logarithm of each distance, and the edge of what they come to together."""

    edge: float = 1.0
    """What nineteen of twenty usual scans stay below; 1 where it is not known."""

    logs: Distances | None = None
    deviations: Distances | None = None
    """None where it is not known, or was not asked: then distances are joined by their geometric mean."""

    @classmethod
    def of(cls, distances: Sequence[Distances]) -> "Usual":
        """From each training scan's distances to those of all other subjects."""
        if len(distances) < FEWEST_SCANS:
            return cls()
        logs = torch.stack(list(distances)).log()
        known = cls(1.0, logs.mean(0), logs.std(0).clamp_min(LEAST_DEVIATION))
        scores = [math.log(known.score(each)) for each in distances]
        # The deviation of a new one from the mean of a few holds the error of that mean.
        spread = statistics.stdev(scores) * math.sqrt(1 + 1 / len(scores))
        return cls(
            math.exp(statistics.fmean(scores) + NINETEEN_OF_TWENTY * spread), known.logs, known.deviations
        )

    def score(self, distances: Distances) -> float:
        """What the distances of a scan come to, in units of the edge.

        The mean of the exponentials of half of each one's deviations from the usual; to the power of twice
        their mean, it is c times as large where all distances are c times as long, about.
        """
        logs = distances.log()
        if self.logs is None or self.deviations is None:
            return logs.mean().exp().item() / self.edge
        halves = (logs - self.logs) / (2 * self.deviations)
        power = 2 * self.deviations.mean()
        return (power * (halves.logsumexp(0) - math.log(len(halves)))).exp().item() / self.edge

    def tensors(self) -> dict[str, Tensor]:
        """All of it for a file."""
        found = {"usual": torch.tensor(self.edge, dtype=torch.float64)}
        if self.logs is not None and self.deviations is not None:
            found |= {"usual.logs": self.logs, "usual.deviations": self.deviations}
        return found

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Usual":
        """What `tensors` gave, or a file that was written before there was any or all of it."""
        edge = float(tensors["usual"]) if "usual" in tensors else 1.0
        return cls(edge, tensors.get("usual.logs"), tensors.get("usual.deviations"))
