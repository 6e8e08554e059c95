"""Orthogonal Daubechies wavelets on a periodic grid, in two dimensions.

Source: I. Daubechies, Commun. Pure Appl. Math. 41:909 (1988); the pyramid is S. Mallat's, IEEE PAMI 11:674
(1989).
Ours differs: filters are computed from their definition for any order, and borders are periodic, so that
analysis and synthesis are exact adjoints and inverses of one another.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@lru_cache
def scaling_filter(order: int) -> tuple[float, ...]:
    """The 2 * `order` low-pass coefficients with `order` vanishing moments; energy 1, sum sqrt(2)."""
    if not 1 <= order <= 10:
        raise ValueError(f"wavelet order is {order}; filters are computed for 1 (Haar) to 10")
    # |H|^2 has a known polynomial; of each pair of roots z, 1/z the one inside the unit circle is kept.
    powers = [math.comb(order - 1 + k, k) for k in range(order)]
    roots = []
    for y in np.roots(powers[::-1]):
        middle = 1 - 2 * y
        pair = np.array([middle + np.sqrt(middle**2 - 1 + 0j), middle - np.sqrt(middle**2 - 1 + 0j)])
        roots.append(pair[np.abs(pair).argmin()])
    coefficients = np.real(np.poly(np.concatenate([-np.ones(order), roots])))
    return tuple(float(value) for value in coefficients * math.sqrt(2) / coefficients.sum())


@lru_cache
def detail_filter(order: int) -> tuple[float, ...]:
    """The high-pass coefficients that go with `scaling_filter`."""
    return tuple((-1) ** k * value for k, value in enumerate(reversed(scaling_filter(order))))


def analyse_axis(samples: Tensor, order: int, axis: int) -> Tensor:
    """One level along one axis of even size: averages in its first half, details in the second."""
    even, odd = (_wrapped(_every_second(samples, start, axis), 0, order - 1, axis) for start in (0, 1))
    half = samples.shape[axis] // 2
    parts = []
    for taps in (scaling_filter(order), detail_filter(order)):
        part = even.narrow(axis, 0, half) * taps[0]
        part.add_(odd.narrow(axis, 0, half), alpha=taps[1])
        for shift in range(1, order):
            part.add_(even.narrow(axis, shift, half), alpha=taps[2 * shift])
            part.add_(odd.narrow(axis, shift, half), alpha=taps[2 * shift + 1])
        parts.append(part)
    return torch.cat(parts, dim=axis)


def synthesise_axis(coefficients: Tensor, order: int, axis: int) -> Tensor:
    """The inverse of `analyse_axis`, which is its adjoint."""
    halves = [_wrapped(half, order - 1, 0, axis) for half in coefficients.chunk(2, axis)]
    half = coefficients.shape[axis] // 2
    parts = []
    for start in (0, 1):
        part = torch.zeros_like(coefficients.narrow(axis, 0, half))
        for values, taps in zip(halves, (scaling_filter(order), detail_filter(order)), strict=True):
            for shift in range(order):
                part.add_(values.narrow(axis, order - 1 - shift, half), alpha=taps[2 * shift + start])
        parts.append(part)
    # Even and odd samples by turns: a new axis behind the one that was halved, folded into it.
    return (
        torch.stack(parts, dim=-1).flatten(-2) if axis == -1 else torch.stack(parts, dim=-2).flatten(-3, -2)
    )


def _every_second(samples: Tensor, start: int, axis: int) -> Tensor:
    return samples[..., start::2] if axis == -1 else samples[..., start::2, :]


def _wrapped(samples: Tensor, before: int, after: int, axis: int) -> Tensor:
    """Continue periodically by so many samples, which may be more than there are."""
    size = samples.shape[axis]
    return samples.index_select(axis, torch.arange(-before, size + after, device=samples.device) % size)


@dataclass(frozen=True)
class Wavelet:
    """The pyramid of real images whose sides are multiples of ``2**levels``."""

    levels: int
    """Times that the averages are split again."""

    order: int = 4
    """Vanishing moments; 1 is Haar's wavelet."""

    def analyse(self, image: Float[Tensor, "*batch row column"]) -> Float[Tensor, "*batch row column"]:
        """Coefficients in place of pixels; the coarsest averages lie in the first rows and columns.

        Raises
        ------
        ValueError
            If a side is no multiple of ``2**levels``; pad to `padded_size` first.
        """
        rows, columns = image.shape[-2:]
        if rows % 2**self.levels or columns % 2**self.levels:
            raise ValueError(f"{rows}x{columns} is no multiple of {2**self.levels}; pad to padded_size first")
        coefficients = image.clone()
        for level in range(self.levels):
            part = coefficients[..., : rows >> level, : columns >> level]
            part.copy_(analyse_axis(analyse_axis(part, self.order, -1), self.order, -2))
        return coefficients

    def synthesise(
        self, coefficients: Float[Tensor, "*batch row column"]
    ) -> Float[Tensor, "*batch row column"]:
        """The inverse of `analyse`, which is its adjoint."""
        image = coefficients.clone()
        rows, columns = image.shape[-2:]
        for level in reversed(range(self.levels)):
            part = image[..., : rows >> level, : columns >> level]
            part.copy_(synthesise_axis(synthesise_axis(part, self.order, -2), self.order, -1))
        return image


def padded_size(size: int, levels: int) -> int:
    """The next multiple of ``2**levels``."""
    return -(-size // 2**levels) * 2**levels
