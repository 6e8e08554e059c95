"""Sampling masks along the columns (phase encoding), bit-equal to fastMRI's for the same seed.

Source: definitions of the public fastMRI benchmark (J. Zbontar et al., arXiv:1811.08839) and of offset
("magic") sampling (A. Defazio, arXiv:1912.01101). The order in which numbers are drawn is that of the
``fastmri`` package 0.3.0, so that published masks come out again; the tests hold both side by side.
Ours differs: nothing is global, and a mask says what it is (nominal and effective acceleration, centre
lines, digest).

A centre *fraction* is the share of columns that is fully sampled around frequency 0; a *width* is only
ever the deviation of a Gaussian density. The two never share a name.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.bool_]

CENTER_FRACTIONS = {2: 0.16, 3: 0.12, 4: 0.08, 8: 0.04, 16: 0.02}
"""Default centre fraction for each acceleration; other rates take 0.32 / R."""


def default_center_fraction(acceleration: float) -> float:
    """The centre fraction that goes with an acceleration unless one is given."""
    return CENTER_FRACTIONS.get(
        int(acceleration) if acceleration == int(acceleration) else 0, 0.32 / acceleration
    )


@dataclass(frozen=True, slots=True)
class LineMask:
    """A mask along the columns and what must stand beside every score made with it."""

    columns: Columns
    """True where the column is acquired."""

    center_lines: int
    """Fully sampled columns around frequency 0."""

    acceleration: float
    """The nominal rate that was asked for."""

    @property
    def effective_acceleration(self) -> float:
        """Columns over acquired columns: what the scan time really shrinks by."""
        return self.columns.size / max(int(self.columns.sum()), 1)

    @property
    def sha256(self) -> str:
        """Digest of the mask; two scores with the same digest saw the same samples."""
        return mask_digest(self.columns)

    @property
    def center(self) -> tuple[int, int]:
        """First and past-the-last column of the fully sampled centre."""
        return center_range(self.columns.size, self.center_lines)


def mask_digest(mask: NDArray[np.bool_]) -> str:
    """SHA-256 of a mask of any shape, its shape included."""
    text = f"{mask.shape}".encode() + np.packbits(np.ascontiguousarray(mask)).tobytes()
    return hashlib.sha256(text).hexdigest()


def center_range(n_columns: int, center_lines: int) -> tuple[int, int]:
    """Where the fully sampled centre lies; for an odd remainder it leans to the higher columns."""
    start = (n_columns - center_lines + 1) // 2
    return start, start + center_lines


def evaluation_seed(file_name: str) -> tuple[int, ...]:
    """The seed of a volume's evaluation mask: its file name's character codes, as fastMRI does."""
    return tuple(map(ord, file_name))


def draw_line_mask(
    name: str,
    n_columns: int,
    acceleration: float,
    *,
    center_fraction: float | None = None,
    center_lines: int | None = None,
    width: float | None = None,
    seed: int | tuple[int, ...] | None = None,
) -> LineMask:
    """Draw a mask along `n_columns` columns.

    Parameters
    ----------
    name
        One of `LINE_MASKS`.
    n_columns
        Columns of the k-space.
    acceleration
        Nominal rate, at least 1.
    center_fraction, center_lines
        Fully sampled centre, as a share of the columns or as a number of them; one of the two, or neither
        for the default of the rate.
    width
        Deviation of the sampling density as a share of the columns, for ``gaussian`` alone.
    seed
        Seeds ``numpy.random.RandomState``; None draws anew.

    Raises
    ------
    ValueError
        For an unknown name, a rate below 1, a setting without effect, or a centre that is already larger
        than the budget of the rate.
    """
    if name not in LINE_MASKS:
        raise ValueError(f"there is no mask {name!r} along the columns; there are {sorted(LINE_MASKS)}")
    if acceleration < 1:
        raise ValueError(
            f"acceleration is {acceleration}; it is columns over acquired columns, so at least 1"
        )
    if center_fraction is not None and center_lines is not None:
        raise ValueError(
            f"center_fraction ({center_fraction}) and center_lines ({center_lines}) say the same thing "
            "twice; give one"
        )
    if width is not None and name != "gaussian":
        raise ValueError(
            f"width ({width}) is the deviation of a Gaussian density; the mask {name!r} has none"
        )
    rng = np.random.RandomState(seed)
    rng.randint(1)  # fastMRI picks one of its accelerations first; the draw counts even when there is one
    if center_fraction is None:
        center_fraction = default_center_fraction(acceleration)
    if center_lines is None:
        center_lines = round(n_columns * center_fraction)
    if not 0 <= center_lines <= n_columns:
        raise ValueError(
            f"{center_lines} centre columns do not fit in {n_columns}; give between 0 and {n_columns}"
        )
    draw = LINE_MASKS[name]
    columns = (
        draw(rng, n_columns, acceleration, center_lines)
        if name != "gaussian"
        else _gaussian(rng, n_columns, acceleration, center_lines, 1 / 6 if width is None else width)
    )
    start, stop = center_range(n_columns, center_lines)
    columns[start:stop] = True
    return LineMask(columns, center_lines, float(acceleration))


def _random(rng: np.random.RandomState, n_columns: int, acceleration: float, center_lines: int) -> Columns:
    _refuse_full_budget(n_columns, acceleration, center_lines)
    outside = n_columns - center_lines
    share = (n_columns / acceleration - center_lines) / outside if outside else 0.0
    return rng.uniform(size=n_columns) < share


def _equispaced(
    rng: np.random.RandomState, n_columns: int, acceleration: float, center_lines: int
) -> Columns:
    step = _whole(acceleration, "equispaced")
    columns = np.zeros(n_columns, dtype=bool)
    columns[rng.randint(0, high=step) :: step] = True
    return columns


def _equispaced_fraction(
    rng: np.random.RandomState, n_columns: int, acceleration: float, center_lines: int
) -> Columns:
    _refuse_full_budget(n_columns, acceleration, center_lines)
    spacing = acceleration * (center_lines - n_columns) / (center_lines * acceleration - n_columns)
    offset = rng.randint(0, high=round(spacing))
    columns = np.zeros(n_columns, dtype=bool)
    columns[np.around(np.arange(offset, n_columns - 1, spacing)).astype(np.uint)] = True
    return columns


def _magic(rng: np.random.RandomState, n_columns: int, acceleration: float, center_lines: int) -> Columns:
    step = _whole(acceleration, "magic")
    offset = rng.randint(0, high=step)
    # Positive and negative frequencies are sampled at offsets that mirror to different lines, so that
    # conjugate symmetry fills in what equal offsets would repeat.
    first_positive, first_negative = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
    positive = np.zeros((n_columns + 1) // 2, dtype=bool)
    negative = np.zeros(n_columns // 2, dtype=bool)
    positive[first_positive::step] = True
    negative[first_negative::step] = True
    return np.fft.fftshift(np.concatenate((positive, negative[::-1])))


def _gaussian(
    rng: np.random.RandomState, n_columns: int, acceleration: float, center_lines: int, width: float
) -> Columns:
    _refuse_full_budget(n_columns, acceleration, center_lines)
    if width <= 0:
        raise ValueError(f"width is {width}; it is a deviation as a share of the columns, so above 0")
    start, stop = center_range(n_columns, center_lines)
    distance = (np.arange(n_columns) - n_columns // 2) / n_columns
    weight = np.exp(-0.5 * (distance / width) ** 2)
    weight[start:stop] = 0
    wanted = round(n_columns / acceleration) - center_lines
    columns = np.zeros(n_columns, dtype=bool)
    if wanted > 0:
        # Weighted drawing without replacement in one go: the largest of log-weight plus Gumbel noise.
        order = np.log(np.maximum(weight, 1e-300)) + rng.gumbel(size=n_columns)
        order[start:stop] = -np.inf
        columns[np.argsort(order)[-wanted:]] = True
    return columns


LINE_MASKS: dict[str, Callable[..., Columns]] = {
    "random": _random,
    "equispaced": _equispaced,
    "equispaced-fraction": _equispaced_fraction,
    "magic": _magic,
    "gaussian": _gaussian,
}


def _whole(acceleration: float, name: str) -> int:
    if acceleration != int(acceleration):
        raise ValueError(f"the {name} mask takes every R-th column, so R must be whole; it is {acceleration}")
    return int(acceleration)


def _refuse_full_budget(n_columns: int, acceleration: float, center_lines: int) -> None:
    if acceleration > 1 and center_lines > n_columns / acceleration:
        raise ValueError(
            f"the {center_lines} centre columns alone exceed {n_columns} / {acceleration:g} = "
            f"{n_columns / acceleration:g}; lower center_lines or center_fraction, or the acceleration"
        )
