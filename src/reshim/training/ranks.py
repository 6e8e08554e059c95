"""Several processes, one training: who takes which slices of a batch, and what is added up between them.

Started by ``torchrun``; each process works off its share of every batch, gradients are averaged by
DistributedDataParallel, and only the first process writes. At equal global batch the loss curve is that of
one process, because a step's gradient is the mean over its slices however they are dealt out.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """A process among its peers."""

    rank: int = 0
    size: int = 1

    @classmethod
    def from_environment(cls, device: torch.device) -> "Ranks":
        """The process group that ``torchrun`` describes, joined; alone where it does not."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(distributed.destroy_process_group)
        return cls(distributed.get_rank(), size)

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

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()
