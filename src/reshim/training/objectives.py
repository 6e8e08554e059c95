"""What training minimises, given a network, a measurement and (where it may) the reference.

Each objective is a frozen dataclass of settings and one call ``(network, measurement, reference, draws) ->
(loss, parts)``. None of them knows a network by name: a network is whatever maps a measurement to an image.

``supervised``   image against reference
``jitter``       the same, noise added to the measurement
``adversarial``  the same, the worst small perturbation added to the measurement
and in their own files ``joint`` (`reshim.training.joint`) and ``ssdu`` (`reshim.training.ssdu`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from reshim.errors import UserError
from reshim.physics.fourier import center_crop
from reshim.training.batch import Draws, Reference
from reshim.training.losses import ImageLoss, image_losses
from reshim.types import Image, Measurement

Network = Callable[[Measurement], Image]
Loss = tuple[Tensor, dict[str, Tensor]]


@runtime_checkable
class Objective(Protocol):
    """What training minimises."""

    needs_phase: ClassVar[bool]
    """True where the image is taken back to k-space, which a magnitude cannot be."""

    needs_reference: ClassVar[bool]
    """True where nothing can be learned without a fully sampled scan."""

    def __call__(
        self,
        network: Network,
        measurement: Measurement,
        reference: Reference | None,
        draws: Draws | None = None,
    ) -> Loss:
        """Return the mean loss over the batch and its parts, for the log."""
        ...


def refuse_unfit(objective: Objective, network: nn.Module, has_reference: bool) -> None:
    """Say at once, before any work, what would fail in the first step.

    Raises
    ------
    UserError
        If the objective needs a phase that the network does not return, or references that are not there.
    """
    name = type(objective).__name__
    if objective.needs_phase and not getattr(network, "has_phase", True):
        raise UserError(
            f"objective {name} compares k-space, but {type(network).__name__} returns magnitudes without "
            "phase; give a U-net or ViT --input complex, a VarNet --network-option output=mvue maps=given, "
            "and start from a run that was trained so; or train with objective 'supervised'"
        )
    if objective.needs_reference and not has_reference:
        raise UserError(
            f"objective {name} needs fully sampled scans, and among the training scans are undersampled "
            "ones; add `fully_sampled` to the filter, or train with objective 'ssdu' or 'joint'"
        )


@dataclass(frozen=True)
class Supervised:
    """Difference between the magnitude of the image and the reference, inside `Measurement.crop`."""

    loss: ImageLoss = "ssim"
    """``ssim``, ``l1``, or their sum."""

    needs_phase: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.loss not in get_args(ImageLoss):
            raise UserError(
                f"there is no image loss {self.loss!r}; there are {', '.join(get_args(ImageLoss))}"
            )

    def __call__(
        self,
        network: Network,
        measurement: Measurement,
        reference: Reference | None,
        draws: Draws | None = None,
    ) -> Loss:
        """Return the mean loss over the batch and its parts."""
        return self.of_image(network(measurement), measurement, reference)

    def of_image(self, image: Image, measurement: Measurement, reference: Reference | None) -> Loss:
        """The loss of an image that is there already."""
        if reference is None:
            raise UserError(f"{measurement.name} has no reference; a supervised loss needs one")
        magnitude = center_crop(image.abs(), measurement.crop)
        parts = image_losses(magnitude, reference.image, reference.data_range, self.loss)
        means = {name: value.mean() for name, value in parts.items()}
        return sum_of(means), detached(means)


@dataclass(frozen=True)
class Jitter:
    """Supervised training on measurements with added noise: the network becomes less sensitive to change.

    Source: A. Krainovic, M. Soltanolkotabi, R. Heckel, "Learning provably robust estimators for inverse
    problems via jittering", NeurIPS 2023.
    Ours differs: complex noise on the acquired samples, its level relative to the norm of what was acquired,
    so that one setting fits scans of any unit.
    """

    level: float = 0.02
    """Expected norm of the noise over the norm of the acquired k-space, item by item."""

    varied: bool = False
    """Draw the level of each item evenly between 0 and `level`."""

    supervised: Supervised = field(default_factory=Supervised)
    """How the image is compared with the reference."""

    needs_phase: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.level < 1:
            raise UserError(
                f"the jitter level is {self.level}; it is a share of the measurement's norm, in [0, 1)"
            )

    def __call__(
        self,
        network: Network,
        measurement: Measurement,
        reference: Reference | None,
        draws: Draws | None = None,
    ) -> Loss:
        """Return the mean loss over the batch and its parts."""
        noisy = with_noise(measurement, self.level, draws or Draws.of(measurement), varied=self.varied)
        return self.supervised(network, noisy, reference)


@dataclass(frozen=True)
class Adversarial:
    """Supervised training on the worst perturbation of the measurement within a ball.

    The perturbation is found by projected gradient ascent on the acquired k-space (A. Madry et al., ICLR
    2018), with the ball of the robustness study of M. Z. Darestani, A. Chaudhari, R. Heckel, ICML 2021:
    ||e||_2 <= epsilon ||y||_2.
    Ours differs: the norm is that of the *acquired* samples, which is all that a scanner knows, and the image
    loss itself is maximised.
    """

    epsilon: float = 0.02
    """Largest norm of the perturbation over the norm of the acquired k-space."""

    steps: int = 3
    """Steps of ascent; each costs a forward and a backward pass."""

    step_share: float = 0.5
    """Length of one step over the radius of the ball."""

    supervised: Supervised = field(default_factory=Supervised)
    """How the image is compared with the reference."""

    needs_phase: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < 1 or self.steps < 1:
            raise UserError(
                f"adversarial training with epsilon {self.epsilon} and {self.steps} steps; epsilon is a "
                "share of the measurement's norm in [0, 1) and there is at least one step"
            )

    def __call__(
        self,
        network: Network,
        measurement: Measurement,
        reference: Reference | None,
        draws: Draws | None = None,
    ) -> Loss:
        """Return the mean loss over the batch and its parts."""
        worst = self.attack(network, measurement, reference, draws or Draws.of(measurement))
        return self.supervised(network, worst, reference)

    def attack(
        self, network: Network, measurement: Measurement, reference: Reference | None, draws: Draws
    ) -> Measurement:
        """The measurement with the worst perturbation that was found."""
        radius = self.epsilon * norms(measurement.kspace)
        # The gradient at 0 perturbation is a fine direction but saddle points are common there: start off it.
        start = noise_like(measurement, draws, "attack")
        perturbation = 1e-2 * radius * start / norms(start).clamp_min(torch.finfo(radius.dtype).tiny)
        for _ in range(self.steps):
            perturbation = perturbation.detach().requires_grad_(True)
            attacked = replace(measurement, kspace=measurement.kspace + perturbation)
            loss, _ = self.supervised(network, attacked, reference)
            # Only the perturbation's gradient is asked for, so the weights' gradients stay as they are.
            (gradient,) = torch.autograd.grad(loss, perturbation)
            gradient = torch.where(measurement.mask, gradient, 0)
            unit = gradient / norms(gradient).clamp_min(torch.finfo(radius.dtype).tiny)
            perturbation = _into_ball(perturbation.detach() + self.step_share * radius * unit, radius)
        return replace(measurement, kspace=measurement.kspace + perturbation.detach())


def with_noise(measurement: Measurement, level: float, draws: Draws, *, varied: bool = False) -> Measurement:
    """The measurement with complex Gaussian noise of a norm relative to its own on the acquired samples."""
    noise = noise_like(measurement, draws, "jitter")
    scale = level * norms(measurement.kspace) / _expected_norm(measurement)
    if varied:
        shares = [
            torch.rand(1, generator=draws.generator(item, "jitter level")) for item in range(noise.shape[0])
        ]
        scale = scale * torch.stack(shares).reshape(-1, 1, 1, 1).to(scale)
    return replace(measurement, kspace=measurement.kspace + scale * noise)


def noise_like(measurement: Measurement, draws: Draws, purpose: str) -> Tensor:
    """Complex noise of unit deviation (real and imaginary part each 1/sqrt 2) where samples were acquired."""
    kspace = measurement.kspace
    items = [
        torch.randn(kspace.shape[1:], dtype=kspace.dtype, generator=draws.generator(item, purpose))
        for item in range(kspace.shape[0])
    ]
    return torch.where(measurement.mask & measurement.acquirable, torch.stack(items).to(kspace.device), 0)


def norms(kspace: Tensor) -> Tensor:
    """Euclidean norm of each item, (batch, 1, 1, 1)."""
    return torch.view_as_real(kspace).square().sum((1, 2, 3, 4)).sqrt()[:, None, None, None]


def sum_of(parts: Mapping[str, Tensor]) -> Tensor:
    """The loss that parts add up to."""
    return torch.stack(tuple(parts.values())).sum()


def detached(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers without their history, for the log."""
    return {name: value.detach() for name, value in parts.items()}


def settings_of(objective: Any) -> dict[str, Any]:
    """An objective as plain values: its name and its fields."""
    from dataclasses import asdict

    from reshim.training import OBJECTIVES

    names = {cls: name for name, cls in OBJECTIVES.items()}
    return {"name": names.get(type(objective), type(objective).__name__), **asdict(objective)}


def _expected_norm(measurement: Measurement) -> Tensor:
    acquired = measurement.mask & measurement.acquirable
    kspace = measurement.kspace
    shape = (kspace.shape[0], 1, *kspace.shape[-2:])
    n_samples = acquired.expand(shape).sum((1, 2, 3)) * kspace.shape[1]
    return n_samples.clamp_min(1).sqrt()[:, None, None, None]


def _into_ball(perturbation: Tensor, radius: Tensor) -> Tensor:
    size = norms(perturbation)
    return torch.where(size > radius, perturbation * (radius / size.clamp_min(1e-38)), perturbation)
