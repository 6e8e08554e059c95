"""Zero-shot self-supervision: an unrolled network is trained on the samples of the slice at hand alone.

Acquired samples = theta (data consistency) + lambda (loss) + gamma (validation). Gamma is drawn once; the
rest is split into theta and lambda many times, and these splits are the training set. Training ends when
gamma has not been predicted better for a while; the best weights come back and see every acquired sample.

Source: B. Yaman, S. A. H. Hosseini and M. Akcakaya, "Zero-shot self-supervised learning for MRI
reconstruction", ICLR 2022 (arXiv:2102.07737). The method is covered by a patent application of its authors
(US 17/075,411), and their code is for academic and non-profit use: none of it is used here, this file is
written from the description of the published method. Whoever uses it otherwise should ask them.
Ours differs: samples in the calibration block are never held out, for the coil maps were estimated there
(``spare = "centre"`` keeps only the published 4x4 samples); the untouched start is validated as well, so that
a trained start is left as it is where nothing improves on it; zero-padding is treated alike in the three
masks; whole columns can be held out (``unit = "column"``), whose neighbours do not give them away.
"""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reshim.acquire import seen_through
from reshim.adaptation.at_test_time import Snapshot
from reshim.adaptation.folds import hide, outside_calibration, split_folds
from reshim.networks import NETWORKS
from reshim.physics.maps import default_estimator
from reshim.seeds import generator_of, seed_of
from reshim.training.batch import Draws
from reshim.training.losses import predicted_kspace, split_norm
from reshim.training.ssdu import SSDU
from reshim.types import Image, MapEstimator, Mask, Measurement, Outcome


@dataclass(frozen=True)
class ZeroShot:
    """Train a network on each slice by itself and reconstruct that slice with it."""

    start: nn.Module | None = None
    """A trained network to start from (the paper's transfer learning); None draws first weights."""

    network: str = "unrolled-tiny"
    """Name of the network where there is no trained one."""

    network_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the name's."""

    validation_share: float = 0.2
    """Of the samples that may be held out, this share is gamma."""

    loss_share: float = 0.4
    """Of the others, this share is lambda in each split."""

    n_splits: int = 25
    """Splits into theta and lambda; one epoch takes a step on each."""

    unit: Literal["sample", "column"] = "sample"
    """What is held out in one piece; of a 2-D mask it is a sample either way."""

    spare: Literal["calibration", "centre"] = "calibration"
    """What is never held out: the calibration block, or the 4x4 samples of the middle."""

    epochs: int = 300
    """At most so many."""

    patience: int = 25
    """Epochs without a validation error at or below the lowest, after which training ends."""

    learning_rate: float = 5e-4
    """Of Adam."""

    from_neighbour: bool = False
    """Start each slice but the first from the one before it: then a slice is no longer on its own."""

    budget_seconds: float | None = None
    """Wall time for a whole call, in equal parts for the slices that are left; None sets no bound."""

    seed: int = 0
    """Of the splits and the first weights; joined with the scan's name and slice."""

    estimate: MapEstimator = default_estimator
    """Fills in coil maps where the measurement has none."""

    train_seed: int | None = None
    """Seed of the start's training, for the rows."""

    training_subjects: frozenset[tuple[str, str]] = field(default=frozenset(), metadata={"digest": False})
    """Whom the start was trained on; nobody may be tested on them."""

    on_snapshot: Snapshot | None = field(default=None, metadata={"digest": False})
    """Is shown the image after every epoch, counted anew in each slice; for curves, never for decisions."""

    scope: ClassVar[Literal["slice"]] = "slice"
    """Every slice has weights of its own."""

    has_phase = True

    def __post_init__(self) -> None:
        if self.start is not None and not getattr(self.start, "has_phase", True):
            raise ValueError(
                "the network to start from returns magnitudes without phase, so its k-space cannot be "
                "compared with the measurement; start from one with complex input"
            )
        for name in ("validation_share", "loss_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a share lies between 0 and 1")

    def __call__(self, measurement: Measurement) -> Image:
        """Return the complex image (batch, row, column) in the measurement's units."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconstruct, and say after how many epochs each slice stopped and which one was best."""
        measurement = seen_through(measurement.with_maps(self.estimate), measurement.mask)
        n_slices = measurement.kspace.shape[0]
        started, images, reasons, network = time.perf_counter(), [], [], self.start
        for index in range(n_slices):
            item = measurement.item(index)
            deadline = None
            if self.budget_seconds is not None:
                now = time.perf_counter()
                deadline = now + (started + self.budget_seconds - now) / (n_slices - index)
            trained, why = self._train(item, network, deadline)
            with torch.no_grad():
                images.append(trained(item))
            reasons.append(why)
            if self.from_neighbour:
                network = trained
        return Outcome(torch.cat(images), (True,) * n_slices, tuple(reasons))

    @torch.enable_grad()
    def _train(
        self, measurement: Measurement, start: nn.Module | None, deadline: float | None
    ) -> tuple[nn.Module, str]:
        """A network with the weights of the epoch that predicted gamma best."""
        network = self._network(measurement, start)
        theta_and_lambda, gamma = self.hold_out(measurement)
        splits = self.splits(measurement, theta_and_lambda)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        best = _error(network, measurement, theta_and_lambda, gamma)
        best_epoch, best_weights, epoch = 0, copy.deepcopy(network.state_dict()), 0
        first, out_of_time, started = best, False, time.perf_counter()
        while epoch < self.epochs and epoch - best_epoch < self.patience and not out_of_time:
            epoch += 1
            for theta, held in splits:
                out_of_time = deadline is not None and time.perf_counter() > deadline
                if out_of_time:
                    break
                loss = split_loss(network, measurement, theta, held)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            if self.on_snapshot is not None:
                with torch.no_grad():
                    self.on_snapshot(epoch, time.perf_counter() - started, network(measurement))
            error = _error(network, measurement, theta_and_lambda, gamma)
            if error <= best:
                best, best_epoch, best_weights = error, epoch, copy.deepcopy(network.state_dict())
        network.load_state_dict(best_weights)
        why = "out of time" if out_of_time else f"stopped after epoch {epoch}"
        return network.eval(), (
            f"zero-shot: {why}, best epoch {best_epoch}, validation error {first:.3f} before, {best:.3f} then"
        )

    def hold_out(self, measurement: Measurement) -> tuple[Mask, Mask]:
        """What may be trained on, and gamma: disjoint, together all that was acquired."""
        if self._by_column(measurement):
            folds = split_folds(
                measurement, self.validation_share / 2, self.validation_share / 2, seed_of("zs", self.seed)
            )
            return folds.fit, folds.stop | folds.judge
        return self._points(self.validation_share).split(measurement, Draws.of(measurement, self.seed))

    def splits(self, measurement: Measurement, shown: Mask) -> list[tuple[Mask, Mask]]:
        """(theta, lambda) pairs of what may be trained on, fixed for the whole training."""
        if self._by_column(measurement):
            candidates = outside_calibration(measurement) & shown
            slices = measurement.slices or (0,)
            generator = generator_of("zero-shot", measurement.name, slices, self.seed)
            thetas = [hide(shown, candidates, self.loss_share, generator) for _ in range(self.n_splits)]
            # A draw that hides nothing teaches nothing.
            return [(theta, shown & ~theta) for theta in thetas if (shown & ~theta).any()]
        part = seen_through(measurement, shown)
        points = self._points(self.loss_share)
        return [
            points.split(part, Draws.of(measurement, self.seed, epoch=1 + index))
            for index in range(self.n_splits)
        ]

    def _points(self, share: float) -> SSDU:
        return SSDU(
            share=share,
            selection="uniform",
            # A share of what may be held out, not of all: the calibration block can be most of it.
            lambda_count="release",
            protect_calibration=self.spare == "calibration",
        )

    def _by_column(self, measurement: Measurement) -> bool:
        return self.unit == "column" and measurement.mask.shape[-2] == 1

    def _network(self, measurement: Measurement, start: nn.Module | None) -> nn.Module:
        if start is not None:
            network = copy.deepcopy(start)
        else:
            slices = measurement.slices or (0,)
            # First weights come from torch's global generator; it is seeded for them alone and put back.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of("zero-shot", measurement.name, slices, self.seed))
                network = NETWORKS[self.network](**self.network_settings)
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        # Evaluation mode throughout: dropout would make the splits' losses noisier than they are.
        return network.to(measurement.kspace.device).eval()


def split_loss(network: nn.Module, measurement: Measurement, theta: Mask, held: Mask) -> Tensor:
    """Half the relative l2 plus half the relative l1 misfit of the held samples, when only theta is seen."""
    # The network may know that zero-padding is 0, whichever samples it is shown.
    seen = seen_through(measurement, theta | ~measurement.acquirable)
    predicted = predicted_kspace(network(seen), measurement.maps, held)  # type: ignore[arg-type]
    wanted = torch.where(held, measurement.kspace, 0)
    return split_norm(predicted, wanted).mean()


@torch.no_grad()
def _error(network: nn.Module, measurement: Measurement, theta: Mask, held: Mask) -> float:
    return split_loss(network, measurement, theta, held).item()
