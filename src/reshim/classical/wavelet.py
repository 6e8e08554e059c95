"""Orthogonal Daubechies wavelets on a periodic grid, in two dimensions, as products with small matrices.

Source: I. Daubechies, Commun. Pure Appl. Math. 41:909 (1988); the pyramid is S. Mallat's, IEEE PAMI 11:674
(1989).
Ours differs: filters are computed from their definition for any order, and a level is one orthogonal matrix
a side, so that analysis and synthesis are exact adjoints and inverses of one another.
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


def level_matrix(size: int, order: int) -> Float[Tensor, "size size"]:
    """One level along one axis: the first half of the rows are averages, the second half details."""
    low = scaling_filter(order)
    high = [(-1) ** k * value for k, value in enumerate(reversed(low))]
    matrix = np.zeros((size, size))
    first = 2 * np.arange(size // 2)
    for half, taps in enumerate((low, high)):
        for k, value in enumerate(taps):
            np.add.at(matrix, (half * (size // 2) + first // 2, (first + k) % size), value)
    return torch.from_numpy(matrix)


@dataclass(frozen=True)
class Wavelet:
    """The pyramid of a real image whose sides are multiples of ``2**levels``."""

    matrices: tuple[tuple[Tensor, Tensor], ...]
    """For each level, finest first: the matrices of rows and columns."""

    @classmethod
    def of(cls, shape: tuple[int, int], levels: int, order: int, like: Tensor) -> "Wavelet":
        """The pyramid for images of `shape`, in the type and on the device of `like`.

        Raises
        ------
        ValueError
            If a side is no multiple of ``2**levels``; pad to `padded_size` first.
        """
        if any(size % 2**levels for size in shape):
            raise ValueError(f"{shape[0]}x{shape[1]} is no multiple of {2**levels}; pad to padded_size first")
        sizes = [(shape[0] >> level, shape[1] >> level) for level in range(levels)]
        matrices = [(level_matrix(rows, order), level_matrix(columns, order)) for rows, columns in sizes]
        return cls(tuple((rows.to(like), columns.to(like)) for rows, columns in matrices))

    def analyse(self, image: Float[Tensor, "*batch row column"]) -> Float[Tensor, "*batch row column"]:
        """Coefficients in place of pixels; the coarsest averages lie in the first rows and columns."""
        coefficients = image.clone()
        for rows, columns in self.matrices:
            part = coefficients[..., : rows.shape[0], : columns.shape[0]]
            part.copy_(rows @ (part @ columns.T))
        return coefficients

    def synthesise(
        self, coefficients: Float[Tensor, "*batch row column"]
    ) -> Float[Tensor, "*batch row column"]:
        """The inverse of `analyse`, which is its adjoint."""
        image = coefficients.clone()
        for rows, columns in reversed(self.matrices):
            part = image[..., : rows.shape[0], : columns.shape[0]]
            part.copy_(rows.T @ (part @ columns))
        return image


def padded_size(size: int, levels: int) -> int:
    """The next multiple of ``2**levels``."""
    return -(-size // 2**levels) * 2**levels
