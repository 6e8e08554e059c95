"""The protocol texts of a twix file: scanner, field, timing and matrix; nothing that identifies a person."""

import contextlib
import io
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from reshim.errors import UserError


def read_protocol(file: BinaryIO, start: int, header_bytes: int) -> dict[str, Any]:
    """What the protocol texts say; what identifies a patient stays in them, unread by anyone."""
    file.seek(start)
    held = io.BytesIO(file.read(header_bytes))
    found: dict[str, Any] = {}
    held.seek(4)
    n_texts = int(np.frombuffer(held.read(4), "<u4")[0])
    twixprot = twixtools("twixprot")
    for _ in range(min(n_texts, 64)):
        name = bytearray()
        while (byte := held.read(1)) not in (b"\0", b""):
            name += byte
        length = held.read(4)
        if len(length) < 4:
            break
        text = held.read(int(np.frombuffer(length, "<u4")[0])).decode("latin1")
        # The parsers print what they stumble over.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            if name.decode("latin1") in ("MeasYaps", "Phoenix", "Dicom", "Meas"):
                found |= {
                    key: value for key, value in twixprot.parse_buffer(text).items() if key not in found
                }
    return found


def described(protocol: dict[str, Any]) -> dict[str, Any]:
    """Scanner, field and timing; times stand in microseconds."""
    known: dict[str, Any] = {
        "protocol": _word(protocol, "tProtocolName"),
        "model": _word(protocol, "ManufacturersModelName"),
        "field_tesla": number(protocol, "sProtConsistencyInfo", "flNominalB0")
        or number(protocol, "flMagneticFieldStrength"),
    }
    for name, key in (("echo_ms", "alTE"), ("repetition_ms", "alTR"), ("inversion_ms", "alTI")):
        value = number(protocol, key, 0)
        known[name] = None if not value else value / 1000
    slab = ("sSliceArray", "asSlice", 0)
    millimetres = [number(protocol, *slab, key) for key in ("dReadoutFOV", "dPhaseFOV", "dThickness")]
    samples = [number(protocol, "sKSpace", key) for key in ("lBaseResolution", "lPhaseEncodingLines")]
    if all(millimetres) and all(samples):
        read_mm, phase_mm, thickness = millimetres
        partitions = number(protocol, "sKSpace", "lPartitions") or 1
        is_volume = number(protocol, "sKSpace", "ucDimension") == 4
        known["xyz_mm"] = (
            read_mm / samples[0],  # type: ignore[operator]
            phase_mm / samples[1],  # type: ignore[operator]
            thickness / (partitions if is_volume else 1),  # type: ignore[operator]
        )
    return known


def _found(protocol: Any, *keys: str | int) -> Any:
    for key in keys:
        if isinstance(protocol, dict):
            protocol = protocol.get(key)
        elif isinstance(protocol, list) and isinstance(key, int) and key < len(protocol):
            protocol = protocol[key]
        else:
            return None
    return protocol


def number(protocol: dict[str, Any], *keys: str | int) -> Any:
    """A positive number at a path of keys, or None."""
    value = _found(protocol, *keys)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    return value if usable else None


def _word(protocol: dict[str, Any], key: str) -> str | None:
    value = _found(protocol, key)
    return value.strip('" ')[:200] or None if isinstance(value, str) else None


@lru_cache(maxsize=8)
def twixtools(module: str) -> Any:
    """A module of the package twixtools, or UserError where it is not installed."""
    try:
        from importlib import import_module

        return import_module(f"twixtools.{module}")
    except ImportError:
        raise UserError("twix files need the package twixtools; pip install 'reshim[formats]'") from None
