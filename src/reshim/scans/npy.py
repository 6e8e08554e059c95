"""NumPy arrays with named axes: `.npy`, and one array of an `.npz`.

Origin   anybody's own; numpy.lib.format documents the layout.
Licence  the user's.
Layout   an array called `kspace` with four axes is (slice, coil, row, column); every other order is named in
         a sidecar (`axes`). `content` says what it holds: kspace, coil-images, images (complex, one channel:
         semi-synthetic) or magnitude (emulated).
Quirks   objects are never unpickled; an archive's members are believed only as far as their stored bytes.
Citation C. R. Harris et al., Nature 585:357 (2020).
"""

import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as layout

from reshim.errors import BadScanError
from reshim.scans.arrays import ArrayFormat, Stored
from reshim.scans.emulated import remembered

NAME = "numpy"
TRUSTED_BYTES = 64 << 20
MAX_EXPANSION = 200
MAX_ARRAYS = 256


def matches(path: Path) -> bool:
    """True by the file's ending."""
    return path.suffix.lower() in (".npy", ".npz")


def _arrays_of(path: Path) -> Mapping[str, Stored]:
    try:
        return {"": _single(path)} if path.suffix.lower() == ".npy" else _members(path)
    except BadScanError:
        raise
    except Exception as error:  # a damaged archive breaks zipfile, zlib and NumPy in any way
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise BadScanError(f"{path.name} is no readable NumPy file ({reason}); save it again") from None


def _single(path: Path) -> Stored:
    with path.open("rb") as file:
        shape, dtype = _header(file, path.name)
        offset = file.tell()
    needed = dtype.itemsize * int(np.prod(shape, dtype=object))
    if needed > path.stat().st_size - offset:
        raise BadScanError(
            f"{path.name} declares {needed} bytes (shape {shape}) and holds "
            f"{path.stat().st_size - offset}; it is "
            "cut short: copy it again"
        )

    def read() -> np.ndarray:
        return np.load(path, mmap_mode="r", allow_pickle=False)

    return Stored(shape, dtype, read)


def _members(path: Path) -> dict[str, Stored]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist()[:MAX_ARRAYS]:
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as file:
                try:
                    shape, dtype = _header(file, path.name)
                except BadScanError:
                    continue  # another member may be the scan
            needed = dtype.itemsize * int(np.prod(shape, dtype=object))
            stored = max(member.compress_size, 1)
            if needed > member.file_size or needed > max(TRUSTED_BYTES, MAX_EXPANSION * stored):
                raise BadScanError(
                    f"{path.name}: {member.filename} declares {needed} bytes (shape {shape}) and stores "
                    f"{stored}; "
                    "it is damaged or means harm"
                )
            found[member.filename[:-4]] = Stored(
                shape, dtype, partial(_read_member, path, member.filename[:-4])
            )
    return found


def _read_member(path: Path, name: str) -> np.ndarray:
    status = path.stat()
    return remembered(_reader_of(name), path, status.st_size, status.st_mtime_ns)


_READERS: dict[str, object] = {}


def _reader_of(name: str):  # type: ignore[no-untyped-def]
    # One function a name, so that what is remembered is found again.
    def read(path: Path) -> np.ndarray:
        try:
            with np.load(path, allow_pickle=False) as archive:
                return archive[name]
        except Exception as error:  # as above
            reason = f"{type(error).__name__}: {str(error)[:120]}"
            raise BadScanError(f"{path.name}: {name} cannot be read ({reason}); save it again") from None

    return _READERS.setdefault(name, read)


def _header(file, name: str) -> tuple[tuple[int, ...], np.dtype]:  # type: ignore[no-untyped-def]
    version = layout.read_magic(file)
    read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=10_000)
    if dtype.hasobject or dtype.kind not in "biufc":
        raise BadScanError(
            f"{name} holds {dtype}; a scan holds numbers, and objects are never unpickled: convert it"
        )
    return tuple(map(int, shape)), dtype


def _axes_of(name: str, stored: Stored) -> tuple[str, ...] | None:
    complex_ = stored.dtype.kind == "c"
    return (
        ("slice", "coil", "row", "column")
        if name == "kspace" and complex_ and len(stored.shape) == 4
        else None
    )


FORMAT = ArrayFormat(NAME, _arrays_of, _axes_of)
read_records, load, load_reference = FORMAT.read_records, FORMAT.load, FORMAT.load_reference
