"""What one step of training sees: measurements, apart from them the references, and what may be drawn from.

The reference is no part of the measurement, so an objective has to ask for it by name.
"""

from dataclasses import dataclass, replace

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
        return replace(self, measurement=self.measurement.to(device), reference=reference)
