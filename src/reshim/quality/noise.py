"""Noise levels of a slice: what MRQy's revision divides the body's mean by, as written and as meant.

Source: the revision of the program of A. R. Sadri et al., Med. Phys. 47:6029 (2020), as documented.
What `as_written` reproduces and `as_meant` mends:

- SNR5, variance of 5x5 windows: sum(F²)/25 − (sum(F)/5)², where (sum(F)/25)² was meant, is never above 0 in a
  magnitude, so that there is no value; windows hold the zeros outside the body, too. As meant: the median
  variance of the windows in the body.
- SNR6, median absolute deviation: of the body's intensities, so that it is how far tissues differ. As meant:
  of what is left of each pixel without the median of its window.
- SNR7, pixels above the 95th percentile of Sobel's gradient: air counts in the percentile, the outline of the
  body is among the pixels, and their intensities deviate as tissues do. As meant: the percentile of the body
  alone, and the mean of what is left at these pixels, as in SNR6.
- SNR8, the image without the centre of k-space: the centre is 10x10 samples whatever the matrix, and what is
  left is mostly anatomy, in air as well. As meant: the centre is a share of k-space.
- SNR9, local binary patterns: the deviation is that of the codes, which are labels, so that the value scales
  with the image's units; zeros outside and dark spots have the highest code, none is above it, and so there
  is mostly no value. As meant: SNR5 at the pixels with a pattern that is not uniform.

As meant, only pixels count whose 5x5 window lies wholly in the body, two pixels from its rim (`body` may set
that so far into the air), and each level is scaled so that white Gaussian noise of deviation s has level s.
Two limits: where neighbouring pixels share their noise (interpolated images) all five levels are too low;
where there is little noise the texture of tissues counts as noise, most in SNR5, SNR7 and SNR9.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from reshim.quality.filters import binary_patterns, non_uniform, sobel
from reshim.quality.foreground import Picture, Region

DEFINITIONS = {
    "snr5": "the root of the median variance of the 5×5 windows in the body",
    "snr6": "the median distance of the body's pixels from the median of their 5×5 window",
    "snr7": "the mean of that distance at the pixels above the 95th percentile of the body's Sobel gradients",
    "snr8": "the median magnitude in the body of the image without the centre of its k-space, whose weight "
    "falls as cos² along each axis",
    "snr9": "the level of SNR5, at pixels whose local binary pattern changes more than twice going round",
}
"""The noise level, as meant, that the body's mean is divided by; scaled to the deviation of white noise."""

ROUNDING = 1e-9
"""What counts as equal, and as no noise, in an image whose body has values near 1."""

WIDTH = 5
RIM = 2
"""Pixels at the body's rim that may be air: `foreground.body` averages over 5x5 before it looks."""

# Of standard normal draws: the median magnitude; the median of the variance of 25 (chi-square of 24 degrees,
# over 24); the median and the mean distance of one of 25 from the median of all 25.
MEDIAN_MAGNITUDE = 0.674490
MEDIAN_VARIANCE = 0.972364
MEDIAN_DISTANCE = 0.644097
MEAN_DISTANCE = 0.772427


def as_written(image: Picture, inside: Region) -> dict[str, float]:
    """The five levels as the program computes them, in the image's units (SNR9: in codes); NaN for none."""
    masked, tissue = image * inside, image[inside]
    gradient, codes = sobel(masked), binary_patterns(masked)
    edges = gradient > np.percentile(gradient, 95)
    labels = codes[codes > np.percentile(codes, 95)]
    return {
        "snr5": _root_of_variance_as_written(masked),
        "snr6": _median(np.abs(tissue - np.median(tissue))) / 0.6745,
        "snr7": float(masked[edges].std()) if edges.any() else math.nan,
        "snr8": _deviation_without_centre(masked),
        "snr9": float(labels.std()) if labels.size else math.nan,
    }


def as_meant(image: Picture, inside: Region) -> dict[str, float]:
    """The five levels of an image whose body has values near 1, in its units.

    NaN where the body is too thin for a window, or has no edges (SNR7) or no patterns (SNR9).
    """
    deep = _deep(inside)
    windows = _windows(image)[deep]
    if not len(windows):
        return dict.fromkeys(DEFINITIONS, math.nan)
    variance = windows.var((-2, -1), ddof=1) / MEDIAN_VARIANCE
    distance = np.abs(windows[:, WIDTH // 2, WIDTH // 2] - np.median(windows, (-2, -1)))
    gradient = _centres(sobel(image))[deep]
    edges = gradient > np.percentile(gradient, 95) + ROUNDING
    textured = _centres(non_uniform(binary_patterns(image, slack=ROUNDING)))[deep]
    return {
        "snr5": math.sqrt(_median(variance)),
        "snr6": _median(distance) / MEDIAN_DISTANCE,
        "snr7": float(distance[edges].mean()) / MEAN_DISTANCE if edges.any() else math.nan,
        "snr8": _median(np.abs(_without_soft_centre(windows))) / MEDIAN_MAGNITUDE,
        "snr9": math.sqrt(_median(variance[textured])),
    }


def _root_of_variance_as_written(masked: Picture) -> float:
    windows = _windows(masked)
    variance = (windows**2).sum((-2, -1)) / WIDTH**2 - (windows.sum((-2, -1)) / WIDTH) ** 2
    mean = float(variance.mean()) if variance.size else math.nan
    return math.sqrt(mean) if mean >= 0 else math.nan


def _deviation_without_centre(masked: Picture) -> float:
    spectrum = np.fft.fftshift(np.fft.fft2(masked))
    row, column = (size // 2 for size in masked.shape)
    spectrum[row - 5 : row + 5, column - 5 : column + 5] = 0
    return float(np.fft.ifft2(np.fft.ifftshift(spectrum)).real.std())


def _without_soft_centre(windows: Float[np.ndarray, "window 5 5"]) -> Float[np.ndarray, " window"]:
    """The windows' middles without the centre of k-space, scaled so that white noise keeps its deviation.

    The centre's weight falls as cos² from 1 at zero frequency to 0 at the highest, along each axis: in the
    image that is the mean of 3x3 pixels with weights 1, 2, 1 along each axis, so that air is never reached.
    """
    kernel = -np.outer([1, 2, 1], [1, 2, 1]) / 16
    kernel[1, 1] += 1
    return np.einsum("wij,ij->w", windows[:, 1:-1, 1:-1], kernel) / math.sqrt((kernel**2).sum())


def _deep(inside: Region) -> Bool[np.ndarray, "window_row window_column"]:
    """(window row, window column): True where the window lies in the body and clear of its rim."""
    padded = np.pad(inside, RIM)  # beyond the image nothing is known to be body
    return np.asarray(_windows(padded, WIDTH + 2 * RIM).all((-2, -1)))


def _windows(image: Float[np.ndarray, "row column"] | Region, width: int = WIDTH) -> np.ndarray:
    """(window row, window column, width, width); none where the image is smaller than a window."""
    if min(image.shape) < width:
        return np.empty((0, 0, width, width), dtype=image.dtype)
    return np.lib.stride_tricks.sliding_window_view(image, (width, width))


def _centres(image: np.ndarray) -> np.ndarray:
    """(window row, window column): the pixels in the middle of the windows."""
    return image[WIDTH // 2 : -(WIDTH // 2), WIDTH // 2 : -(WIDTH // 2)]


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else math.nan
