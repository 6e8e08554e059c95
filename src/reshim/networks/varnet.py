"""E2E-VarNet: gradient steps on the data, each with a U-net as regulariser, coil maps learned beside them.

    k <- k - w M (k - y) - F S U(S^H F^H k)

Source: A. Sriram et al., MICCAI 2020 (arXiv:2004.06688).
Ours differs: `VarNetCore` computes what fastMRI's `VarNet` computes and takes its weights by the same names,
but an axis along which the mask is constant stays in the image domain throughout, and the centring shifts are
applied once outside the cascades (and to the one combined image inside). Which lines are the centre is taken
from the measurement instead of being counted from the mask. A silent coil gives 0, not NaN. Maps can be given
instead of learned, the first estimate can be CG-SENSE's, and the answer can be the coil-combined complex
image instead of the root sum of squares.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from reshim.networks.image_to_image import start_silent
from reshim.networks.inputs import (
    checked,
    mean_and_deviation,
    real_to_complex,
    safe,
    sense_solved,
    to_channels,
    to_complex,
    with_default_maps,
)
from reshim.networks.unet import UNetCore
from reshim.physics.fourier import to_image
from reshim.types import Calibration, Image, KSpace, Mask, Measurement

Axes = tuple[int, ...]
MULTIPLE = 16
"""Images are padded with zeros to a multiple of this, whatever the number of poolings."""

PIXELS_AT_A_TIME = 96 * 96 * 8
"""Of the coil images that a processor estimates maps from."""


class NormalisedUNet(nn.Module):
    """A U-net on one complex image, real and imaginary part each at zero mean and unit deviation.

    With `residual` it starts silent: its last convolution is 0, and the mean is not added back.
    """

    def __init__(self, channels: int, poolings: int, fold: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.unet = UNetCore(2, 2, channels, poolings, fold=fold)
        self.residual = residual
        if residual:
            start_silent(self.unet.last)

    def forward(self, image: Image) -> Image:
        """(batch, row, column) complex to the same."""
        channels = to_channels(image)
        mean, deviation = mean_and_deviation(channels)
        padding = [*self._margins(image.shape[-1]), *self._margins(image.shape[-2])]
        padded = functional.pad((channels - mean) / safe(deviation), padding)
        output = self.unet(padded.to(self.unet.dtype)).to(channels.dtype)
        output = functional.pad(output, [-margin for margin in padding])
        return to_complex(output * deviation if self.residual else output * deviation + mean)

    def _margins(self, side: int) -> tuple[int, int]:
        missing = self.unet.side(-(-side // MULTIPLE) * MULTIPLE) - side
        return missing // 2, missing - missing // 2


class SensitivityNetwork(nn.Module):
    """Coil maps from the calibration block: a U-net on each coil's low-resolution image alone."""

    gathered_whole = True
    """How often the U-net is called depends on a process' slices: for `reshim.training.sharding`."""

    def __init__(
        self,
        channels: int = 8,
        poolings: int = 4,
        low_memory: bool = False,
        fold: int = 1,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.norm_unet = NormalisedUNet(channels, poolings, fold, residual)
        self.low_memory, self.residual = low_memory, residual

    def forward(self, kspace: KSpace, calibration: Calibration) -> KSpace:
        """(batch, coil, row, column) k-space to maps of the same shape, sum of squares 1."""
        images = to_image(_inside(kspace, calibration)).flatten(0, 1)
        parts = images.split(self._at_a_time(images))
        keep_nothing = self.low_memory and torch.is_grad_enabled()
        maps = torch.cat([_run(self.norm_unet, keep_nothing, part) for part in parts])
        maps = (images + maps if self.residual else maps).view_as(kspace)
        squares = torch.view_as_real(maps).square().sum((-4, -1)).unsqueeze(1)
        return maps / safe(squares).sqrt()

    def _at_a_time(self, images: Image) -> int:
        """One large coil image at a time stays in a processor's cache; a GPU wants them all at once."""
        if self.low_memory:
            return 1
        return len(images) if images.is_cuda else max(1, PIXELS_AT_A_TIME // images[0].numel())


class Cascade(nn.Module):
    """One step: towards the data with the learned weight, and away from what the U-net takes for artefact."""

    def __init__(self, channels: int, poolings: int, fold: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.model = NormalisedUNet(channels, poolings, fold, residual)
        self.dc_weight = nn.Parameter(torch.ones(1))

    def forward(self, kspace: Tensor, data: Tensor, mask: Tensor, maps: Tensor, axes: Axes) -> Tensor:
        """One step on k-space along `axes` (image along the others), all of it with the origin at index 0."""
        image = (maps.conj() * torch.fft.ifftn(kspace, dim=axes, norm="ortho")).sum(1)
        image = torch.fft.ifftshift(self.model(torch.fft.fftshift(image, dim=axes)), dim=axes)
        artefact = torch.fft.fftn(maps * image.unsqueeze(1), dim=axes, norm="ortho")
        return kspace - (self.dc_weight.to(mask.dtype) * mask) * (kspace - data) - artefact


class VarNetCore(nn.Module):
    """Tensors in, tensors out: fastMRI's VarNet, weight for weight.

    Parameters
    ----------
    cascades, channels, poolings
        Steps, and the size of the U-net of each.
    sens_channels, sens_poolings
        Size of the U-net that estimates the maps; 0 channels: there is none, the maps are given.
    low_memory
        In training, compute each cascade and each coil's map again in the backward pass.
    fold
        As in `UNetCore`.
    residual
        Start at the data: an untrained network returns the zero-filled coil images, because each U-net's last
        convolution is 0 and its mean is not added back; maps are a change of the low-resolution coil images.
    """

    def __init__(
        self,
        cascades: int = 12,
        channels: int = 18,
        poolings: int = 4,
        sens_channels: int = 8,
        sens_poolings: int = 4,
        low_memory: bool = False,
        fold: int = 1,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if sens_channels:
            self.sens_net = SensitivityNetwork(sens_channels, sens_poolings, low_memory, fold, residual)
        self.cascades = nn.ModuleList(Cascade(channels, poolings, fold, residual) for _ in range(cascades))
        self.low_memory = low_memory

    def forward(
        self,
        kspace: KSpace,
        mask: Mask,
        calibration: Calibration,
        maps: KSpace | None = None,
        first: Image | None = None,
    ) -> tuple[KSpace, KSpace]:
        """Coil images and maps, (batch, coil, row, column); the maps are learned unless given.

        The first estimate is the data, or what the coils would measure of an image.
        """
        maps = self.sens_net(kspace, calibration) if maps is None else maps
        axes = tuple(axis for axis in (-2, -1) if mask.shape[axis] > 1) or (-1,)
        constant = tuple(axis for axis in (-2, -1) if axis not in axes)
        kept = torch.fft.ifftshift(mask, dim=axes).to(kspace.real.dtype)
        data = torch.fft.ifftshift(to_image(kspace, constant) if constant else kspace, dim=axes)
        rolled_maps = torch.fft.ifftshift(maps, dim=axes)
        keep_nothing = self.low_memory and torch.is_grad_enabled()
        estimate = data
        if first is not None:
            seen = torch.fft.ifftshift(maps * first.unsqueeze(1), dim=axes)
            estimate = torch.fft.fftn(seen, dim=axes, norm="ortho")
        for cascade in self.cascades:
            estimate = _run(cascade, keep_nothing, estimate, data, kept, rolled_maps, axes)
        coil_images = torch.fft.ifftn(estimate, dim=axes, norm="ortho")
        return torch.fft.fftshift(coil_images, dim=axes), maps


class VarNet(nn.Module):
    """Reconstructor: the unrolled steps, then the coils combined.

    Parameters
    ----------
    cascades, channels, poolings, sens_channels, sens_poolings, low_memory, fold, residual
        As in `VarNetCore`.
    maps
        ``"learned"`` from the calibration block (from all acquired samples where that is empty), or
        ``"given"``: the measurement's own first set, estimated where it has none.
    output
        ``"rss"``, root sum of squares without phase, or ``"mvue"``, conj(maps) · coil images, complex.
    start
        First estimate: ``"adjoint"``, the acquired samples as in the paper, or, with given maps, ``"sense"``,
        what the coils would measure of the CG-SENSE image, which a few gradient steps do not reach.
    ridge, iterations
        Of that CG-SENSE; dimensionless.
    """

    def __init__(
        self,
        cascades: int = 12,
        channels: int = 18,
        poolings: int = 4,
        sens_channels: int = 8,
        sens_poolings: int = 4,
        maps: str = "learned",
        output: str = "rss",
        low_memory: bool = False,
        fold: int = 1,
        residual: bool = False,
        start: str = "adjoint",
        ridge: float = 0.02,
        iterations: int = 8,
    ) -> None:
        super().__init__()
        if maps not in ("learned", "given"):
            raise ValueError(f"maps is {maps!r}; a VarNet takes 'learned' or 'given'")
        if output not in ("rss", "mvue"):
            raise ValueError(f"output is {output!r}; a VarNet gives 'rss' or 'mvue'")
        if start not in ("adjoint", "sense") or (start == "sense" and maps == "learned"):
            raise ValueError(
                f"start is {start!r} with {maps} maps; it is 'adjoint', or 'sense' with maps 'given'"
            )
        self.settings = {
            "cascades": cascades,
            "channels": channels,
            "poolings": poolings,
            "sens_channels": sens_channels,
            "sens_poolings": sens_poolings,
            "maps": maps,
            "output": output,
            "low_memory": low_memory,
            "fold": fold,
            "residual": residual,
            "start": start,
            "ridge": ridge,
            "iterations": iterations,
        }
        self.maps, self.output = maps, output
        self.start, self.ridge, self.iterations = start, ridge, iterations
        self.has_phase, self.needs_maps = output == "mvue", maps == "given"
        learned = sens_channels if maps == "learned" else 0
        self.core = VarNetCore(
            cascades, channels, poolings, learned, sens_poolings, low_memory, fold, residual
        )

    def forward(self, measurement: Measurement) -> Image:
        """(batch, row, column), complex, in file units, on the full matrix."""
        measurement = checked(measurement)
        if self.maps == "given":
            measurement = with_default_maps(measurement)
        coil_images, maps = self.core(
            measurement.kspace,
            measurement.mask,
            measurement.calibration,
            self._given_maps(measurement),
            sense_solved(measurement, self.ridge, self.iterations) if self.start == "sense" else None,
        )
        if self.output == "mvue":
            return (maps.conj() * coil_images).sum(1)
        return real_to_complex(torch.linalg.vector_norm(torch.view_as_real(coil_images), dim=(1, -1)))

    def _given_maps(self, measurement: Measurement) -> KSpace | None:
        if self.maps == "learned":
            return None
        maps = measurement.maps
        assert maps is not None
        return maps[:, 0].expand_as(measurement.kspace)


def _inside(kspace: KSpace, calibration: Calibration) -> KSpace:
    """K-space with nothing but the calibration block; all of it where the block is empty."""
    if calibration.is_empty:
        return kspace
    block = torch.zeros_like(kspace)
    rows, columns = calibration.block
    block[..., rows, columns] = kspace[..., rows, columns]
    return block


def _run(module: nn.Module, keep_nothing: bool, *arguments: Tensor | Axes) -> Tensor:
    """Call the module; keep nothing of what it computes if it is cheaper to compute it again."""
    return checkpoint(module, *arguments, use_reentrant=False) if keep_nothing else module(*arguments)
