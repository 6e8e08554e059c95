"""The simulated scans that a study runs on where no catalog is given, shared by all studies of one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from reshim.catalog import Catalog
from reshim.catalog.splits import SPLITS
from reshim.progress import steps
from reshim.simulation.write import simulate
from reshim.studies.engine.alone import alone


@dataclass(frozen=True)
class Need:
    """Scans that a catalog must have, where one is given: a filter, and the splits that must not be empty."""

    label: str
    where: str
    splits: tuple[str, ...] = SPLITS
    """Empty: a subject in any split will do."""

    @classmethod
    def any_of(cls, needs: "Sequence[Need]", *splits: str) -> "Need":
        """That of a study which takes them all together."""
        where = " or ".join(dict.fromkeys(f"({need.where})" for need in needs))
        return cls(" or ".join(need.label for need in needs), where, splits or SPLITS)


@dataclass(frozen=True)
class Embedded:
    """The simulated scans that a study runs on where no catalog is given."""

    protocols: tuple[str, ...]
    subjects: int
    matrix: int
    slices: int
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of the subjects of each anatomy: train, val, test."""

    lesions: bool | float = False
    """Whether subjects have lesions, with their boxes in the files; a number stretches them."""

    twins: bool = False
    """Whether every subject is there twice, in the folders ``healthy`` and ``lesions``."""

    needs: tuple[Need, ...] = ()
    """What is asked of a catalog that is given instead."""


def catalog_of(data: Embedded, shared: Path, catalog: Path, seed: int) -> Catalog:
    """Simulate what is missing, index it, split it by subject.

    The folder's name holds what the files depend on, and a split depends on an anatomy's subjects alone, so
    that studies meet the same scans in the same split whatever else they look at.
    """
    scans = shared / "scans" / f"{data.matrix}x{data.slices}-of-{data.subjects}-seed{seed}"
    if data.lesions:
        size = "" if data.lesions is True else f"{data.lesions:g}"
        scans = scans.with_name(f"{scans.name}-lesions{size}")
    folders: dict[Path, bool | float] = {scans: data.lesions}
    if data.twins:
        scans = scans.with_name(f"{scans.name}-twins")
        folders = {scans / "healthy": False, scans / "lesions": True}
    total = len(data.protocols) * data.subjects * len(folders)
    shares = dict(zip(("train", "val", "test"), data.shares, strict=True))
    with alone(scans):
        with steps("simulating scans", total) as tick:
            for folder, lesions in folders.items():
                simulate(
                    folder,
                    protocols=list(data.protocols),
                    subjects=data.subjects,
                    matrix=data.matrix,
                    slices=data.slices,
                    seed=seed,
                    lesions=lesions,
                    progress=tick,
                )
        everything = Catalog.index([scans], catalog, shares=shares).catalog
    Console(markup=False, stderr=True).print(f"{total} simulated scans in {scans}", style="dim")
    wanted = ", ".join(f"'{protocol}'" for protocol in data.protocols)
    return everything.where(f"protocol in ({wanted})")
