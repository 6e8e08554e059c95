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
    """A key of `scanner.ANATOMIES`."""

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

    scanner: str = ""
    """Tells two scanners of one field apart."""

    matrix_share: float = 1.0
    """The matrix, relative to the one that is asked for."""

    repetitions: int = 1
    """How often the scan is measured, each time with noise of its own, and written."""

    scan: str | None = None
    """What several views of one 3D scan share; None for a scan of its own."""

    volumetric: bool = False
    """Excited as a whole (3D): no slice profile."""

    edge_mm: float = 0.0
    """Over what length saturation lets the signal fall at the left and right edge of the field of view."""

    def __post_init__(self) -> None:
        if (self.inversion_ms is None) == (self.sequence == "inversion-recovery"):
            raise ValueError(
                f"protocol {self.name}: inversion_ms is {self.inversion_ms} in a {self.sequence} sequence; "
                "give it for inversion-recovery and for nothing else"
            )

    @property
    def model(self) -> str:
        """The scanner's name. Its vendor is `simulated`."""
        return f"SimScan {self.field_tesla:g}T {self.scanner}".rstrip()

    def matrix_of(self, asked: int) -> int:
        """The matrix of this card where `asked` is that of the others; even, and at least 16 if that is."""
        if self.matrix_share == 1 or asked < 16:
            return asked
        return max(2 * round(self.matrix_share * asked / 2), 16)

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
_HEAD_8 = replace(_HEAD_12, rings=(8,), loop_radius_mm=84.0)
_KNEE_15 = CoilArray(
    rings=(5, 5, 5), ring_positions_mm=(-60.0, 0.0, 60.0), semi_axes_mm=(88.0, 92.0), loop_radius_mm=56.0
)
_KNEE_15_WIDE = replace(_KNEE_15, semi_axes_mm=(98.0, 102.0), loop_radius_mm=62.0, coupling=0.6)


# Four large loops at low field; a helmet of many small ones at 7 T, close enough to shade strongly.
_HEAD_4 = CoilArray(
    rings=(4,), ring_positions_mm=(5.0,), semi_axes_mm=(125.0, 142.0), loop_radius_mm=95.0, coupling=0.35
)
_HEAD_32 = CoilArray(
    rings=(10, 12, 10),
    ring_positions_mm=(-50.0, 5.0, 60.0),
    semi_axes_mm=(106.0, 126.0),
    loop_radius_mm=36.0,
    ring_scales=(1.0, 1.0, 0.86),
    jitter_mm=3.0,
)
_HEAD_20 = replace(_HEAD_16, rings=(10, 10), loop_radius_mm=47.0)
_KNEE_18 = replace(_KNEE_15, rings=(6, 6, 6), loop_radius_mm=50.0)
_KNEE_8 = CoilArray(
    rings=(4, 4), ring_positions_mm=(-45.0, 45.0), semi_axes_mm=(96.0, 100.0), loop_radius_mm=68.0
)
_BODY = CoilArray(
    rings=(6, 6, 6),
    ring_positions_mm=(-90.0, 0.0, 90.0),
    semi_axes_mm=(222.0, 158.0),
    loop_radius_mm=85.0,
    jitter_mm=8.0,
)
_CHEST_12 = replace(_BODY, rings=(6, 6), ring_positions_mm=(-60.0, 60.0), center_mm=(-48.0, 42.0))
_BREAST_16 = CoilArray(
    rings=(8, 8), ring_positions_mm=(-40.0, 40.0), semi_axes_mm=(185.0, 150.0), loop_radius_mm=70.0
)

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


def _also(like: str, name: str, imitates: str, **settings: Any) -> Protocol:
    """A card that differs from one of the above by a scanner."""
    card = next(card for card in _CARDS if card.name == like)
    return replace(card, name=name, imitates=imitates, **settings)


def _repeated(contrast: str, repetitions: int, **settings: Any) -> Protocol:
    """M4Raw's brains: weak, so every contrast is measured several times."""
    return Protocol(
        name=f"brain-{contrast.lower()}-0.3t",
        imitates=f"M4Raw {contrast} at 0.3 T, {repetitions} repetitions",
        anatomy="brain",
        contrast=contrast,
        field_tesla=0.3,
        coils=_HEAD_4,
        acquisition=contrast,
        repetitions=repetitions,
        **{**_COMMON["brain"], "fov_mm": (240.0, 240.0), "sequence": "spin-echo"} | settings,
    )


_KNEE_EXTENTS = {"axial": (-50.0, 50.0), "coronal": (-42.0, 42.0), "sagittal": (-45.0, 45.0)}
_HEAD_EXTENTS = {"axial": (-32.0, 62.0), "coronal": (-62.0, 66.0), "sagittal": (-52.0, 52.0)}


def _knee_view(view: View) -> Protocol:
    return Protocol(
        name=f"knee-3d-{view}-3t", imitates=f"Stanford 3D knee, {view} view, fat-suppressed, at 3 T",
        anatomy="knee", contrast="PD-FS", sequence="spin-echo", repetition_ms=1550.0, echo_ms=25.0,
        train_ms=60.0, field_tesla=3.0, coils=_KNEE_8, snr=15.0, fov_mm=(160.0, 160.0), thickness_mm=1.2,
        extent_mm=_KNEE_EXTENTS[view], slices=32, view=view, acquisition="3D PDFS", fat_residual=0.1,
        bandwidth_hz=600.0, coverage=1.0 if view == "axial" else 2.0, scan="knee-3d-3t", volumetric=True,
    )  # fmt: skip


def _head_view(view: View) -> Protocol:
    return Protocol(
        name=f"brain-3d-{view}-3t", imitates=f"Calgary-Campinas T1 volume, 12 coils, {view} view, at 3 T",
        anatomy="brain", contrast="T1", sequence="gradient-echo", repetition_ms=9.0, echo_ms=2.6,
        flip_deg=14.0, field_tesla=3.0, coils=_HEAD_12, snr=20.0, fov_mm=(240.0, 240.0), thickness_mm=1.2,
        extent_mm=_HEAD_EXTENTS[view], slices=32, view=view, acquisition="3D T1 GRE", bandwidth_hz=600.0,
        coverage=1.0 if view == "axial" else 1.4, scan="brain-3d-3t", volumetric=True,
    )  # fmt: skip


def _heart(name: str, view: View, extent_mm: tuple[float, float], slices: int) -> Protocol:
    return Protocol(
        name=f"heart-{name}-1.5t", imitates=f"heart, {view}, gradient echo, fat in its own phase, at 1.5 T",
        anatomy="heart", contrast="GRE", sequence="gradient-echo", repetition_ms=20.0, echo_ms=3.4,
        flip_deg=20.0, field_tesla=1.5, coils=_CHEST_12, snr=16.0, fov_mm=(340.0, 340.0), thickness_mm=8.0,
        extent_mm=extent_mm, slices=slices, view=view, acquisition=f"GRE {name}", bandwidth_hz=450.0,
        coverage=1.5, edge_mm=15.0,
    )  # fmt: skip


_VIEWS: tuple[View, ...] = ("axial", "coronal", "sagittal")
_MORE = (
    _also("knee-pd-3t", "knee-pd-3t-b", "fastMRI knee CORPD at 3 T, another scanner: 18 coils",
          scanner="B", coils=_KNEE_18, matrix_share=0.9, snr=22.0, bandwidth_hz=260.0),
    _also("knee-pd-fs-3t", "knee-pd-fs-3t-b", "fastMRI knee CORPDFS at 3 T, another scanner: 18 coils",
          scanner="B", coils=_KNEE_18, matrix_share=0.9, snr=10.5, bandwidth_hz=260.0),
    _also("knee-pd-1.5t", "knee-pd-1.5t-b", "fastMRI knee CORPD at 1.5 T, another scanner: 8 coils",
          scanner="B", coils=_KNEE_8, matrix_share=0.8, snr=14.0, repetition_ms=2100.0),
    _also("knee-pd-fs-1.5t", "knee-pd-fs-1.5t-b", "fastMRI knee CORPDFS at 1.5 T, another scanner: 8 coils",
          scanner="B", coils=_KNEE_8, matrix_share=0.8, snr=8.0, fat_residual=0.2),
    _also("brain-t2-3t", "brain-t2-3t-b", "fastMRI brain AXT2 at 3 T, another scanner: 20 coils",
          scanner="B", coils=_HEAD_20, matrix_share=0.9, snr=24.0, echo_ms=90.0, bandwidth_hz=260.0),
    _also("brain-t2-3t", "brain-t2-3t-c", "fastMRI brain AXT2 at 3 T, a third scanner: 12 coils",
          scanner="C", coils=_HEAD_12, snr=22.0, repetition_ms=4800.0, echo_ms=112.0, train_ms=210.0,
          bandwidth_hz=180.0),
    _also("brain-t2-3t", "brain-t2-3t-12ch", "fastMRI brain AXT2 at 3 T, the same scanner with 12 coils",
          scanner="12-channel", coils=_HEAD_12),
    _also("brain-t2-3t", "brain-t2-3t-8ch", "fastMRI brain AXT2 at 3 T, the same scanner with 8 coils",
          scanner="8-channel", coils=_HEAD_8),
    _repeated("T1", 3, repetition_ms=500.0, echo_ms=18.4, bandwidth_hz=80.0, snr=9.0),
    _repeated("T2", 3, repetition_ms=5500.0, echo_ms=128.0, train_ms=200.0, bandwidth_hz=80.0, snr=8.0),
    _repeated("FLAIR", 2, sequence="inversion-recovery", repetition_ms=7500.0, echo_ms=96.0,
              inversion_ms=1650.0, train_ms=150.0, bandwidth_hz=80.0, snr=7.0),
    Protocol(
        name="brain-gre-7t", imitates="AHEAD gradient echo at 7 T, strong receive shading", anatomy="brain",
        contrast="GRE", sequence="gradient-echo", repetition_ms=31.0, echo_ms=11.0, flip_deg=12.0,
        field_tesla=7.0, coils=_HEAD_32, snr=24.0, fov_mm=(220.0, 220.0), thickness_mm=1.0,
        extent_mm=(-28.0, 60.0), slices=24, view="axial", acquisition="MP2RAGEME", bandwidth_hz=450.0,
        volumetric=True,
    ),
    *(_knee_view(view) for view in _VIEWS),
    *(_head_view(view) for view in _VIEWS),
    Protocol(
        name="prostate-t2-3t", imitates="fastMRI prostate T2 at 3 T", anatomy="prostate", contrast="T2",
        sequence="spin-echo", repetition_ms=4400.0, echo_ms=100.0, train_ms=190.0, field_tesla=3.0,
        coils=_BODY, snr=20.0, fov_mm=(200.0, 200.0), thickness_mm=3.0, extent_mm=(-32.0, 38.0), slices=20,
        view="axial", acquisition="T2 TSE tra", bandwidth_hz=200.0, coverage=1.6, edge_mm=12.0,
    ),
    Protocol(
        name="pelvis-t2-3t", imitates="female pelvis T2 at 3 T", anatomy="pelvis", contrast="T2",
        sequence="spin-echo", repetition_ms=5000.0, echo_ms=95.0, train_ms=180.0, field_tesla=3.0,
        coils=_BODY, snr=22.0, fov_mm=(300.0, 300.0), thickness_mm=5.0, extent_mm=(-50.0, 70.0), slices=20,
        view="axial", acquisition="T2 TSE tra", bandwidth_hz=220.0, edge_mm=15.0,
    ),
    _heart("sax", "short-axis", (-40.0, 42.0), 10),
    _heart("4ch", "long-axis", (-16.0, 16.0), 5),
    Protocol(
        name="abdomen-t2-3t", imitates="abdomen, single-shot T2 in a held breath at 3 T", anatomy="abdomen",
        contrast="T2", sequence="spin-echo", repetition_ms=1400.0, echo_ms=90.0, train_ms=300.0,
        field_tesla=3.0, coils=_BODY, snr=20.0, fov_mm=(400.0, 400.0), thickness_mm=6.0,
        extent_mm=(-50.0, 70.0), slices=16, view="axial", acquisition="T2 HASTE tra", bandwidth_hz=700.0,
    ),
    Protocol(
        name="abdomen-t1-1.5t", imitates="abdomen, T1 gradient echo in opposed phase at 1.5 T",
        anatomy="abdomen", contrast="T1", sequence="gradient-echo", repetition_ms=150.0, echo_ms=2.3,
        flip_deg=70.0, field_tesla=1.5, coils=_BODY, snr=18.0, fov_mm=(400.0, 400.0), thickness_mm=6.0,
        extent_mm=(-50.0, 70.0), slices=16, view="axial", acquisition="T1 FLASH opp tra", bandwidth_hz=450.0,
    ),
    Protocol(
        name="breast-t1-3t", imitates="fastMRI breast T1, fat-suppressed, before contrast agent, at 3 T",
        anatomy="breast", contrast="T1", sequence="gradient-echo", repetition_ms=5.0, echo_ms=1.8,
        flip_deg=10.0, field_tesla=3.0, coils=_BREAST_16, snr=18.0, fov_mm=(320.0, 320.0), thickness_mm=1.6,
        extent_mm=(-45.0, 45.0), slices=24, view="axial", acquisition="T1 VIBE FS tra", bandwidth_hz=600.0,
        fat_residual=0.15, coverage=1.4, edge_mm=12.0, volumetric=True,
    ),
    Protocol(
        name="phantom-t1-3t", imitates="a resolution phantom, T1 spin echo at 3 T", anatomy="phantom",
        contrast="T1", sequence="spin-echo", repetition_ms=500.0, echo_ms=20.0, field_tesla=3.0,
        coils=_HEAD_16, snr=60.0, fov_mm=(200.0, 200.0), thickness_mm=5.0, extent_mm=(-50.0, 50.0), slices=8,
        view="axial", acquisition="T1 SE tra", bandwidth_hz=150.0,
    ),
)  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {card.name: card for card in (*_CARDS, *_MORE)}


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
