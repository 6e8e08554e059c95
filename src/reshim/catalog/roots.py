"""Named roots: where a catalog's files lie on this machine, so that catalog and data may move.

A root is looked for, in this order, where the caller says, where the environment variable
``RESHIM_ROOT_<NAME>`` says, beside the catalog as it was when written, and at its old absolute place.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from reshim.scans.reader import env_name


def remembered(folders: Mapping[str, str], catalog: Path) -> dict[str, dict[str, str]]:
    """What is written into the catalog of each root: its absolute place and that relative to the catalog."""
    beside = catalog.absolute().parent
    return {
        name: {"absolute": str(folder), "relative": Path(os.path.relpath(folder, beside)).as_posix()}
        for name, folder in folders.items()
    }


def resolve(
    written: Mapping[str, Mapping[str, str]], catalog: Path, given: Mapping[str, str | Path] | None = None
) -> dict[str, str]:
    """The folder of every root on this machine; one that is nowhere keeps its old place, for the error."""
    folders = {}
    for name, places in written.items():
        stated = (given or {}).get(name) or os.environ.get(f"RESHIM_ROOT_{env_name(name)}")
        beside = (catalog.absolute().parent / places["relative"]).resolve()
        if stated:
            folders[name] = str(Path(stated).absolute())
        else:
            folders[name] = str(beside) if beside.is_dir() else places["absolute"]
    return folders
