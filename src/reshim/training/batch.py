"""What one step of training sees: measurements, apart from them the references, and what may be drawn from.

The reference is no part of the measurement, so an objective has to ask for it by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.seeds import generator_of
from reshim.types import Measurement, RealImage

Owner = tuple[str, int]
"""A scan's id and the number of a slice."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What an image is compared with, and the range of its volume."""

    image: RealImage
    """Magnitude, (batch, row, column), cut to `Measurement.crop`."""

    data_range: Float[Tensor, "batch"]
    """Maximum of the reference over all slices of the item's volume."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Randomness of an objective: a generator for each item, named by what it belongs to.

    The same slice draws the same in any batch, in any order, on any number of processes.
    """

    owners: tuple[Owner, ...]
    seed: int = 0
    epoch: int = 0

    def generator(self, item: int, purpose: str, *, every_epoch: bool = True) -> torch.Generator:
        """A generator for one batch item; the same in all epochs unless it is to be new in each."""
        epoch = self.epoch if every_epoch else "all"
        return generator_of(purpose, self.seed, *self.owners[item], epoch)

    @classmethod
    def of(cls, measurement: Measurement, seed: int = 0, epoch: int = 0) -> "Draws":
        """Draws for a measurement that stands alone: its name and slices are the owners."""
        numbers = measurement.slices or tuple(range(measurement.kspace.shape[0]))
        return cls(tuple((measurement.name, number) for number in numbers), seed, epoch)


@dataclass(frozen=True, slots=True)
class Example:
    """A batch as training sees it."""

    measurement: Measurement
    reference: Reference | None
    """None for scans that are undersampled: nobody knows what they should look like."""

    draws: Draws

    @property
    def n_items(self) -> int:
        """Slices in the batch."""
        return self.measurement.kspace.shape[0]

    def to(self, device: torch.device) -> "Example":
        """The same example on another device."""
        if self.measurement.kspace.device == device:
            return self
        reference = self.reference
        if reference is not None:
            reference = Reference(
                reference.image.to(device, non_blocking=True),
                reference.data_range.to(device, non_blocking=True),
            )
        return replace(self, measurement=to_device(self.measurement, device), reference=reference)


def to_device(measurement: Measurement, device: torch.device) -> Measurement:
    """The same measurement on another device."""

    def moved(tensor: Tensor | None) -> Any:
        return None if tensor is None else tensor.to(device, non_blocking=True)

    return replace(
        measurement,
        kspace=moved(measurement.kspace),
        mask=moved(measurement.mask),
        acquirable=moved(measurement.acquirable),
        noise_std=moved(measurement.noise_std),
        noise_covariance=moved(measurement.noise_covariance),
        maps=moved(measurement.maps),
    )


def part_of(measurement: Measurement, start: int, stop: int) -> Measurement:
    """Some consecutive batch items as a batch of their own."""

    def cut(tensor: Tensor | None) -> Any:
        return tensor if tensor is None or tensor.shape[0] == 1 else tensor[start:stop]

    numbers: Sequence[int] | None = measurement.slices
    return replace(
        measurement,
        kspace=measurement.kspace[start:stop],
        mask=cut(measurement.mask),
        acquirable=cut(measurement.acquirable),
        maps=cut(measurement.maps),
        noise_std=cut(measurement.noise_std),
        slices=None if numbers is None else tuple(numbers[start:stop]),
    )
