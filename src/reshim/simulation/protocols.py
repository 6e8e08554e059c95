"""Protocol cards of the simulated scanners; each names the real protocol it imitates.

A new one is one entry of `PROTOCOLS`. Sequence times, coil counts, fields of view and slice thickness are
those typical of the imitated collection (F. Knoll et al., Radiol. Artif. Intell. 2:e190007, 2020;
J. Zbontar et al., arXiv:1811.08839), not copied from any one scan's header.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from reshim.errors import UserError
from reshim.simulation.coils import CoilArray
from reshim.simulation.geometry import View
from reshim.simulation.tissues import FAT_SHIFT_PPM

Sequence: TypeAlias = Literal["spin-echo", "inversion-recovery", "gradient-echo"]

_LARMOR_MHZ_PER_TESLA = 42.577


@dataclass(frozen=True)
class Protocol:
    """How one kind of scan is made: sequence, scanner, coils, geometry."""

    name: str
    imitates: str
    """The real protocol, in words."""

    anatomy: str
    """`brain` or `knee`: a key of `scanner.ANATOMIES`."""

    contrast: str
    sequence: Sequence
    repetition_ms: float
    echo_ms: float
    field_tesla: float
    coils: CoilArray
    snr: float
    """Mean of the noise-free combined image over the body, divided by the noise deviation (per real part,
    mean over coils) of one coil image; the same whatever matrix is simulated."""

    fov_mm: tuple[float, float]
    """Rows (readout, after the oversampling is cut) and columns."""

    thickness_mm: float
    extent_mm: tuple[float, float]
    """First and last slice centre along the slice normal."""

    slices: int
    view: View
    acquisition: str
    """What fastMRI writes in the attribute of this name."""

    inversion_ms: float | None = None
    flip_deg: float = 90.0
    train_ms: float = 0.0
    """Length of the echo train of a turbo spin echo."""

    fat_residual: float | None = None
    """What fat suppression leaves of the fat; None without suppression."""

    contrast_agent: bool = False
    bandwidth_hz: float = 200.0
    """Readout bandwidth of a pixel at the imitated matrix of 320; displaces fat."""

    coverage: float = 1.0
    """Rows that are drawn, in units of the field of view: the leg goes on beyond it, a head does not."""

    def __post_init__(self) -> None:
        if (self.inversion_ms is None) == (self.sequence == "inversion-recovery"):
            raise ValueError(
                f"protocol {self.name}: inversion_ms is {self.inversion_ms} in a {self.sequence} sequence; "
                "give it for inversion-recovery and for nothing else"
            )

    @property
    def model(self) -> str:
        """The scanner's name. Its vendor is `simulated`."""
        return f"SimScan {self.field_tesla:g}T"

    @property
    def fat_offset_hz(self) -> float:
        """Frequency of fat against water."""
        return FAT_SHIFT_PPM * _LARMOR_MHZ_PER_TESLA * self.field_tesla

    @property
    def fat_shift_mm(self) -> float:
        """How far readout displaces fat along the rows."""
        return self.fat_offset_hz / self.bandwidth_hz * self.fov_mm[0] / 320

    def positions_mm(self, slices: int | None = None) -> tuple[float, ...]:
        """Centres of `slices` slices (the protocol's own number by default), evenly over the extent."""
        count = self.slices if slices is None else slices
        first, last = self.extent_mm
        if count == 1:
            return ((first + last) / 2,)
        return tuple(first + (last - first) * index / (count - 1) for index in range(count))


_HEAD_16 = CoilArray(
    rings=(8, 8),
    ring_positions_mm=(-35.0, 40.0),
    semi_axes_mm=(120.0, 138.0),
    loop_radius_mm=56.0,
    ring_scales=(1.0, 0.9),
)
_HEAD_12 = CoilArray(
    rings=(12,), ring_positions_mm=(5.0,), semi_axes_mm=(128.0, 146.0), loop_radius_mm=72.0, coupling=0.6
)
_KNEE_15 = CoilArray(
    rings=(5, 5, 5), ring_positions_mm=(-60.0, 0.0, 60.0), semi_axes_mm=(88.0, 92.0), loop_radius_mm=56.0
)
_KNEE_15_WIDE = replace(_KNEE_15, semi_axes_mm=(98.0, 102.0), loop_radius_mm=62.0, coupling=0.6)


_COILS = {
    ("brain", 1.5): _HEAD_12,
    ("brain", 3.0): _HEAD_16,
    ("knee", 1.5): _KNEE_15_WIDE,
    ("knee", 3.0): _KNEE_15,
}
_COMMON: dict[str, dict[str, Any]] = {
    "brain": {
        "fov_mm": (220.0, 220.0),
        "thickness_mm": 5.0,
        "extent_mm": (-30.0, 56.0),
        "slices": 16,
        "view": "axial",
    },
    "knee": {
        "fov_mm": (160.0, 160.0),
        "thickness_mm": 3.0,
        "extent_mm": (-42.0, 42.0),
        "slices": 30,
        "view": "coronal",
        "coverage": 2.0,
    },
}


def _card(anatomy: str, contrast: str, field_tesla: float, imitates: str, **settings: Any) -> Protocol:
    """A card of the imitated collection: what its anatomy's protocols have in common is filled in."""
    defaults = {"sequence": "spin-echo", "coils": _COILS[anatomy, field_tesla], **_COMMON[anatomy]}
    return Protocol(
        name=f"{anatomy}-{contrast.lower()}-{field_tesla:g}t",
        imitates=f"fastMRI {anatomy} {imitates} at {field_tesla:g} T",
        anatomy=anatomy,
        contrast=contrast,
        field_tesla=field_tesla,
        **(defaults | settings),
    )


_T1_GRADIENT = {"sequence": "gradient-echo", "repetition_ms": 250.0, "echo_ms": 2.5, "flip_deg": 70.0}
_T1_SPIN = {"repetition_ms": 500.0, "echo_ms": 9.0}

_CARDS = (
    _card("brain", "T1", 3.0, "AXT1, spoiled gradient echo", **_T1_GRADIENT,
          bandwidth_hz=260.0, snr=32.0, acquisition="AXT1"),
    _card("brain", "T1", 1.5, "AXT1, spin echo", **_T1_SPIN,
          bandwidth_hz=130.0, snr=22.0, acquisition="AXT1"),
    _card("brain", "T1-post", 3.0, "AXT1POST, spoiled gradient echo after gadolinium", **_T1_GRADIENT,
          contrast_agent=True, bandwidth_hz=260.0, snr=32.0, acquisition="AXT1POST"),
    _card("brain", "T1-post", 1.5, "AXT1POST, spin echo after gadolinium", **_T1_SPIN,
          contrast_agent=True, bandwidth_hz=130.0, snr=22.0, acquisition="AXT1POST"),
    _card("brain", "T2", 3.0, "AXT2, turbo spin echo",
          repetition_ms=6000.0, echo_ms=100.0, train_ms=190.0,
          bandwidth_hz=220.0, snr=30.0, acquisition="AXT2"),
    _card("brain", "T2", 1.5, "AXT2, turbo spin echo",
          repetition_ms=4500.0, echo_ms=105.0, train_ms=200.0,
          bandwidth_hz=160.0, snr=20.0, acquisition="AXT2"),
    _card("brain", "FLAIR", 3.0, "AXFLAIR, inversion recovery with fat suppression",
          sequence="inversion-recovery", repetition_ms=9000.0, echo_ms=85.0, inversion_ms=2460.0,
          train_ms=150.0, fat_residual=0.15, bandwidth_hz=290.0, snr=22.0, acquisition="AXFLAIR"),
    _card("brain", "FLAIR", 1.5, "AXFLAIR, inversion recovery with fat suppression",
          sequence="inversion-recovery", repetition_ms=8500.0, echo_ms=100.0, inversion_ms=2400.0,
          train_ms=170.0, fat_residual=0.25, bandwidth_hz=190.0, snr=15.0, acquisition="AXFLAIR"),
    _card("knee", "PD", 3.0, "CORPD, turbo spin echo",
          repetition_ms=2800.0, echo_ms=27.0, train_ms=40.0,
          bandwidth_hz=230.0, snr=28.0, acquisition="CORPD_FBK"),
    _card("knee", "PD", 1.5, "CORPD, turbo spin echo",
          repetition_ms=2300.0, echo_ms=27.0, train_ms=40.0,
          bandwidth_hz=150.0, snr=18.0, acquisition="CORPD_FBK"),
    _card("knee", "PD-FS", 3.0, "CORPDFS, turbo spin echo with fat suppression",
          repetition_ms=2800.0, echo_ms=33.0, train_ms=45.0, fat_residual=0.08,
          bandwidth_hz=230.0, snr=13.0, acquisition="CORPDFS_FBK"),
    _card("knee", "PD-FS", 1.5, "CORPDFS, turbo spin echo with fat suppression",
          repetition_ms=2500.0, echo_ms=33.0, train_ms=45.0, fat_residual=0.12,
          bandwidth_hz=150.0, snr=9.0, acquisition="CORPDFS_FBK"),
)  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {card.name: card for card in _CARDS}


def protocol_of(name: str) -> Protocol:
    """The card of this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in PROTOCOLS:
        raise UserError(f"protocol {name!r} is not known; it must be one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
