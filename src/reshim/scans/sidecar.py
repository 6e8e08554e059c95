"""What a file of somebody's own does not say: a small TOML file beside it.

``scan.npy.toml`` speaks of ``scan.npy``, ``scans.toml`` of every file of its folder; where both speak, the
file's own is believed. Only the keys below exist, so a misspelt one is an error and not a silent default.
"""

import tomllib
from pathlib import Path
from typing import Any

from reshim.errors import BadScanError
from reshim.scans.orientation import steps_of

FOLDER_FILE = "scans.toml"
MAX_BYTES = 64 << 10
CONTENTS = ("kspace", "coil-images", "images", "magnitude")
FRAME_AXES = ("echo", "contrast", "set", "repetition", "phase", "time")
AXES = ("slice", "coil", "row", "column", "average", *FRAME_AXES)

WORDS = (
    *("anatomy", "contrast", "protocol", "view", "orientation", "vendor", "model"),
    *("subject", "split", "dataset", "licence"),
)
NUMBERS = ("field_tesla", "echo_ms", "repetition_ms", "inversion_ms")
KEYS: dict[str, str] = {
    "skip": "true, or the reason in words: the file is no scan; false: it is one, whatever it looks like",
    "array": "name of the array in the file",
    "axes": f"name of every axis, of {', '.join(AXES)}",
    "content": f"one of {', '.join(CONTENTS)}",
    "image_space": "axes of k-space that are transformed already",
    "volume": "true: the slice axis is phase encoded too",
    "zero_frequency": "middle (default) or first: where frequency 0 lies",
    "mask": "name of the mask's array in the file, or nonzero: what was not acquired is exactly 0",
    "crop": "rows and columns that are scored; of images, their true k-space extent",
    "readout_axis": "row, column or none",
    "coils": "emulated scans: number of receive coils",
    "noise": "emulated scans: added noise over the brightest percent of the image",
    "spacing_mm": "slice, row and column spacing",
    **dict.fromkeys(WORDS, "text, as in the catalog"),
    **dict.fromkeys(NUMBERS, "number"),
}
"""Every key of a sidecar and what it says."""


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of a file lies."""
    return path.with_name(path.name + ".toml")


def has_sidecar(path: Path) -> bool:
    """True where the file or its folder has one."""
    return sidecar_path(path).is_file() or (path.parent / FOLDER_FILE).is_file()


def read_sidecar(path: Path) -> dict[str, Any]:
    """What the sidecars say of a file; empty where there are none.

    Raises
    ------
    BadScanError
        If a sidecar is no TOML, has an unknown key or a value of another kind.
    """
    return _one(path.parent / FOLDER_FILE) | _one(sidecar_path(path))


def why_skipped(path: Path) -> str | None:
    """Why a sidecar says that a file is no scan; None where none says so, or none can be read."""
    if path.suffix.lower() in (".h5", ".hdf5"):  # described by themselves
        return None
    try:
        said = read_sidecar(path).get("skip")
    except BadScanError:
        return None
    return "its sidecar says that it is no scan" if said is True else str(said) if said else None


def stamp(path: Path) -> tuple[int, int]:
    """Bytes and latest time (ns) of a file and its sidecars: what tells whether it changed."""
    if path.suffix.lower() in (".h5", ".hdf5"):  # described by themselves
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    found = [path, *(each for each in (sidecar_path(path), path.parent / FOLDER_FILE) if each.is_file())]
    statuses = [each.stat() for each in found]
    return sum(each.st_size for each in statuses), max(each.st_mtime_ns for each in statuses)


def _one(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_BYTES:
        raise BadScanError(f"{path.name} has {path.stat().st_size} bytes; a sidecar has a few lines")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise BadScanError(f"{path.name} is no TOML ({str(error)[:120]}); correct it") from None
    for key, value in values.items():
        _check(path.name, key, value)
    return values


def _check(name: str, key: str, value: Any) -> None:
    if key not in KEYS:
        raise BadScanError(f"{name} has the key {key!r}; keys are {', '.join(KEYS)}: correct it")
    if not _RULES.get(key, _is_word)(value):
        raise BadScanError(f"{name}: {key} = {value!r}, but it is {KEYS[key]}: correct it")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _are_axes(value: Any) -> bool:
    named = isinstance(value, list) and all(isinstance(axis, str) for axis in value)
    return named and len(set(value)) == len(value) > 0 and set(value) <= set(AXES)


def _is_orientation(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(steps_of(value)) >= 0
    except ValueError:
        return False


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(n, int) and n >= 4 for n in value)


_RULES = {
    "skip": lambda value: _is_truth(value) or _is_word(value),
    "volume": _is_truth,
    "axes": _are_axes,
    "image_space": _are_axes,
    "content": lambda value: value in CONTENTS,
    "zero_frequency": lambda value: value in ("middle", "first"),
    "readout_axis": lambda value: value in ("row", "column", "none"),
    "orientation": _is_orientation,
    "split": lambda value: value in ("train", "val", "test"),
    "crop": _are_counts,
    "coils": lambda value: isinstance(value, int) and 1 <= value <= 64,
    "noise": lambda value: isinstance(value, int | float) and 0 <= value <= 1,
    "spacing_mm": lambda value: isinstance(value, list) and len(value) == 3 and all(map(_is_positive, value)),
    **dict.fromkeys(NUMBERS, _is_positive),
}
