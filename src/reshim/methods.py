"""METHOD names, as the command line spells them, to reconstructors.

A name is a classical method, ``default``, a method that trains on the scan itself (``conv-decoder``,
``zs-ssl``, and ``zs-ssl:RUN``, which starts from a RUN), or the path of a RUN folder; `adapt` wraps a RUN.
``RUN@12`` is the RUN with its weights after epoch 12, counted from 1 as in its log.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reshim.errors import UserError
from reshim.types import Image, Measurement, Outcome, Reconstructor

SELF_TRAINED = ("conv-decoder", "zs-ssl")
"""Methods that fit a network to every slice by themselves."""


@dataclass(frozen=True)
class OnDevice:
    """A method that computes where its measurement lies, taken to a device and back."""

    method: Reconstructor
    device: str = field(metadata={"digest": False})

    def __call__(self, measurement: Measurement) -> Image:
        """Return the image where the measurement was."""
        return self.explain(measurement).image

    def explain(self, measurement: Measurement) -> Outcome:
        """The same, with what the method says of it."""
        explain, there = getattr(self.method, "explain", None), measurement.to(self.device)
        if explain is None:
            image = self.method(there)
            outcome = Outcome(image, (False,) * image.shape[0], ("",) * image.shape[0])
        else:
            outcome = explain(there)
        return replace(outcome, image=outcome.image.to(measurement.kspace.device))


def checked_device(device: str) -> str:
    """The device's name, if there is such a device here.

    Raises
    ------
    UserError
        If it is unknown or absent.
    """
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UserError(f"--device {device!r} is no device; give cpu, cuda or cuda:N") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {device} asks for a GPU, and PyTorch finds none here; leave it out")
    return device


def method_of(
    name: str,
    adapt: str = "none",
    budget_seconds: float | None = None,
    device: str = "cpu",
    adapt_options: Sequence[str] = (),
) -> Reconstructor:
    """The reconstructor behind a METHOD name; `adapt_options` are ``NAME=VALUE`` settings of a fit.

    Raises
    ------
    UserError
        For a name that is neither a method nor a RUN folder, a method that has nothing to adapt, or a budget
        or an option that nothing would heed.
    """
    from reshim.classical import METHODS

    kind = name.partition(":")[0]
    if budget_seconds is not None and not 0 < budget_seconds < float("inf"):
        raise UserError(f"--budget {budget_seconds}: give seconds above 0")
    if name == "default" or name in METHODS or kind in SELF_TRAINED:
        if adapt not in ("none", "auto"):
            raise UserError(
                f"--adapt {adapt} mends what a trained network makes of the scan, and {name!r} has none; "
                "give --with a RUN folder, or --adapt none"
            )
        if budget_seconds is not None and kind not in SELF_TRAINED:
            raise UserError(
                f"--budget bounds methods that fit something to the scan, and {name!r} fits nothing; leave "
                f"it out, or give --with a RUN folder and --adapt, or one of {', '.join(SELF_TRAINED)}"
            )
        if adapt_options:
            raise UserError(
                f"--adapt-option {adapt_options[0]!r} changes how a RUN is fitted, and {name!r} is none; "
                "leave it out"
            )
        return _on(_without_run(name, budget_seconds), device)
    if (run := run_named(name)) is None:
        raise UserError(
            f"{name!r} is neither a method nor a RUN folder; methods are "
            f"{sorted((*METHODS, *SELF_TRAINED))} and 'default'"
        )
    folder, epoch = run
    return run_method(folder, adapt, budget_seconds, device, adapt_options, epoch=epoch)


def run_named(name: str) -> tuple[Path, int | None] | None:
    """The RUN folder of a METHOD name, and the epoch that it asks for; None where it is no RUN's."""
    if (Path(name) / "settings.json").exists():
        return Path(name), None
    folder, _, epoch = name.rpartition("@")
    if folder and epoch.isdecimal() and (Path(folder) / "settings.json").exists():
        return Path(folder), int(epoch)
    return None


def _without_run(name: str, budget_seconds: float | None) -> Reconstructor:
    from reshim.classical import METHODS

    if name == "default":
        from reshim.default import default_method

        return default_method()
    return METHODS[name]() if name in METHODS else self_trained(name, budget_seconds)


def self_trained(name: str, budget_seconds: float | None = None) -> Reconstructor:
    """A method that fits a network to every slice, within a budget if one is given.

    Raises
    ------
    UserError
        For a start that is no RUN folder, or weights that have nothing to start from.
    """
    from reshim.adaptation.fitted_decoder import FittedDecoder
    from reshim.adaptation.zero_shot import ZeroShot

    kind, _, start = name.partition(":")
    if kind == "conv-decoder":
        if start:
            raise UserError(f"{name!r}: conv-decoder starts from no RUN; give --with conv-decoder")
        return FittedDecoder(budget_seconds=budget_seconds)
    if not start:
        return ZeroShot(budget_seconds=budget_seconds)
    from reshim.training.run_folder import load_run

    folder, epoch = run_named(start) or (Path(start), None)
    run = load_run(folder, epoch=epoch)
    if not run.has_phase:
        raise UserError(
            f"{name!r}: the run's network returns magnitudes without phase; start from one that was trained "
            "with --input complex"
        )
    return ZeroShot(
        run.network,
        budget_seconds=budget_seconds,
        train_seed=run.train_seed,
        training_subjects=run.training_subjects,
    )


def _on(method: Reconstructor, device: str) -> Reconstructor:
    return method if device == "cpu" else OnDevice(method, device)


def run_method(
    folder: Path,
    adapt: str,
    budget_seconds: float | None,
    device: str = "cpu",
    adapt_options: Sequence[str] = (),
    *,
    epoch: int | None = None,
) -> Reconstructor:
    """A trained network, as it is or adapted to each scan; of its best epoch, or of the one named.

    Raises
    ------
    UserError
        For a budget or options where nothing is adapted, and as `reshim.adaptation.modes.adapted` does.
    """
    from reshim.training.run_folder import load_run

    if adapt == "none" and (budget_seconds is not None or adapt_options):
        given = "--budget" if budget_seconds is not None else f"--adapt-option {adapt_options[0]!r}"
        raise UserError(
            f"{given} is about adapting, and --adapt none leaves the network as it is; give --adapt, or "
            "leave it out"
        )
    run = load_run(folder, epoch=epoch, device=device)
    if adapt == "none":
        return run
    from reshim.adaptation.modes import adapted

    return adapted(run, adapt, budget_seconds, alarm_of(folder), foreteller_of(run), adapt_options)


def alarm_of(folder: Path) -> Any:
    """The shift alarm of a RUN, or None where it kept no statistics."""
    from reshim.alarm import Alarm

    return Alarm.of_run(folder) if (folder / "statistics.safetensors").exists() else None


def foreteller_of(run: Any) -> Any:
    """Predicted quality of a RUN's un-adapted images, or None where its alarm was never calibrated."""
    from reshim.alarm.calibrate import Foreteller

    return Foreteller.of_run(run)


def short_name(name: str) -> str:
    """How a method is called in rows and pages: its own name, or its RUN folder's last part."""
    kind, _, start = name.partition(":")
    if kind in SELF_TRAINED and start:
        return f"{kind} from {Path(start).name}"
    return Path(name).name if "/" in name or Path(name).is_dir() else name


def methods_of(
    names: Sequence[str],
    adapt: str = "none",
    device: str = "cpu",
    budget_seconds: float | None = None,
    adapt_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Several methods by their short names, which must differ.

    How to adapt is told to those that heed it: a mode to RUNs, its options too, a budget also to methods that
    train on the scan itself.

    Raises
    ------
    UserError
        For two methods of the same short name, a setting that none of them heeds, and as `method_of` does.
    """
    run_names = [name for name in names if run_named(name) is not None]
    adapted = run_names if adapt != "none" else []
    bounded = [*adapted, *(name for name in names if name.partition(":")[0] in SELF_TRAINED)]

    def heeds(name: str, heeding: Sequence[str]) -> bool:
        # Where none heeds a setting all are told, and the first of them says why it cannot.
        return name in heeding or not heeding

    methods = {
        short_name(name): method_of(
            name,
            adapt if heeds(name, run_names) else "none",
            budget_seconds if heeds(name, bounded) else None,
            device,
            adapt_options if heeds(name, adapted) else (),
        )
        for name in names
    }
    if len(methods) < len(names):
        raise UserError(f"two of {list(names)} have the same short name; rename a RUN folder")
    return methods
