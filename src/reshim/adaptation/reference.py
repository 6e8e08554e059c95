"""Test-time training as the released code does it, switch by switch, to be measured against.

Source: M. Z. Darestani, J. Liu, R. Heckel, ICML 2022 (arXiv:2204.07204); behaviour as documented of the
released notebooks: Adam on all weights, one slice at a time, loss ||y - M F S f||_1 / ||y||_1 with real and
imaginary parts as separate entries, single points held out *with* replacement, the same for all coils, the
window rule, and the *last* iterate returned.
Ours differs: points are drawn from a seed; the network's input is SENSE-combined and complex where the
network's is.

Every switch set to ``True`` is what the original does; set to ``False`` it is mended. `released` sets them
all, with the rate of the network; by itself the class leaves the maps' background alone and takes the U-net's
rate.
"""

import copy
import time
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reshim.acquire import seen_through
from reshim.adaptation.at_test_time import InBatches, Snapshot, seconds_a_slice
from reshim.adaptation.budget import Budget
from reshim.networks.unrolled import Unrolled
from reshim.networks.varnet import VarNet
from reshim.physics.maps import default_estimator
from reshim.physics.sense import SenseOperator
from reshim.seeds import generator_of
from reshim.training.joint import filled, maps_of
from reshim.types import Image, MapEstimator, Measurement, Outcome


@dataclass(frozen=True)
class ReferenceAdaptation:
    """One slice at a time, all weights, the original stopping rule."""

    base: nn.Module
    """The jointly trained network."""

    learning_rate: float = 1e-5
    """Of Adam: 1e-5 for the paper's U-net, 1e-4 for its VarNet."""

    max_steps: int = 2500
    """At most so many updates a slice."""

    window: int = 100
    """Stop after step 3 w when the mean error of the last w steps exceeds that of the w before."""

    held_out_share: float = 0.05
    """Points drawn, as a share of the acquired ones."""

    with_replacement: bool = True
    """Draw held-out points with replacement (about 4.9 % unique of 5 %)."""

    leak: bool = True
    """Leave the held-out points in the network's input."""

    return_last: bool = True
    """Return the last iterate; False restores the weights of the lowest held-out error."""

    fill_background: bool = field(default=False, metadata={"digest": "unless default"})
    """Predict k-space with maps whose zeros carry the largest modulus of their own map, so that what the
    image shows outside the coils' support counts; as released, in training and at test time."""

    budget_seconds: float | None = None
    """Wall time for a whole call, in equal parts for the slices that are left; None sets no bound."""

    seed: int = 0
    """Of the held-out points; joined with the scan's name and slice."""

    estimate: MapEstimator = default_estimator
    """Fills in coil maps where the measurement has none."""

    train_seed: int | None = None
    """Seed of the base network's training, for the rows."""

    on_snapshot: Snapshot | None = field(default=None, metadata={"digest": False})
    """Is shown the image at every step; for curves, never for decisions."""

    scope: ClassVar[Literal["slice"]] = "slice"
    """Every slice has weights of its own."""

    has_phase = True

    def __post_init__(self) -> None:
        if not getattr(self.base, "has_phase", True):
            raise ValueError(
                "the base network returns magnitudes without phase, so its k-space cannot be compared with "
                "the measurement; adapt a network with complex input"
            )
        if self.max_steps < 0 or self.window < 1 or self.learning_rate < 0:
            raise ValueError(
                f"max_steps is {self.max_steps}, window {self.window}, learning_rate {self.learning_rate}; "
                "they are at least 0, 1 and 0"
            )
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}; a share lies between 0 and 1")

    @classmethod
    def released(cls, base: nn.Module, **changes: Any) -> "ReferenceAdaptation":
        """Every switch as released, at the rate of the network's kind: 1e-4 where it unrolls, else 1e-5."""
        rate = 1e-4 if isinstance(base, VarNet | Unrolled) else 1e-5
        return cls(base, **{"learning_rate": rate, "fill_background": True, **changes})

    def __call__(self, measurement: Measurement) -> Image:
        """Return the adapted image."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """Adapt to each slice by itself; this algorithm has no guard, so every slice is adapted."""
        measurement = measurement.with_maps(self.estimate)
        budget, price, as_it_is = Budget(self.budget_seconds), 0.0, InBatches(self.base, 1)
        if budget.is_bounded:
            price = seconds_a_slice(as_it_is, measurement)
        images, reasons, adapted, n_slices = [], [], [], measurement.kspace.shape[0]
        for index in range(n_slices):
            item, own = measurement.item(index), budget.part(1 / (n_slices - index))
            # A step and the image that it is for: one inference forward, about two backward, one more.
            if own.left < 4 * price:
                reasons.append(f"reference algorithm, no step: {own.too_short(price, 'for a step')}")
                images.append(as_it_is(item))
                adapted.append(False)
                continue
            image, steps, is_late = self._adapt(item, own, price)
            images.append(image)
            reasons.append(f"reference algorithm, {steps} steps" + (", out of time" if is_late else ""))
            adapted.append(True)
        return Outcome(torch.cat(images), tuple(adapted), tuple(reasons))

    @torch.enable_grad()
    def _adapt(self, measurement: Measurement, budget: Budget, price: float) -> tuple[Image, int, bool]:
        """Image, steps, and whether time ended them; `price` is the seconds of an inference."""
        network = copy.deepcopy(self.base).train()
        home, device = measurement.kspace.device, next(network.parameters()).device
        held = self._hold_out(measurement).to(device)
        measurement = measurement.to(device)
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        fitted = measurement.mask & ~held
        maps = filled(maps_of(measurement)) if self.fill_background else maps_of(measurement)
        operator = SenseOperator.of(replace(measurement, maps=maps))
        seen = measurement if self.leak else seen_through(measurement, fitted)
        errors: list[float] = []
        best, best_weights, started = float("inf"), copy.deepcopy(network.state_dict()), time.perf_counter()
        step_seconds, is_late = 0.0, False
        for step in range(self.max_steps):
            step_begun = time.perf_counter()
            image = network(seen)
            residual = operator.forward(image.unsqueeze(-3)) - measurement.kspace
            with torch.no_grad():
                errors.append(_relative(residual, measurement.kspace, held).item())
                if self.on_snapshot is not None:
                    self.on_snapshot(step, time.perf_counter() - started, image.detach())
            if errors[-1] < best and not self.return_last:
                best, best_weights = errors[-1], copy.deepcopy(network.state_dict())
            is_late = budget.left < step_seconds + price
            if self._is_time_to_stop(errors) or is_late:
                break
            loss = _relative(residual, measurement.kspace, fitted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step_seconds = max(step_seconds, time.perf_counter() - step_begun)
        if not self.return_last:
            network.load_state_dict(best_weights)
        with torch.no_grad():
            return network.eval()(measurement).detach().to(home), len(errors), is_late

    def _hold_out(self, measurement: Measurement) -> Tensor:
        """(1, 1, row, column) points, drawn over the acquired plane."""
        rows = measurement.kspace.shape[-2]
        plane = measurement.mask.expand(1, 1, rows, measurement.mask.shape[-1])[0, 0]
        positions = plane.nonzero()
        count = max(1, round(self.held_out_share * len(positions)))
        generator = generator_of("reference", measurement.name, measurement.slices, self.seed)
        if self.with_replacement:
            drawn = torch.randint(len(positions), (count,), generator=generator)
        else:
            drawn = torch.randperm(len(positions), generator=generator)[:count]
        held = torch.zeros_like(plane)
        held[positions[drawn, 0], positions[drawn, 1]] = True
        return held[None, None]

    def _is_time_to_stop(self, errors: list[float]) -> bool:
        w = self.window
        if len(errors) <= 3 * w:
            return False
        return sum(errors[-w:]) > sum(errors[-2 * w : -w])


def _relative(residual: Tensor, kspace: Tensor, where: Tensor) -> Tensor:
    """Entry-wise l1 over real and imaginary parts, relative to the data's on the same samples."""
    part = torch.view_as_real(torch.where(where, residual, 0)).abs().sum()
    whole = torch.view_as_real(torch.where(where, kspace, 0)).abs().sum()
    return part / whole
