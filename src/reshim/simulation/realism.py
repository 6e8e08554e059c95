"""How far simulated scans are from real ones: spectra, gradients, coils, noise, and who can tell them apart.

The bounds come from the real scans alone, by one rule fixed beforehand: the range of the real scans, widened
by its own width on both sides. The classifier is a logistic regression on a few features of patches, judged
on scans that it has not seen; an area under the curve of 0.5 is what it gets where nothing tells them apart.

Sources: the fall of natural images' spectra, D. J. Field, J. Opt. Soc. Am. A 4:2379 (1987); the sparse
gradients of images, A. Srivastava et al., J. Math. Imaging Vis. 18:17 (2003).
Ours differs: frequencies are in cycles a pixel, since some real scans do not state their pixels' size.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
ComplexArray = NDArray[np.complexfloating]

PATCH = 24
"""Rows and columns of a patch that the classifier sees."""


def of_image(image: Array) -> dict[str, float]:
    """Statistics of one magnitude image (row, column) that do not depend on its scale.

    `spectrum_slope`: of log power against log frequency, 0.04 to 0.4 cycles a pixel.
    `gradient_kurtosis`: fourth moment of differences between neighbours over the squared second, in the body.
    `gradient_sparsity`: their mean magnitude over their root mean square; 0.80 for a Gaussian.
    """
    frequency, power = spectrum(image)
    band = (frequency >= 0.04) & (frequency <= 0.4)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    body = image > 0.15 * np.percentile(image, 99)
    steps = np.concatenate(
        [
            np.diff(image, axis=0)[body[1:] & body[:-1]],
            np.diff(image, axis=1)[body[:, 1:] & body[:, :-1]],
        ]
    )
    square = np.mean(steps**2)
    return {
        "spectrum_slope": float(slope),
        "gradient_kurtosis": float(np.mean(steps**4) / square**2),
        "gradient_sparsity": float(np.mean(np.abs(steps)) / np.sqrt(square)),
    }


def spectrum(image: Array, n_bins: int = 24) -> tuple[Array, Array]:
    """Frequencies in cycles a pixel and the mean power in rings around them; the rim is faded out before."""
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(size) for size in image.shape), indexing="ij"))
    edges = np.linspace(0.02, 0.5, n_bins + 1)
    ring = np.digitize(radius, edges) - 1
    inside = (ring >= 0) & (ring < n_bins)
    total = np.bincount(ring[inside], power[inside], n_bins)
    count = np.bincount(ring[inside], minlength=n_bins)
    return (edges[1:] + edges[:-1]) / 2, total / np.maximum(count, 1)


def of_coils(kspace: ComplexArray) -> dict[str, float]:
    """Statistics of one slice's k-space (coil, row, column).

    `coil_correlation`: mean magnitude of the correlation of two coils' images.
    `coil_share`: effective number of independent coils over their number.
    `noise_kurtosis`: of the samples farthest from the centre, over all coils; 3 for Gaussian noise.
    `noise_correlation`: as `coil_correlation`, of those samples.
    `noise_spread`: deviation between coils of their noise's deviation, relative to its mean.
    """
    signal = _correlation(kspace.reshape(len(kspace), -1))
    noise = _outermost(kspace)
    deviation = noise.std(axis=1)
    parts = np.concatenate([noise.real, noise.imag], axis=1)
    parts = parts / parts.std(axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(signal)
    return {
        "coil_correlation": _off_diagonal(signal),
        "coil_share": float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum() / len(kspace)),
        "noise_kurtosis": float(np.mean(parts**4)),
        "noise_correlation": _off_diagonal(_correlation(noise)),
        "noise_spread": float(deviation.std() / deviation.mean()),
    }


def _outermost(kspace: ComplexArray) -> ComplexArray:
    """The 4 % of the samples that lie farthest from the centre, (coil, sample): the corners."""
    rows, columns = (np.abs(np.arange(size) - size // 2) / (size / 2) for size in kspace.shape[1:])
    distance = np.hypot(rows[:, None], columns)
    return kspace[:, distance >= np.quantile(distance, 0.96)]


def _correlation(samples: ComplexArray) -> ComplexArray:
    gram = samples @ samples.conj().T
    scale = np.sqrt(gram.diagonal().real)
    return gram / scale[:, None] / scale


def _off_diagonal(matrix: ComplexArray) -> float:
    return float(np.abs(matrix[~np.eye(len(matrix), dtype=bool)]).mean())


def bounds(real: Sequence[float]) -> tuple[float, float]:
    """The range of the real scans, widened by its own width on both sides.

    Raises
    ------
    ValueError
        If there are not two real scans, between which there could be a difference.
    """
    if len(real) < 2:
        raise ValueError(f"{len(real)} real scan gives no bounds; a difference takes at least two")
    width = max(real) - min(real)
    return min(real) - width, max(real) + width


def features(image: Array) -> Array:
    """Features (patch, feature) of the patches of a magnitude image that lie in the body."""
    rows = []
    level = 0.25 * np.percentile(image, 99)
    for top in range(0, image.shape[0] - PATCH + 1, PATCH):
        for left in range(0, image.shape[1] - PATCH + 1, PATCH):
            patch = image[top : top + PATCH, left : left + PATCH]
            if np.median(patch) > level:
                rows.append(_of_patch(patch / patch.mean()))
    return np.array(rows).reshape(-1, 10)


def _of_patch(patch: Array) -> Array:
    """Ten numbers of one patch with mean 1: moments, gradients, four bands of the spectrum, fine noise."""
    centred = patch - 1
    deviation = centred.std() + 1e-9
    steps = np.concatenate([np.diff(patch, axis=0).ravel(), np.diff(patch, axis=1).ravel()])
    _, power = spectrum(patch, 4)
    second = patch[1:-1, 1:-1] * 4 - patch[:-2, 1:-1] - patch[2:, 1:-1] - patch[1:-1, :-2] - patch[1:-1, 2:]
    spread = np.sqrt(np.mean(steps**2)) + 1e-9
    return np.array(
        [
            np.log(deviation),
            np.mean((centred / deviation) ** 3),
            np.log(np.mean((centred / deviation) ** 4)),
            np.log(spread),
            np.log(np.mean((steps / spread) ** 4)),
            *np.log(power + 1e-9),
            np.log(np.median(np.abs(second)) + 1e-9),
        ]
    )


def told_apart(real: Sequence[Array], simulated: Sequence[Array], ridge: float = 1.0) -> float:
    """Area under the curve of real against simulated patches, each scored by a model that never saw its scan.

    Parameters
    ----------
    real, simulated
        Features (patch, feature) of each scan; a fold holds one scan of each kind out, or more where one kind
        has more scans. Every scan counts alike in the fit, whatever its number of patches.
    """
    folds = min(len(real), len(simulated))
    if folds < 2:
        raise ValueError(f"{len(real)} real and {len(simulated)} simulated scans; folds take two of each")
    scores: tuple[list[Array], list[Array]] = ([], [])
    for fold in range(folds):
        kept = [[x for i, x in enumerate(scans) if i % folds != fold] for scans in (simulated, real)]
        x = np.concatenate([scan for kind in kept for scan in kind])
        y = np.repeat([0.0, 1.0], [sum(map(len, kind)) for kind in kept])
        weight = np.concatenate(
            [np.full(len(scan), 1 / len(scan) / len(kind)) for kind in kept for scan in kind if len(scan)]
        )
        mean, scale = x.mean(0), x.std(0) + 1e-9
        beta = _logistic((x - mean) / scale, y, weight * len(x) / weight.sum(), ridge)
        for kind, scans in enumerate((simulated, real)):
            scores[kind].extend(
                (scan - mean) / scale @ beta[1:] + beta[0]
                for i, scan in enumerate(scans)
                if i % folds == fold
            )
    return area(np.concatenate(scores[1]), np.concatenate(scores[0]))


def _logistic(x: Array, y: Array, weight: Array, ridge: float) -> Array:
    """Offset and slopes of a ridge logistic regression, by Newton's method."""
    x = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    penalty = ridge * np.eye(x.shape[1])
    penalty[0, 0] = 1e-6
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        probability = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        slope = x.T @ (weight * (y - probability)) - penalty @ beta
        curvature = (x.T * (weight * probability * (1 - probability))) @ x + penalty
        step = np.linalg.solve(curvature, slope)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    return beta


def area(positive: Array, negative: Array) -> float:
    """Share of pairs in which the positive scores higher; ties count half."""
    both = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = len(positive), len(negative)
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * m))
