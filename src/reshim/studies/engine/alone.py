"""One process at a time does a piece of shared work; whoever comes second waits and finds it finished, or
does something else meanwhile.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AtWork(Exception):  # noqa: N818  it is no error
    """Another process does this just now."""


@contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of this path; it is let go when the block or the process ends, however it ends.

    Raises
    ------
    AtWork
        If another process holds it and this one is not to wait.
    """
    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise AtWork(f"another process is at {path}") from None
        yield
