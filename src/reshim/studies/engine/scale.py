"""How large a study is: proving that it runs, answering on two cores, or at the papers' size on a GPU.

A recipe names the networks of two cores. At full size each stands for the paper's network of its kind, all
scans of a catalog are trained on, and training takes the paper's budget where it is known.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Budget:
    """How a network is trained at full size."""

    network: str
    learning_rate: float
    batch_size: int


class Scale(Enum):
    """The size of a study."""

    TINY = "tiny"
    """Every step runs, nothing is proved."""

    EMBEDDED = "embedded"
    """Two processor cores, within the hour."""

    FULL = "full"
    """A GPU, or several hours of one."""

    @property
    def tiny(self) -> bool:
        """Whether it only shows that everything runs."""
        return self is Scale.TINY

    def network(self, name: str) -> str:
        """The network that a recipe's one stands for."""
        return FULL[name].network if self is Scale.FULL and name in FULL else name


EPOCHS = 40
"""Passes at full size; the paper has 60 (small U-net) and 40 (the large one)."""

FULL = {
    "unet-tiny": Budget("unet-s", 1e-3, 8),
    "vit-tiny": Budget("vit-s", 5e-4, 4),
    "varnet-tiny": Budget("varnet-s", 1e-3, 4),
    "unrolled-tiny": Budget("unrolled", 1e-3, 4),
}
"""Networks and budgets of the published configurations (arXiv:2312.10271 and its follow-up); the unrolled
network's are ours, as SSDU's authors train it otherwise."""
