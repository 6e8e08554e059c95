"""Weights, gradients and moments dealt out over the processes, for networks that one device cannot hold.

Source: Y. Zhao et al., "PyTorch FSDP: experiences on scaling fully sharded data parallel", VLDB 2023, as
``torch.distributed.fsdp.fully_shard`` offers it.
Ours differs in nothing; what is saved is whole and of the shapes that it has in one process, so that a run
may go on with another number of processes, or without sharding.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(model: nn.Module, device: torch.device, size: int) -> None:
    """Deal the parameters of `model` out over `size` processes, in place.

    The members of its lists of layers are gathered one at a time, as each is needed; the rest at once. All
    processes gather together, so what one may call more often than another in a pass is gathered as a whole:
    a module says so with ``gathered_whole = True``.
    """
    # Images are views of what the last layer gives, and nothing here changes one in place.
    warnings.filterwarnings("ignore", message=".*returned a view tensor")
    for module in model.modules():
        _widen_scalars(module)
    mesh = init_device_mesh(device.type, (size,))
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that is dealt out; all processes have to ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    """The state dict with whole tensors; all processes have to ask together."""
    return {name: whole(tensor) for name, tensor in network.state_dict().items()}


def dealt_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor dealt out as `parameter` is, if it is and the shapes agree."""
    tensor = tensor.to(parameter.device)
    if isinstance(parameter, DTensor) and tensor.shape == parameter.shape:
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)
    return tensor


def put_whole_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load a state dict of whole tensors."""
    own = network.state_dict()
    network.load_state_dict({name: dealt_like(tensor, own[name]) for name, tensor in weights.items()})


def most_gathered(model: nn.Module) -> int:
    """Numbers of weights that are whole at a time: what lies outside the layers, a layer and the next one."""
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in _layers(model)]
    return sum(p.numel() for p in model.parameters()) - sum(sizes) + 2 * max(sizes, default=0)


def _layers(model: nn.Module) -> list[nn.Module]:
    """Members of the outermost lists of layers, those with parameters."""
    found: list[nn.Module] = []
    for child in model.children():
        if getattr(child, "gathered_whole", False):
            found.append(child)
        elif isinstance(child, (nn.ModuleList, nn.Sequential)):
            found += [layer for layer in child if any(True for _ in layer.parameters())]
        else:
            found += _layers(child)
    return found


def _widen_scalars(module: nn.Module) -> None:
    """Make a module's own parameters without axes vectors of one entry, which can be dealt out.

    Its state dict goes on speaking of scalars, both ways.
    """
    names = [name for name, parameter in module.named_parameters(recurse=False) if parameter.ndim == 0]
    if not names:
        return
    for name in names:
        scalar = module.get_parameter(name)
        module.register_parameter(name, nn.Parameter(scalar.detach().reshape(1), scalar.requires_grad))

    def narrow(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        for name in names:
            state[prefix + name] = whole(state[prefix + name].detach()).reshape(())

    def widen(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        for name in names:
            if prefix + name in state:
                vector = state[prefix + name].reshape(1)
                state[prefix + name] = dealt_like(vector, module.get_parameter(name))

    module.register_state_dict_post_hook(narrow)
    module.register_load_state_dict_pre_hook(widen)
