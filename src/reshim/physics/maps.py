"""Coil sensitivities where ESPIRiT does not reach, how good a set of maps is, and which estimator to take.

Sources: D. O. Walsh et al., Magn. Reson. Med. 43:682 (2000); low-frequency maps: C. A. McKenzie et al.,
Magn. Reson. Med. 47:529 (2002).
Ours differs: everything is estimated from acquired samples, tapered; the phase is real along the principal
coil combination, as in `espirit`, so that the object's own phase stays in the image.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from reshim.physics.espirit import Block, Espirit, calibration_block, central_part, phase_factor, power_steps
from reshim.physics.fourier import to_image
from reshim.types import KSpace, Maps, Measurement

ENOUGH_SAMPLES = 16
"""Calibration samples along each axis from which the usual 6 x 6 kernel is determined."""
FEWEST_SAMPLES = 7
"""Below this, the smaller 4 x 4 kernel has fewer than four positions along an axis."""
WEAK = 0.985
"""Maps that explain less of the calibration energy than this come with a warning."""


@dataclass(frozen=True)
class LowFrequency:
    """Tapered low-resolution coil images over their root sum of squares."""

    width: int = 24
    """Samples of the calibration block, or of the taper where there is no block."""

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Measurement:
        """Return the measurement with one set of maps."""
        images = low_resolution_images(measurement, self.width)
        size = images.abs().square().sum(-3, keepdim=True).sqrt()
        vectors = (images / torch.where(size > 0, size, 1)).unsqueeze(-4)
        return replace(measurement, maps=vectors * phase_factor(vectors, images, "principal"))


@dataclass(frozen=True)
class Walsh:
    """The dominant eigenvector of the coils' local covariance in low-resolution images."""

    smoothing: int = 5
    """Width of the square over which the covariance is averaged, in pixels; odd."""

    steps: int = 10
    """Power iterations a pixel."""

    width: int = 24
    """As in `LowFrequency`."""

    def __post_init__(self) -> None:
        if self.smoothing % 2 == 0:
            raise ValueError(f"smoothing is {self.smoothing}; a centred square needs an odd width")

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Measurement:
        """Return the measurement with one set of maps."""
        images = low_resolution_images(measurement, self.width)
        maps = walsh_maps(images, self.smoothing, self.steps)
        return replace(measurement, maps=maps * phase_factor(maps, images, "principal"))


def walsh_maps(images: KSpace, smoothing: int = 5, steps: int = 10) -> Maps:
    """Unit vectors (batch, 1, coil, row, column) along the local covariance's dominant direction."""
    batch, n_coils, shape = images.shape[:-3], images.shape[-3], images.shape[-2:]
    vectors = []
    for item in images.reshape(-1, n_coils, *shape):
        products = (item.unsqueeze(1) * item.conj()).reshape(1, n_coils**2, *shape)
        mean = torch.complex(_box_mean(products.real, smoothing), _box_mean(products.imag, smoothing))
        covariance = mean.reshape(n_coils, n_coils, -1).permute(2, 0, 1)
        # The column of the strongest coil is a start that cannot be orthogonal to the answer.
        strongest = covariance.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
        start = covariance.gather(-1, strongest[:, None, None].expand(-1, n_coils, 1))
        vector, _ = power_steps(covariance, start, steps)
        vectors.append(vector.reshape(*shape, n_coils, 1).permute(3, 2, 0, 1))
    return torch.stack(vectors).reshape(*batch, 1, n_coils, *shape)


def _box_mean(channels: Tensor, width: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(channels, width, 1, width // 2, count_include_pad=False)


def low_resolution_images(measurement: Measurement, width: int = 24) -> KSpace:
    """Tapered coil images of the calibration block; without one, of whatever was acquired near the centre."""
    acquired = torch.where(measurement.mask, measurement.kspace, 0)
    if not measurement.calibration.is_empty:
        return _block_images(calibration_block(measurement), measurement, width)
    taper = [_gaussian(size, width, acquired) for size in acquired.shape[-2:]]
    return to_image(acquired * taper[0][:, None] * taper[1])


def _block_images(block: Block, measurement: Measurement, width: int) -> KSpace:
    part = central_part(block, width)
    n_rows, n_columns = part.shape[-2:]
    row_start, row_stop, column_start, column_stop = measurement.calibration
    top = (row_start + row_stop) // 2 - n_rows // 2
    left = (column_start + column_stop) // 2 - n_columns // 2
    padded = torch.zeros_like(measurement.kspace)
    tapered = part * _hann(n_rows, part)[:, None] * _hann(n_columns, part)
    padded[..., top : top + n_rows, left : left + n_columns] = tapered
    return to_image(padded)


def _hann(size: int, like: Tensor) -> Float[Tensor, " size"]:
    return torch.hann_window(size + 2, periodic=False, device=like.device)[1:-1]


def _gaussian(size: int, width: int, like: Tensor) -> Float[Tensor, " size"]:
    distance = torch.arange(size, device=like.device) - size // 2
    return torch.exp(-((distance / (width / 2)) ** 2))


@torch.no_grad()
def explained_energy(measurement: Measurement, width: int = 24) -> Float[Tensor, "*batch"]:
    """How well maps fit: the share of the calibration images' energy that lies along them, 0 to 1.

    Raises
    ------
    ValueError
        If the measurement has no maps yet.
    """
    if measurement.maps is None:
        raise ValueError(
            f"{measurement.name}: no maps to judge; fill them with measurement.with_maps(estimator)"
        )
    if measurement.kspace.shape[0] > 1 and measurement.kspace.device.type == "cpu":
        items = (measurement.item(index) for index in range(measurement.kspace.shape[0]))
        return torch.cat([explained_energy(item, width) for item in items])
    images = low_resolution_images(measurement, width)
    energy = images.abs().square().sum((-3, -2, -1))
    combined = (measurement.maps.conj() * images.unsqueeze(-4)).sum(-3, keepdim=True)
    missed = (images - (measurement.maps * combined).sum(-4)).abs().square().sum((-3, -2, -1))
    return torch.where(energy > 0, 1 - missed / torch.where(energy > 0, energy, 1), 0)


def default_estimator(measurement: Measurement) -> Measurement:
    """ESPIRiT with a kernel that fits the calibration block, or low-frequency maps where none fits.

    A warning is added where the block is missing or too small, and where the maps explain it badly.
    """
    shape = measurement.calibration.shape
    if min(shape) >= ENOUGH_SAMPLES:
        return _judged(Espirit()(measurement))
    if min(shape) >= FEWEST_SAMPLES:
        return _judged(Espirit(kernel=4)(measurement))
    found = "no calibration block" if measurement.calibration.is_empty else f"a {shape[0]}x{shape[1]} block"
    warning = (
        f"coil maps are low-frequency images over their root sum of squares: {found} was acquired, ESPIRiT "
        f"needs {FEWEST_SAMPLES}x{FEWEST_SAMPLES}; acquire more centre lines (--center-lines 24)"
    )
    measurement = LowFrequency()(measurement)
    return replace(measurement, warnings=(*measurement.warnings, warning))


def _judged(measurement: Measurement) -> Measurement:
    explained = float(explained_energy(measurement).amin())
    if explained >= WEAK:
        return measurement
    rows, columns = measurement.calibration.shape
    warning = (
        f"coil maps are weak: they explain {explained:.3f} of the calibration energy of the worst slice, "
        f"good maps at least {WEAK}; the {rows}x{columns} calibration block is likely too small "
        "(--center-lines 24 would do)"
    )
    return replace(measurement, warnings=(*measurement.warnings, warning))
