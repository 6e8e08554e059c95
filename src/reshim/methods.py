"""METHOD names, as the command line spells them, to reconstructors.

A name is a classical method, ``default``, or the path of a RUN folder; ``adapt`` wraps a RUN.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reshim.errors import UserError
from reshim.types import Reconstructor

ADAPT = ("none", "slice", "volume", "auto", "reference")


def method_of(name: str, adapt: str = "none", budget_seconds: float | None = None) -> Reconstructor:
    """The reconstructor behind a METHOD name.

    Raises
    ------
    UserError
        For a name that is neither a method nor a RUN folder, or a method that has nothing to adapt.
    """
    from reshim.classical import METHODS

    if name == "default":
        from reshim.default import default_method

        return default_method()
    if name in METHODS:
        if adapt not in ("none", "auto"):
            raise UserError(
                f"--adapt {adapt} fits the weights of a trained network to the scan, and {name!r} has none; "
                "give --with a RUN folder, or --adapt none"
            )
        return METHODS[name]()
    if not (Path(name) / "settings.json").exists():
        raise UserError(
            f"{name!r} is neither a method nor a RUN folder; methods are {sorted(METHODS)} and 'default'"
        )
    return run_method(Path(name), adapt, budget_seconds)


def run_method(folder: Path, adapt: str, budget_seconds: float | None) -> Reconstructor:
    """A trained network, as it is or adapted to each scan."""
    from reshim.training.run_folder import load_run

    run = load_run(folder)
    if adapt == "none":
        return run
    from reshim.adaptation.modes import adapted

    return adapted(run, adapt, budget_seconds, alarm_of(folder))


def alarm_of(folder: Path) -> Any:
    """The shift alarm of a RUN, or None where it kept no statistics."""
    from reshim.alarm import Alarm

    return Alarm.of_run(folder) if (folder / "statistics.safetensors").exists() else None


def short_name(name: str) -> str:
    """How a method is called in rows and pages: its own name, or its RUN folder's last part."""
    return Path(name).name if "/" in name or Path(name).is_dir() else name


def methods_of(names: Sequence[str], adapt: str = "none") -> dict[str, Any]:
    """Several methods by their short names, which must differ."""
    methods = {short_name(name): method_of(name, adapt if _is_run(name) else "none") for name in names}
    if len(methods) < len(names):
        raise UserError(f"two of {list(names)} have the same short name; rename a RUN folder")
    return methods


def _is_run(name: str) -> bool:
    return (Path(name) / "settings.json").exists()
