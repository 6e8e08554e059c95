"""ConvDecoder as a reconstructor: an untrained network is fitted to each slice, and its image is the answer.

    argmin_w ||M F S G_w(noise) - y||^2, by Adam; then the acquired samples replace the network's

Source: M. Z. Darestani and R. Heckel, IEEE Trans. Comput. Imaging 7:724 (2021); behaviour as
documented of the released notebooks.
Ours differs: one complex image seen through the coil maps is fitted by default (the paper's main form fits
each coil's image, here ``combine = "coils"``); data are scaled to the network's first output by acquired
samples alone (some of the notebooks use the full k-space); far fewer iterations by default, with a budget in
seconds. As in the paper the weights of the lowest *fitting* error are kept, so nothing stops it early: the
number of iterations is what regularises, and has to be tuned.
"""

import copy
import time
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from reshim.adaptation.at_test_time import Snapshot
from reshim.networks.conv_decoder import ConvDecoder
from reshim.physics.fourier import to_image, to_kspace
from reshim.physics.maps import default_estimator
from reshim.seeds import seed_of
from reshim.types import Image, KSpace, MapEstimator, Measurement, Outcome

BETTER = 0.995
"""Weights are kept when the error is below this share of the kept one's, as released."""


@dataclass(frozen=True)
class FittedDecoder:
    """Fit a ConvDecoder to every slice, from random weights or from those of another slice."""

    iterations: int = 1500
    """Adam steps of a slice that starts from random weights."""

    warm_iterations: int | None = None
    """Of one that starts from fitted weights; None takes a tenth of `iterations`, the paper's saving."""

    learning_rate: float = 8e-3
    """Of Adam."""

    channels: int = 64
    """Width of the network."""

    layers: int = 5
    """3x3 convolutions."""

    seed_shape: tuple[int, int] = (8, 8)
    """Rows and columns of the noise that the image grows from."""

    combine: Literal["maps", "coils"] = "maps"
    """Fit one image through the coil maps, or an image of each coil, combined by the maps afterwards."""

    consistency: bool = True
    """Let the acquired samples replace the network's at the end."""

    start: ConvDecoder | None = None
    """Fitted weights to start every slice from, e.g. `fit` of a training slice; any matrix will do."""

    from_neighbour: bool = False
    """Start each slice but the first from the one before it: then a slice is no longer on its own."""

    budget_seconds: float | None = None
    """Wall time for a whole call, in equal parts for the slices that are left; None sets no bound."""

    seed: int = 0
    """Of the first weights; joined with the scan's name and slice."""

    estimate: MapEstimator = default_estimator
    """Fills in coil maps where the measurement has none."""

    on_snapshot: Snapshot | None = field(default=None, metadata={"digest": False})
    """Is shown the image at every step, counted anew in each slice; for curves, never for decisions."""

    scope: ClassVar[Literal["slice"]] = "slice"
    """Every slice has weights of its own."""

    def __call__(self, measurement: Measurement) -> Image:
        """Return the complex image (batch, row, column) in the measurement's units."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconstruct, and say how long each slice was fitted and how well it came to fit."""
        measurement = measurement.with_maps(self.estimate)
        n_slices = measurement.kspace.shape[0]
        started, images, reasons, network = time.perf_counter(), [], [], self.start
        for index in range(n_slices):
            item = measurement.item(index)
            deadline = None
            if self.budget_seconds is not None:
                now = time.perf_counter()
                deadline = now + (started + self.budget_seconds - now) / (n_slices - index)
            fitted, scale, why = self._fit(item, network, deadline)
            images.append(self._image(fitted, scale, item))
            reasons.append(why)
            if self.from_neighbour:
                network = fitted
        return Outcome(torch.cat(images), (True,) * n_slices, tuple(reasons))

    def fit(self, measurement: Measurement) -> ConvDecoder:
        """The network fitted to a measurement of one slice: what other slices can `start` from.

        Raises
        ------
        ValueError
            If the measurement has several slices.
        """
        if measurement.kspace.shape[0] != 1:
            raise ValueError(
                f"{measurement.name}: {measurement.kspace.shape[0]} slices, and one network fits one; "
                "take one with measurement.item(index)"
            )
        return self._fit(measurement.with_maps(self.estimate), self.start, None)[0]

    def begun(self, measurement: Measurement) -> tuple[ConvDecoder, Tensor]:
        """The network of a slice before any fit, and what k-space is multiplied by for it."""
        network = self._network(measurement, self.start)
        return network, _scale(network, measurement, self.combine)

    @torch.enable_grad()
    def _fit(
        self, measurement: Measurement, start: ConvDecoder | None, deadline: float | None
    ) -> tuple[ConvDecoder, Tensor, str]:
        network = self._network(measurement, start)
        wanted = _acquired(measurement)
        scale = _scale(network, measurement, self.combine)
        energy = (wanted * scale).abs().square().sum().clamp_min(torch.finfo(scale.dtype).tiny)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        steps = self._steps(start)
        best, best_weights, step = float("inf"), copy.deepcopy(network.state_dict()), 0
        started = time.perf_counter()
        for step in range(steps + 1):
            misfit = torch.where(measurement.mask, self.kspace_of(network, measurement) - scale * wanted, 0)
            error = misfit.abs().square().sum() / energy
            if error.item() < BETTER * best:
                best, best_weights = error.item(), copy.deepcopy(network.state_dict())
            if self.on_snapshot is not None:
                seconds = time.perf_counter() - started
                self.on_snapshot(step, seconds, self._image(network, scale, measurement))
            if step == steps or (deadline is not None and time.perf_counter() > deadline):
                break
            optimizer.zero_grad(set_to_none=True)
            error.backward()
            optimizer.step()
        network.load_state_dict(best_weights)
        begin = "random weights" if start is None else "fitted weights"
        return (
            network,
            scale,
            f"untrained network, {step} steps from {begin}, relative misfit {best**0.5:.1e}",
        )

    def _steps(self, start: ConvDecoder | None) -> int:
        if start is None:
            return self.iterations
        return max(1, self.iterations // 10) if self.warm_iterations is None else self.warm_iterations

    def _network(self, measurement: Measurement, start: ConvDecoder | None) -> ConvDecoder:
        """A new network for this matrix, its first weights drawn for this slice or copied."""
        rows, columns = measurement.kspace.shape[-2:]
        n_images = 1 if self.combine == "maps" else measurement.kspace.shape[-3]
        slices = measurement.slices or (0,)
        # Convolutions draw from torch's global generator; it is seeded for them alone and put back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("conv-decoder", measurement.name, slices, self.seed))
            network = ConvDecoder(
                (rows, columns), 2 * n_images, self.channels, self.layers, self.seed_shape, self.seed
            )
        if start is not None:
            if start.noise.shape != network.noise.shape or start.leave.weight.shape[0] != 2 * n_images:
                raise ValueError(
                    f"{measurement.name}: the weights to start from are of a network with settings "
                    f"{start.settings}, this slice needs {network.settings}; only `shape` may differ"
                )
            network.load_state_dict(start.state_dict())
        return network.to(measurement.kspace.device)

    def kspace_of(self, network: ConvDecoder, measurement: Measurement) -> KSpace:
        """(1, coil, row, column): the network's image or images, as every coil would have seen them."""
        images = _complex(network())
        if self.combine == "maps":
            images = measurement.maps[:, 0] * images  # type: ignore[index]
        return to_kspace(images)

    @torch.no_grad()
    def _image(self, network: ConvDecoder, scale: Tensor, measurement: Measurement) -> Image:
        if self.combine == "maps" and not self.consistency:
            return _complex(network())[:, 0] / scale
        kspace = self.kspace_of(network, measurement) / scale
        if self.consistency:
            kspace = torch.where(measurement.mask, _acquired(measurement), kspace)
        return (measurement.maps[:, 0].conj() * to_image(kspace)).sum(-3)  # type: ignore[index]


def _acquired(measurement: Measurement) -> KSpace:
    return torch.where(measurement.mask, measurement.kspace, 0)


def _complex(channels: Tensor) -> Tensor:
    """(1, 2 n, row, column) real to (1, n, row, column) complex."""
    real, imaginary = channels.chunk(2, dim=1)
    return torch.complex(real, imaginary)


@torch.no_grad()
def _scale(network: ConvDecoder, measurement: Measurement, combine: str) -> Tensor:
    """What k-space is multiplied by: the norm of the network's first image over the zero-filled one's."""
    coil_images = to_image(_acquired(measurement))
    image = coil_images
    if combine == "maps":
        image = (measurement.maps[:, 0].conj() * coil_images).sum(-3)  # type: ignore[index]
    found = torch.linalg.vector_norm(image)
    # A slice without signal has nothing to be scaled to.
    return torch.where(found > 0, torch.linalg.vector_norm(network()) / found, torch.ones_like(found))
