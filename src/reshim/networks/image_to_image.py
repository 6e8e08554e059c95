"""A reconstructor around a network from image to image: what it is shown, and how its answer gets its units.

Source: the magnitude form is J. Zbontar et al., arXiv:1811.08839 (fastMRI), and K. Lin and R. Heckel,
ICML 2024.
Ours differs: a complex form stands beside it, one real scale an item, so that the phase is kept; it can start
from a CG-SENSE image; and the network may add its input to its output.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from reshim.networks.inputs import (
    Channels,
    checked,
    mean_and_deviation,
    real_to_complex,
    root_mean_square,
    root_sum_of_squares,
    safe,
    sense_combined,
    sense_solved,
    to_channels,
    to_complex,
    with_default_maps,
)
from reshim.physics.fourier import center_crop, center_pad
from reshim.types import Image, Measurement

FORMS = ("magnitude", "complex")
STARTS = ("adjoint", "sense")


class Core(Protocol):
    """Image to image of the same size: (batch, channel, row, column), for the sides it asks for."""

    def __call__(self, image: Channels) -> Channels:
        """Return an image of the same shape."""
        ...

    last: nn.Module
    """The layer that makes the output."""

    def side(self, length: int) -> int:
        """The least length of a side, `length` or more, that the core takes."""
        ...


class ImageToImage(nn.Module):
    """Reconstructor: one image of the measurement, the core, one image.

    Parameters
    ----------
    make_core
        Called with the number of channels, 1 or 2.
    input
        ``"magnitude"``: root sum of squares of the zero-filled coil images, cut to `measurement.crop`, one
        channel, zero mean and unit deviation; the answer has no phase. ``"complex"``: an image on the full
        matrix made with the coil maps, two channels, one real scale; the maps are estimated where the
        measurement has none.
    residual
        Add the input to the output, so that the network learns what is missing. The core's last layer starts
        at 0: an untrained network returns its input.
    clip
        Limit of the normalised magnitude, in deviations; fastMRI's public weights were trained with 6.
    start
        Of a complex input: ``"adjoint"``, the zero-filled image A^H y, or ``"sense"``, the CG-SENSE image, so
        that the network repairs what parallel imaging leaves: noise and residual aliasing.
    ridge, iterations
        Of that CG-SENSE; dimensionless.
    """

    def __init__(
        self,
        make_core: Callable[[int], nn.Module],
        input: str = "magnitude",  # noqa: A002  (the word of the command line)
        residual: bool = False,
        clip: float | None = None,
        start: str = "adjoint",
        ridge: float = 0.02,
        iterations: int = 8,
    ) -> None:
        super().__init__()
        if input not in FORMS:
            raise ValueError(f"input is {input!r}; this network takes 'magnitude' or 'complex'")
        if clip is not None and input == "complex":
            raise ValueError(f"clip is {clip}, which has no effect on a complex input; leave it out")
        if start not in STARTS or (start == "sense" and input == "magnitude"):
            raise ValueError(
                f"start is {start!r} with {input} input; it is 'adjoint', or 'sense' with complex input"
            )
        self.settings: dict[str, Any] = {
            "input": input,
            "residual": residual,
            "clip": clip,
            "start": start,
            "ridge": ridge,
            "iterations": iterations,
        }
        self.start, self.ridge, self.iterations = start, ridge, iterations
        self.residual, self.limit = residual, math.inf if clip is None else clip
        self.has_phase = self.needs_maps = input == "complex"
        self.core = make_core(2 if self.has_phase else 1)
        if residual:
            start_silent(self.core.last)  # type: ignore[arg-type]

    def forward(self, measurement: Measurement) -> Image:
        """(batch, row, column), complex, in file units, on the full matrix."""
        measurement = checked(measurement)
        return self._complex(measurement) if self.has_phase else self._magnitude(measurement)

    def _magnitude(self, measurement: Measurement) -> Image:
        zero_filled = root_sum_of_squares(measurement)
        matrix = _shape(zero_filled)
        shape = min(measurement.crop[0], matrix[0]), min(measurement.crop[1], matrix[1])
        image = self._padded(center_crop(zero_filled, shape))
        mean, deviation = mean_and_deviation(image)
        normalised = ((image - mean) / safe(deviation)).clamp(-self.limit, self.limit)
        image = self._restored(normalised.unsqueeze(1))[:, 0] * deviation + mean
        image = center_crop(image if self.training else image.clamp_min(0), shape)
        return real_to_complex(center_pad(image, matrix))

    def _complex(self, measurement: Measurement) -> Image:
        measurement = with_default_maps(measurement)
        first = (
            sense_combined(measurement)
            if self.start == "adjoint"
            else sense_solved(measurement, self.ridge, self.iterations)
        )
        image = self._padded(first)
        scale = root_mean_square(image)
        image = to_complex(self._restored(to_channels(image / safe(scale)))) * scale
        return center_crop(image, _shape(first))

    def _padded(self, image: Tensor) -> Tensor:
        rows, columns = _shape(image)
        return center_pad(image, (self.core.side(rows), self.core.side(columns)))  # type: ignore[operator]

    def _restored(self, image: Channels) -> Channels:
        output = self.core(image.to(next(self.core.parameters()).dtype)).to(image.dtype)
        return image + output if self.residual else output


def start_silent(layer: nn.Module) -> None:
    """Weight and bias at 0, for a branch that is added to something good already."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _shape(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
