"""Joint training, supervised and self-supervised: what makes a network fit for test-time training.

Source: M. Z. Darestani, J. Liu, R. Heckel, ICML 2022 (arXiv:2204.07204), and its released code.
`ReleasedJoint` is that code's loss, term for term. `Joint` is the corrected form and differs in this: items
count alike whatever their brightness; a complex sample counts by its modulus, so that a turn of the phase
changes nothing; and a share of the acquired samples off the calibration block is hidden from the input while
all acquired ones are fitted, so that the self-supervised term cannot be met by copying the input, here as
at test time.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from reshim.acquire import seen_through
from reshim.errors import UserError
from reshim.physics.fourier import center_crop
from reshim.training.batch import Draws, Reference
from reshim.training.losses import predicted_kspace, relative_l1, released_l1
from reshim.training.objectives import Loss, Network, Supervised, detached
from reshim.types import Maps, Measurement


@dataclass(frozen=True)
class ReleasedJoint:
    """l1(|f| - x) / l1(x) + l1(y - M F S f) / l1(y), each quotient over the whole batch.

    The loss alone: the release also has root-sum-of-squares targets, one mask, a constant rate, no clipping
    and single slices, which are settings of the run. What no setting brings back: one order of the scans for
    all epochs; k-space scaled in five fixed-point steps, until the untrained network's output has the norm of
    its input; an input of two root sums of squares over coils, of real and of imaginary parts; and that the
    last epoch is kept, not the best.
    """

    fill_background: bool = True
    """Replace map values of 0 by their map's largest modulus, as released: the background counts."""

    needs_phase: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True

    def __call__(
        self,
        network: Network,
        measurement: Measurement,
        reference: Reference | None,
        draws: Draws | None = None,
    ) -> Loss:
        """Return the loss of the batch and its two parts."""
        if reference is None:
            raise UserError(f"{measurement.name} has no reference; the released joint loss needs one")
        maps = maps_of(measurement)
        image = network(measurement)
        magnitude = center_crop(image.abs(), measurement.crop)
        predicted = predicted_kspace(image, filled(maps) if self.fill_background else maps, measurement.mask)
        parts = {
            "supervised": released_l1(magnitude, reference.image),
            "self-supervised": released_l1(predicted, measurement.kspace),
        }
        return parts["supervised"] + parts["self-supervised"], detached(parts)


@dataclass(frozen=True)
class Joint:
    """Supervised loss plus misfit to all acquired samples, of an image made from some of them.

    On undersampled scans the supervised term is left out: what remains is self-supervised adaptation to a
    site.
    """

    supervised: Supervised = field(default_factory=lambda: Supervised("l1"))
    """How the image is compared with the reference."""

    weight: float = 1.0
    """Of the self-supervised term; the supervised one has weight 1."""

    hidden_share: float = 0.3
    """Chance of each acquired column (or sample, of a 2-D mask) off the calibration block to be hidden."""

    needs_phase: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.hidden_share < 1:
            raise UserError(f"hidden_share is {self.hidden_share}; it is a chance below 1")

    def __call__(
        self,
        network: Network,
        measurement: Measurement,
        reference: Reference | None,
        draws: Draws | None = None,
    ) -> Loss:
        """Return the mean loss over the batch and its parts."""
        maps = maps_of(measurement)
        seen = hide_some(measurement, self.hidden_share, draws or Draws.of(measurement))
        image = network(seen)
        predicted = predicted_kspace(image, maps, measurement.mask)
        misfit = relative_l1(predicted, measurement.kspace).mean()
        loss, parts = self.weight * misfit, {"self-supervised": misfit.detach()}
        if reference is not None:
            supervised, own = self.supervised.of_image(image, measurement, reference)
            loss, parts = loss + supervised, own | parts
        return loss, parts


def hide_some(measurement: Measurement, share: float, draws: Draws) -> Measurement:
    """The measurement without a random share of its acquired samples off the calibration block.

    Along a mask that is constant over the rows whole columns are hidden. The maps stay: they come from the
    calibration block alone.
    """
    if share == 0:
        return measurement
    n_items = measurement.kspace.shape[0]
    mask = measurement.mask.expand(n_items, *measurement.mask.shape[1:])
    chance = torch.stack(
        [torch.rand(mask.shape[1:], generator=draws.generator(item, "hidden")) for item in range(n_items)]
    )
    hidden = (chance < share).to(mask.device) & ~calibration_mask(measurement, mask.shape[-2])
    return seen_through(measurement, mask & ~hidden)


def calibration_mask(measurement: Measurement, n_rows: int) -> Tensor:
    """True in the calibration block, (1, 1, n_rows, column); of a column mask (one row), in its columns."""
    block = torch.zeros(
        1, 1, n_rows, measurement.kspace.shape[-1], dtype=torch.bool, device=measurement.mask.device
    )
    rows, columns = measurement.calibration.block
    block[..., rows if n_rows > 1 else slice(None), columns] = True
    return block


def maps_of(measurement: Measurement) -> Maps:
    """The coil maps of a measurement.

    Raises
    ------
    ValueError
        If it has none.
    """
    if measurement.maps is None:
        raise ValueError(
            f"{measurement.name}: a loss in k-space needs coil maps; fill them with "
            "measurement.with_maps(estimator)"
        )
    return measurement.maps


def filled(maps: Maps) -> Maps:
    """Maps whose zeros carry the largest modulus of their own map, as the released code does."""
    largest = maps.abs().amax((-2, -1), keepdim=True).to(maps.dtype)
    return torch.where(maps == 0, largest, maps)
