"""What the transverse magnetisation of a slice is at the echo: tissues, fat, B0, transmit field.

Sources: signal equations as in `reshim.simulation.signal`; the transmit field's shape after C. M. Collins et
al., Magn. Reson. Med. 40:847 (1998). Ours differs: B0, transmit and receive phase are random polynomials in
the body rather than solutions of Maxwell's equations; suppression and displacement take fat as one line.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.protocols import Protocol
from reshim.simulation.signal import (
    fat_at_echo,
    inversion_recovery,
    spin_echo,
    spoiled_gradient_echo,
    through_slice,
    with_contrast_agent,
)
from reshim.simulation.tissues import FAT_SHIFT_PPM, Properties

_FAT_T2_SINGLE_ECHO_MS = 60.0
"""Coupled lines decay faster in one echo than in a train (R. M. Henkelman et al., J. Magn. Reson. Imaging
4:533, 1994). Set by us: the paper explains the effect, this value is not its measurement."""


def magnetisation(
    anatomy: Anatomy,
    geometry: Geometry,
    card: Protocol,
    tissues: Sequence[Properties],
    generator: torch.Generator,
) -> Complex[Tensor, "slice row column"]:
    """Complex transverse magnetisation on the fine grid: tissues, fat displaced and in its own phase, B0.

    Fields (B0 in ppm, transmit and receive phase) are polynomials in the body, so that slices agree.
    """
    signals = torch.tensor([signal_of(tissue, card) for tissue in tissues])
    is_fat = torch.tensor([tissue.is_fat for tissue in tissues])
    weights = torch.stack([torch.where(is_fat, 0, signals), torch.where(is_fat, signals, 0)])
    polynomial = torch.randn(2, 10, generator=generator)
    objects = []
    for index in range(geometry.n_slices):
        x, y, z = (axis / 100 for axis in geometry.points(index))
        monomials = torch.stack([torch.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, x * z])
        offset_ppm, phase = torch.tensordot(polynomial, monomials, dims=1)
        water, fat = torch.tensordot(weights, anatomy.fractions[index], dims=1) * anatomy.texture[index]
        if card.fat_residual is not None:
            fat = fat * _unsuppressed(0.35 * offset_ppm, card.fat_residual)
        fat = displaced(fat, card.fat_shift_mm / geometry.spacing_mm[0])
        angle = 0.9 * phase
        if card.sequence == "gradient-echo":
            hertz = 0.35 * offset_ppm * card.fat_offset_hz / -3.4
            angle = angle + 2 * math.pi * hertz * card.echo_ms / 1000
            lines = fat_at_echo(card.fat_offset_hz / FAT_SHIFT_PPM, card.echo_ms)
            total = torch.complex(water + lines.real * fat, lines.imag * fat)
        else:
            total = torch.complex(water + fat, torch.zeros_like(fat))
        objects.append(total * torch.polar(_transmit(x, y, card), angle))
    return torch.stack(objects)


def signal_of(tissue: Properties, card: Protocol) -> float:
    """Signal of a full cell of the tissue at the echo, signed; density included."""
    if card.contrast_agent:
        tissue = with_contrast_agent(tissue, tissue.uptake_mm, card.field_tesla)
    if card.sequence == "gradient-echo":
        signal = (spoiled_gradient_echo if card.volumetric else through_slice)(
            tissue.t1_ms, tissue.t2_star_ms, card.repetition_ms, card.echo_ms, card.flip_deg
        )
        if tissue.flowing:  # half of the blood is fresh: it has not felt the earlier pulses
            fresh = math.sin(math.radians(card.flip_deg)) * math.exp(-card.echo_ms / tissue.t2_star_ms)
            signal = (signal + fresh) / 2
        return tissue.density * signal
    if card.sequence == "inversion-recovery":
        assert card.inversion_ms is not None
        signal = inversion_recovery(
            tissue.t1_ms, tissue.t2_ms, card.repetition_ms, card.echo_ms, card.inversion_ms, card.train_ms
        )
    else:
        if tissue.is_fat and not card.train_ms:
            tissue = replace(tissue, t2_ms=min(tissue.t2_ms, _FAT_T2_SINGLE_ECHO_MS))
        signal = spin_echo(tissue.t1_ms, tissue.t2_ms, card.repetition_ms, card.echo_ms, card.train_ms)
    # Blood that leaves the slice between the two pulses gives no echo; enhanced veins are slow.
    kept = (0.6 if card.contrast_agent else 0.1) if tissue.flowing else 1.0
    return tissue.density * signal * kept


def displaced(image: Float[Tensor, "row column"], rows: float) -> Float[Tensor, "row column"]:
    """The image moved down by a fractional number of rows, linearly interpolated, around the edge."""
    whole = math.floor(rows)
    return torch.lerp(image.roll(whole, 0), image.roll(whole + 1, 0), rows - whole)


def _unsuppressed(offset_ppm: Tensor, residual: float) -> Tensor:
    """What is left of the fat where the field is off: all of it once the pulse misses by 2 ppm."""
    missed = ((offset_ppm.abs() - 0.8) / 1.2).clamp(0, 1)
    return residual + (1 - residual) * missed


def _transmit(x: Tensor, y: Tensor, card: Protocol) -> Tensor:
    """Effect of the transmit field: the wave in the body brightens the middle above 1.5 T."""
    excess = 0.012 * card.field_tesla**2
    flip = 1 + excess * (0.5 - (x**2 + y**2) / 0.8**2).clamp_min(-1)
    if card.sequence == "gradient-echo":
        nominal = math.radians(card.flip_deg)
        return torch.sin(flip * nominal) / math.sin(nominal)
    return torch.sin(flip * math.pi / 2) ** 3
