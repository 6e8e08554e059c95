"""An unrolled network: a residual CNN and an exact data-consistency solve, in turn.

    z = CNN(x),    x = argmin_x ||A x - y||^2 + mu ||x - z||^2  =  (A^H A + mu I)^-1 (A^H y + mu z)

Source: B. Yaman et al., Magn. Reson. Med. 84:3172 (2020), who train it on undersampled data alone (SSDU);
the CNN follows R. Timofte et al., CVPR Workshops 2017. The method of training is the subject of patent
application US 17/075,411 and the authors' own programs are for academic use only: nothing of them is used
here, this file is written from a description of the published network.
Ours differs: mu is exp(log_mu), so that it stays positive and the solve well-posed; a batch is solved item
by item in one call; the gradient of the solve can be taken by a second solve instead of through the
iterations (`gradient="implicit"`), which needs no stored iterates; the solve can start at z, the first
estimate can be CG-SENSE, and the CNN can add its input to its output. The defaults are the paper's. Without
biases or norms the CNN scales with its input, so the scale taken out below serves the numerics alone.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

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
from reshim.solvers import conjugate_gradient
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
    """

    def __init__(self, blocks: int = 15, channels: int = 64, tied: bool = True) -> None:
        super().__init__()
        self.enter = _convolution(2, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels, tied) for _ in range(blocks)))
        self.gather = _convolution(channels, channels)
        self.leave = _convolution(channels, 2)

    def forward(self, image: Channels) -> Channels:
        """Same shape."""
        features = self.enter(image)
        return self.leave(features + self.gather(self.blocks(features)))


class Unrolled(nn.Module):
    """Reconstructor: `unrolls` times the CNN and the solve, weights and mu shared by all.

    Parameters
    ----------
    unrolls, blocks, channels, tied
        Size of the network.
    iterations
        Conjugate-gradient steps of each solve.
    gradient
        ``"through"`` the iterations, or ``"implicit"``: exact at convergence, half the work, less memory;
        it treats the coil maps as constants.
    start
        First estimate: ``"adjoint"`` A^H y, or ``"sense"``, a solve without a CNN.
    warm
        Start each solve at z instead of at 0.
    residual
        CNN(x) + x in place of CNN(x), the last convolution starting at 0.
    initial_mu
        Weight of the CNN's image against the data at the start of training.
    """

    has_phase = True

    def __init__(
        self,
        unrolls: int = 10,
        blocks: int = 15,
        channels: int = 64,
        tied: bool = True,
        iterations: int = 10,
        gradient: Literal["through", "implicit"] = "through",
        start: Literal["adjoint", "sense"] = "adjoint",
        warm: bool = False,
        residual: bool = False,
        initial_mu: float = 0.05,
    ) -> None:
        super().__init__()
        self.settings = {
            "unrolls": unrolls,
            "blocks": blocks,
            "channels": channels,
            "tied": tied,
            "iterations": iterations,
            "gradient": gradient,
            "start": start,
            "warm": warm,
            "residual": residual,
            "initial_mu": initial_mu,
        }
        self.unrolls, self.iterations, self.gradient = unrolls, iterations, gradient
        self.start, self.warm, self.residual = start, warm, residual
        self.core = ResidualCore(blocks, channels, tied)
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
        mu = self.log_mu.exp().to(adjoint.real.dtype)

        images = adjoint if self.start == "adjoint" else self._solve(operator, mu, adjoint, None)
        for _ in range(self.unrolls):
            denoised = self._denoise(images)
            images = self._solve(
                operator, mu, adjoint + mu * denoised, denoised.detach() if self.warm else None
            )
        return first_set(images * scale)

    def _denoise(self, images: SetImage) -> SetImage:
        """The CNN on the image of each set of maps alone."""
        channels = to_channels(images.flatten(0, 1))
        output = self.core(channels.to(self.log_mu.dtype)).to(channels.dtype)
        return to_complex(channels + output if self.residual else output).view_as(images)

    def _solve(self, operator: SenseOperator, mu: Tensor, rhs: SetImage, start: SetImage | None) -> SetImage:
        if self.gradient == "implicit":
            return ImplicitSolve.apply(operator, mu, rhs, start, self.iterations)
        return _regularised(operator, mu, rhs, start, self.iterations)


class ImplicitSolve(torch.autograd.Function):
    """x = (A^H A + mu I)^-1 b, and its gradient by the same solve.

    g_b = (A^H A + mu I)^-1 g_x,    g_mu = -<g_b, x>
    """

    @staticmethod
    def forward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx,
        operator: SenseOperator,
        mu: Tensor,
        rhs: Tensor,
        start: Tensor | None,
        iterations: int,
    ) -> Tensor:
        """Solve, keeping the solution alone."""
        solution = _regularised(operator, mu, rhs, start, iterations)
        context.save_for_backward(mu, solution)
        context.operator, context.iterations = operator, iterations  # type: ignore[attr-defined]
        return solution

    @staticmethod
    def backward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[None, Tensor, Tensor, None, None]:
        """Solve once more."""
        mu, solution = context.saved_tensors  # type: ignore[attr-defined]
        to_rhs = _regularised(context.operator, mu, gradient, None, context.iterations)  # type: ignore[attr-defined]
        to_mu = -(torch.view_as_real(to_rhs) * torch.view_as_real(solution)).sum()
        return None, to_mu, to_rhs, None, None


def _regularised(
    operator: SenseOperator, mu: Tensor, rhs: SetImage, start: SetImage | None, iterations: int
) -> SetImage:
    return conjugate_gradient(
        lambda images: operator.gram(images) + mu * images, rhs, iterations, start=start, item_dims=3
    )


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.normal_(convolution.weight, std=INITIAL_DEVIATION)
    return convolution
