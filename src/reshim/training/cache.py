"""References and coil maps on disk, for trainings on more scans than fit in memory.

Each is one file, named by a digest of the scan and of how it was made, written beside and renamed: epochs,
resumed runs and several processes read what was made once, to the bit.
"""

import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

LOGGER = logging.getLogger(__name__)


@dataclass
class Cache:
    """Tensors by name in a folder, so many bytes of them."""

    folder: Path
    max_bytes: int
    """What comes beyond is not written."""

    n_bytes: int = field(default=0, init=False)
    """Of the folder, as far as this process knows."""

    def __post_init__(self) -> None:
        self.n_bytes = sum(path.stat().st_size for path in self.folder.glob("*/*.npy"))

    def get(self, name: str) -> Tensor | None:
        """What was put there under a name; None where there is nothing, or nothing that can be read."""
        try:
            return torch.from_numpy(np.load(self._path(name), allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return None

    def put(self, name: str, tensor: Tensor) -> None:
        """Write a tensor where there is room for it; a disk that is full ends the writing, not the run."""
        path = self._path(name)
        if self.n_bytes + tensor.nbytes > self.max_bytes:
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                np.save(file, tensor.numpy(), allow_pickle=False)
            self.n_bytes += beside.stat().st_size
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            self.max_bytes = self.n_bytes
            LOGGER.warning("%s takes no more: %s; the rest is made again at every draw", self.folder, error)

    def remove(self) -> None:
        """Delete the folder, after the run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.n_bytes = 0

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.npy"
