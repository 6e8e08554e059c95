"""Slices undersampled while they are read: what a mask leaves out never goes through memory.

A slice comes coil by coil in blocks that stay in the processor's cache. `MaskedKSpace` keeps the acquired
samples of each, as a VarNet takes them; `ZeroFilledMagnitude` makes of each its zero-filled image and keeps
the root sum of squares on the crop, as a U-net takes it.

Ours differs from the transform written out: shifts along an axis turn an image's phase alone, so a magnitude
needs none; columns that were not acquired are not transformed along the readout; and rows outside the crop
are not transformed along the columns.
"""

import threading
import weakref
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

_KEPT = 8


@dataclass
class Recycled:
    """Blocks of memory that come back when no tensor looks at them any more.

    A fresh block costs the system as much as reading into it does: every page is cleared first.
    """

    _free: list[np.ndarray] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def empty(self, *shape: int) -> Tensor:
        """A complex64 tensor of that shape, holding whatever it held before."""
        size = int(np.prod(shape))
        with self._lock:
            fitting = next((n for n, block in enumerate(self._free) if block.size == size), None)
            block = np.empty(size, np.complex64) if fitting is None else self._free.pop(fitting)
        # The tensor's storage holds `lent`, and views of the tensor hold the storage.
        lent = block.view()
        weakref.finalize(lent, self._take_back, block).atexit = False
        return torch.from_numpy(lent).view(shape)

    def _take_back(self, block: np.ndarray) -> None:
        with self._lock:
            self._free.append(block)
            del self._free[:-_KEPT]


def bits_of(mask: Tensor) -> Tensor:
    """A mask as int64: all bits where True, none where False.

    Joined to a sample's bits by AND it keeps the sample or gives 0, whatever the sample is, NaN too.
    """
    return -mask.to(torch.int64)


@dataclass
class MaskedKSpace:
    """Keeps the acquired samples of every coil, and 0 elsewhere."""

    mask: Bool[Tensor, "#row #column"]
    out: Tensor
    """(coil, row, column) complex64, filled coil by coil."""

    def __post_init__(self) -> None:
        self._bits = bits_of(self.mask)
        self._out = self.out.view(torch.int64)

    def __call__(self, coil: int, block: Tensor) -> None:
        """Take one coil (row, column)."""
        torch.bitwise_and(block.view(torch.int64), self._bits, out=self._out[coil])


@dataclass
class ZeroFilledMagnitude:
    """The root sum of squares of the coils' zero-filled images on the crop, without an image ever kept."""

    mask: Bool[Tensor, "#row #column"]
    shape: tuple[int, int]
    """Rows and columns of the k-space."""

    crop: tuple[int, int]

    def __post_init__(self) -> None:
        columns = self.shape[1]
        self._columns = self.mask.any(0).expand(columns).nonzero().flatten()
        self._chosen = self._columns.expand(self.shape[0], -1)
        self._taken = torch.empty(self._chosen.shape, dtype=torch.int64)
        self._bits = None if self.mask.shape[0] == 1 else bits_of(self.mask)
        n_rows = self.crop[0]
        self._lines = torch.zeros(n_rows, columns, dtype=torch.complex64)
        self._squares = torch.zeros(n_rows, columns, 2)
        # Without a shift the centre of the image lies at both ends.
        self._below, self._above = n_rows - n_rows // 2, n_rows // 2

    def __call__(self, coil: int, block: Tensor) -> None:
        """Take one coil (row, column)."""
        # As whole numbers, which are gathered twice as fast as complex ones.
        samples = block.view(torch.int64) if self._bits is None else block.view(torch.int64) & self._bits
        torch.gather(samples, 1, self._chosen, out=self._taken)
        lines = torch.fft.ifft(self._taken.view(torch.complex64), dim=0, norm="ortho")
        wanted = torch.cat((lines[lines.shape[0] - self._above :], lines[: self._below]))
        self._lines.index_copy_(1, self._columns, wanted)
        image = torch.view_as_real(torch.fft.ifft(self._lines, dim=1, norm="ortho"))
        self._squares.addcmul_(image, image)

    @property
    def image(self) -> Float[Tensor, "row column"]:
        """The image of the coils taken so far, on the crop."""
        n_columns = self.crop[1]
        left, right = n_columns // 2, n_columns - n_columns // 2
        squares = self._squares.sum(-1)
        return torch.cat((squares[:, squares.shape[1] - left :], squares[:, :right]), 1).sqrt_()
