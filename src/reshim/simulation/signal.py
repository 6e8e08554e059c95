"""Signal equations: what a tissue's magnetisation leaves at the echo, as a signed fraction of density.

Source: M. A. Bernstein, K. F. King, X. J. Zhou, Handbook of MRI Pulse Sequences, Academic Press (2004),
chapters 14 and 16. Relaxivities: M. Rohrer et al., Invest. Radiol. 40:715 (2005), gadopentetate in plasma.
Ours differs: a turbo spin echo is the echo at its effective time with no magnetisation left at the end of
the train; the blurring by T2 along the train is left out. Times are in ms; numbers or tensors both work.
"""

import cmath
import math
from dataclasses import replace

from reshim.simulation.tissues import Properties

_RELAXIVITY = {1.5: (4.1, 4.6), 3.0: (3.7, 5.2)}
"""Field to (longitudinal, transverse) relaxivity in l/(mmol s)."""


def spin_echo(
    t1_ms: float, t2_ms: float, repetition_ms: float, echo_ms: float, train_ms: float = 0.0
) -> float:
    """(1 - exp(-(TR - train) / T1)) exp(-TE / T2) for a 90° pulse; `train_ms` is the echo train's length."""
    recovery = 1 - math.exp(-(repetition_ms - train_ms) / t1_ms)
    return recovery * math.exp(-echo_ms / t2_ms)


def inversion_recovery(
    t1_ms: float,
    t2_ms: float,
    repetition_ms: float,
    echo_ms: float,
    inversion_ms: float,
    train_ms: float = 0.0,
) -> float:
    """(1 - 2 exp(-TI / T1) + exp(-(TR - train) / T1)) exp(-TE / T2); negative before the null."""
    recovery = 1 - 2 * math.exp(-inversion_ms / t1_ms) + math.exp(-(repetition_ms - train_ms) / t1_ms)
    return recovery * math.exp(-echo_ms / t2_ms)


def spoiled_gradient_echo(
    t1_ms: float, t2_star_ms: float, repetition_ms: float, echo_ms: float, flip_deg: float
) -> float:
    """sin(a) (1 - E1) / (1 - cos(a) E1) exp(-TE / T2*), E1 = exp(-TR / T1): the steady state."""
    flip, rest = math.radians(flip_deg), math.exp(-repetition_ms / t1_ms)
    return math.sin(flip) * (1 - rest) / (1 - math.cos(flip) * rest) * math.exp(-echo_ms / t2_star_ms)


def through_slice(
    t1_ms: float, t2_star_ms: float, repetition_ms: float, echo_ms: float, flip_deg: float
) -> float:
    """`spoiled_gradient_echo` summed through a slice whose profile is the arch of a cosine: at its flanks the
    flip is small, where long T1 loses less.
    """
    steps = 16
    flips = (flip_deg * math.cos(math.pi / 2 * (step + 0.5) / steps) for step in range(steps))
    total = sum(spoiled_gradient_echo(t1_ms, t2_star_ms, repetition_ms, echo_ms, flip) for flip in flips)
    return total / steps


FAT_LINES = ((-3.80, 0.087), (-3.40, 0.693), (-2.60, 0.128), (-1.94, 0.004), (-0.39, 0.039), (0.60, 0.048))
"""Lines of triglycerides against water in ppm, and their shares: G. Hamilton et al., NMR Biomed. 24:784
(2011)."""


def fat_at_echo(hertz_per_ppm: float, echo_ms: float) -> complex:
    """Sum of the lines of fat at the echo of a gradient echo; 1 at time 0. A spin echo refocuses them."""
    return sum(
        share * cmath.exp(2j * math.pi * ppm * hertz_per_ppm * echo_ms / 1000) for ppm, share in FAT_LINES
    ) / sum(share for _, share in FAT_LINES)


def null_inversion_ms(t1_ms: float, repetition_ms: float, train_ms: float = 0.0) -> float:
    """The inversion time that leaves no signal of a tissue with this T1."""
    return t1_ms * math.log(2 / (1 + math.exp(-(repetition_ms - train_ms) / t1_ms)))


def ernst_angle_deg(t1_ms: float, repetition_ms: float) -> float:
    """The flip angle at which a spoiled gradient echo is strongest: cos(a) = exp(-TR / T1)."""
    return math.degrees(math.acos(math.exp(-repetition_ms / t1_ms)))


def with_contrast_agent(tissue: Properties, concentration_mm: float, field_tesla: float) -> Properties:
    """The tissue with `concentration_mm` mmol/l of a gadolinium chelate: 1/T grows by r times it."""
    longitudinal, transverse = _RELAXIVITY[min(_RELAXIVITY, key=lambda field: abs(field - field_tesla))]

    def shortened(time_ms: float, relaxivity: float) -> float:
        return 1 / (1 / time_ms + relaxivity * concentration_mm / 1000)

    return replace(
        tissue,
        t1_ms=shortened(tissue.t1_ms, longitudinal),
        t2_ms=shortened(tissue.t2_ms, transverse),
        t2_star_ms=shortened(tissue.t2_star_ms, transverse),
    )
