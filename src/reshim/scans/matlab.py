"""MATLAB arrays with named axes: version 5 through SciPy, version 7.3 through h5py.

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
from reshim.scans import hdf5
from reshim.scans.arrays import ArrayFormat, Stored

NAME = "matlab"
NUMERIC = {"double": "f8", "single": "f4", "logical": "u1"}
NUMERIC |= {
    f"{sign}int{bits}": f"{kind}{bits // 8}"
    for sign, kind in (("", "i"), ("u", "u"))
    for bits in (8, 16, 32, 64)
}
MAX_EXPANSION = 100
TRUSTED_BYTES = 64 << 20


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
        from scipy.io import loadmat, whosmat
    except ImportError:
        raise UserError(f"{path.name} needs the package scipy; pip install 'reshim[formats]'") from None

    def read(name: str) -> np.ndarray:
        return np.asarray(_asked(path, lambda: loadmat(path, variable_names=[name])[name]))

    found = {}
    for name, shape, kind in _asked(path, lambda: whosmat(path)):
        if kind not in NUMERIC or name.startswith("__"):
            continue
        needed = int(np.prod(shape, dtype=object)) * np.dtype(NUMERIC[kind]).itemsize
        if needed > max(TRUSTED_BYTES, MAX_EXPANSION * path.stat().st_size):
            raise BadScanError(
                f"{path.name}: {name} declares {needed} bytes (shape {shape}) in a file of "
                f"{path.stat().st_size}; "
                "it is damaged or means harm"
            )
        # Whether a variable is complex stands in no list of names, so the values are asked.
        values = read(name)
        found[name] = Stored(tuple(map(int, values.shape)), values.dtype, lambda values=values: values)  # type: ignore
    return found


def _asked(path: Path, ask):  # type: ignore[no-untyped-def]
    try:
        return ask()
    except Exception as error:  # a damaged file breaks SciPy's reader in any way
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise BadScanError(f"{path.name} is no readable MATLAB file ({reason}); save it again") from None


def _axes_of(name: str, stored: Stored) -> tuple[str, ...] | None:
    return None


FORMAT = ArrayFormat(NAME, _arrays_of, _axes_of)
read_records, load, load_reference = FORMAT.read_records, FORMAT.load, FORMAT.load_reference
