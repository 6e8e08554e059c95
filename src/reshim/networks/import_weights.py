"""Public state dicts of fastMRI's networks to RUN folders: the one place where a pickle is read.

The file is somebody else's: it is read with torch's `weights_only` reader, which makes tensors and plain
containers and runs nothing; its size is checked against the network before it is opened; and nothing but
finite tensors of the right names and shapes comes through.
"""

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import reshim
from reshim.errors import UserError
from reshim.networks import SIZES, build
from reshim.networks.weights import put_weights, save_weights

BYTES_A_WEIGHT = 16
"""Room for a weight and its two optimiser moments in float32, and some."""
ROOM = 64 * 2**20
"""Bytes that a checkpoint may hold besides."""


def import_weights(
    file: str | Path, network: str, out: str | Path, settings: Mapping[str, Any] | None = None
) -> Path:
    """Make the RUN folder `out` of a public state dict, plain or inside a Lightning checkpoint.

    Parameters
    ----------
    file
        A file that `torch.save` wrote.
    network
        Name of the network, as in `reshim.networks.NETWORKS`.
    out
        The RUN folder to make. If it holds the same import already, nothing is done.
    settings
        Changes to the named network, such as ``{"channels": 256}``.

    Raises
    ------
    UserError
        If the file cannot be read safely, or does not hold this network's weights.
    """
    file, out = Path(file), Path(out)
    try:
        module = build(network, settings)
    except ValueError as error:
        raise UserError(str(error)) from error
    core = getattr(module, "core", None)
    if core is None or SIZES[network][0] not in ("unet", "varnet"):
        raise UserError(
            f"{network!r} has no public weights to import; fastMRI's U-net and VarNet have: give --network "
            "unet-s or varnet-l, say"
        )
    _check_size(file, module)
    content = _content(file, network, module)
    if _is_done(out, content):
        if not (out / "card.md").exists():
            _write(out / "card.md", imported_card(content))
        return out
    found = read_state_dict(file)
    prefix = _prefix(found, list(core.state_dict()), file)
    inside = {key[len(prefix) :]: value for key, value in found.items() if key.startswith(prefix)}
    put_weights(core, {key: _plain(key, value, file) for key, value in inside.items()}, str(file))
    content["about"]["imported"] |= {
        "prefix": prefix,
        "left_out": sorted(key for key in found if not key.startswith(prefix)),
    }
    save_weights(out / "model.safetensors", module)
    _write(out / "card.md", imported_card(content))
    _write(out / "settings.json", json.dumps(content, indent=1) + "\n")
    return out


def imported_card(content: Mapping[str, Any]) -> str:
    """The card of imported weights as Markdown: what is known of them, and what is not."""
    network, imported = content["network"], content["about"]["imported"]
    settings = ", ".join(f"{key} {value}" for key, value in network["settings"].items())
    unknown = "Unknown: it is not in the file. Ask whoever published the weights"
    sections = {
        "Network": f"{network['name']}, {network['parameters']:,} parameters, settings {settings}.",
        "Origin": (
            f"Imported from {imported['file']}, {imported['bytes']:,} bytes, SHA-256 {imported['sha256']}; "
            "every weight's name and shape was checked against the network."
        ),
        "Training": f"{unknown}: objective, undersampling, seed and length of the training.",
        "Data": (
            f"{unknown}: on whom they were trained. No subject can be refused in an evaluation, so see to it "
            "yourself that the scans scored are not among them."
        ),
        "Licences of the data": f"{unknown}, and under which licence the weights themselves stand.",
        "Metrics": "None: nothing was scored here. `reshim evaluate` measures the weights on scans of yours.",
        "Intended use": (
            "Research on reconstruction of accelerated MRI from raw k-space, on data like those of the "
            "training. Not for diagnosis."
        ),
    }
    body = "\n\n".join(f"## {title}\n{text}" for title, text in sections.items())
    return f"# {network['name']}\n\nreshim {content['reshim']}, torch {content['torch']}\n\n{body}\n"


def read_state_dict(file: Path) -> dict[str, Any]:
    """Tensors by name of somebody else's file; nothing in it runs.

    Raises
    ------
    UserError
        If torch's ``weights_only`` reader refuses it, or it holds no weights by name.
    """
    return _state_dict(_read(file), file)


def _check_size(file: Path, module: nn.Module) -> None:
    """Refuse what no checkpoint of this network can be, before a byte of it is read."""
    n_weights = sum(weight.numel() for weight in module.state_dict().values())
    most = BYTES_A_WEIGHT * n_weights + ROOM
    if not file.is_file():
        raise UserError(f"{file}: no such file; give the state dict that torch.save wrote")
    if not zipfile.is_zipfile(file):
        raise UserError(
            f"{file}: not a file of torch.save since torch 1.6 (a zip archive); if you trust it, read it "
            "with the torch that wrote it and save it again"
        )
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    size = max(unpacked, file.stat().st_size)
    if size > most:
        raise UserError(
            f"{file}: {size:,} bytes unpacked; a checkpoint of a network with {n_weights:,} weights has at "
            f"most {most:,}: name the network that the file was made for"
        )


def _read(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        OSError,
    ) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{file}: refused by torch's weights_only reader ({reason}); a state dict holds tensors and "
            "nothing that runs"
        ) from error


def _state_dict(content: Any, file: Path) -> dict[str, Any]:
    """The state dict itself, or the one inside a Lightning checkpoint."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise UserError(
            f"{file}: holds a {type(content).__name__} without weights by name; give a state dict, or a "
            "Lightning checkpoint with one under 'state_dict'"
        )
    return dict(content)


def _prefix(found: Mapping[str, Any], wanted: list[str], file: Path) -> str:
    """What stands before the network's own names, e.g. ``unet.`` in a Lightning module."""
    candidates = [key.removesuffix(wanted[0]) for key in found if key.endswith(wanted[0])]
    if not candidates:
        raise UserError(
            f"{file}: no weight is called {wanted[0]!r}, with or without a prefix; the first is "
            f"{next(iter(found))!r}: name the network that the file was made for"
        )
    # A VarNet holds U-nets, each of which would pass for a whole one: the shortest prefix is the outermost.
    return min(candidates, key=len)


def _plain(key: str, value: Any, file: Path) -> Tensor:
    """An ordinary finite float32 tensor, or an error."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
        kind = f"{value.layout}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"{file}: {key!r} is no tensor of floating-point numbers but {kind}")
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise UserError(f"{file}: {key!r} claims {value.numel():,} numbers and holds fewer")
    value = value.to(torch.float32)
    if not torch.isfinite(value).all():
        raise UserError(f"{file}: {key!r} holds NaN or infinity; the training behind it went wrong")
    return value


def _content(file: Path, name: str, module: nn.Module) -> dict[str, Any]:
    """What settings.json says, but for what is found in the file."""
    return {
        "format": 1,
        "reshim": reshim.__version__,
        "torch": torch.__version__,
        "training": {"seed": None, "objective": None},
        "network": {
            "name": name,
            "class": type(module).__qualname__,
            "settings": module.settings,
            "parameters": sum(weight.numel() for weight in module.parameters()),
        },
        # Whom the network was trained on is not in the file.
        "data": {"groups": [], "validation": [], "training_subjects": [], "licences": []},
        "about": {
            "imported": {"file": file.name, "bytes": file.stat().st_size, "sha256": _sha256(file)},
            "training_subjects": "unknown: the weights were imported",
        },
        "start": None,
        "fallback": None,
        "finished": {},
    }


def _is_done(out: Path, content: Mapping[str, Any]) -> bool:
    """True if the folder holds this import; an error if it holds anything else."""
    if not out.exists() or not any(out.iterdir()):
        return False
    try:
        found = json.loads((out / "settings.json").read_text())
        same = found["about"]["imported"]["sha256"] == content["about"]["imported"]["sha256"]
        same = same and found["network"] == json.loads(json.dumps(content["network"]))
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise UserError(f"{out} is not empty and holds something else; choose another folder for --out")
    return True


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)
