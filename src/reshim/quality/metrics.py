"""MRQy's twenty image-quality metrics, as the program computes them (``mrqy``) and as they are meant
(``corrected``).

Source: A. R. Sadri et al., Med. Phys. 47:6029 (2020), and the published program as documented; the entropy
focus criterion: D. Atkinson et al., IEEE Trans. Med. Imaging 16:903 (1997).
Ours differs: SNR5 to SNR9 are those of the program's revision, the other fifteen those of its first version.
The revision counts all slices and adds 1e-9 to the other denominators, too; here ``mrqy`` takes the slices
(for all twenty) and the fifteen formulas of the first version.

``mrqy`` sees each volume as a DICOM file would hold it, in `grey_values`: the program's formulas are written
for integers up to some thousands, and k-space units of 3e-4 give PSNR of -60 dB and FBER of 0 whatever the
image.

What ``mrqy`` reproduces and ``corrected`` mends:

1. The 5x5 patch "at the maximum" ends one pixel before it (SNR2, SNR3, SNR4, CNR, CVP). Corrected: centred.
2. PSNR compares the image with a median filter of the image divided by its maximum, so that it measures
   brightness, and rises with noise. Corrected: the same scale on both sides, inside the body.
3. CPP is the mean of a filter whose weights sum to 0: 0 but for the border. Corrected: the mean magnitude of
   the filtered image in the body, over the mean of the body.
4. EFC adds 1e+16 where 1e-16 was meant, so that the logarithm is a constant. Corrected: entropy.
5. A background of zeros (skull-stripped images) makes SNR1, SNR2, SNR4 and CNR infinite, and such slices are
   dropped one by one; FBER is then 0. Corrected: no value, and the number of slices behind each is kept.
6. The foreground depends on the image's units and its hull swallows air (`foreground.mrqy_hull`). Corrected:
   `foreground.body`, and the image is divided by the 99th percentile of its body.
7. The first slice of a volume is skipped. Corrected: all count.
8. SNR5 to SNR9 divide the body's mean by something else than its noise, or by nothing: `noise` says by what,
   and what was meant.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
from jaxtyping import Float

from reshim.quality import noise
from reshim.quality.foreground import Picture, Region, body, mrqy_hull

Mode = Literal["mrqy", "corrected"]
Values = Float[np.ndarray, " pixel"]

METRICS = (
    "mean", "rng", "var", "cv", "cpp", "psnr", "snr1", "snr2", "snr3", "snr4", "snr5", "snr6", "snr7", "snr8",
    "snr9", "cnr", "cvp", "cjv", "efc", "fber",
)  # fmt: skip
"""In the order of MRQy's results, with those of its revision behind the others of their kind."""

LOWER_IS_BETTER = frozenset({"cv", "cvp", "cjv", "efc"})
NEITHER = frozenset({"mean", "rng", "var"})
"""Properties of the image that say nothing of its quality by themselves."""

GREY_LEVELS = 4095
"""What ``mrqy`` sets a volume's brightest pixel to: the most that the 12 bits of usual DICOM files hold."""

DIVIDED_BY_AIR = frozenset({"snr1", "snr2", "snr4", "cnr"})


@dataclass(frozen=True)
class Quality:
    """What a volume's metrics are, and how many of its slices each is a mean of."""

    values: Mapping[str, float | None]
    """None where no slice has the metric."""

    n_slices: Mapping[str, int]
    mode: Mode
    grey_levels: int | None = None
    """What the brightest pixel was set to; None where values were taken as they are."""


@dataclass(frozen=True)
class _Slice:
    image: Picture
    inside: Region

    @property
    def foreground(self) -> Picture:
        return self.image * self.inside

    @property
    def background(self) -> Picture:
        return self.image * ~self.inside

    @property
    def tissue(self) -> Values:
        return self.image[self.inside]

    @property
    def air(self) -> Values:
        return self.image[~self.inside]

    @cached_property
    def noise_as_written(self) -> Mapping[str, float]:
        return noise.as_written(self.image, self.inside)

    @cached_property
    def noise_as_meant(self) -> Mapping[str, float]:
        return noise.as_meant(self.image, self.inside)


def quality(
    volume: Float[np.ndarray, "slice row column"],
    mode: Mode = "corrected",
    grey_levels: int | None = GREY_LEVELS,
) -> Quality:
    """The metrics of a magnitude volume: means over its slices, without those that have no value.

    Parameters
    ----------
    grey_levels
        For ``mrqy``: as `grey_values`; None takes the values as they are, for a volume that came out of a
        DICOM file. ``corrected`` has a unit of its own and heeds none.

    Raises
    ------
    ValueError
        If the volume holds values that are not finite, or there are fewer than 2 grey levels.
    """
    if not np.isfinite(volume).all():
        raise ValueError("the volume holds values that are not finite; cut them away or load it anew")
    volume = np.abs(np.asarray(volume, dtype=np.float64))
    levels = grey_levels if mode == "mrqy" else None
    if levels is not None:
        volume = grey_values(volume, levels)
    slices = _as_mrqy(volume) if mode == "mrqy" else _as_meant(volume)
    found = [_metrics(one, mode) for one in slices]
    kept = {name: [each[name] for each in found if math.isfinite(each[name])] for name in METRICS}
    return Quality(
        {name: float(np.mean(values)) if values else None for name, values in kept.items()},
        {name: len(values) for name, values in kept.items()},
        mode,
        levels,
    )


def grey_values(
    volume: Float[np.ndarray, "slice row column"], grey_levels: int = GREY_LEVELS
) -> Float[np.ndarray, "slice row column"]:
    """The volume as integers from 0 to `grey_levels`, which is its brightest pixel.

    The maximum and no quantile: a quantile would leave the range, or clip it, and the brightest pixel is what
    PSNR and the patches of SNR2 to SNR4, CNR and CVP are about.

    Raises
    ------
    ValueError
        If there are fewer than 2 grey levels.
    """
    if grey_levels < 2:
        raise ValueError(
            f"grey_levels is {grey_levels}; give at least 2, e.g. 4095, or None for values as they are"
        )
    peak = float(volume.max(initial=0.0))
    # A value half-way between two integers must go the same way in every unit, whatever the last bit says.
    return np.floor(volume / peak * grey_levels + (0.5 + 1e-6)) if peak > 0 else np.zeros_like(volume)


def _as_mrqy(volume: np.ndarray) -> list[_Slice]:
    slices = [_Slice(image, mrqy_hull(image)) for image in volume[1:]]
    return [one for one in slices if np.ptp(one.foreground) > 0]


def _as_meant(volume: np.ndarray) -> list[_Slice]:
    slices = [_Slice(image, body(image)) for image in volume]
    tissue = [one.tissue for one in slices if one.inside.any()]
    if not tissue:
        return []
    unit = float(np.quantile(np.concatenate(tissue), 0.99)) or 1.0
    return [_Slice(one.image / unit, one.inside) for one in slices if one.inside.any()]


def _metrics(one: _Slice, mode: Mode) -> dict[str, float]:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = {name: float(FORMULAS[name](one, mode)) for name in METRICS}
    # A background of zeros is no background: corrected, nothing is divided by it.
    if mode == "corrected" and not (one.air.size and one.air.std() > 0):
        found |= dict.fromkeys((*DIVIDED_BY_AIR, "fber"), math.nan)
    return found


def _patch(image: Picture, mode: Mode) -> Float[np.ndarray, "5 5"]:
    row, column = np.unravel_index(int(np.argmax(image)), image.shape)
    if mode == "mrqy":
        padded = np.pad(image, 5)
        return padded[row : row + 5, column : column + 5]
    top, left = (
        int(np.clip(place - 2, 0, max(size - 5, 0)))
        for place, size in ((row, image.shape[0]), (column, image.shape[1]))
    )
    return image[top : top + 5, left : left + 5]


def _contrast(one: _Slice, mode: Mode) -> float:
    padded = np.pad(one.foreground, 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).sum((-2, -1))
    filtered = one.foreground - (windows - one.foreground) / 8
    if mode == "mrqy":
        return float(filtered.mean())
    return float(np.abs(filtered[one.inside]).mean() / one.tissue.mean())


def _psnr(one: _Slice, mode: Mode) -> float:
    image = one.foreground
    peak = image.max()
    median = np.median(
        np.lib.stride_tricks.sliding_window_view(
            np.pad(image / peak if mode == "mrqy" else image, 2, mode="edge"), (5, 5)
        ),
        axis=(-2, -1),
    )
    rest = (image - median) if mode == "mrqy" else (image - median)[one.inside]
    return float(20 * np.log10(peak / np.sqrt(np.mean(rest**2))))


def _entropy(one: _Slice, mode: Mode) -> float:
    image = one.foreground
    energy = np.sqrt(np.sum(image**2))
    largest = math.sqrt(image.size) * math.log(1 / math.sqrt(image.size))
    if mode == "mrqy":
        return float(np.sum(image / energy * np.log((image + 1e16) / energy)) / abs(largest))
    return float(np.sum(image / energy * np.log(image / energy + 1e-16)) / largest)


def _energy_ratio(one: _Slice, mode: Mode) -> float:
    if not one.air.size:
        return 0.0 if mode == "mrqy" else math.nan
    tissue, air = np.median(one.tissue**2), np.median(one.air**2)
    if mode == "mrqy" and air < 1e-3:
        return 0.0
    return float(tissue / air)


def _snr3(one: _Slice, mode: Mode) -> float:
    patch = _patch(one.foreground, mode)
    return float(patch.mean() / (patch - patch.mean()).std())


def _cnr(one: _Slice, mode: Mode) -> float:
    air = _patch(one.background, mode)
    return float((_patch(one.foreground, mode) - air).mean() / air.std())


def _over_noise(name: str, one: _Slice, mode: Mode) -> float:
    if mode == "mrqy":
        return float(one.tissue.mean() / (one.noise_as_written[name] + 1e-9))
    level = one.noise_as_meant[name]
    return float(one.tissue.mean() / level) if level > noise.ROUNDING else math.nan


FORMULAS: dict[str, Callable[[_Slice, Mode], float]] = {
    "mean": lambda one, mode: one.tissue.mean(),
    "rng": lambda one, mode: np.ptp(one.tissue),
    "var": lambda one, mode: one.tissue.var(),
    "cv": lambda one, mode: 100 * one.tissue.std() / one.tissue.mean(),
    "cpp": _contrast,
    "psnr": _psnr,
    "snr1": lambda one, mode: one.tissue.std() / _deviation(one.air),
    "snr2": lambda one, mode: _patch(one.foreground, mode).mean() / _deviation(one.air),
    "snr3": _snr3,
    "snr4": lambda one, mode: _patch(one.foreground, mode).mean() / _patch(one.background, mode).std(),
    **{name: partial(_over_noise, name) for name in noise.DEFINITIONS},
    "cnr": _cnr,
    "cvp": lambda one, mode: _patch(one.foreground, mode).std() / _patch(one.foreground, mode).mean(),
    "cjv": lambda one, mode: (
        (one.tissue.std() + _deviation(one.air))
        / abs(one.tissue.mean() - (one.air.mean() if one.air.size else math.nan))
    ),
    "efc": _entropy,
    "fber": _energy_ratio,
}


def _deviation(values: Values) -> np.floating | float:
    return values.std() if values.size else math.nan
