"""The RUN folder: what training leaves behind, and the reconstructor that comes out of it again.

``model.safetensors``       weights of the epoch that was best on validation
``fallback.safetensors``    the supervised model of the same data, where another
``statistics.safetensors``  what the training measurements looked like, for a shift alarm
``settings.json``           everything resolved: training, network, data with its subjects, versions
``card.md``                 data, licences, score and intended use, to read
``log.jsonl``               a line each few steps and each epoch, and a note where something is amiss
``index.html``              page of its curves, drawn by the command line
``epochs/0001.safetensors`` weights of every epoch
``state.safetensors``       weights, moments and counters of the last one: what resuming needs
``prepared/``               references and maps of a run that goes on, where they are kept on disk
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reshim.digest import digest
from reshim.errors import UserError
from reshim.networks import build
from reshim.networks.weights import load_weights, save_weights
from reshim.physics.maps import default_estimator
from reshim.training.provenance import subjects_of, unknown_of
from reshim.training.ssdu import with_known_padding
from reshim.types import Image, MapEstimator, Measurement

IDENTITY = ("training", "network", "data", "start", "fallback")
"""Parts of settings.json that make two runs the same run."""


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run lie."""

    path: Path

    @property
    def model(self) -> Path:
        """Weights of the best epoch."""
        return self.path / "model.safetensors"

    @property
    def fallback(self) -> Path:
        """Weights of the fall-back."""
        return self.path / "fallback.safetensors"

    @property
    def statistics(self) -> Path:
        """Statistics of the training measurements."""
        return self.path / "statistics.safetensors"

    @property
    def settings(self) -> Path:
        """Everything resolved."""
        return self.path / "settings.json"

    @property
    def log(self) -> Path:
        """One JSON line each few steps and each epoch."""
        return self.path / "log.jsonl"

    @property
    def state(self) -> Path:
        """What resuming needs."""
        return self.path / "state.safetensors"

    @property
    def prepared(self) -> Path:
        """References and maps on disk, while the run goes on."""
        return self.path / "prepared"

    def epoch(self, number: int) -> Path:
        """Weights after an epoch, counted from 1."""
        return self.path / "epochs" / f"{number:04d}.safetensors"

    def kept_epochs(self) -> list[int]:
        """Epochs whose weights lie here."""
        return sorted(int(path.stem) for path in (self.path / "epochs").glob("[0-9]*.safetensors"))

    def keep_epoch(
        self, network: nn.Module | Mapping[str, Tensor], number: int, *, keep: bool, best: bool
    ) -> None:
        """Keep the weights of an epoch, and as the model if it is the best so far."""
        if keep:
            save_weights(self.epoch(number), network)
        if best:
            save_weights(self.model, network)

    def read_settings(self) -> dict[str, Any]:
        """The content of settings.json.

        Raises
        ------
        UserError
            If the folder is no RUN.
        """
        try:
            found = json.loads(self.settings.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise UserError(
                f"{self.path} is no RUN folder: settings.json cannot be read ({error})"
            ) from error
        return dict(found)

    def write_settings(self, content: Mapping[str, Any]) -> None:
        """Write settings.json beside, then rename."""
        self.path.mkdir(parents=True, exist_ok=True)
        beside = self.settings.with_name(f".settings.json.{os.getpid()}")
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(self.settings)

    def add_settings(self, **more: Any) -> None:
        """Add to settings.json what it does not say yet."""
        found = self.read_settings()
        if not more.keys() <= found.keys():
            self.write_settings({**more, **found})

    def begin(self, content: Mapping[str, Any]) -> bool:
        """Open the folder for a run; True where it is finished already.

        Raises
        ------
        UserError
            If the folder holds another run, or files that are no run.
        """
        if not self.settings.exists():
            if self.path.exists() and any(self.path.iterdir()):
                raise UserError(f"{self.path} is not empty and holds no run; choose another folder for --out")
            self.write_settings(content)
            return False
        found = self.read_settings()
        if other := _differences(found, json.loads(json.dumps(content))):
            raise UserError(
                f"{self.path} holds a run with other settings: {'; '.join(other[:3])}. Choose another "
                "folder for --out, or repeat the settings of the run to go on with it"
            )
        return found.get("finished") is not None

    def cut_log(self, n_bytes: int) -> None:
        """Forget what the log says beyond the last saved state."""
        self.log.touch()
        os.truncate(self.log, min(n_bytes, self.log.stat().st_size))

    def append_log(self, line: str) -> int:
        """Add a line; return the length of the log."""
        with self.log.open("a") as file:
            file.write(line + "\n")
        return self.log.stat().st_size

    def read_log(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The lines of the log, or those of one kind (``step``, ``epoch``)."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if kind is None or line["kind"] == kind]


@dataclass(frozen=True)
class Trained:
    """A trained network as a reconstructor, with all that is known of its making."""

    network: nn.Module
    """In evaluation mode."""

    settings: Mapping[str, Any]
    """The content of settings.json."""

    fallback: nn.Module | None = None
    """The supervised model of the same data, where another."""

    path: Path | None = None
    """The RUN folder."""

    estimate: MapEstimator = default_estimator
    """Fills in coil maps where the network asks for them and the measurement has none."""

    batch_slices: int = 4
    """Slices at a time, so that memory does not grow with the volume."""

    device: torch.device = field(default=torch.device("cpu"))
    """Where the network computes."""

    @property
    def has_phase(self) -> bool:
        """False for a magnitude network, which adaptation has to refuse."""
        return bool(getattr(self.network, "has_phase", True))

    @property
    def train_seed(self) -> int | None:
        """Seed of the training run; None for imported weights."""
        seed = self.settings["training"]["seed"]
        return None if seed is None else int(seed)

    @property
    def training_subjects(self) -> frozenset[tuple[str, str]]:
        """Data set and subject of every scan that training or the choice of the checkpoint looked at.

        Those of the runs whose weights were taken over are among them.
        """
        return subjects_of(self.settings)

    @property
    def unknown_subjects(self) -> tuple[str, ...]:
        """Why `training_subjects` may lack some, a sentence each: imported weights do not say."""
        return unknown_of(self.settings)

    @cached_property
    def digest(self) -> str:
        """Digest of the weights: what names this method in rows."""
        return digest(self.network)

    @torch.no_grad()
    def __call__(self, measurement: Measurement) -> Image:
        """Return the complex image on the full matrix, in the units of the measurement."""
        if wants_maps(self.network):
            measurement = measurement.with_maps(self.estimate)
        if (self.settings.get("training", {}).get("objective") or {}).get("edge_fill", False):
            # Shown to the network as in its training (`reshim.training.ssdu`).
            measurement = with_known_padding(measurement)
        n_items = measurement.kspace.shape[0]
        images = [
            self.network(measurement.take(part.tolist()).to(self.device))
            for part in torch.arange(n_items).split(self.batch_slices)
        ]
        return torch.cat(images).to(measurement.kspace.device)


def wants_maps(network: nn.Module) -> bool:
    """True unless the network says that it never looks at coil maps, or returns magnitudes."""
    return bool(getattr(network, "needs_maps", getattr(network, "has_phase", True)))


def load_run(
    path: str | Path,
    *,
    epoch: int | None = None,
    network: nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Trained:
    """The reconstructor of a RUN folder.

    Parameters
    ----------
    path
        The RUN folder.
    epoch
        Weights after this epoch (counted from 1) in place of the best ones.
    network
        The module to put the weights into, for a run that was made from a module without a name.
    device
        Where to compute.

    Raises
    ------
    UserError
        If the folder is no finished run, it kept no weights of the epoch, or its network has no name.
    """
    folder = RunFolder(Path(path))
    content = folder.read_settings()
    if not folder.model.exists():
        raise UserError(f"{folder.path} holds no weights yet; repeat its training command to go on with it")
    if epoch is not None and not folder.epoch(epoch).exists():
        kept = folder.kept_epochs()
        raise UserError(
            f"{folder.path} holds no weights of epoch {epoch}; it holds "
            + (f"those of epochs {kept[0]} to {kept[-1]}" if kept else "the best epoch's alone")
        )
    module = load_weights(
        folder.model if epoch is None else folder.epoch(epoch), network or network_from(content["network"])
    )
    fallback = None
    if folder.fallback.exists() and content.get("fallback") is not None:
        fallback = load_weights(folder.fallback, network_from(content["fallback"]["network"]))
        fallback.to(device).eval()
    return Trained(module.to(device).eval(), content, fallback, folder.path, device=torch.device(device))


def network_from(plain: Mapping[str, Any]) -> nn.Module:
    """The module that settings.json describes, with weights still to be put in."""
    if plain.get("name") is None:
        raise UserError(
            f"the run was made from a {plain.get('class')} without a name; hand the module to "
            "load_run(network=...)"
        )
    return build(plain["name"], plain["settings"])


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What differs between two runs, as ``name: found, not wanted``."""
    differences: list[str] = []
    for part in IDENTITY:
        _compare(part, found.get(part), wanted.get(part), differences)
    return differences


def _compare(name: str, found: Any, wanted: Any, differences: list[str]) -> None:
    if isinstance(found, dict) and isinstance(wanted, dict):
        # Where a run lies that lent weights is no part of what it lent.
        for key in sorted((found.keys() | wanted.keys()) - {"run"}):
            _compare(f"{name}.{key}", found.get(key), wanted.get(key), differences)
    elif found != wanted:
        shown = [
            text if len(text := json.dumps(value)) < 60 else f"{text[:57]}..." for value in (found, wanted)
        ]
        differences.append(f"{name} is {shown[0]} there and {shown[1]} here")
