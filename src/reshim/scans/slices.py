"""Single slices of many files, fast: bounded open files, reads past the HDF5 library where the bytes allow.

K-space that lies uncompressed in one piece is read straight into the batch with `preadv`, which lets go of
the interpreter, so threads read side by side; everything else goes through the scan's reader. A read that a
network file system fails is tried again on a file opened anew.
"""

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans import hdf5, load, load_reference
from reshim.scans.layout import REFERENCES, layout_of
from reshim.scans.reader import check_samples, located
from reshim.types import Acquisition, ScanRecord


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where one dataset lies in its file, uncompressed and in one piece."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def slice_bytes(self) -> int:
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize


@dataclass
class SliceReader:
    """Reads slices of records; one is shared by all threads of a process."""

    max_open: int = 32
    """Files that stay open."""

    attempts: int = 4
    """How often a read is tried where the file system fails it in passing."""

    wait_seconds: float = 0.2
    """Pause before the second attempt; it doubles each time."""

    _descriptors: OrderedDict[Path, int] = field(default_factory=OrderedDict, init=False, repr=False)
    _busy: dict[int, int] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _pieces: dict[tuple[Path, str], _Piece | None] = field(default_factory=dict, init=False, repr=False)
    _heads: dict[str, Acquisition] = field(default_factory=dict, init=False, repr=False)
    _checked: set[tuple[str, int]] = field(default_factory=set, init=False, repr=False)
    _scratch: threading.local = field(default_factory=threading.local, init=False, repr=False)

    def __post_init__(self) -> None:
        # A reader that is forgotten closes its files; a run makes one for every training.
        weakref.finalize(self, _close_all, self._descriptors)

    @property
    def n_open(self) -> int:
        """Files that are open now."""
        return len(self._descriptors)

    def kspace_into(self, record: ScanRecord, slice_: int, out: Tensor) -> None:
        """Fill `out` (coil, row, column) complex64 with a slice's k-space; checked the first time it is read.

        Raises
        ------
        BadScanError
            If the file moved, is damaged, or the slice is all zero or holds NaN.
        """
        path = self._path(record)
        piece = self._piece(path, "kspace", record) if record.fully_sampled else None
        if piece is not None and piece.shape[1:] == tuple(out.shape):
            self._read_piece(path, piece, slice_, out)
        else:
            out.copy_(self._again(lambda: load(record, [slice_], check=False)).kspace[0])
        if (record.scan_id, slice_) not in self._checked:
            check_samples(out[None], (slice_,), record.scan_id)
            self._checked.add((record.scan_id, slice_))

    def load(self, record: ScanRecord, slices: Sequence[int] | None = None) -> Acquisition:
        """The slices as `reshim.scans.load` gives them, all of them unless told."""
        piece = self._piece(self._path(record), "kspace", record) if record.fully_sampled else None
        if piece is None or piece.shape[1:] != (record.n_coils, record.n_rows, record.n_columns):
            # A volume that has to be unpacked or merged is so once, not slice by slice.
            return self._again(lambda: load(record, slices))
        numbers = tuple(range(record.n_slices)) if slices is None else tuple(slices)
        kspace = torch.empty(
            len(numbers), record.n_coils, record.n_rows, record.n_columns, dtype=torch.complex64
        )
        for position, number in enumerate(numbers):
            self.kspace_into(record, number, kspace[position])
        return replace(self.head(record), kspace=kspace, slices=numbers)

    def each_coil(self, record: ScanRecord, slice_: int, take: Callable[[int, Tensor], None]) -> None:
        """Hand over a slice's k-space coil by coil: its number and (row, column) complex64.

        The block is used again for the next coil, so what is taken is copied. One coil fits into the cache of
        a processor where a slice does not; whoever wants less than all spares the way to memory and back.

        Raises
        ------
        BadScanError
            As `kspace_into`.
        """
        first_time = (record.scan_id, slice_) not in self._checked
        seen = _Seen(record.scan_id, slice_) if first_time else None
        for coil, block in self._coils(record, slice_):
            if seen is not None:
                seen.look_at(block)
            take(coil, block)
        if seen is not None:
            seen.judge()
            self._checked.add((record.scan_id, slice_))

    def _coils(self, record: ScanRecord, slice_: int) -> Iterator[tuple[int, Tensor]]:
        path = self._path(record)
        piece = self._piece(path, "kspace", record) if record.fully_sampled else None
        shape = record.n_coils, record.n_rows, record.n_columns
        if piece is None or piece.shape[1:] != shape or piece.dtype != np.dtype("<c8"):
            whole = self._again(lambda: load(record, [slice_], check=False)).kspace[0]
            yield from enumerate(whole)
            return
        block = self._block(shape[1:])
        n_bytes = block.nbytes
        for coil in range(shape[0]):
            self._read_piece(path, piece, slice_, block, coil * n_bytes)
            yield coil, block

    def _block(self, shape: tuple[int, int]) -> Tensor:
        """A block for one coil, each thread its own."""
        block: Tensor | None = getattr(self._scratch, "block", None)
        if block is None or block.shape != shape:
            block = self._scratch.block = torch.empty(shape, dtype=torch.complex64)
        return block

    def reference(self, record: ScanRecord, kind: str, slice_: int) -> Tensor | None:
        """The stored reference of a slice on the crop (row, column), or None."""
        path = self._path(record)
        crop = record.recon_rows, record.recon_columns
        for name in REFERENCES.get(kind, ()):
            piece = self._piece(path, name, record)
            if piece is not None and piece.shape[1:] == crop and piece.dtype == np.float32:
                image = torch.empty(crop)
                self._read_piece(path, piece, slice_, image)
                return image
        found = self._again(lambda: load_reference(record, kind, [slice_]))
        return None if found is None else found[0]

    def head(self, record: ScanRecord) -> Acquisition:
        """The first slice as an acquisition: geometry and noise covariance, kept without its samples."""
        if record.scan_id not in self._heads:
            whole = self._again(lambda: load(record, [0], check=False))
            empty = torch.empty(0, *whole.kspace.shape[1:], dtype=torch.complex64)
            self._heads[record.scan_id] = Acquisition(
                kspace=empty,
                name=whole.name,
                slices=(),
                crop=whole.crop,
                acquirable=whole.acquirable,
                mask=whole.mask,
                readout_axis=whole.readout_axis,
                noise_covariance=whole.noise_covariance,
                noise_std=whole.noise_std,
            )
        return self._heads[record.scan_id]

    def close(self) -> None:
        """Close every file that no thread is reading."""
        with self._lock:
            for path, descriptor in list(self._descriptors.items()):
                if not self._busy.get(descriptor):
                    os.close(self._descriptors.pop(path))

    def _path(self, record: ScanRecord) -> Path:
        folder = record.extra.get("folder")
        path = Path(folder) / record.path if folder else located(record)
        return path if path in self._descriptors else located(record)

    def _piece(self, path: Path, name: str, record: ScanRecord) -> _Piece | None:
        if record.extra.get("reader", "fastmri") != "fastmri":
            return None
        if (path, name) not in self._pieces:
            self._pieces[path, name] = self._again(lambda: _find_piece(path, name))
        return self._pieces[path, name]

    def _read_piece(self, path: Path, piece: _Piece, slice_: int, out: Tensor, skip: int = 0) -> None:
        if not 0 <= slice_ < piece.shape[0]:
            raise BadScanError(f"{path.name} has no slice {slice_}; it has {piece.shape[0]}")
        memory = memoryview(out.numpy().data).cast("B")
        start = piece.offset + slice_ * piece.slice_bytes + skip

        def read() -> None:
            descriptor = self._open(path)
            try:
                done = 0
                while done < len(memory):
                    n_bytes = os.preadv(descriptor, [memory[done:]], start + done)
                    if n_bytes == 0:
                        raise BadScanError(
                            f"{path.name}, slice {slice_}: the file ends within it; it was cut short since "
                            f"it was "
                            "indexed: copy it again"
                        )
                    done += n_bytes
            finally:
                self._release(descriptor)

        self._again(read, path)

    def _open(self, path: Path) -> int:
        with self._lock:
            descriptor = self._descriptors.pop(path, None)
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self._descriptors[path] = descriptor
            self._busy[descriptor] = self._busy.get(descriptor, 0) + 1
            for old in list(self._descriptors):
                if len(self._descriptors) <= self.max_open:
                    break
                if not self._busy.get(self._descriptors[old]):
                    os.close(self._descriptors.pop(old))
            return descriptor

    def _release(self, descriptor: int) -> None:
        with self._lock:
            self._busy[descriptor] -= 1
            if not self._busy[descriptor]:
                del self._busy[descriptor]

    def _again(self, read, path: Path | None = None):  # type: ignore[no-untyped-def]
        wait = self.wait_seconds
        for attempt in range(self.attempts):
            try:
                return read()
            except OSError as error:
                if error.errno not in hdf5.PASSING_ERRORS or attempt + 1 == self.attempts:
                    raise
            if path is not None:
                self._drop(path)
            time.sleep(wait)
            wait *= 2
        return None

    def _drop(self, path: Path) -> None:
        with self._lock:
            descriptor = self._descriptors.get(path)
            if descriptor is not None and not self._busy.get(descriptor):
                os.close(self._descriptors.pop(path))


@dataclass
class _Seen:
    """The largest sample of a slice that is seen in parts; NaN or infinity where one was met."""

    name: str
    slice_: int
    largest: float = 0.0

    def look_at(self, block: Tensor) -> None:
        found = torch.view_as_real(block).abs().amax().item()
        if not self.largest >= found:  # NaN stays, whichever of the two it is
            self.largest = found if self.largest == self.largest else self.largest

    def judge(self) -> None:
        check_samples(
            torch.full((1, 1, 1, 1), self.largest, dtype=torch.complex64), (self.slice_,), self.name
        )


def _close_all(descriptors: "OrderedDict[Path, int]") -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])


def _find_piece(path: Path, name: str) -> _Piece | None:
    layout_of(path)  # checks the file against itself before its bytes are trusted
    with hdf5.open_file(path) as file:
        found = hdf5.numeric(file, name)
        if found is None:
            return None
        offset, dtype = found.id.get_offset(), found.dtype
        plain = dtype in (np.dtype("<c8"), np.dtype("<f4"))
        return _Piece(int(offset), tuple(found.shape), dtype) if offset is not None and plain else None
