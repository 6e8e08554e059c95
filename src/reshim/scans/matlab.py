"""MATLAB arrays with named axes: version 5 through SciPy in a process of its own, version 7.3 through h5py.

Origin   anybody's own.
Licence  the user's.
Layout   numeric variables; a sidecar names the axes in MATLAB's own order, and the variable where there are
         several. Version 7.3 is HDF5 and shows axes in reverse: put right on reading.
Quirks   cells, structs, objects and function handles are never read. Undersampled and fully sampled files of
         CMRxRecon have a reader of their own, which gives way to a sidecar.
Citation The MathWorks, MAT-File Format.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reshim.errors import BadScanError, UserError
from reshim.scans import hdf5, matlab5
from reshim.scans.arrays import ArrayFormat, Stored

NAME = "matlab"


def matches(path: Path) -> bool:
    """True by the file's ending."""
    return path.suffix.lower() == ".mat"


def _arrays_of(path: Path) -> Mapping[str, Stored]:
    with path.open("rb") as file:
        is_hdf5 = b"MATLAB 7.3" in file.read(128) or hdf5.glimpse(path).names
    return _version_7(path) if is_hdf5 else _version_5(path)


def _version_7(path: Path) -> dict[str, Stored]:
    found = {}
    for name in sorted(hdf5.glimpse(path).names):
        with hdf5.open_file(path) as file:
            try:
                source = hdf5.numeric(file, name)
            except BadScanError:
                continue  # another variable may be the scan
            if source is None or not source.shape:
                continue
            dtype = np.dtype(np.complex64) if source.dtype.names else source.dtype
            shape = tuple(map(int, source.shape))[::-1]

        def read(name: str = name) -> np.ndarray:
            with hdf5.open_file(path) as file:
                source = hdf5.numeric(file, name)
                assert source is not None
                return hdf5.read(source).T

        found[name] = Stored(shape, dtype, read)
    return found


def _version_5(path: Path) -> dict[str, Stored]:
    try:
        found = matlab5.read(path)
    except ImportError:
        raise UserError(f"{path.name} needs the package scipy; pip install 'reshim[formats]'") from None
    except matlab5.UnreadableError as error:
        raise BadScanError(f"{path.name} is no readable MATLAB file ({error}); save it again") from None
    return {
        name: Stored(tuple(map(int, values.shape)), values.dtype, lambda values=values: values)  # type: ignore
        for name, values in found.items()
    }


def _axes_of(name: str, stored: Stored) -> tuple[str, ...] | None:
    return None


FORMAT = ArrayFormat(NAME, _arrays_of, _axes_of)
read_records, load, load_reference = FORMAT.read_records, FORMAT.load, FORMAT.load_reference
