"""What the collections of 3D scans share: a file is a volume, each of its views (and echoes) a record.

A collection gives the shape of its volume, a function that loads it and what is known of its scans; records,
views and slices are made here. The last volume stays in memory, because slices are asked for one after
another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reshim.scans.reader import check_samples, chosen_slices, make_record
from reshim.scans.volume import Volume, crop_of, matrix_of, spacing_of
from reshim.types import Acquisition, ScanRecord


@dataclass(frozen=True)
class Collection:
    """How one collection's volumes become records and acquisitions."""

    reader: str
    shape_of: Callable[[Path], tuple[int, int, int, int]]
    """Coils, x, y, z of a file, from its headers."""

    volume_of: Callable[[Path, int], Volume]
    """The samples of a file's echo."""

    views: Mapping[str, tuple[str, str]]
    """Axis that is cut along: name of the dataset, name of the view."""

    echoes: int = 1
    known: Mapping[str, Any] | None = None
    columns: tuple[int, int] | None = None
    """First and past-the-last acquired sample along y, where the outer ones are padding."""

    def read_records(
        self, path: Path, root: Path | None, root_name: str | None, patient: str, **known: Any
    ) -> list[ScanRecord]:
        """A record for every echo and view; all but the first are views of the first."""
        n_coils, *xyz = self.shape_of(path)
        records: list[ScanRecord] = []
        for echo in range(self.echoes):
            for axis, (dataset, view) in self.views.items():
                n_slices, n_rows, n_columns = matrix_of((xyz[0], xyz[1], xyz[2]), axis)
                spacing = known.get("xyz_mm")
                records.append(
                    make_record(
                        path,
                        root,
                        root_name,
                        reader=self.reader,
                        dataset=dataset,
                        part=axis if self.echoes == 1 else f"{axis}-echo{echo + 1}",
                        extra={"axis": axis, "echo": echo, "readout_axis": _readout(axis) or "none"},
                        view=view,
                        view_of=records[0].scan_id if records else None,
                        patient=patient,
                        n_slices=n_slices,
                        n_coils=n_coils,
                        n_rows=n_rows,
                        n_columns=n_columns,
                        recon_rows=n_rows,
                        recon_columns=n_columns,
                        spacing_mm=None if spacing is None else spacing_of(spacing, axis),
                        **{key: value for key, value in known.items() if key != "xyz_mm"},
                        **(self.known or {}),
                    )
                )
        subject = records[0].subject
        return [_of_subject(record, subject) for record in records]

    def load(
        self, path: Path, record: ScanRecord | None, slices: Sequence[int] | None, check: bool
    ) -> Acquisition:
        """The slices' k-space of the record's view; of the first view where there is no record."""
        about = record.extra if record is not None else {}
        axis, echo = about.get("axis", next(iter(self.views))), about.get("echo", 0)
        status = path.stat()
        volume = _volume(self, path, echo, status.st_size, status.st_mtime_ns)
        _, *xyz = self.shape_of(path)
        crop = crop_of((xyz[0], xyz[1], xyz[2]), axis)
        chosen = chosen_slices(slices, volume.samples.shape["xyz".index(axis) + 1], path.name)
        kspace = volume.view(axis)[list(chosen)].contiguous()
        if check:
            check_samples(kspace, chosen, path.name)
        return Acquisition(
            kspace=kspace,
            name=path.name,
            slices=chosen,
            crop=crop,
            acquirable=self._acquirable(axis, (int(kspace.shape[-2]), int(kspace.shape[-1]))),
            readout_axis=_readout(axis),
        )

    def _acquirable(self, axis: str, shape: tuple[int, int]) -> Tensor:
        """False in the padding along y: columns seen along z, rows seen along x, and slices seen along y."""
        if self.columns is None or axis == "y":
            return torch.ones(1, 1, 1, shape[1], dtype=torch.bool)
        place = torch.arange(shape[1] if axis == "z" else shape[0])
        held = (place >= self.columns[0]) & (place < self.columns[1])
        return (
            held[None, None, None] if axis == "z" else held[None, None, :, None].expand(1, 1, *shape).clone()
        )

    def __hash__(self) -> int:
        return hash(self.reader)


def _readout(axis: str) -> Any:
    return None if axis == "x" else "row"


def _of_subject(record: ScanRecord, subject: str) -> ScanRecord:
    return replace(record, subject=subject)


@lru_cache(maxsize=1)
def _volume(collection: Collection, path: Path, echo: int, size: int, mtime_ns: int) -> Volume:
    return collection.volume_of(path, echo)
