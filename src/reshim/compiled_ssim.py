"""The map of SSIM in one pass over memory, compiled on first use where the extra ``fast`` is installed.

Array operations of `reshim.metrics` go over a slice some forty times; this goes over it once, with the same
definition. Compiling takes two seconds once, is kept beside the package, and loading takes a moment and some
100 MiB: worth it for whole volumes alone.
"""

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.util import find_spec
from inspect import unwrap
from typing import Any

import numpy as np

LARGE = 2**21  # pixels: twenty slices of 320x320


@cache
def installed() -> bool:
    """Whether the compiler is there."""
    return find_spec("numba") is not None


def compiled_ssim_map(
    image: np.ndarray, reference: np.ndarray, scale: np.ndarray, threads: int
) -> np.ndarray:
    """Maps ``(slice, row - 6, column - 6)`` of two float32 volumes, a range a slice, slices side by side."""
    slices, rows, columns = image.shape
    out = np.empty((slices, rows - 6, columns - 6), np.float32)
    constants = [((0.01 * each) ** 2, (0.03 * each) ** 2) for each in scale.astype(np.float64)]
    with ThreadPoolExecutor(threads) as pool:
        parts = zip(image, reference, constants, out, strict=True)
        for done in [pool.submit(_compiled(), x, y, *map(np.float32, c), to) for x, y, c, to in parts]:
            done.result()
    return out


@cache
def _compiled() -> Callable[..., None]:
    numba: Any = importlib.import_module("numba")
    compiler = partial(numba.njit, nogil=True, error_model="numpy", fastmath={"contract"})
    try:
        compiled = compiler(cache=True)(unwrap(_slice))
    except RuntimeError:  # no folder that may be written holds what was compiled
        compiled = compiler()(unwrap(_slice))
    one = np.zeros((7, 7), np.float32)
    compiled(one, one, np.float32(1), np.float32(1), np.empty((1, 1), np.float32))
    return compiled


def _slice(image, reference, c1, c2, out):  # type: ignore[no-untyped-def]  # compiled for its arguments
    rows, columns = image.shape
    share, ratio, two = np.float32(1 / 49), np.float32(49 / 48), np.float32(2)
    sums = np.empty((4, columns), np.float32)
    for row in range(rows - 6):
        for column in range(columns):
            a = b = squares = product = np.float32(0)
            for k in range(7):
                x, y = image[row + k, column], reference[row + k, column]
                a += x
                b += y
                squares += x * x + y * y
                product += x * y
            sums[0, column], sums[1, column] = a, b
            sums[2, column], sums[3, column] = squares, product
        for column in range(columns - 6):
            a = b = squares = product = np.float32(0)
            for k in range(7):
                a += sums[0, column + k]
                b += sums[1, column + k]
                squares += sums[2, column + k]
                product += sums[3, column + k]
            a *= share
            b *= share
            products, energies = a * b, a * a + b * b
            covariance = two * ratio * (product * share - products) + c2
            variances = ratio * (squares * share - energies) + c2
            out[row, column] = (two * products + c1) * covariance / ((energies + c1) * variances)
