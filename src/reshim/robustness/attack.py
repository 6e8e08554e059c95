"""Small perturbations of the acquired samples that change an image most, for any method.

Source: M. Z. Darestani, A. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103); projected gradients:
A. Madry et al., ICLR 2018; random search as a check on gradients: A. Athalye et al., ICML 2018, section 3.1.
Ours differs: the budget is a share of the norm of the *acquired* samples, slice by slice, which is all that a
scanner knows; steps have a length that is a share of the ball, so that one setting fits every method and
unit; sparse solvers are followed through their iterations instead of being solved jointly with the attack.

Gradients pass coil maps by (they are held while the attack is made); the method then meets the attacked
samples with maps estimated from them, as after a scan, unless `maps` is "kept".
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.physics.fourier import center_crop
from reshim.physics.sense import SenseOperator
from reshim.robustness.disturbance import Disturbance
from reshim.robustness.through import followed
from reshim.seeds import generator_of
from reshim.training.objectives import norms
from reshim.types import Image, KSpace, Measurement, RealImage, Reconstructor


@dataclass(frozen=True)
class Damage:
    """How far an image's magnitude is from a target, in squares over the target's energy, slice by slice."""

    target: RealImage
    """(batch, row, column), cut to `crop`."""

    crop: tuple[int, int]

    def __call__(self, image: Image) -> Float[Tensor, " batch"]:
        """Of an image on the full matrix."""
        energy = self.target.square().sum((-2, -1))
        energy = torch.where(energy > 0, energy, 1)
        return (center_crop(image.abs(), self.crop) - self.target).square().sum((-2, -1)) / energy

    def item(self, index: int) -> "Damage":
        """That of one slice alone."""
        return replace(self, target=self.target[index : index + 1])


@dataclass(frozen=True)
class Attack(Disturbance):
    """Something added to the acquired samples, of bounded norm."""

    budget: float = 0.02
    """Norm of the perturbation over the norm of the acquired samples, slice by slice."""

    towards: Literal["own", "reference"] = "own"
    """Away from the method's own image of the clean samples, or from the reference."""

    maps: Literal["estimated", "kept"] = "estimated"
    """Whether coil maps are those of the attacked samples or those of the clean ones."""

    seed: int = 0
    """Of the random numbers; joined with the scan's name."""

    def __post_init__(self) -> None:
        if not 0 <= self.budget < 1:
            raise ValueError(f"the budget is {self.budget}; it is a share of the samples' norm, in [0, 1)")

    def of_measurement(
        self, measurement: Measurement, method: Reconstructor, reference: Tensor
    ) -> Measurement:
        """The measurement with the worst perturbation that was found for the method."""
        if self.budget == 0:
            return measurement
        target = method(measurement).abs() if self.towards == "own" else reference
        damage = Damage(center_crop(target, measurement.crop), measurement.crop)
        attacked = added(measurement, self.perturbation(measurement, method, damage))
        return attacked if self.maps == "kept" else replace(attacked, maps=None)

    @abstractmethod
    def perturbation(self, measurement: Measurement, method: Reconstructor, damage: Damage) -> KSpace:
        """(batch, coil, row, column): what is added, 0 where nothing was acquired."""


@dataclass(frozen=True)
class RandomNoise(Attack):
    """White noise of the budget's norm: what the same norm does without intent."""

    def perturbation(self, measurement: Measurement, method: Reconstructor, damage: Damage) -> KSpace:
        """Noise scaled to the radius."""
        return onto_sphere(noise_of(measurement, self.seed, "noise"), radius_of(measurement, self.budget))


@dataclass(frozen=True)
class GradientAttack(Attack):
    """Projected gradient ascent through the method; of all iterates of all restarts the worst is kept."""

    steps: int = 10
    """Of ascent; each costs an image and its gradient."""

    step_share: float = 0.25
    """Length of a step over the radius."""

    restarts: int = 1
    """Random starts, each somewhere else on the sphere."""

    def perturbation(self, measurement: Measurement, method: Reconstructor, damage: Damage) -> KSpace:
        """The worst of every slice."""
        image_of, radius = followed(method), radius_of(measurement, self.budget)
        worst = _Worst(measurement)
        for restart in range(self.restarts):
            found = onto_sphere(noise_of(measurement, self.seed, f"start {restart}"), radius)
            for step in range(self.steps + 1):
                with torch.enable_grad():
                    found = found.detach().requires_grad_(True)
                    value = damage(image_of(added(measurement, found)))
                    worst.keep(found.detach(), value.detach())
                    if step == self.steps:
                        break
                    # Only the perturbation's gradient is asked for: weights keep theirs as they are.
                    (gradient,) = torch.autograd.grad(value.sum(), found)
                ahead = onto_sphere(acquired(measurement, gradient), self.step_share * radius)
                found = onto_sphere(found.detach() + ahead, radius)
        return worst.perturbation


@dataclass(frozen=True)
class RandomSearch(Attack):
    """No gradients: ripples in windows of the image, seen by every coil, kept where they do more damage.

    It needs nothing but images, so where it beats `GradientAttack` at the same budget the gradients are
    masked.
    """

    queries: int = 40
    """Images that are asked for."""

    share: float = 0.5
    """Norm of a proposal over the radius, before the sum is scaled to the radius."""

    def perturbation(self, measurement: Measurement, method: Reconstructor, damage: Damage) -> KSpace:
        """The worst of every slice."""
        radius = radius_of(measurement, self.budget)
        if measurement.maps is None:
            raise ValueError(f"{measurement.name}: random search looks through coil maps; fill them in first")
        operator = SenseOperator.of(measurement)
        generator = generator_of(measurement.name, measurement.slices, self.seed, "random search")
        start = onto_sphere(noise_of(measurement, self.seed, "start 0"), radius)
        worst = _Worst(measurement)
        worst.keep(start, damage(method(added(measurement, start))))
        for _ in range(self.queries - 1):
            ripple = operator.forward(_ripple(operator.adjoint(measurement.kspace), generator))
            ahead = onto_sphere(acquired(measurement, ripple), self.share * radius)
            proposed = onto_sphere(worst.perturbation + ahead, radius)
            worst.keep(proposed, damage(method(added(measurement, proposed))))
        return worst.perturbation


@dataclass(frozen=True)
class Transfer(Attack):
    """What another method's attack does to this one."""

    attack: Attack = GradientAttack()
    """Made for `source`, with its own budget."""

    source: Reconstructor | None = None
    """The method that was attacked."""

    last: list[Measurement] = field(
        default_factory=list, metadata={"digest": False}, compare=False, repr=False
    )
    """The last measurement and what became of it."""

    def of_measurement(
        self, measurement: Measurement, method: Reconstructor, reference: Tensor
    ) -> Measurement:
        """The measurement that was attacked for the other method; made once where several methods meet it."""
        assert self.source is not None
        if not self.last or self.last[0] is not measurement:
            self.last[:] = measurement, self.attack.of_measurement(measurement, self.source, reference)
        return self.last[1]

    def perturbation(self, measurement: Measurement, method: Reconstructor, damage: Damage) -> KSpace:
        """The other method's."""
        assert self.source is not None
        return self.attack.perturbation(measurement, self.source, damage)


class _Worst:
    """The perturbation of every slice that did most damage so far."""

    def __init__(self, measurement: Measurement) -> None:
        kspace = measurement.kspace
        self.perturbation = torch.zeros_like(kspace)
        self.value = torch.full((kspace.shape[0],), -torch.inf, dtype=kspace.real.dtype, device=kspace.device)

    def keep(self, perturbation: Tensor, value: Tensor) -> None:
        """Take over the slices in which this one is worse."""
        more = value > self.value
        self.value = torch.where(more, value, self.value)
        self.perturbation = torch.where(more[:, None, None, None], perturbation, self.perturbation)


def added(measurement: Measurement, perturbation: KSpace) -> Measurement:
    """The measurement with something added to its samples; its maps stay."""
    return replace(measurement, kspace=measurement.kspace + perturbation)


def acquired(measurement: Measurement, kspace: KSpace) -> KSpace:
    """What of a k-space lies where samples were acquired."""
    return torch.where(measurement.mask & measurement.acquirable, kspace, 0)


def onto_sphere(perturbation: KSpace, radius: Tensor) -> KSpace:
    """Scaled to a norm, slice by slice; 0 stays 0."""
    size = norms(perturbation)
    return perturbation * torch.where(size > 0, radius / size.clamp_min(torch.finfo(size.dtype).tiny), 0)


def radius_of(measurement: Measurement, budget: float) -> Tensor:
    """(batch, 1, 1, 1): the norm that a perturbation of each slice may have."""
    return budget * norms(acquired(measurement, measurement.kspace))


def noise_of(measurement: Measurement, seed: int, purpose: str) -> KSpace:
    """Drawn slice by slice, so that a slice alone draws what it draws in its volume."""
    numbers = measurement.slices or range(measurement.kspace.shape[0])
    kspace = measurement.kspace
    drawn = [
        torch.randn(
            kspace.shape[1:], dtype=kspace.dtype, generator=generator_of(measurement.name, n, seed, purpose)
        )
        for n in numbers
    ]
    return acquired(measurement, torch.stack(drawn).to(kspace.device))


def _ripple(like: Tensor, generator: torch.Generator) -> Tensor:
    """A plane wave of random direction in a window of random place, for every slice the same."""
    rows, columns = like.shape[-2:]
    draws = torch.rand(6, generator=generator, dtype=torch.float64)
    height, width = (max(2, int(size * (0.1 + 0.9 * draws[0]))) for size in (rows, columns))
    top, left = int(draws[1] * (rows - height)), int(draws[2] * (columns - width))
    y = torch.arange(rows, dtype=torch.float64)[:, None] * (draws[3] - 0.5)
    x = torch.arange(columns, dtype=torch.float64) * (draws[4] - 0.5)
    phase = 2 * torch.pi * (y + x + draws[5])
    ripple = torch.zeros(rows, columns, dtype=torch.complex128)
    window = (slice(top, top + height), slice(left, left + width))
    ripple[window] = torch.polar(torch.ones_like(phase), phase)[window]
    return ripple.to(like.device, like.dtype).expand_as(like)
