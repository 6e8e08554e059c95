"""Quality against seconds of a way of fitting: images with the time at which they were there, scored later.

What looks on keeps images and returns nothing, so a score steers no fit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.digest import digest
from reshim.physics.fourier import center_crop
from reshim.studies.engine.study import support_ssim
from reshim.types import Image, Measurement, Outcome, Reconstructor

EVERY = 10
"""Steps of the reference algorithm between two images that are looked at."""

STOPPED, BEST_LOOK = "SSIM where it stopped", "SSIM at its best look"
TO_REFERENCE, TO_END = "seconds to the reference's SSIM", "seconds to its end"
LOOKS = "looks"
"""What a trace says of a slice, as metrics of rows."""

Look = Callable[[int, float, Image], None]


@runtime_checkable
class Fit(Protocol):
    """Anything that shows its images on the way and explains its outcome."""

    def explain(self, measurement: Measurement) -> Outcome:
        """Fit."""
        ...


@dataclass(frozen=True)
class Closed:
    """A fit whose every image is reconciled before it is looked at, each charged for its own solve alone."""

    make: Callable[[Look], AdaptedAtTestTime]
    look: Look

    @property
    def digest(self) -> str:
        """Of what is made, whoever looks on."""
        return digest("reconciled at every look", self.make(self.look))

    def explain(self, measurement: Measurement) -> Outcome:
        """Fit, reconciling at every look."""
        spent = 0.0

        def closed(step: int, seconds: float, image: Image) -> None:
            nonlocal spent
            begun = time.perf_counter()
            mended = method.reconcile(measurement, image)
            taken = time.perf_counter() - begun
            # The clock of the fit runs on while a look is reconciled: what earlier looks took is taken off.
            self.look(step, seconds - spent + taken, mended)
            spent += taken

        method = Reconciled(self.make(closed))
        return method.explain(measurement)


@dataclass(frozen=True)
class AtOnce:
    """A method without steps to look at: one look, at its image."""

    method: Reconstructor
    look: Look = field(metadata={"digest": False})

    def explain(self, measurement: Measurement) -> Outcome:
        """Reconstruct, timed."""
        begun = time.perf_counter()
        image = self.method(measurement)
        self.look(0, time.perf_counter() - begun, image)
        return Outcome(image, (False,) * image.shape[0], ("nothing was fitted",) * image.shape[0])


@dataclass
class Watcher:
    """Keeps images with the time at which they were there; they are scored when the fit has ended."""

    every: int
    fits: list[list[tuple[float, Tensor]]] = field(default_factory=list)
    """Seconds and image of each look, one list a fit."""

    def __call__(self, step: int, seconds: float, image: Image) -> None:
        """Keep the image of every so many steps; step 0 begins a fit."""
        if step == 0:
            self.fits.append([])
        if step % self.every == 0:
            self.fits[-1].append((seconds, image.detach().clone()))


@dataclass(frozen=True)
class Trace:
    """SSIM over seconds of one slice under one way of fitting, and the SSIM of what was handed out."""

    seconds: list[float]
    ssim: list[float]
    final: float
    total: float


def traces(
    make: Callable[[Any], Fit], measurement: Measurement, target: Tensor, chosen: Sequence[int]
) -> list[Trace]:
    """Fit once; one trace a slice. Slices that share a fit share its time equally."""
    watcher = Watcher(1)
    method = make(watcher)
    watcher.every = EVERY if isinstance(method, ReferenceAdaptation) else 1
    outcome = method.explain(measurement)
    final = _ssim(outcome.image, measurement, target, chosen)
    n_slices = len(chosen)
    if len(watcher.fits) == 1:
        shared = [seconds / n_slices for seconds, _ in watcher.fits[0]]
        each = zip(*(_ssim(image, measurement, target, chosen) for _, image in watcher.fits[0]), strict=True)
        return [Trace(shared, list(one), end, shared[-1]) for one, end in zip(each, final, strict=True)]
    found = []
    for index, looks in enumerate(watcher.fits):
        volumes = [_placed(image, index, n_slices) for _, image in looks]
        scores = [_ssim(volume, measurement, target, chosen)[index] for volume in volumes]
        times = [seconds for seconds, _ in looks]
        found.append(Trace(times, scores, final[index], times[-1]))
    return found


def _placed(image: Tensor, index: int, n_slices: int) -> Tensor:
    """A single slice at its place of a volume, so that it is scored with the volume's range."""
    volume = image.new_zeros(n_slices, *image.shape[-2:])
    volume[index] = image[0]
    return volume


@torch.no_grad()
def _ssim(image: Image, measurement: Measurement, target: Tensor, chosen: Sequence[int]) -> list[float]:
    magnitude = center_crop(image.abs(), measurement.crop).double()
    top = target.double()
    full = top.clone()
    full[list(chosen)] = magnitude
    return support_ssim(full, top)[list(chosen)].tolist()


def rows_of(trace: Trace, level: float) -> list[dict[str, Any]]:
    """What one slice took and reached.

    What is handed out is there at the end. Where the level is never reached, the time to it counts as ten
    times the whole: slower than any that did.
    """
    reached = [second for second, value in zip(trace.seconds, trace.ssim, strict=True) if value >= level]
    if trace.final >= level:
        reached.append(trace.total)
    values = {
        TO_REFERENCE: max(reached[0], 1e-3) if reached else 10 * trace.total,
        "reaches the reference's SSIM": float(bool(reached)),
        TO_END: trace.total,
        STOPPED: trace.final,
        BEST_LOOK: max([*trace.ssim, trace.final]),
        LOOKS: float(len(trace.ssim)),
    }
    return [{"metric": name, "value": value} for name, value in values.items()]
