"""What goes wrong in a scan, with a dose: motion, spikes, a field of view that is too small, more noise.

Each function takes k-space (..., coil, row, column) and gives one of the same shape; dose 0 gives the same
values. They work on any k-space, real or simulated, so a robustness study can turn one dose up.

Sources: how motion between lines shows, M. Zaitsev et al., J. Magn. Reson. Imaging 42:887 (2015); rotation by
three shears, M. Unser et al., IEEE Trans. Image Process. 4:1371 (1995).
Ours differs: coils move with the body (their fields are not known to k-space); pixels are taken as square,
with columns as the phase-encoding axis; nothing moves through the slice.
"""

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from reshim.errors import UserError
from reshim.physics.fourier import to_image, to_kspace

Poses = Float[Tensor, "pose 3"]


def moved(
    kspace: Complex[Tensor, "*batch coil row column"],
    dose: float,
    generator: torch.Generator,
    n_poses: int = 8,
) -> Complex[Tensor, "*batch coil row column"]:
    """Rigid motion between lines: columns are acquired in blocks, in order, and the body rests in each.

    Parameters
    ----------
    dose
        Typical distance of a pose from the one at the centre of k-space: the root mean square over the blocks
        is `dose` pixels along rows, `dose` pixels along columns, and `dose` degrees. The centre's pose
        is zero, so the image stays where it was.
    generator
        On the CPU; each batch item moves in its own way.
    n_poses
        Blocks of columns; at least 2.
    """
    if n_poses < 2:
        raise ValueError(f"n_poses is {n_poses}; motion takes at least 2 poses")
    flat = kspace.reshape(-1, *kspace.shape[-3:])
    paths = [_poses(_checked("motion", dose), n_poses, generator) for _ in flat]
    if dose == 0:
        return kspace.clone()
    return torch.stack([_in_poses(one, path) for one, path in zip(flat, paths, strict=True)]).reshape(
        kspace.shape
    )


def _poses(dose: float, n_poses: int, generator: torch.Generator) -> Poses:
    """A random walk through (rows, columns, degrees) that is 0 in the block of the centre."""
    path = torch.randn(n_poses, 3, generator=generator, dtype=torch.float64).cumsum(0)
    path = path - path[n_poses // 2]
    return dose * path / path.square().mean(0).sqrt().clamp_min(1e-12)


def _in_poses(kspace: Tensor, poses: Poses) -> Tensor:
    """Each block of columns of one slice from the body in that block's pose."""
    columns = kspace.shape[-1]
    block = (torch.arange(columns) * len(poses)) // columns
    # The middle column belongs to the pose that is zero.
    image = to_image(kspace)
    out = kspace.clone()
    for number, (down, across, degrees) in enumerate(poses.tolist()):
        if (down, across, degrees) != (0.0, 0.0, 0.0):
            lines = (block == number).to(kspace.device)
            out[..., lines] = to_kspace(shifted(rotated(image, degrees), down, across))[..., lines]
    return out


def shifted(
    image: Complex[Tensor, "*batch row column"], rows: float, columns: float
) -> Complex[Tensor, "*batch row column"]:
    """The image moved by fractions of pixels, band-limited, around the edge."""
    return _sheared(_sheared(image, -2, torch.tensor(rows)), -1, torch.tensor(columns))


def rotated(image: Complex[Tensor, "*batch row column"], degrees: float) -> Tensor:
    """The image turned about the centre pixel by up to 45°, from rows towards columns, by three shears."""
    rows, columns = (torch.arange(size, device=image.device) - size // 2 for size in image.shape[-2:])
    angle = math.radians(degrees)
    once, twice = -math.tan(angle / 2), math.sin(angle)
    image = _sheared(image, -1, -once * rows[:, None])
    image = _sheared(image, -2, -twice * columns[None, :])
    return _sheared(image, -1, -once * rows[:, None])


def _sheared(image: Tensor, axis: int, distance: Tensor) -> Tensor:
    """Every line along `axis` moved by its own distance in pixels."""
    size = image.shape[axis]
    frequency = torch.fft.fftfreq(size, device=image.device, dtype=image.real.dtype)
    if size % 2 == 0:
        frequency[size // 2] = 0  # the highest frequency has no direction: it stays
    frequency = frequency.reshape(-1, *[1] * (-axis - 1))
    turn = torch.exp(-2j * math.pi * frequency * distance.to(image.device, image.real.dtype))
    return torch.fft.ifft(torch.fft.fft(image, dim=axis) * turn, dim=axis)


def spiked(
    kspace: Complex[Tensor, "*batch coil row column"],
    dose: float,
    generator: torch.Generator,
    n_spikes: int = 3,
) -> Complex[Tensor, "*batch coil row column"]:
    """Samples that a discharge hit: all coils at once, each with its own phase.

    Parameters
    ----------
    dose
        What a spike adds, in units of the largest magnitude in its slice's k-space.
    generator
        On the CPU; each batch item is hit elsewhere.
    n_spikes
        For each batch item, anywhere in k-space.
    """
    _checked("spikes", dose)
    flat = kspace.reshape(-1, *kspace.shape[-3:]).clone()
    n_coils, rows, columns = flat.shape[1:]
    for one in flat:
        places = torch.randint(rows * columns, (n_spikes,), generator=generator).to(one.device)
        phases = 2 * math.pi * torch.rand(n_coils, n_spikes, generator=generator)
        height = dose * one.abs().max()
        added = height * torch.polar(torch.ones_like(phases), phases).to(one.device, one.dtype)
        one.view(n_coils, -1).index_add_(1, places, added)
    return flat.reshape(kspace.shape)


def wrapped(
    kspace: Complex[Tensor, "*batch coil row column"], dose: float
) -> Complex[Tensor, "*batch coil row column"]:
    """A field of view too small along columns: what lies beyond it folds over from the other side.

    Pixels stay where they are and as large as they are; the strips beyond the smaller field are empty.

    Parameters
    ----------
    dose
        Share of the field of view that is missing, 0 to 0.5; rounded to whole pairs of columns, half on each
        side. The strips' noise folds over with them.
    """
    if not 0 <= dose <= 0.5:
        raise UserError(f"wrap is {dose}; it is the missing share of the field of view, between 0 and 0.5")
    columns = kspace.shape[-1]
    strip = round(dose * columns / 2)
    if strip == 0:
        return kspace.clone()
    image = to_image(kspace, axes=(-1,))
    folded = torch.zeros_like(image)
    folded[..., strip : columns - strip] = image[..., strip : columns - strip]
    folded[..., columns - 2 * strip : columns - strip] += image[..., :strip]
    folded[..., strip : 2 * strip] += image[..., columns - strip :]
    return to_kspace(folded, axes=(-1,))


def noisy(
    kspace: Complex[Tensor, "*batch coil row column"], dose: float, generator: torch.Generator
) -> Complex[Tensor, "*batch coil row column"]:
    """More thermal noise: white, of equal strength in all coils, not correlated between them.

    Parameters
    ----------
    dose
        Deviation of the real part (and of the imaginary part) of what is added to every sample, in units of
        the 99th percentile of the slice's root-sum-of-squares image. The transform is orthonormal, so it is
        that of a pixel too.
    generator
        On the CPU.
    """
    _checked("noise", dose)
    parts = torch.randn(*kspace.shape, 2, generator=generator, dtype=kspace.real.dtype)
    level = to_image(kspace).abs().square().sum(-3).sqrt().flatten(-2)
    level = level.sort(-1).values[..., math.ceil(0.99 * level.shape[-1]) - 1]
    return kspace + dose * level[..., None, None, None] * torch.view_as_complex(parts).to(kspace.device)


@dataclass(frozen=True)
class Artefacts:
    """What goes wrong in a simulated scan; nothing by default."""

    motion: float = 0.0
    """Dose of `moved`: pixels and degrees."""

    spikes: float = 0.0
    """Dose of `spiked`: height over the largest sample."""

    wrap: float = 0.0
    """Dose of `wrapped`: missing share of the field of view."""

    def __post_init__(self) -> None:
        for name, dose in asdict(self).items():
            _checked(name, dose)
        if self.wrap > 0.5:
            raise UserError(f"wrap is {self.wrap}; it is the missing share of the field of view, up to 0.5")

    @property
    def label(self) -> str:
        """What a protocol's name carries: `+motion1+wrap0.2`; empty without artefacts."""
        return "".join(f"+{name}{dose:g}" for name, dose in asdict(self).items() if dose)

    def in_body(self, kspace: Tensor, generator: torch.Generator) -> Tensor:
        """What happens to the signal before noise is received: motion, then the fold."""
        if self.motion:
            kspace = moved(kspace, self.motion, generator)
        return wrapped(kspace, self.wrap) if self.wrap else kspace

    def in_receiver(self, kspace: Tensor, generator: torch.Generator) -> Tensor:
        """What happens to the samples after it: spikes."""
        return spiked(kspace, self.spikes, generator) if self.spikes else kspace


def _checked(name: str, dose: float) -> float:
    if not (dose >= 0 and math.isfinite(dose)):
        raise UserError(f"{name} is {dose}; a dose is finite and at least 0")
    return dose
