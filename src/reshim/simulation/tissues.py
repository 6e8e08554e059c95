"""What each tissue answers a pulse with: proton density, T1, T2, T2*, chemical shift, at any field.

Measured values stand at the fields of the papers. Between two of them T1 and T2 follow the power law through
both; beyond them T1 grows with Bottomley's exponent and T2 stays.

Sources, by the letters beside the numbers:
A  S. W. Atlas (ed.), Magnetic Resonance Imaging of the Brain and Spine, table 2.1: T2 at 1.5 and 3 T.
B  P. A. Bottomley et al., Med. Phys. 11:425 (1984): T1 grows as a power of the frequency.
C  S. Spijkerman et al., MAGMA 31:415 (2018): T2 of cerebrospinal fluid at 3 and 7 T.
D  C. M. J. de Bazelaire et al., Radiology 230:652 (2004): organs of abdomen and pelvis at 1.5 and 3 T.
E  R. Rakow-Penner et al., J. Magn. Reson. Imaging 23:87 (2006): breast at 1.5 and 3 T.
G  G. E. Gold et al., Am. J. Roentgenol. 183:343 (2004): knee at 1.5 and 3 T.
M  S. Rauscher et al., Radiology 249:591 (2008): T2 of healthy menisci at 3 T.
P  P. Tofts (ed.), Quantitative MRI of the Brain, Wiley (2003): proton densities of the brain.
R  W. D. Rooney et al., Magn. Reson. Med. 57:308 (2007): T1 of brain, blood and fluid, 0.2 to 7 T.
S  G. J. Stanisz et al., Magn. Reson. Med. 54:507 (2005): T1 and T2 of nine tissues at 1.5 and 3 T.
U  M. D. Robson et al., J. Comput. Assist. Tomogr. 27:825 (2003): ranges of T2 of tissues that decay fast.
W  J. P. Wansapura et al., J. Magn. Reson. Imaging 9:531 (1999): T1 and T2* of the brain at 3 T.

Ours differs: a tissue without a letter has no measurement behind its value; it is set from its water
content, or as the neighbour named in its comment, so that it looks as it does on clinical images. Proton
densities outside the brain are water contents of that kind. Values are means; `varied` spreads them by
subject.
"""

import math
from dataclasses import dataclass, replace

from reshim.seeds import numpy_generator_of

FAT_SHIFT_PPM = -3.4
"""Of the methylene line against water at body temperature."""

# B: exponents of T1. Tissues that are not listed there take the middle of his range.
_GROWTH_FAT, _GROWTH_MUSCLE, _GROWTH_GREY, _GROWTH_WHITE, _GROWTH_OTHER = 0.1743, 0.4203, 0.3082, 0.3477, 0.35


@dataclass(frozen=True)
class Tissue:
    """What is known of one tissue, at the fields where it was measured."""

    density: float
    """Protons that give a signal, relative to water."""

    t1_ms: dict[float, float]
    """Field in tesla to T1."""

    t2_ms: dict[float, float]
    """Field in tesla to T2; one entry means that T2 does not change."""

    t2_star_share: float = 0.6
    """T2* over T2 at 3 T."""

    shift_ppm: float = 0.0
    """Chemical shift against water."""

    exponent: float = _GROWTH_OTHER
    """Growth of T1 with the field beyond the fields where it was measured."""

    uptake_mm: float = 0.0
    """Contrast agent in it some minutes after a clinical dose, in mmol/l."""

    flowing: bool = False
    """Blood in large vessels, which leaves the slice between the pulses of a spin echo."""


@dataclass(frozen=True)
class Properties:
    """One tissue at one field."""

    density: float
    t1_ms: float
    t2_ms: float
    t2_star_ms: float
    shift_ppm: float
    uptake_mm: float
    flowing: bool

    @property
    def is_fat(self) -> bool:
        """True where the protons are those of fat."""
        return self.shift_ppm != 0.0


_WHITE_T1 = {0.2: 361.0, 1.5: 656.0, 3.0: 832.0, 7.0: 1220.0}  # R; at 3 T W, as the share of T2*
_GREY_T1 = {0.2: 635.0, 1.5: 1188.0, 3.0: 1331.0, 7.0: 2132.0}  # R; at 3 T W
_FAT_T1 = {1.5: 288.0, 3.0: 371.0}  # G
_FAT_T2 = {1.5: 165.0, 3.0: 133.0}  # G
_MUSCLE_T1 = {1.5: 1130.0, 3.0: 1420.0}  # G
_MUSCLE_T2 = {1.5: 35.3, 3.0: 31.7}  # G
_BLOOD_T1 = {0.2: 761.0, 1.5: 1509.0, 3.0: 1912.0, 7.0: 2550.0}  # R: its power law 0.00335 (γB0)^0.340
_BLOOD_T2 = {1.5: 290.0, 3.0: 275.0}  # S: oxygenated

TISSUES: dict[str, Tissue] = {
    # Grey and white matter: T2 from A, densities from P.
    "white": Tissue(0.70, _WHITE_T1, {1.5: 80.0, 3.0: 77.0}, exponent=_GROWTH_WHITE),
    "grey": Tissue(0.82, _GREY_T1, {1.5: 100.0, 3.0: 85.0}, exponent=_GROWTH_GREY),
    # Between grey and white matter; iron shortens T2.
    "deep_grey": Tissue(0.80, {1.5: 1000.0, 3.0: 1200.0}, {1.5: 85.0, 3.0: 68.0}, 0.6),
    "csf": Tissue(1.0, {3.0: 4300.0}, {3.0: 2000.0, 7.0: 1050.0}, exponent=0.0),  # R, C
    "eye": Tissue(1.0, {3.0: 4000.0}, {3.0: 1000.0}, exponent=0.0),  # vitreous, nearly CSF
    "dura": Tissue(0.5, _MUSCLE_T1, {3.0: 25.0}, uptake_mm=0.25),  # collagen
    "skull": Tissue(0.15, {3.0: 250.0}, {3.0: 0.5}),  # U: cortical bone 0.42-0.50 ms
    "scalp_fat": Tissue(0.90, _FAT_T1, _FAT_T2, 0.4, FAT_SHIFT_PPM, _GROWTH_FAT),
    "marrow": Tissue(
        0.75, _FAT_T1, {1.5: 120.0, 3.0: 95.0}, 0.3, FAT_SHIFT_PPM, _GROWTH_FAT
    ),  # in part blood-forming
    "skin": Tissue(0.65, _MUSCLE_T1, _MUSCLE_T2, exponent=_GROWTH_MUSCLE, uptake_mm=0.15),  # as muscle
    "muscle": Tissue(0.79, _MUSCLE_T1, _MUSCLE_T2, exponent=_GROWTH_MUSCLE, uptake_mm=0.1),
    "vessel": Tissue(0.83, _BLOOD_T1, _BLOOD_T2, 0.3, uptake_mm=0.8, flowing=True),
    "cartilage": Tissue(0.76, {1.5: 1060.0, 3.0: 1240.0}, {1.5: 42.1, 3.0: 36.9}),  # G
    "fluid": Tissue(0.98, {1.5: 2850.0, 3.0: 3620.0}, {1.5: 1210.0, 3.0: 767.0}),  # G: synovial
    "marrow_fat": Tissue(0.85, {1.5: 288.0, 3.0: 365.0}, _FAT_T2, 0.25, FAT_SHIFT_PPM, _GROWTH_FAT),  # G
    "fat": Tissue(0.95, _FAT_T1, _FAT_T2, 0.4, FAT_SHIFT_PPM, _GROWTH_FAT),
    "cortical_bone": Tissue(0.15, {3.0: 250.0}, {3.0: 0.5}),  # U
    "meniscus": Tissue(0.70, {1.5: 800.0, 3.0: 960.0}, {3.0: 11.4}),  # T2: M
    "ligament": Tissue(0.65, {1.5: 700.0, 3.0: 840.0}, {3.0: 9.0}),  # T2: U, 4-10 ms
    "tendon": Tissue(0.60, {1.5: 650.0, 3.0: 780.0}, {3.0: 5.0}),  # T2: U, 4-10 ms
    # The trunk.
    "liver": Tissue(0.78, {1.5: 586.0, 3.0: 809.0}, {1.5: 46.0, 3.0: 34.0}, 0.55, uptake_mm=0.3),  # D
    "spleen": Tissue(0.82, {1.5: 1057.0, 3.0: 1328.0}, {1.5: 79.0, 3.0: 61.0}, uptake_mm=0.4),  # D
    "kidney": Tissue(
        0.84, {1.5: 1100.0, 3.0: 1250.0}, {1.5: 87.0, 3.0: 78.0}, uptake_mm=0.6
    ),  # D, mostly cortex
    "myocardium": Tissue(0.80, {1.5: 1030.0, 3.0: 1471.0}, {1.5: 40.0, 3.0: 47.0}, uptake_mm=0.2),  # S
    "blood": Tissue(0.83, _BLOOD_T1, _BLOOD_T2, 0.5, uptake_mm=0.8, flowing=True),  # in a chamber, as vessel
    "lung": Tissue(0.18, {1.5: 1200.0, 3.0: 1300.0}, {3.0: 30.0}, 0.04),  # air dephases it
    "disc": Tissue(0.75, {1.5: 1000.0, 3.0: 1150.0}, {3.0: 85.0}),  # between cartilage and fluid
    "bowel": Tissue(0.85, {1.5: 1200.0, 3.0: 1500.0}, {3.0: 110.0}, 0.4),  # chyme and wall
    "urine": Tissue(1.0, {1.5: 2900.0, 3.0: 3500.0}, {3.0: 1000.0}, exponent=0.0),  # nearly water
    "prostate_inner": Tissue(0.80, {1.5: 1317.0, 3.0: 1597.0}, {1.5: 88.0, 3.0: 74.0}, uptake_mm=0.3),  # D
    "prostate_outer": Tissue(0.88, {1.5: 1450.0, 3.0: 1800.0}, {3.0: 145.0}, uptake_mm=0.2),  # glandular
    "uterus": Tissue(0.83, {1.5: 1309.0, 3.0: 1514.0}, {1.5: 117.0, 3.0: 79.0}, uptake_mm=0.3),  # D: muscle
    "gland": Tissue(0.75, {1.5: 1266.0, 3.0: 1445.0}, {1.5: 58.0, 3.0: 54.0}, uptake_mm=0.1),  # E
    # Dense tumour: less water between its cells than a gland has.
    "tumour": Tissue(0.80, {1.5: 1100.0, 3.0: 1350.0}, {3.0: 75.0}, uptake_mm=0.5),
    "doped_water": Tissue(1.0, {3.0: 300.0}, {3.0: 240.0}, 0.8, exponent=0.0),  # as phantoms are filled
    # Oedema or tumour: more free water than the tissue around it; takes up contrast agent.
    "lesion": Tissue(0.90, {1.5: 1300.0, 3.0: 1600.0}, {1.5: 160.0, 3.0: 150.0}, uptake_mm=0.5),
}


def properties(name: str, field_tesla: float) -> Properties:
    """One tissue at one field.

    Raises
    ------
    ValueError
        If the tissue is not known, or the field is not positive.
    """
    if name not in TISSUES:
        raise ValueError(f"tissue {name!r} is not known; it must be one of {sorted(TISSUES)}")
    if not field_tesla > 0:
        raise ValueError(f"field is {field_tesla} T; it must be positive")
    tissue = TISSUES[name]
    t2_ms = at_field(tissue.t2_ms, field_tesla, 0.0)
    # The part of 1/T2* that susceptibility adds grows in proportion to the field.
    dephasing = (1 / tissue.t2_star_share - 1) / at_field(tissue.t2_ms, 3.0, 0.0) * field_tesla / 3.0
    return Properties(
        density=tissue.density,
        t1_ms=at_field(tissue.t1_ms, field_tesla, tissue.exponent),
        t2_ms=t2_ms,
        t2_star_ms=1 / (1 / t2_ms + dephasing),
        shift_ppm=tissue.shift_ppm,
        uptake_mm=tissue.uptake_mm,
        flowing=tissue.flowing,
    )


def varied(tissue: Properties, *owner: object) -> Properties:
    """The tissue of one subject: density, T1 and T2 off their means by 3, 5 and 5 % (standard deviation)."""
    density, t1, t2 = numpy_generator_of("tissue", *owner).normal(0, (0.03, 0.05, 0.05))
    return replace(
        tissue,
        density=min(tissue.density * math.exp(density), 1.0),
        t1_ms=tissue.t1_ms * math.exp(t1),
        t2_ms=tissue.t2_ms * math.exp(t2),
        t2_star_ms=tissue.t2_star_ms * math.exp(t2),
    )


def at_field(measured: dict[float, float], field_tesla: float, exponent: float) -> float:
    """Between two measurements the power law through them; beyond them the nearest, grown with `exponent`."""
    fields = sorted(measured)
    nearest = min(max(field_tesla, fields[0]), fields[-1])
    if nearest != field_tesla or len(fields) == 1:
        return measured[nearest] * (field_tesla / nearest) ** exponent
    above = max(sum(field < field_tesla for field in fields), 1)
    low, high = fields[above - 1], fields[above]
    slope = math.log(measured[high] / measured[low]) / math.log(high / low)
    return measured[low] * (field_tesla / low) ** slope
