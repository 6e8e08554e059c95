"""One solve after a method: its image, the acquired samples and sparsity in wavelets reconciled.

    argmin_x 1/2 ||A x - y||^2 + closeness/2 ||x - image||^2 + sparsity ||W x||_1

No weight of a network moves. What a network brings to a scan that it was not trained for contradicts samples
that were acquired, and smears what is sparse; both are mended here, in the time of thirty steps of FISTA.

Source: a network's image as a second regulariser of compressed sensing is S. Wang et al., "Accelerating
magnetic resonance imaging via deep learning", ISBI 2016.
Ours differs: both weights are multiples of the measurement's noise, the same for every network and every scan
(chosen on development subjects, LOG.md 2026-11-22), and the image may come from any method with phase.
"""

import time
from dataclasses import dataclass, field, replace

import torch

from reshim.classical.l1_wavelet import L1Wavelet
from reshim.physics.maps import default_estimator
from reshim.types import Image, MapEstimator, Measurement, Outcome, Reconstructor


@dataclass(frozen=True)
class Reconciled:
    """A reconstructor around a reconstructor: the image of `base`, reconciled with the samples."""

    base: Reconstructor
    """Any method whose image has a phase."""

    closeness: float = 1.3
    """Weight of its image, in multiples of the measurement's relative noise."""

    sparsity: float = 0.2
    """Threshold of the wavelet coefficients, in multiples of the noise's deviation."""

    iterations: int = 30
    """FISTA steps."""

    estimate: MapEstimator = default_estimator
    """Fills in coil maps where the measurement has none."""

    train_seed: int | None = None
    """Seed of the base's training, for the rows."""

    has_phase = True

    def __post_init__(self) -> None:
        if not getattr(self.base, "has_phase", True):
            raise ValueError(
                "the method returns magnitudes without phase, so its image cannot be compared with the "
                "samples; reconcile a method with complex output"
            )

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image (batch, row, column), in file units."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """The same, with what `base` says of its image where it explains itself."""
        measurement = measurement.with_maps(self.estimate)
        before = _explained(self.base, measurement)
        reasons = tuple(f"{reason}; reconciled with the samples" for reason in before.reason)
        image = self.reconcile(measurement, before.image)
        return replace(before, image=image, reason=reasons)

    @torch.no_grad()
    def reconcile(self, measurement: Measurement, image: Image) -> Image:
        """An image of this measurement, reconciled with its samples, a slice at a time."""
        measurement = measurement.with_maps(self.estimate)
        solver = L1Wavelet(weight=self.sparsity, iterations=self.iterations)
        slices = range(measurement.kspace.shape[0])
        return torch.cat([solver.near(measurement.item(i), image[i : i + 1], self.closeness) for i in slices])


@dataclass(frozen=True)
class Remembered:
    """A method whose outcomes are kept, for when several others begin at its image.

    In memory, all of them: for test sets, not for archives. An outcome that was remembered carries the time
    that it took.
    """

    base: Reconstructor
    outcomes: dict[tuple[str, tuple[int, ...] | None], Outcome] = field(
        default_factory=dict, metadata={"digest": False}
    )
    train_seed: int | None = None

    @property
    def has_phase(self) -> bool:
        """Whether the base's images have one."""
        return bool(getattr(self.base, "has_phase", True))

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """What the base said of this measurement the first time."""
        key = (measurement.name, measurement.slices)
        if key in self.outcomes:
            return self.outcomes[key]
        begun = time.perf_counter()
        outcome = _explained(self.base, measurement)
        self.outcomes[key] = replace(outcome, earlier_seconds=time.perf_counter() - begun)
        return outcome


def _explained(method: Reconstructor, measurement: Measurement) -> Outcome:
    explain = getattr(method, "explain", None)
    if explain is not None:
        told: Outcome = explain(measurement)
        return told
    with torch.no_grad():
        image = method(measurement)
    return Outcome(image, (False,) * image.shape[0], ("no weight was moved",) * image.shape[0])
