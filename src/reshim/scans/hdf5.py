"""HDF5 files that somebody else wrote: opened read-only, followed nowhere, never larger than their bytes.

A dataset may point to another file (external link, external storage, virtual dataset), declare more than
memory holds while its file is small, or carry objects instead of numbers. Each is refused here, once, with
what was found, the rule and the remedy; readers ask for datasets and attributes through this module alone.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reshim.errors import BadScanError, UserError

PASSING_ERRORS = frozenset({errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET})
"""What a network file system fails with in passing; whoever reads may try again."""

MAX_EXPANSION = 100
"""Declared bytes per stored byte. Raw k-space hardly compresses; zeros of 16-fold undersampling gain 20."""

MAX_TEXT_BYTES = 4 << 20
MAX_ATTRIBUTE_BYTES = 64 << 10
MAX_CHUNK_BYTES = 1 << 30
MAX_AXIS = 1 << 20


@dataclass(frozen=True, slots=True)
class Glimpse:
    """By what readers tell collections apart: the file's names, and shape and kind of its k-space."""

    names: frozenset[str] = frozenset()
    kspace_shape: tuple[int, ...] = ()
    kspace_kind: str = ""
    """As in numpy: ``c`` complex, ``f`` real, ``V`` a record."""

    is_mrd: bool = False


def glimpse(path: Path) -> Glimpse:
    """What the file holds, seen once for all readers; nothing of a file that is no HDF5 or damaged."""
    try:
        status = path.stat()
    except OSError:
        return Glimpse()
    return _glimpse(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _glimpse(path: Path, size: int, mtime_ns: int) -> Glimpse:
    try:
        with open_file(path) as file:
            names = frozenset(list(file)[:64])
            group = "dataset" in names and file.get("dataset", getlink=True, getclass=True) is h5py.HardLink
            inner = file.get("dataset") if group else None
            mrd = isinstance(inner, h5py.Group) and "xml" in inner and "data" in inner
            hard = "kspace" in names and file.get("kspace", getlink=True, getclass=True) is h5py.HardLink
            kspace = file.get("kspace") if hard else None
            if not isinstance(kspace, h5py.Dataset):
                return Glimpse(names, is_mrd=mrd)
            return Glimpse(names, tuple(map(int, kspace.shape or ())), kspace.dtype.kind, mrd)
    except (BadScanError, OSError, RuntimeError, ValueError, KeyError, TypeError):
        return Glimpse()


@contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """The open file, or BadScanError where it is missing, cut short or no HDF5 at all."""
    if not path.is_file():
        raise BadScanError(
            f"{path}: no such file; the folder may have moved: index it again where it lies now"
        )
    try:
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=1 << 20)
    except (OSError, RuntimeError, ValueError) as error:
        raise BadScanError(_why_not_open(path, str(error))) from None
    with file:
        try:
            yield file
        except UserError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, OverflowError) as error:
            # A damaged directory shows wherever the library touches it: fuzzing found a dozen places.
            if isinstance(error, OSError) and error.errno in PASSING_ERRORS:
                raise
            raise BadScanError(
                f"{path.name}: the file is damaged ({type(error).__name__}: {_first_line(error)}); copy or "
                "download it again"
            ) from None


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """The numeric or text dataset `name` of the file's own bytes, or None where there is none."""
    where = Path(file.filename).name
    parts = name.split("/")
    for end in range(1, len(parts) + 1):
        step = "/".join(parts[:end])
        link = _lookup(file, lambda step=step: file.get(step, getlink=True))
        if link is None:
            return None
        if isinstance(link, h5py.HardLink):
            continue
        raise BadScanError(
            f"{where}: {name} is a {type(link).__name__} to another place; only data of the file itself is "
            f"read: "
            "copy the data in, e.g. with h5repack"
        )
    found = _lookup(file, lambda: file[name])
    if not isinstance(found, h5py.Dataset):
        raise BadScanError(
            f"{where}: {name} is a {type(found).__name__}, not a dataset; write an array there"
        )
    if found.is_virtual or found.external:
        raise BadScanError(f"{where}: {name} is stored in other files; copy the data in, e.g. with h5repack")
    _check_declared_size(found, where, name)
    return found


def numeric(file: h5py.File, name: str) -> h5py.Dataset | None:
    """`dataset`, refused where it holds objects, text or records instead of numbers."""
    found = dataset(file, name)
    if found is not None and found.dtype.kind not in "biufc" and not _is_complex_record(found.dtype):
        raise BadScanError(
            f"{Path(file.filename).name}: {name} has dtype {found.dtype}; a scan holds numbers, complex64 "
            f"for "
            "k-space: convert it"
        )
    return found


def read(source: h5py.Dataset, key: Any = ()) -> np.ndarray:
    """The samples at `key`, complex where the file has pairs of real and imaginary parts."""
    try:
        values = source[key]
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise BadScanError(
            f"{Path(source.file.filename).name}: {source.name.lstrip('/')} cannot be read "
            f"({_first_line(error)}); "
            "the file is likely damaged or cut short: copy or download it again"
        ) from None
    if not isinstance(values, np.ndarray):
        return np.asarray(values)
    if _is_complex_record(values.dtype):
        first, second = values.dtype.names
        return values[first] + 1j * values[second]
    return values


def read_slices(source: h5py.Dataset, slices: tuple[int, ...]) -> np.ndarray:
    """The entries of the first axis in the order asked for; a run of them in one go."""
    if not slices:
        return read(source, slice(0, 0))
    if slices == tuple(range(slices[0], slices[0] + len(slices))):
        return read(source, slice(slices[0], slices[-1] + 1))
    distinct = sorted(set(slices))
    if len(distinct) == len(slices) == distinct[-1] - distinct[0] + 1:
        return read(source, slice(distinct[0], distinct[-1] + 1))[np.asarray(slices) - distinct[0]]
    return np.stack([read(source, index) for index in slices])


def text(file: h5py.File, name: str) -> str | None:
    """A dataset of text (an XML header, say), or None; bytes that are no UTF-8 are replaced."""
    found = dataset(file, name)
    if found is None:
        return None
    is_text = h5py.check_string_dtype(found.dtype) is not None or found.dtype.kind == "S"
    if not is_text or found.size != 1:
        raise BadScanError(
            f"{Path(file.filename).name}: {name} has dtype {found.dtype} and shape {found.shape}; one "
            f"string is "
            "expected there"
        )
    content = _decoded(read(found, (0,) * found.ndim))
    if len(content) > MAX_TEXT_BYTES:
        raise BadScanError(
            f"{Path(file.filename).name}: {name} has {len(content)} characters; at most {MAX_TEXT_BYTES} are "
            "read: shorten the header"
        )
    return content


def attributes(file: h5py.File) -> dict[str, Any]:
    """The root's attributes that are one number, one truth value, one text or a short row of numbers."""
    found: dict[str, Any] = {}
    for name in list(_lookup(file, lambda: list(file.attrs.keys())) or [])[:256]:
        try:
            identifier = file.attrs.get_id(name)
            if identifier.get_storage_size() > MAX_ATTRIBUTE_BYTES:
                continue
            value = file.attrs[name]
        except (OSError, RuntimeError, ValueError, TypeError, KeyError):
            continue
        plain = _plain(value)
        if plain is not None:
            found[name] = plain
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | str):
        return _decoded(value)[:MAX_ATTRIBUTE_BYTES]
    array = np.asarray(value)
    if array.dtype.kind == "S" and array.size == 1:
        return _decoded(array.reshape(())[()])
    if array.dtype.kind == "O" and array.size == 1 and isinstance(array.reshape(())[()], bytes | str):
        return _decoded(array.reshape(())[()])
    if array.dtype.kind not in "biufc" or array.size > 64:
        return None
    return array.reshape(())[()].item() if array.size == 1 else array.tolist()


def _decoded(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.reshape(())[()]
    return bytes(value).decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _is_complex_record(dtype: np.dtype) -> bool:
    names = dtype.names
    return names is not None and len(names) == 2 and all(dtype[name].kind == "f" for name in names)


def _check_declared_size(found: h5py.Dataset, where: str, name: str) -> None:
    shape = found.shape or ()
    declared = int(found.dtype.itemsize) * int(np.prod([int(n) for n in shape], dtype=object) or 0)
    size = Path(found.file.filename).stat().st_size
    stored = min(int(found.id.get_storage_size()), size)
    # A string of any length is declared as a pointer, so the ratio says nothing of it.
    if found.dtype.kind == "O":
        declared = min(declared, stored * MAX_EXPANSION)
    chunk = int(found.dtype.itemsize) * int(np.prod(found.chunks or (1,), dtype=object))
    if declared > stored * MAX_EXPANSION or any(n > MAX_AXIS for n in shape):
        raise BadScanError(
            f"{where}: {name} declares {declared} bytes (shape {shape}) but stores {stored} of a file of "
            f"{size}; "
            f"at most {MAX_EXPANSION} times the stored bytes are believed: copy the file again"
        )
    if chunk > max(MAX_CHUNK_BYTES, 0) or chunk > MAX_EXPANSION * max(stored, 1 << 20):
        raise BadScanError(
            f"{where}: {name} is stored in chunks of {chunk} bytes; at most {MAX_CHUNK_BYTES} are unpacked "
            f"at "
            "once: rewrite it with one slice a chunk"
        )


def _lookup(file: h5py.File, ask: Any) -> Any:
    try:
        return ask()
    except KeyError:
        return None
    except (OSError, RuntimeError, ValueError, TypeError, UnicodeError) as error:
        raise BadScanError(
            f"{Path(file.filename).name}: the file's directory is damaged ({_first_line(error)}); copy or "
            "download it again"
        ) from None


def _why_not_open(path: Path, error: str) -> str:
    size = path.stat().st_size
    truncated = re.search(r"stored_eof = (\d+)", error)
    if truncated:
        return (
            f"{path.name}: cut short, {size} bytes of the {truncated.group(1)} it was written with; copy or "
            "download it again"
        )
    return f"{path.name}: no readable HDF5 file ({size} bytes; {error.splitlines()[0][:120]}); copy it again"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
