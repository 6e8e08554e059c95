"""A digest of what made a result: settings, weights, scans. Equal on every machine and in every process."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def digest(*parts: Any) -> str:
    """SHA-256 of plain values, paths, dataclasses, functions, networks and objects that carry a ``digest``.

    A dataclass field with ``metadata={"digest": False}`` only looks on and does not count. One with
    ``"unless default"`` came later and does by default what was done before: it counts where it was changed.

    Raises
    ------
    TypeError
        For anything whose identity cannot be told from its content.
    """
    text = json.dumps([_plain(part) for part in parts], sort_keys=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 4 and 4.0 are the same acceleration
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    own = getattr(value, "digest", None)
    if isinstance(own, str):
        return own
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        counted = [field for field in dataclasses.fields(value) if _counts(field, getattr(value, field.name))]
        fields = {field.name: _plain(getattr(value, field.name)) for field in counted}
        return {"is": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
    if hasattr(value, "state_dict"):
        return _network(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    raise TypeError(f"{value!r} has no digest; give it a `digest` attribute or make it a dataclass")


def _counts(field: "dataclasses.Field[Any]", value: Any) -> bool:
    rule = field.metadata.get("digest", True)
    return bool(rule) and (rule != "unless default" or value != field.default)


def _network(network: Any) -> str:
    total = hashlib.sha256(type(network).__qualname__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
