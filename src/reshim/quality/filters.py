"""Sobel's gradient and local binary patterns of an image, as scikit-image defines them.

Source: local binary patterns: T. Ojala et al., IEEE Trans. Pattern Anal. Mach. Intell. 24:971 (2002).
Ours differs: `slack` lets neighbours that differ by rounding count as equal.
"""

import numpy as np
from jaxtyping import UInt8

from reshim.quality.foreground import Picture, Region

Patterns = UInt8[np.ndarray, "row column"]

_NON_UNIFORM = np.array([(code ^ (code >> 1 | (code & 1) << 7)).bit_count() > 2 for code in range(256)])


def sobel(image: Picture) -> Picture:
    """√2 times the gradient's magnitude, in the image's units a pixel; borders are mirrored."""
    padded = np.pad(image, 1, mode="symmetric")
    down, across = padded[2:] - padded[:-2], padded[:, 2:] - padded[:, :-2]
    by_row = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
    by_column = (across[:-2] + 2 * across[1:-1] + across[2:]) / 4
    return np.sqrt((by_row**2 + by_column**2) / 2)


def binary_patterns(image: Picture, slack: float = 0.0) -> Patterns:
    """Codes 0 to 255: bit i is set where the i-th of eight neighbours is as bright as the pixel.

    The neighbours go round from the right, against the clock, at distance 1: diagonal ones are interpolated,
    and beyond the border is 0. `slack`: how much darker a neighbour may be and still count.
    """
    rows, columns = image.shape
    padded = np.pad(image, 1)
    codes = np.zeros(image.shape, dtype=np.uint8)
    for bit in range(8):
        # Five decimals, and the order of the sums below, are scikit-image's: ties depend on them.
        row, low_row, high_row = _between(rows, round(-np.sin(bit * np.pi / 4), 5))
        column, low_column, high_column = _between(columns, round(np.cos(bit * np.pi / 4), 5))
        row = row[:, None]
        above, below = (
            (1 - column) * padded[index][:, low_column] + column * padded[index][:, high_column]
            for index in (low_row, high_row)
        )
        neighbour = (1 - row) * above + row * below
        codes |= (neighbour - image >= -slack).astype(np.uint8) << bit
    return codes


def _between(size: int, move: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far moved positions are past the pixel before, and that pixel and the next, one pixel of border."""
    place = np.arange(size) + move
    low = np.floor(place)
    return place - low, low.astype(int) + 1, np.ceil(place).astype(int) + 1


def non_uniform(codes: Patterns) -> Region:
    """True where going round a pixel the pattern changes more than twice."""
    return _NON_UNIFORM[codes]
