"""What differs between two knees: sizes, pose, tissue thicknesses, textures, each with its range.

Source: cartilage thickness F. Eckstein et al., Osteoarthritis Cartilage 9:101 (2001); condylar width
M. Mahfouz et al., Clin. Orthop. Relat. Res. 470:172 (2012).
Ours differs: the quantities are drawn one by one, not from a statistical shape model, so they are
correlated through the overall size alone.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reshim.seeds import numpy_generator_of


@dataclass(frozen=True)
class Subject:
    """One knee. Lengths are in mm of the average knee unless said otherwise: `size` scales them all."""

    side: int
    """+1 a left knee (lateral is +x), −1 a right one."""

    size: float
    """Of the whole knee, 1 is the average of women and men."""

    stretch: tuple[float, float, float]
    """Further factors along lateral, posterior and up."""

    offset_mm: tuple[float, float, float]
    """Where the joint's centre lies in the scanner."""

    tilt_deg: tuple[float, float, float]
    """How crooked the leg lies, about x, y and z."""

    flexion_deg: float
    valgus_deg: float

    waves: Tensor
    """Amplitude, wave number and phase of the six sines that bend the body, (6, 3)."""

    femoral_cartilage: float
    tibial_cartilage: float
    patellar_cartilage: float
    cortex: float
    """Of the shafts; the shell of the epiphyses is a quarter of it."""

    shafts: float
    """Factor on the widths of femur and tibia away from the joint."""

    notch_half_width: float
    meniscus_width: float
    meniscus_height: float
    fat: float
    """Mean thickness of the subcutaneous fat."""

    fat_waves: tuple[float, float, float, float]
    """How the fat differs along lateral, posterior, up and around."""

    bulk: float
    """Factor on every muscle's half width."""

    patella_shift: tuple[float, float, float]
    fluid: float
    """Thickness of the film in the joint."""

    recess: float
    """Half thickness of the fluid in the suprapatellar recess."""

    marrow_contrast: float
    muscle_contrast: float
    red_marrow: float
    """How much of the femur's shaft is red marrow, 0 to 1."""

    septa: float
    """Share of connective tissue in the septa of the fat."""

    veins: Tensor
    """Angle at the joint, turn a mm, phase, radius of each subcutaneous vein, (vein, 4)."""

    @classmethod
    def drawn(cls, subject: int, seed: int) -> "Subject":
        """The knee of this number in the population of this seed."""
        draw = numpy_generator_of("knee", subject, seed)

        def around(mean: float, deviation: float, bound: float = 2.0) -> float:
            return float(mean + deviation * np.clip(draw.normal(), -bound, bound))

        def between(low: float, high: float) -> float:
            return float(draw.uniform(low, high))

        amplitudes = draw.uniform(0.4, 1.8, 6)
        numbers = 2 * math.pi / draw.uniform(45, 110, 6)
        phases = draw.uniform(0, 2 * math.pi, 6)
        n_veins = int(draw.integers(5, 9))
        veins = np.stack(
            (
                draw.uniform(-math.pi, math.pi, n_veins),
                draw.normal(0, 0.005, n_veins),
                draw.uniform(0, 2 * math.pi, n_veins),
                draw.uniform(0.7, 1.6, n_veins),
            ),
            axis=1,
        )
        return cls(
            side=int(draw.choice((-1, 1))),
            size=around(0.99, 0.055),
            stretch=(around(1, 0.02), around(1, 0.025), around(1, 0.02)),
            offset_mm=(around(0, 3), around(0, 2.5), around(0, 5)),
            tilt_deg=(around(0, 2.5), around(0, 2), around(0, 4)),
            flexion_deg=between(0, 12),
            valgus_deg=around(5, 1.5),
            waves=torch.tensor(np.stack((amplitudes, numbers, phases), axis=1), dtype=torch.float32),
            femoral_cartilage=around(2.25, 0.25),
            tibial_cartilage=around(2.5, 0.3),
            patellar_cartilage=around(2.9, 0.4),
            cortex=around(3.4, 0.6),
            shafts=around(1, 0.06),
            notch_half_width=around(9.5, 0.9),
            meniscus_width=around(10, 1),
            meniscus_height=around(6.5, 0.5),
            fat=float(np.exp(around(math.log(9), 0.4))),
            fat_waves=(around(-0.2, 0.15), around(0.1, 0.15), around(0.15, 0.15), between(0, 2 * math.pi)),
            bulk=around(1, 0.07),
            patella_shift=(around(1, 1.5), around(0, 0.4), around(0, 4)),
            fluid=between(0.3, 0.9),
            recess=between(0.4, 2.4),
            marrow_contrast=between(0.04, 0.11),
            muscle_contrast=between(0.06, 0.15),
            red_marrow=between(0, 0.7),
            septa=between(0.3, 0.6),
            veins=torch.tensor(veins, dtype=torch.float32),
        )
