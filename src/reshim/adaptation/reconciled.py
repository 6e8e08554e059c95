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

from reshim.adaptation.beside import device_of
from reshim.adaptation.budget import Budget, timed
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.physics.maps import default_estimator
from reshim.types import Action, Image, MapEstimator, Measurement, Outcome, Reconstructor


@dataclass(frozen=True)
class Price:
    """Seconds of one slice's solve."""

    setup: float
    step: float

    def of(self, steps: int) -> float:
        """With so many steps."""
        return self.setup + steps * self.step

    def steps_in(self, seconds: float, at_most: int) -> int:
        """How many steps fit."""
        return max(0, min(at_most, int((seconds - self.setup) / self.step)))


@dataclass(frozen=True)
class Reconciled:
    """A reconstructor around a reconstructor: the image of `base`, reconciled with the samples.

    It solves where the base's network lies, slice by slice, and the images come back to the measurement.
    """

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

    budget_seconds: float | None = field(default=None, metadata={"digest": "unless default"})
    """Wall time for a whole call: a base that fits gets what the solve leaves, the solve what the base left,
    with fewer steps where that is little and none where it is nothing. None sets no bound."""

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
        budget = Budget(self.budget_seconds)
        measurement = measurement.with_maps(self.estimate)
        base, price = self.base, None
        if budget.is_bounded and hasattr(base, "budget_seconds"):
            price = self.price(measurement)
            solving = measurement.kspace.shape[0] * price.of(self.iterations)
            base = replace(base, budget_seconds=budget.part(less=solving).seconds)  # type: ignore[type-var]
        return self.within(measurement, _explained(base, measurement), budget, price)

    def within(
        self, measurement: Measurement, before: Outcome, budget: Budget, price: Price | None = None
    ) -> Outcome:
        """Reconcile an outcome in the time that is left, in equal parts, and say where that was too short."""
        taken = (budget.seconds or 0.0) - budget.left
        if not budget.is_bounded:
            image, steps = self.reconcile(measurement, before.image), [self.iterations] * len(before.reason)
        else:
            image, steps = self._in_time(measurement, before.image, budget, price)
        told = [self._told(n, budget, taken) for n in steps]
        done: list[Action] = [
            "reconciled" if action == "left" and n else action
            for action, n in zip(before.action, steps, strict=True)
        ]
        reasons = (f"{reason}; {more}" for reason, more in zip(before.reason, told, strict=True))
        return replace(before, image=image, reason=tuple(reasons), action=tuple(done))

    def price(self, measurement: Measurement) -> Price:
        """What solving costs here, measured on the first slice."""
        item = measurement.with_maps(self.estimate).item(0)
        nothing = item.kspace.new_zeros(1, *item.kspace.shape[-2:])
        # The first call is slower than those that follow, and counts for nothing.
        _, one, four = (
            timed(lambda steps=steps: self._solved(item, nothing, steps))[1] for steps in (1, 1, 4)
        )
        step = max((four - one) / 3, 0.01 * one, 1e-6)
        return Price(max(one - step, 0.0), step)

    @torch.no_grad()
    def _in_time(
        self, measurement: Measurement, image: Image, budget: Budget, price: Price | None
    ) -> tuple[Image, list[int]]:
        n_slices = measurement.kspace.shape[0]
        if price is None and budget.left > 0:
            price = self.price(measurement)
        images, steps = [], []
        for index in range(n_slices):
            part, left = image[index : index + 1], budget.left / (n_slices - index)
            n = 0 if price is None else price.steps_in(left, self.iterations)
            if n:
                part = self._solved(measurement.item(index), part, n)
            images.append(part)
            steps.append(n)
        return torch.cat(images), steps

    def _told(self, steps: int, budget: Budget, taken: float) -> str:
        if steps == self.iterations:
            return "reconciled with the samples"
        if steps == 0:
            return f"not reconciled, the image alone took {taken:.2g} s of {budget}"
        return f"reconciled with the samples in {steps} of {self.iterations} steps, all that {budget} left"

    def _solved(self, item: Measurement, image: Image, steps: int) -> Image:
        """One slice's solve, there and back."""
        device, solver = device_of(self.base, item), L1Wavelet(weight=self.sparsity, iterations=steps)
        return solver.near(item.to(device), image.to(device), self.closeness).to(image.device)

    @torch.no_grad()
    def reconcile(self, measurement: Measurement, image: Image) -> Image:
        """An image of this measurement, reconciled with its samples, a slice at a time."""
        measurement = measurement.with_maps(self.estimate)
        slices = range(measurement.kspace.shape[0])
        return torch.cat(
            [self._solved(measurement.item(i), image[i : i + 1], self.iterations) for i in slices]
        )


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

    @property
    def device(self) -> torch.device | None:
        """Where the base computes, if it says so."""
        return getattr(self.base, "device", None)

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
