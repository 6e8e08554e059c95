"""Files that several processes may write appear whole: written beside their place, then renamed."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`: it is renamed when all went well, and removed otherwise.

    Its name holds the numbers of process and thread, so two that write the same file do not meet; the last
    one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield own
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)
