"""An unrolled network: a residual CNN and an exact data-consistency solve, in turn.

    z = CNN(x),    x = argmin_x ||A x - y||^2 + mu ||x - z||^2  =  (A^H A + mu I)^-1 (A^H y + mu z)

Source: B. Yaman et al., Magn. Reson. Med. 84:3172 (2020), who train it on undersampled data alone (SSDU);
the CNN follows R. Timofte et al., CVPR Workshops 2017. The method of training is the subject of patent
application US 17/075,411 and the authors' own programs are for academic use only: nothing of them is used
here, this file is written from a description of the published network.
Ours differs: mu is exp(log_mu), so that it stays positive and the solve well-posed; a batch is solved item
by item in one call. Options beside the published form: a solve that starts at z and whose gradient is one
more solve, CG-SENSE as the first estimate, a CNN that adds its input, and one that works on folded pixels.
Without biases or norms the CNN scales with its input, so the scale taken out serves the numerics alone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reshim.networks.blocks import laid_out
from reshim.networks.consistency import solver_for
from reshim.networks.inputs import (
    Channels,
    checked,
    root_mean_square,
    safe,
    to_channels,
    to_complex,
    with_default_maps,
)
from reshim.physics.sense import SenseOperator, SetImage, first_set
from reshim.types import Image, Measurement

RESIDUAL_SCALE = 0.1
INITIAL_DEVIATION = 0.05
"""Of the CNN's weights, as published."""


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, a tenth of it added to the input; tied: both use one weight."""

    def __init__(self, channels: int, tied: bool) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = self.first if tied else _convolution(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Same shape."""
        return features + RESIDUAL_SCALE * self.second(torch.relu(self.first(features)))


class ResidualCore(nn.Module):
    """The CNN of one unroll: two channels in, two out, no bias and no norm.

    Parameters
    ----------
    blocks, channels
        Residual blocks and their width.
    tied
        One weight for both convolutions of a block, as in the paper's counts.
    fold
        Work on squares of `fold` x `fold` pixels as channels: so many times less work, a wider view.
    """

    def __init__(self, blocks: int = 15, channels: int = 64, tied: bool = True, fold: int = 1) -> None:
        super().__init__()
        self.fold = fold
        self.enter = _convolution(2 * fold**2, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels, tied) for _ in range(blocks)))
        self.gather = _convolution(channels, channels)
        self.leave = _convolution(channels, 2 * fold**2)

    def forward(self, image: Channels) -> Channels:
        """Same shape."""
        rows, columns = image.shape[-2:]
        padded = functional.pad(image, (0, -columns % self.fold, 0, -rows % self.fold))
        features = self.enter(
            laid_out(functional.pixel_unshuffle(padded, self.fold), self.enter.out_channels)
        )
        features = self.leave(features + self.gather(self.blocks(features)))
        return functional.pixel_shuffle(features, self.fold)[..., :rows, :columns]


class Unrolled(nn.Module):
    """Reconstructor: `unrolls` times the CNN and the solve, weights and mu shared by all.

    Parameters
    ----------
    unrolls, blocks, channels, tied, fold
        Size of the network.
    iterations
        Conjugate-gradient steps of each solve.
    implicit
        Start each solve at z and take its gradient by a solve, too: exact at convergence, less than half
        the work and no iterates kept. The coil maps are constants then.
    start
        First estimate: ``"adjoint"`` A^H y, or ``"sense"``, a solve with z = 0 and twice the iterations.
    residual
        CNN(x) + x in place of CNN(x), the last convolution starting at 0: training starts at CG-SENSE.
    initial_mu
        Weight of the CNN's image against the data at the start of training.
    """

    has_phase = True
    needs_maps = True

    def __init__(
        self,
        unrolls: int = 10,
        blocks: int = 15,
        channels: int = 64,
        tied: bool = True,
        fold: int = 1,
        iterations: int = 10,
        implicit: bool = False,
        start: str = "adjoint",
        residual: bool = False,
        initial_mu: float = 0.05,
    ) -> None:
        super().__init__()
        if start not in ("adjoint", "sense"):
            raise ValueError(f"start is {start!r}; an unrolled network starts at 'adjoint' or 'sense'")
        self.settings = {
            "unrolls": unrolls,
            "blocks": blocks,
            "channels": channels,
            "tied": tied,
            "fold": fold,
            "iterations": iterations,
            "implicit": implicit,
            "start": start,
            "residual": residual,
            "initial_mu": initial_mu,
        }
        self.unrolls, self.iterations, self.implicit = unrolls, iterations, implicit
        self.start, self.residual = start, residual
        self.core = ResidualCore(blocks, channels, tied, fold)
        self.log_mu = nn.Parameter(torch.tensor(math.log(initial_mu)))
        if residual:
            nn.init.zeros_(self.core.leave.weight)

    def forward(self, measurement: Measurement) -> Image:
        """(batch, row, column), complex, in file units, on the full matrix."""
        measurement = with_default_maps(checked(measurement))
        operator = SenseOperator.of(measurement)
        adjoint = operator.adjoint(measurement.kspace)
        scale = root_mean_square(first_set(adjoint)).unsqueeze(-3)
        adjoint = adjoint / safe(scale)
        solve = solver_for(operator, adjoint, self.iterations, self.implicit)
        # Dealt out over processes, the scalar is a vector of one entry.
        mu = self.log_mu.reshape(()).exp().to(adjoint.real.dtype)

        images = adjoint if self.start == "adjoint" else self._sense(operator, adjoint, mu.detach())
        for _ in range(self.unrolls):
            images = solve(mu, self._denoise(images))
        return first_set(images * scale)

    def _sense(self, operator: SenseOperator, adjoint: SetImage, mu: Tensor) -> SetImage:
        solve = solver_for(operator, adjoint, 2 * self.iterations, self.implicit)
        return solve(mu, torch.zeros_like(adjoint))

    def _denoise(self, images: SetImage) -> SetImage:
        """The CNN on the image of each set of maps alone."""
        channels = to_channels(images.flatten(0, 1))
        output = self.core(channels.to(self.log_mu.dtype)).to(channels.dtype)
        return to_complex(channels + output if self.residual else output).view_as(images)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.normal_(convolution.weight, std=INITIAL_DEVIATION)
    return convolution
