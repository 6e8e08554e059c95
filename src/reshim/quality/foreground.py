"""Where the body is in a magnitude image: as MRQy finds it, and a detector that does not depend on units.

Source: A. R. Sadri et al., Med. Phys. 47:6029 (2020), and the program MRQy that goes with it, as documented;
thresholds: N. Otsu, IEEE Trans. Syst. Man Cybern. 9:62 (1979).
Ours differs: `body` thresholds a smoothed image, keeps hollows outside, and scales with the image.
"""

import numpy as np
from jaxtyping import Bool, Float, Shaped

Picture = Float[np.ndarray, "row column"]
Region = Bool[np.ndarray, "row column"]

BINS = 256


def otsu(values: Float[np.ndarray, "..."]) -> float:
    """The threshold that separates 256 bins into two classes with most variance between them."""
    counts, edges = np.histogram(values, BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    first = np.cumsum(counts * centres) / np.maximum(below, 1)
    second = (np.cumsum((counts * centres)[::-1]) / np.maximum(above[::-1], 1))[::-1]
    between = below[:-1] * above[1:] * (first[:-1] - second[1:]) ** 2.0
    return float(centres[int(np.argmax(between))])


def equalised(image: Picture) -> Picture:
    """Grey values replaced by the share of pixels that are no brighter, from 256 bins, 0 to 1."""
    counts, edges = np.histogram(image, BINS)
    share = np.cumsum(counts) / image.size
    return np.interp(image.ravel(), (edges[:-1] + edges[1:]) / 2, share).reshape(image.shape)


def convex_hull(region: Region) -> Region:
    """Pixels whose centre lies in the convex hull of the region's pixels' edges' middles."""
    if not region.any():
        return region.copy()
    corners = _hull(_outline(region))
    rows, columns = np.indices(region.shape)
    inside = np.ones(region.shape, dtype=bool)
    for (row, column), (following, beside) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        inside &= (following - row) * (columns - column) - (beside - column) * (rows - row) >= -1e-9
    return inside


def _outline(region: Region) -> Shaped[np.ndarray, "point 2"]:
    """The middles of the edges of the first and last pixel of each row."""
    rows = np.flatnonzero(region.any(1))
    first = region[rows].argmax(1)
    last = region.shape[1] - 1 - region[rows][:, ::-1].argmax(1)
    pixels = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)]).astype(float)
    moves = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    return np.unique((pixels[:, None] + moves).reshape(-1, 2), axis=0)


def _hull(points: Shaped[np.ndarray, "point 2"]) -> Shaped[np.ndarray, "corner 2"]:
    """Corners of the convex hull in order, by A. M. Andrew's two chains."""
    chains = []
    for ordered in (points, points[::-1]):
        chain: list[np.ndarray] = []
        for point in ordered:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains += chain[:-1]
    return np.array(chains)


def _turn(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> float:
    ahead, aside = second - first, third - first
    return float(ahead[0] * aside[1] - ahead[1] * aside[0])


def mrqy_hull(image: Picture) -> Region:
    """The foreground as MRQy finds it: a convex hull that depends on the image's units and swallows air.

    Where it cannot be found (a constant image), everything is foreground.
    """
    if not np.ptp(image) > 0:
        return np.ones(image.shape, dtype=bool)
    bright = 255 * equalised(image)
    raw_share, bright_share = (float((each > otsu(each)).mean()) for each in (image, bright))
    mixed = raw_share * image + bright_share * bright
    return convex_hull(mixed > otsu(mixed))


def body(image: Picture, share: float = 0.5) -> Region:
    """The body in a magnitude image of any unit: smooth signal above a share of what parts tissue from air.

    The image is averaged over 5x5 pixels, so that noise is far below tissue; its square root is split in two
    classes by Otsu's threshold, so that bright fat does not push muscle into the air; `share` of the
    threshold's height above the darker class is enough. Air that has body on all four sides is body.
    """
    smooth = np.sqrt(_box_mean(image, 5))
    if not np.ptp(smooth) > 0:
        return np.zeros(image.shape, dtype=bool)
    threshold = otsu(smooth)
    air = float(np.median(smooth[smooth <= threshold]))
    found = smooth > air + share * (threshold - air)
    enclosed = np.ones(image.shape, dtype=bool)
    for axis in (0, 1):
        enclosed &= np.logical_or.accumulate(found, axis)
        enclosed &= np.flip(np.logical_or.accumulate(np.flip(found, axis), axis), axis)
    return found | enclosed


def _box_mean(image: Picture, width: int) -> Picture:
    padded = np.pad(image, width // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width, width))
    return windows.mean((-2, -1))
