"""Several processes, one training: who takes which slices of a batch, and what is added up between them.

Started by ``torchrun``; each process works off its share of every batch, gradients are averaged by
DistributedDataParallel, and only the first process writes. At equal global batch the loss curve is that of
one process, because a step's gradient is the mean over its slices however they are dealt out.
On GPUs each process takes the one of its number on its machine, which ``torchrun`` says in LOCAL_RANK.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from reshim.errors import UserError


@dataclass(frozen=True)
class Ranks:
    """A process among its peers."""

    rank: int = 0
    size: int = 1

    @classmethod
    def from_environment(cls, device: torch.device) -> tuple["Ranks", torch.device]:
        """The process group that ``torchrun`` describes, joined, and the device of this process in it.

        Alone on `device` where there is no such description.

        Raises
        ------
        UserError
            If one GPU is named for all, or this machine has fewer GPUs than processes.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(), device
        if device.type == "cuda":
            device = _own_gpu(device)
        if not distributed.is_initialized():
            # Votes and counts lie on the processor: they must not wait for what a GPU has still to do.
            distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
            atexit.register(distributed.destroy_process_group)
        return cls(distributed.get_rank(), size), device

    @property
    def writes(self) -> bool:
        """True in the one process that writes files."""
        return self.rank == 0

    def share(self, batch: Sequence[int]) -> tuple[int, ...]:
        """The slices of a batch that fall to this process; may be none in a short batch."""
        return tuple(batch[self.rank :: self.size])

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def largest(self, values: Tensor) -> Tensor:
        """The largest over all processes, entry by entry."""
        if self.size > 1:
            distributed.all_reduce(values, distributed.ReduceOp.MAX)
        return values

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()


def _own_gpu(device: torch.device) -> torch.device:
    """The GPU of this process, made the current one."""
    if device.index is not None:
        raise UserError(
            f"--device {device} gives one GPU to all processes of torchrun; give --device cuda, and each "
            "takes its own (CUDA_VISIBLE_DEVICES says which are there)"
        )
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= there:
        raise UserError(
            f"process {local} of this machine has no GPU of its own, as there are {there}; start torchrun "
            f"with --nproc-per-node {max(there, 1)}"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
