"""Which weights adaptation may move, and how far.

``all``         every weight
``affine``      one factor for each input channel of each convolution (and the weights of norms that have any)
``low-rank``    to every weight matrix a product of two thin ones is added, and only those move
``last-stage``  the last cascade of a VarNet, the last convolutions of a U-net or of an unrolled network's CNN

Source: E. J. Hu et al., ICLR 2022 (arXiv:2106.09685) for low rank; D. Wang et al., ICLR 2021
(arXiv:2006.10726) for the affine part of norms.
Ours differs: the U-nets' instance norms have no affine part, and a factor in front of the next convolution is
one (the leaky ReLU between them lets positive factors through); its offset has no counterpart here.
"""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from reshim.seeds import generator_of

Subset: TypeAlias = Literal["all", "affine", "low-rank", "last-stage"]

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d, nn.BatchNorm2d)
MATRICES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class ChannelFactors(nn.Module):
    """A weight with one factor for each of its input channels; 1 at first."""

    def __init__(self, weight: Tensor, axis: int) -> None:
        super().__init__()
        shape = [1] * weight.ndim
        shape[axis] = weight.shape[axis]
        self.factors = nn.Parameter(torch.ones(shape, dtype=weight.dtype, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that is used."""
        return weight * self.factors


class LowRank(nn.Module):
    """A weight plus a product of two thin matrices; nothing is added at first."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        rank = min(rank, rows, columns)
        # Entries of the thin matrix are as large as the weight's, so that a rate suits both.
        drawn = torch.randn(rank, columns, generator=generator).to(weight) * weight.detach().std()
        self.right = nn.Parameter(drawn)
        self.left = nn.Parameter(torch.zeros(rows, rank, dtype=weight.dtype, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that is used."""
        return weight + (self.left @ self.right).view_as(weight)


def open_subset(network: nn.Module, subset: Subset, rank: int = 4, seed: int = 0) -> list[nn.Parameter]:
    """Freeze the network but for a subset of its weights, adding some where the subset asks for it.

    Returns the weights that may move. What is added changes the network's answer by nothing at first.

    Raises
    ------
    ValueError
        If there is no such subset, or the network has none of these weights.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(subset == "all")
    if subset == "all":
        return list(network.parameters())
    if subset == "affine":
        opened = list(_affine(network))
    elif subset == "low-rank":
        opened = list(_low_rank(network, rank, seed))
    elif subset == "last-stage":
        opened = list(_last_stage(network))
    else:
        raise ValueError(f"there is no subset {subset!r}; there are all, affine, low-rank and last-stage")
    if not opened:
        raise ValueError(f"{type(network).__name__} has no weights for the subset {subset!r}; adapt 'all'")
    for parameter in opened:
        parameter.requires_grad_(True)
    return opened


def project(parameters: list[nn.Parameter], start: list[Tensor], radius: float) -> None:
    """Pull weights back onto the ball around their start whose radius is a share of the start's norm."""
    with torch.no_grad():
        moved = [now - then for now, then in zip(parameters, start, strict=True)]
        distance = torch.stack([each.square().sum() for each in moved]).sum().sqrt()
        size = torch.stack([each.square().sum() for each in start]).sum().sqrt()
        if distance > radius * size:
            for now, then, step in zip(parameters, start, moved, strict=True):
                now.copy_(then + step * (radius * size / distance))


def _affine(network: nn.Module) -> Iterator[nn.Parameter]:
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            axis = 0 if isinstance(module, nn.ConvTranspose2d) else 1
            factors = ChannelFactors(module.weight, axis)
            parametrize.register_parametrization(module, "weight", factors)
            yield factors.factors
        elif isinstance(module, NORMS):
            yield from module.parameters(recurse=False)


def _low_rank(network: nn.Module, rank: int, seed: int) -> Iterator[nn.Parameter]:
    named = [(name, module) for name, module in network.named_modules() if isinstance(module, MATRICES)]
    for name, module in named:
        thin = LowRank(module.weight, rank, generator_of("low-rank", name, seed))
        parametrize.register_parametrization(module, "weight", thin)
        yield from (thin.right, thin.left)


def _last_stage(network: nn.Module) -> Iterator[nn.Parameter]:
    named = list(network.named_parameters())
    cascades = [int(found[1]) for name, _ in named if (found := re.search(r"cascades\.(\d+)\.", name))]
    for pattern in (
        rf"cascades\.{max(cascades, default=-1)}\.",
        r"up_conv\.\d+\.",
        r"(^|\.)(gather|leave)\.|log_mu$",
        r"(^|\.)head\.",
    ):
        found_names = [name for name, _ in named if re.search(pattern, name)]
        if not found_names:
            continue
        if "up_conv" in pattern:
            last = max(int(name.split("up_conv.")[1].split(".")[0]) for name in found_names)
            found_names = [name for name in found_names if f"up_conv.{last}." in name]
        yield from (parameter for name, parameter in named if name in found_names)
        return
    if not named:
        return
    # A network of which nothing is known: the module that comes last.
    owner = named[-1][0].rpartition(".")[0]
    yield from (parameter for name, parameter in named if name.rpartition(".")[0] == owner)
