"""A volume's slices or small matrices dealt out: each to one thread, as many at a time as there are threads.

LAPACK lets its threads wait for each other at every column of a matrix. Beside other work on the same cores,
two threads take a hundred times as long for a calibration block as one does (LOG.md, 2026-11-23); so none is
given more than one. A slice's coil images and maps also leave memory with it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def one_each(function: Callable[[Tensor], T], items: Tensor) -> Iterator[T]:
    """`function` of each item of the first axis, in order; on the processor, one thread of torch each.

    The function is called without gradients.
    """
    threads = torch.get_num_threads()
    alone = torch.no_grad()(function)
    if items.is_cuda or threads == 1:
        yield from map(alone, items)
    elif len(items) == 1:
        torch.set_num_threads(1)
        try:
            only = alone(items[0])
        finally:
            torch.set_num_threads(threads)
        yield only
    else:
        pool = ThreadPoolExecutor(
            min(threads, len(items)) or 1, initializer=torch.set_num_threads, initargs=(1,)
        )
        try:
            yield from pool.map(alone, items)
        finally:
            pool.shutdown(cancel_futures=True)
            # What the threads set for themselves, torch says of all.
            torch.set_num_threads(threads)
