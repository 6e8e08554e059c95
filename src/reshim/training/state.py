"""All that a run needs to go on exactly where it stopped, in one file that is never half written.

Weights and optimiser moments are tensors of a safetensors file, everything else is JSON in its header: no
pickle. The order of slices, masks and draws are functions of seed and epoch, so no generator has a state.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reshim.training.sharding import dealt_like, put_whole_weights, whole

STEP = "step"
"""Name of Adam's count of steps; its other entries have the shape of the parameter."""


@dataclass
class Progress:
    """Where a run stands."""

    epoch: int = 0
    """Epochs that are finished."""

    batch: int = 0
    """Batches of the next epoch that are done."""

    step: int = 0
    """Steps of the optimiser."""

    samples: int = 0
    """Slices seen."""

    seconds: float = 0.0
    """Wall time over all sittings."""

    skipped: int = 0
    """Steps without a finite gradient."""

    skipped_in_a_row: int = 0

    scores: list[float] = field(default_factory=list)
    """Validation of each finished epoch, larger is better."""

    log_bytes: int = 0
    """Length of the log; what a killed run wrote beyond it is written again."""

    recent: list[float] = field(default_factory=list)
    """Losses since the last line of the log."""

    epoch_loss: float = 0.0
    """Sum of the losses of the epoch so far."""

    done: bool = False
    """True where nothing is left to be done."""

    @property
    def best(self) -> int | None:
        """The epoch of the largest score (counted from 0), of equals the first; None if none is a number."""
        largest = max(self.scores, default=-math.inf)
        return self.scores.index(largest) if largest > -math.inf else None


def state_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and moments by name, whole; processes that share them out have to ask together."""
    tensors = {f"weights/{name}": tensor for name, tensor in network.state_dict().items()}
    for index, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{index}/{name}"] = torch.as_tensor(value)
    return {name: whole(tensor.detach()) for name, tensor in tensors.items()}


def save_state(path: Path, tensors: Mapping[str, Tensor], progress: Progress) -> None:
    """Write everything beside `path`, then rename."""
    copied = {name: tensor.cpu().clone().contiguous() for name, tensor in tensors.items()}
    beside = path.with_name(path.name + ".partial")
    save_file(copied, beside, metadata={"progress": json.dumps(asdict(progress))})
    beside.replace(path)


def load_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put weights and moments back; return where the run stands."""
    weights: dict[str, Tensor] = {}
    parameters = _parameters(optimizer)
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118  (the file is no dict)
            kind, _, name = key.partition("/")
            if kind == "weights":
                weights[name] = file.get_tensor(key)
            else:
                index, _, moment = name.partition("/")
                parameter = parameters[int(index)]
                # Step counts live where Adam wants them: with the parameter where it is fused.
                value = file.get_tensor(key)
                if moment != STEP and value.shape != parameter.shape:
                    # A scalar, which has an axis where it is dealt out (`reshim.training.sharding`).
                    value = value.reshape(parameter.shape)
                optimizer.state[parameter][moment] = dealt_like(value, parameter)
        progress: dict[str, Any] = json.loads(file.metadata()["progress"])
    put_whole_weights(network, weights)
    return Progress(**progress)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
