"""The nouns that every other module speaks, and their shapes; no behaviour beyond checking themselves.

Arrays are ``(..., coil, row, column)`` for k-space and ``(..., row, column)`` for images, native complex.
The batch in front is nameless: mostly the slices of one volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

Image: TypeAlias = Complex[Tensor, "*batch row column"]
RealImage: TypeAlias = Float[Tensor, "*batch row column"]
KSpace: TypeAlias = Complex[Tensor, "*batch coil row column"]
Maps: TypeAlias = Complex[Tensor, "*#batch set coil row column"]
Mask: TypeAlias = Bool[Tensor, "*#batch 1 #row #column"]

ReadoutAxis: TypeAlias = Literal["row", "column"]
"""The axis that is sampled in one go, or None where both axes are phase encoded."""


class Calibration(NamedTuple):
    """The block of k-space that is fully sampled, as half-open ranges; empty where start equals stop."""

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int

    @property
    def is_empty(self) -> bool:
        """True where there is no calibration block."""
        return self.row_stop <= self.row_start or self.column_stop <= self.column_start

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the block."""
        return max(self.row_stop - self.row_start, 0), max(self.column_stop - self.column_start, 0)

    @property
    def block(self) -> tuple[slice, slice]:
        """The two slices that cut the block out of the last two axes."""
        return slice(self.row_start, self.row_stop), slice(self.column_start, self.column_stop)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an accelerated scan hands over. There is no reference in here, so none can leak.

    Frozen: what one reconstructor reads, the next one reads too.
    """

    kspace: KSpace
    """Acquired samples in file units; 0 where nothing was acquired."""

    mask: Mask
    """True where acquired; one for all coils."""

    calibration: Calibration
    """The block that is fully sampled; may be empty."""

    acquirable: Mask
    """False in zero-padding: columns that no acceleration could have acquired."""

    crop: tuple[int, int]
    """Rows and columns, centred, that are scored and written."""

    name: str
    """The scan's name; it seeds everything random about the measurement."""

    readout_axis: ReadoutAxis | None = "row"
    """Where readout runs; None where both axes are phase encoded."""

    slices: tuple[int, ...] | None = None
    """Which slice of the scan each batch item is; None where that is not known."""

    noise_std: Float[Tensor, "*#batch"] | None = None
    """Deviation of the real part (and of the imaginary part) of one sample's noise, for each batch item."""

    noise_covariance: Complex[Tensor, "coil coil"] | None = None
    """Covariance of the coils' noise; None where unknown, and then nothing is whitened."""

    maps: Maps | None = None
    """Coil sensitivities from acquired samples alone; filled on demand by `with_maps` and kept."""

    warnings: tuple[str, ...] = ()
    """What whoever reads the image should know: weak calibration, a k-space centre that is off."""

    def __post_init__(self) -> None:
        if self.kspace.shape[-1] != self.mask.shape[-1] and self.mask.shape[-1] != 1:
            raise ValueError(
                f"mask has {self.mask.shape[-1]} columns but the k-space has {self.kspace.shape[-1]}; "
                "draw the mask for the k-space's own matrix"
            )

    def with_maps(self, estimate: "MapEstimator") -> "Measurement":
        """The same measurement with coil maps, estimated once: one that has maps is returned as it is."""
        return self if self.maps is not None else estimate(self)

    def item(self, index: int) -> "Measurement":
        """One batch item as a batch of one: what a method sees that takes slices one by one."""
        return self.take([index])

    def take(self, indices: Sequence[int]) -> "Measurement":
        """Some batch items; what all items share stays shared."""
        chosen = torch.as_tensor(indices, device=self.kspace.device)

        def cut(tensor: Tensor) -> Tensor:
            return tensor[chosen] if tensor.shape[0] > 1 else tensor

        return replace(
            self,
            kspace=self.kspace[chosen],
            mask=cut(self.mask),
            acquirable=cut(self.acquirable),
            maps=None if self.maps is None else cut(self.maps),
            noise_std=self.noise_std
            if self.noise_std is None or self.noise_std.ndim == 0
            else cut(self.noise_std),
            slices=None if self.slices is None else tuple(self.slices[index] for index in indices),
        )

    def to(self, device: torch.device | str) -> "Measurement":
        """The same measurement on another device."""
        if self.kspace.device == torch.device(device):
            return self
        tensors = ("kspace", "mask", "acquirable", "noise_std", "noise_covariance", "maps")
        held = {name: getattr(self, name) for name in tensors}
        return replace(self, **{name: each.to(device) for name, each in held.items() if each is not None})


@runtime_checkable
class MapEstimator(Protocol):
    """Fills `Measurement.maps` from the acquired samples, adding a warning where the maps are weak."""

    def __call__(self, measurement: Measurement) -> Measurement:
        """Return the measurement with maps."""
        ...


@runtime_checkable
class Reconstructor(Protocol):
    """Anything that turns a measurement into an image: classical, learned or adapted."""

    def __call__(self, measurement: Measurement) -> Image:
        """Return the complex image on the full matrix, in the units of the measurement."""
        ...


Action: TypeAlias = Literal["left", "reconciled", "fitted", "classical"]
"""What was done to a slice: nothing; its image was reconciled with the samples and no weight moved; weights
were fitted to it (and the image reconciled, where the method does that); a classical image took its place."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a method that may adapt hands back: the image, and for each slice what was done and why."""

    image: Image
    adapted: tuple[bool, ...]
    reason: tuple[str, ...]

    earlier_seconds: float = 0.0
    """Time that went into the image before this call, where a method remembers what it did."""

    action: tuple[Action, ...] = ()
    """What each slice's image is; unless given, fitted where adapted and else left."""

    shift_score: float | None = None
    """How unlike the training scans this one is, where the method asked a run's alarm; else None."""

    foretold: Any = None
    """What the alarm foretold of the un-adapted images (`reshim.alarm.prediction.Prediction`); None where
    nobody was asked."""

    def __post_init__(self) -> None:
        if not self.action:
            told = tuple("fitted" if adapted else "left" for adapted in self.adapted)
            object.__setattr__(self, "action", told)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Slices of one scan as the scanner stored them: k-space and what is known of its geometry.

    Fully sampled scans become measurements by `reshim.acquire.measure`; undersampled ones carry their mask.
    """

    kspace: KSpace
    """(slice, coil, row, column) in file units."""

    name: str
    slices: tuple[int, ...]
    crop: tuple[int, int]
    acquirable: Bool[Tensor, "1 1 #row #column"]
    mask: Bool[Tensor, "1 1 #row #column"] | None = None
    """The scan's own mask where it is undersampled; never guessed from zeros."""

    readout_axis: ReadoutAxis | None = "row"
    noise_covariance: Complex[Tensor, "coil coil"] | None = None
    noise_std: float | None = None

    @property
    def fully_sampled(self) -> bool:
        """True where no mask says otherwise."""
        return self.mask is None


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """One row of the catalog: what is known of a scan before its samples are read. Unknown is None."""

    scan_id: str
    root: str
    path: str
    dataset: str
    data_kind: Literal["simulated", "semi-synthetic", "emulated", "measured"]
    subject: str
    n_slices: int
    n_coils: int
    n_rows: int
    n_columns: int
    recon_rows: int
    recon_columns: int
    fully_sampled: bool
    fingerprint: str
    view_of: str | None = None
    split: str | None = None
    anatomy: str | None = None
    contrast: str | None = None
    protocol: str | None = None
    view: str | None = None
    orientation: str | None = None
    vendor: str | None = None
    model: str | None = None
    field_tesla: float | None = None
    spacing_mm: tuple[float, ...] | None = None
    echo_ms: float | None = None
    repetition_ms: float | None = None
    inversion_ms: float | None = None
    licence: str | None = None
    sha256: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """What the reader of the collection needs besides, e.g. the echo's index."""

    @property
    def file_name(self) -> str:
        """The last part of the path, by which published lists know a scan."""
        return PurePosixPath(self.path).name
