"""Keep freed memory for the next step instead of giving it back to the system after each.

A step of training, evaluation or reconstruction frees and asks for the same large blocks again and again;
glibc hands blocks above 32 MB back at once, and the system clears every page of them anew. Told to keep them,
it spares that: up to half the time of a step with large images. The same as starting with
`MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` set.

Where scans are prepared it is the other way round: of each a few slices stay, between blocks that no other
scan has just so large, and memory that is kept grows by a volume or more with every scan. So whole volumes go
back as soon as they are free, and what work on single slices left goes back after each scan: handed back
after each operation it would be cleared anew for the next, which took 1.6 times as long (LOG.md, 2026-11-23).
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST = 2**31 - 1
HANDED_BACK = 64 * 2**20
"""Bytes from which a block is handed back once it is free, while a scan is prepared."""


def keep_freed_memory() -> bool:
    """Tell the allocator; True where it listened, which is with glibc alone."""
    return _from(LARGEST)


@contextmanager
def freed_memory_handed_back() -> Iterator[None]:
    """Of what is freed within, large blocks go back at once and all others at its end; then it is kept."""
    listened = _from(HANDED_BACK)
    try:
        yield
    finally:
        if listened:
            ctypes.CDLL(None).malloc_trim(0)
        keep_freed_memory()


def _from(n_bytes: int) -> bool:
    """Blocks of so many bytes and more are handed back when they are free."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(option, n_bytes) == 1 for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
