"""Compiled networks, where this machine can compile: the parts that work on real tensors, in place.

Transforms and complex numbers stay as they are, because the compiler knows no fast code for them.
"""

import warnings

import torch
from torch import nn

from reshim.networks.unet import UNetCore
from reshim.networks.unrolled import ResidualCore
from reshim.networks.vit import ViTCore

CORES = (UNetCore, ViTCore, ResidualCore)


def compile_cores(network: nn.Module) -> bool:
    """Compile the convolutional and attention cores; False, with one warning, where that does not work."""
    cores = [module for module in network.modules() if isinstance(module, CORES)]
    if not cores:
        warnings.warn(f"{type(network).__name__} has no part that is worth compiling", stacklevel=2)
        return False
    try:
        # The first call compiles; a machine without a compiler shows it here and not in the first step.
        torch.compile(lambda values: (values * 2 + 1).relu())(torch.zeros(8))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(f"torch.compile does not work here, going on without it: {reason}", stacklevel=2)
        return False
    for core in cores:
        core.compile()
    return True
