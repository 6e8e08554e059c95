"""For questions about subjects: many simulated ones under cards dealt in turn, and one scan of each."""

from collections.abc import Sequence
from dataclasses import replace

from reshim.catalog import Catalog
from reshim.progress import steps
from reshim.simulation.protocols import Protocol
from reshim.simulation.write import simulate
from reshim.studies.engine import lab
from reshim.studies.engine.alone import alone
from reshim.studies.engine.study import Study
from reshim.types import ScanRecord


def evenly(some: Sequence[ScanRecord], most: int) -> list[ScanRecord]:
    """At most so many, spread evenly: the first ones of a catalog may all be of one site."""
    if len(some) <= most:
        return list(some)
    return [some[(2 * place + 1) * len(some) // (2 * most)] for place in range(most)]


def one_of_each(records: Sequence[ScanRecord]) -> list[ScanRecord]:
    """The first scan of each subject: a protocol that repeats a scan has several."""
    first: dict[tuple[str, str], ScanRecord] = {}
    for record in records:
        first.setdefault((record.dataset, record.subject), record)
    return list(first.values())


def crowd(
    study: Study,
    name: str,
    cards: Sequence[Protocol],
    numbers: range,
    *,
    slices: int = 1,
    lesions: bool = False,
) -> list[ScanRecord]:
    """Test subjects of these numbers, each under one of the cards; made once and found again.

    The numbers must not be those of the laboratory's subjects, which networks were trained on; a name stands
    for one number of slices and for subjects with or without lesions.

    Raises
    ------
    ValueError
        If they are.
    """
    taken = max(size.subjects for size in lab.SCANS.values())
    if numbers.start < taken:
        raise ValueError(f"subjects from {numbers.start} on; the laboratory has those below {taken}")
    matrix = lab.SCANS[study.scale].matrix
    folder = study.shared / "scans" / f"crowd-{name}-{matrix}-seed{study.seed}"
    catalog = study.folder / f"{folder.name}.parquet"
    with alone(folder), steps(f"simulating {name}", len(numbers)) as tick:
        paths = [
            path
            for index, card in enumerate(cards)
            for path in simulate(
                folder,
                protocols=[card],
                subjects=list(numbers[index :: len(cards)]),
                matrix=matrix,
                slices=slices,
                seed=study.seed,
                lesions=lesions,
                progress=tick,
            )
        ]
        records = Catalog.index([folder], catalog).catalog.records()
    wanted = {path.name for path in paths}
    return [replace(record, split="test") for record in records if record.file_name in wanted]
