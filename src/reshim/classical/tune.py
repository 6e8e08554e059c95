"""A method's weight chosen by its score on scans of P, and what was chosen written down.

Tuning on the scans of a comparison (Q) would leak them into it; whoever calls this hands in P only, and the
file names every scan that was seen.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.metrics import nmse
from reshim.physics.fourier import center_crop
from reshim.physics.maps import default_estimator
from reshim.types import MapEstimator, Measurement, RealImage, Reconstructor

Score = Callable[[RealImage, RealImage], Float[Tensor, "*batch"]]


@dataclass(frozen=True)
class Tuned:
    """What was tried and what won."""

    chosen: float
    values: tuple[float, ...]
    scores: tuple[float, ...]
    """Mean over measurements of the mean over slices, in the order of `values`."""
    metric: str
    scans: tuple[str, ...]
    at_the_edge: bool
    """True where the first or the last value won: then the search should be wider."""

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        scores: Sequence[float],
        *,
        metric: str,
        scans: Sequence[str],
        larger_is_better: bool,
    ) -> "Tuned":
        """The best of some values by their scores."""
        best = (max if larger_is_better else min)(range(len(values)), key=scores.__getitem__)
        return cls(
            chosen=float(values[best]),
            values=tuple(map(float, values)),
            scores=tuple(map(float, scores)),
            metric=metric,
            scans=tuple(scans),
            at_the_edge=len(values) > 1 and best in (0, len(values) - 1),
        )

    def write(self, path: Path) -> None:
        """Save as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def magnitude_nmse(image: RealImage, reference: RealImage) -> Float[Tensor, "*batch"]:
    """NMSE of magnitudes, slice by slice; smaller is better."""
    return nmse(image, reference, reference.amax())


def tune(
    make_reconstructor: Callable[[float], Reconstructor],
    values: Sequence[float],
    pairs: Iterable[tuple[Measurement, RealImage]],
    metric: Score = magnitude_nmse,
    *,
    larger_is_better: bool = False,
    estimate_maps: MapEstimator = default_estimator,
) -> Tuned:
    """Score `make_reconstructor(value)` for each value on measurements of P with their references.

    Parameters
    ----------
    make_reconstructor
        From a value to a reconstructor, e.g. ``lambda ridge: Sense(ridge=ridge)``.
    values
        What to try, sorted.
    pairs
        Measurements and reference magnitudes (slice, row, column), cropped as `Measurement.crop` says.
    metric
        Magnitude and reference to one score a slice.
    larger_is_better
        True for SSIM and the like.
    estimate_maps
        Run once a measurement, since maps do not depend on the value.

    Raises
    ------
    ValueError
        If there is nothing to try or nothing to try it on.
    """
    rows, scans = [], []
    for measurement, reference in pairs:
        ready = measurement.with_maps(estimate_maps)
        images = (make_reconstructor(value)(ready) for value in values)
        rows.append([float(metric(center_crop(i.abs(), ready.crop), reference).mean()) for i in images])
        scans.append(ready.name)
    if not rows or not values:
        raise ValueError(
            f"tuning needs values and measurements, got {len(values)} and {len(rows)}; give both"
        )
    means = torch.tensor(rows, dtype=torch.float64).mean(0)
    return Tuned.of(
        values,
        means.tolist(),
        metric=getattr(metric, "__name__", type(metric).__name__),
        scans=scans,
        larger_is_better=larger_is_better,
    )
