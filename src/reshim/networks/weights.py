"""Weights to and from safetensors: written beside and renamed, checked against the network before use."""

import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reshim.errors import UserError


def save_weights(path: str | Path, module: nn.Module | Mapping[str, Tensor]) -> Path:
    """Write weights, or a state dict; a reader sees the old file or the new one, never a part.

    Weights that two layers share are written under each of their names.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    weights = module.state_dict() if isinstance(module, nn.Module) else module
    save_file({key: value.detach().cpu().clone() for key, value in weights.items()}, beside)
    beside.replace(path)
    return path


def load_weights(path: str | Path, module: nn.Module) -> nn.Module:
    """Read weights into the module, and return it.

    Raises
    ------
    UserError
        If the file cannot be read, or names or shapes are not the module's.
    """
    try:
        weights = load_file(Path(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{path}: no readable safetensors file ({error}); train or import the weights again"
        ) from error
    return put_weights(module, weights, str(path))


def put_weights(module: nn.Module, weights: Mapping[str, Tensor], origin: str) -> nn.Module:
    """Copy `weights` into the module once every name and shape agrees.

    Raises
    ------
    UserError
        If not; the message names the first key that does not fit.
    """
    wanted = module.state_dict()
    for key, value in wanted.items():
        if key not in weights:
            raise UserError(
                f"{origin}: weight {key!r} is missing; {type(module).__name__} has {len(wanted)} weights, "
                f"the file {len(weights)}: name the network that the file was made for"
            )
        if weights[key].shape != value.shape:
            raise UserError(
                f"{origin}: weight {key!r} has shape {tuple(weights[key].shape)}, "
                f"{type(module).__name__} has {tuple(value.shape)}: name the size that the file was made for"
            )
    if strangers := [key for key in weights if key not in wanted]:
        raise UserError(
            f"{origin}: weight {strangers[0]!r} is not one of {type(module).__name__}'s {len(wanted)}: "
            "name the network that the file was made for"
        )
    module.load_state_dict(dict(weights))
    return module
