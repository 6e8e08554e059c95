"""Self-supervision by splitting the acquired samples: train without any fully sampled scan.

Source: B. Yaman et al., "Self-supervised learning of physics-guided reconstruction neural networks without
fully sampled reference data", Magn. Reson. Med. 84:3172 (2020). The method is covered by a patent
application of its authors (US 17/075,411); their code is for academic use and none of it is used here.
Ours differs: the Gaussian split is drawn in one go (the largest log-probabilities plus Gumbel noise, the
same law as drawing one by one and rejecting repeats, and it always ends); where paper and released code part,
a switch says which is meant; and of a mask of whole columns, whole columns can be split, so that no acquired
neighbour along the readout gives a held sample away (which gained nothing where it was tried, LOG.md).
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reshim.errors import UserError
from reshim.training.batch import Draws, Reference
from reshim.training.joint import calibration_mask, maps_of
from reshim.training.losses import predicted_kspace, split_norm
from reshim.training.objectives import Loss, Network
from reshim.types import Measurement

Plane = Bool[Tensor, "row column"]


@dataclass(frozen=True)
class SSDU:
    """The network sees one part of the acquired samples (theta); the loss is taken on the other (lambda)."""

    share: float = 0.4
    """Samples in lambda over acquired samples (rho)."""

    selection: Literal["gaussian", "uniform"] = "gaussian"
    """Density of lambda around the centre of k-space."""

    unit: Literal["point", "column"] = "point"
    """What is split; a mask that is no set of columns is split by points."""

    width_divisor: float = 4.0
    """Deviation of the Gaussian density is (rows - 1, columns - 1) over this."""

    protected: tuple[int, int] = (4, 4)
    """Rows and columns around the centre that always stay in theta."""

    protect_calibration: bool = False
    """Keep the whole calibration block in theta, for networks that estimate coil maps from it."""

    every_epoch: bool = True
    """Draw a new split in each epoch; as released, one split a slice serves all epochs."""

    lambda_count: Literal["exact", "release"] = "exact"
    """``release``: the released loop's ceil(share n) + 1 for the Gaussian, and for the uniform a share of the
    eligible samples rather than of all acquired ones."""

    centre: Literal["energy", "middle"] = "energy"
    """Where the centre of k-space is: the row and column of largest norm, or n // 2."""

    edge_fill: bool = True
    """Tell the network that samples in zero-padding are known to be 0, by adding them to its mask: in
    training, in validation and wherever the run is used, as the released code does in its test."""

    loss_norm: Literal["sample", "batch"] = "sample"
    """Whether norms run over an item or, as released, over the batch."""

    needs_phase: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"the share of samples for the loss is {self.share}; it lies between 0 and 1")

    def __call__(
        self,
        network: Network,
        measurement: Measurement,
        reference: Reference | None,
        draws: Draws | None = None,
    ) -> Loss:
        """Return the mean loss over the batch; the reference is never looked at."""
        theta, held = self.split(measurement, draws or Draws.of(measurement))
        seen = replace(measurement, kspace=torch.where(theta, measurement.kspace, 0), mask=theta)
        seen = with_known_padding(seen) if self.edge_fill else seen
        predicted = predicted_kspace(network(seen), maps_of(measurement), held)
        wanted = torch.where(held, measurement.kspace, 0)
        loss = split_norm(predicted, wanted, self.loss_norm).mean()
        return loss, {"ssdu": loss.detach()}

    def split(
        self, measurement: Measurement, draws: Draws
    ) -> tuple[Bool[Tensor, "batch 1 row column"], Bool[Tensor, "batch 1 row column"]]:
        """Theta and lambda; disjoint, together all that was acquired. Split by columns both have one row."""
        kspace, mask = measurement.kspace, measurement.mask & measurement.acquirable
        by_column = self.unit == "column" and mask.shape[-2] == 1
        shape = (kspace.shape[0], 1, 1 if by_column else kspace.shape[-2], kspace.shape[-1])
        acquired = mask.expand(shape)
        spared = calibration_mask(measurement, shape[-2])[0, 0] if self.protect_calibration else None
        held = torch.zeros_like(acquired)
        for item in range(shape[0]):
            plane = acquired[item, 0].cpu()
            row, column = self._centre(kspace[item])
            row = 0 if by_column else row
            eligible = plane & ~_block(plane, row, column, self.protected)
            if spared is not None:
                eligible &= ~spared.cpu()
            generator = draws.generator(item, "ssdu", every_epoch=self.every_epoch)
            scores = _gumbel(eligible, generator)
            if self.selection == "gaussian":
                scores = scores + _gaussian_log_probability(eligible, row, column, self.width_divisor)
            count = min(self._count(int(plane.sum()), int(eligible.sum())), int(eligible.sum()))
            chosen = scores.masked_fill(~eligible, -math.inf).flatten().topk(count).indices
            held[item, 0].view(-1)[chosen.to(held.device)] = True
        return acquired & ~held, held

    def _count(self, n_acquired: int, n_eligible: int) -> int:
        if self.lambda_count == "exact":
            return round(self.share * n_acquired)
        if self.selection == "gaussian":
            return math.ceil(self.share * n_acquired) + 1
        return math.floor(self.share * n_eligible)

    def _centre(self, kspace: Tensor) -> tuple[int, int]:
        if self.centre == "middle":
            return kspace.shape[-2] // 2, kspace.shape[-1] // 2
        energy = torch.view_as_real(kspace).square().sum((0, 3))
        return int(energy.sum(1).argmax()), int(energy.sum(0).argmax())


def with_known_padding(measurement: Measurement) -> Measurement:
    """The measurement with zero-padding added to its mask: those samples are known, and they are 0."""
    if bool(measurement.acquirable.all()):
        return measurement
    return replace(measurement, mask=measurement.mask | ~measurement.acquirable)


def _block(plane: Plane, row: int, column: int, shape: tuple[int, int]) -> Plane:
    """True in the protected rows and columns around the centre."""
    block = torch.zeros_like(plane)
    top, left = max(row - shape[0] // 2, 0), max(column - shape[1] // 2, 0)
    block[top : row - shape[0] // 2 + shape[0], left : column - shape[1] // 2 + shape[1]] = True
    return block


def _gumbel(plane: Plane, generator: torch.Generator) -> Float[Tensor, "row column"]:
    uniform = torch.rand(plane.shape, generator=generator, dtype=torch.float64)
    return -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))


def _gaussian_log_probability(
    plane: Plane, row: int, column: int, divisor: float
) -> Float[Tensor, "row column"]:
    """Logarithm of the chance that a rounded normal deviate falls on each sample."""

    def along(size: int, centre: int) -> Tensor:
        deviation = max((size - 1) / divisor, 1e-6)
        position = torch.arange(size, dtype=torch.float64) - centre
        upper, lower = (position + 0.5) / deviation, (position - 0.5) / deviation
        chance = torch.special.ndtr(upper) - torch.special.ndtr(lower)
        return chance.clamp_min(1e-300).log()

    return along(plane.shape[0], row)[:, None] + along(plane.shape[1], column)[None]
