"""Arrays with named axes: what NumPy, MATLAB and BART files have in common.

A format gives its arrays by name, shape and type from headers alone; the sidecar names their axes. Echoes,
sets, repetitions and the like become scans of their own, all of one subject; averages are averaged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.physics.fourier import to_kspace
from reshim.scans.emulated import emulated_acquisition, emulated_clean, emulation_of, true_extent
from reshim.scans.own import own_record
from reshim.scans.reader import check_samples, chosen_slices
from reshim.scans.sidecar import FRAME_AXES, read_sidecar, sidecar_path
from reshim.scans.volume import AXES, Volume, matrix_of
from reshim.types import Acquisition, ScanRecord

MAX_COILS = 256
MAX_BYTES = 64 << 30
FRAMES_MOST = 10_000


@dataclass(frozen=True)
class Stored:
    """An array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    """Its values, mapped into memory where the format allows."""


@dataclass(frozen=True)
class Plan:
    """How one array of a file is read: everything that stands in headers and sidecar."""

    stored: Stored
    axes: tuple[str, ...]
    content: str
    sidecar: dict[str, Any]

    def size(self, axis: str) -> int:
        """Length of an axis, 1 where the array has none of that name."""
        return int(self.stored.shape[self.axes.index(axis)]) if axis in self.axes else 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Slices, coils, rows, columns."""
        return self.size("slice"), self.size("coil"), self.size("row"), self.size("column")

    @property
    def frames(self) -> list[dict[str, int]]:
        """The index along every frame axis, for each scan in the array; one empty index without such axes."""
        named = [axis for axis in self.axes if axis in FRAME_AXES and self.size(axis) > 1]
        return [
            dict(zip(named, map(int, index), strict=True)) for index in np.ndindex(*map(self.size, named))
        ]

    @property
    def views(self) -> tuple[str | None, ...]:
        """Axes that the array is cut along: all three of a volume, else only the slices."""
        return ("z", "x", "y") if self.sidecar.get("volume") else (None,)

    def frame(self, index: Mapping[str, int]) -> np.ndarray:
        """Samples (slice, coil, row, column) of one frame, not yet read where the file is mapped."""
        values = self.stored.read()
        if values.shape != self.stored.shape:
            raise BadScanError(
                f"the array is {values.shape}, its header says {self.stored.shape}; copy it again"
            )
        left = [axis for axis in self.axes if axis not in FRAME_AXES]
        values = values[
            tuple(index.get(axis, 0) if axis in FRAME_AXES else slice(None) for axis in self.axes)
        ]
        if "average" in left:
            values = values.mean(left.index("average"))
            left.remove("average")
        values = values.transpose(
            [left.index(axis) for axis in ("slice", "coil", "row", "column") if axis in left]
        )
        return values.reshape(self.shape)


@dataclass(frozen=True)
class ArrayFormat:
    """One format: how its arrays are found, and which axes it gives of itself."""

    reader: str
    arrays_of: Callable[[Path], Mapping[str, Stored]]
    axes_of: Callable[[str, Stored], tuple[str, ...] | None] = lambda name, stored: None
    implied: Mapping[str, Any] = field(default_factory=dict)
    """What the format says in place of a sidecar that does not."""

    def read_records(
        self, path: Path, root: Path | None = None, root_name: str | None = None
    ) -> list[ScanRecord]:
        """A record for every frame (and view) of the array; none where a sidecar says that it is no scan.

        Raises
        ------
        BadScanError
            If axes or content are not known, or the array fits no scan.
        """
        sidecar = self._said(path)
        if sidecar.get("skip"):
            return []
        plan = self._plan(path, sidecar)
        crop, kind, n_coils = self._what(path, plan)
        records: list[ScanRecord] = []
        for frame in plan.frames:
            for axis in plan.views:
                n_slices, n_rows, n_columns = (plan.shape[0], *crop)
                spacing = sidecar.get("spacing_mm")
                if axis is not None:
                    n_slices, n_rows, n_columns = matrix_of((*plan.shape[2:], plan.shape[0]), axis)
                    spacing = None if axis != "z" else spacing
                part = "-".join([*(f"{name}{n + 1}" for name, n in frame.items()), *([axis] if axis else [])])
                matrix = (n_rows, n_columns)
                scored = (
                    tuple(map(min, sidecar.get("crop", matrix), matrix)) if kind == "measured" else matrix
                )
                record = own_record(
                    path,
                    root,
                    root_name,
                    sidecar | ({} if spacing is None else {"spacing_mm": spacing}),
                    (n_slices, n_coils, *matrix),
                    scored if axis in (None, "z") else matrix,  # type: ignore[arg-type]
                    self.reader,
                    data_kind=kind,
                    fully_sampled="mask" not in sidecar,
                    view_of=records[0].scan_id if records else None,
                    part=part or None,
                    extra={"frame": frame, "axis": axis, "readout_axis": sidecar.get("readout_axis", "row")}
                    | ({} if kind == "measured" else {"stored": [plan.shape[0], *plan.shape[2:]]}),
                )
                records.append(record)
        return records

    def load(
        self,
        path: Path,
        record: ScanRecord | None = None,
        slices: Sequence[int] | None = None,
        check: bool = True,
    ) -> Acquisition:
        """The slices' k-space; see `scans.load`."""
        sidecar = self._said(path)
        plan = self._plan(path, sidecar)
        about = record.extra if record is not None else {}
        frame, axis = about.get("frame") or {}, about.get("axis") or plan.views[0]
        if plan.content in ("images", "magnitude"):
            images = plan.frame(frame)[:, 0]
            crop, _, _ = self._what(path, plan)
            name = record.scan_id if record is not None else path.name
            return emulated_acquisition(
                images,
                crop,
                chosen_slices(slices, plan.shape[0], path.name),
                name,
                path.name,
                emulation_of(sidecar),
            )
        return _measured(path, plan, plan.frame(frame), axis, slices, check, self._mask(path, plan))

    def load_reference(
        self, path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
    ) -> Tensor | None:
        """The clean image of an emulated scan; None for measured ones."""
        sidecar = self._said(path)
        plan = self._plan(path, sidecar)
        if plan.content not in ("images", "magnitude") or kind != "clean":
            return None
        images = plan.frame((record.extra.get("frame") if record is not None else None) or {})[:, 0]
        crop, _, _ = self._what(path, plan)
        return emulated_clean(
            images, crop, chosen_slices(slices, plan.shape[0], path.name), emulation_of(sidecar)
        )

    def _said(self, path: Path) -> dict[str, Any]:
        return {**self.implied, **read_sidecar(path)}

    def _what(self, path: Path, plan: Plan) -> tuple[tuple[int, int], Any, int]:
        """Matrix, kind of data and number of coils."""
        if plan.content in ("kspace", "coil-images"):
            return plan.shape[2:], "measured", plan.shape[1]
        extent = plan.sidecar.get("crop")
        if extent is None:
            extent = true_extent(path, lambda: plan.frame(plan.frames[0])[:, 0])
        extent = tuple(map(min, extent, plan.shape[2:]))
        kind = "semi-synthetic" if plan.content == "images" else "emulated"
        return extent, kind, emulation_of(plan.sidecar).coils  # type: ignore[return-value]

    def _mask(self, path: Path, plan: Plan) -> np.ndarray | None:
        name = plan.sidecar.get("mask")
        if name is None or name == "nonzero":
            return None
        found = self.arrays_of(path).get(name)
        if found is None:
            raise BadScanError(
                f"{path.name} has no array {name!r}, which its sidecar names as mask; correct it"
            )
        return np.asarray(found.read()).squeeze() != 0

    def _plan(self, path: Path, sidecar: dict[str, Any]) -> Plan:
        arrays = self.arrays_of(path)
        name, stored = _chosen(path, arrays, sidecar.get("array"))
        axes = tuple(sidecar.get("axes") or ()) or self.axes_of(name, stored)
        listed = (
            f"{name}: shape {stored.shape}, {stored.dtype}"
            if name
            else f"shape {stored.shape}, {stored.dtype}"
        )
        where = sidecar_path(path).name
        if not axes:
            raise BadScanError(
                f"{path.name} ({listed}): the names of its axes are not known; write {where} beside it with "
                f'axes = ["slice", "coil", "row", "column"] in the order of the array, or skip = true'
            )
        if len(axes) != len(stored.shape):
            raise BadScanError(
                f"{path.name} ({listed}): {where} names {len(axes)} axes {list(axes)}; name each of the "
                f"{len(stored.shape)}"
            )
        if not {"row", "column"} <= set(axes):
            raise BadScanError(
                f"{path.name}: of its axes {list(axes)} none is row or none is column; name both"
            )
        content = sidecar.get("content") or _content(stored, axes)
        if content is None:
            raise BadScanError(
                f"{path.name} ({listed}): complex without a coil axis is k-space or an image; say so in "
                f"{where}: "
                f'content = "kspace" or content = "images"'
            )
        plan = Plan(stored, axes, content, sidecar)
        _check_plan(path, plan)
        return plan


def _chosen(path: Path, arrays: Mapping[str, Stored], asked: str | None) -> tuple[str, Stored]:
    name = asked if asked is not None else _first_fit(arrays)
    if name not in arrays:
        listed = ", ".join(f"{key} {stored.shape} {stored.dtype}" for key, stored in list(arrays.items())[:8])
        said = f"no array {asked!r}" if asked else "several arrays that may be a scan, or none"
        raise BadScanError(
            f"{path.name} has {said}: {listed or 'no array at all'}; name one in {sidecar_path(path).name}: "
            f'array = "NAME", or skip = true'
        )
    assert name is not None
    return name, arrays[name]


def _first_fit(arrays: Mapping[str, Stored]) -> str | None:
    """The array called kspace, or the only one that may be images."""
    if "kspace" in arrays:
        return "kspace"
    fitting = [name for name, stored in arrays.items() if len(stored.shape) >= 2]
    return fitting[0] if len(fitting) == 1 else None


def _content(stored: Stored, axes: tuple[str, ...]) -> str | None:
    if stored.dtype.kind != "c":
        return "magnitude"
    return "kspace" if "coil" in axes else None


def _check_plan(path: Path, plan: Plan) -> None:
    stored, (n_slices, n_coils, n_rows, n_columns) = plan.stored, plan.shape
    if plan.content == "magnitude" and stored.dtype.kind not in "biuf":
        raise BadScanError(f'{path.name}: {stored.dtype} are no magnitudes; say content = "images"')
    if plan.content in ("kspace", "coil-images", "images") and stored.dtype.kind != "c":
        raise BadScanError(
            f"{path.name}: {stored.dtype} is not complex, as {plan.content} is; export it complex"
        )
    if plan.content in ("images", "magnitude") and n_coils > 1:
        raise BadScanError(
            f'{path.name}: {plan.content} have no coil axis; coil images are content = "coil-images"'
        )
    if min(n_rows, n_columns) < 4 or n_slices < 1 or not 1 <= n_coils <= MAX_COILS:
        raise BadScanError(
            f"{path.name}: {n_slices} slices, {n_coils} coils, {n_rows} rows and {n_columns} columns are "
            "no scan; "
            f"the axes {list(plan.axes)} are in another order"
        )
    if len(plan.frames) > FRAMES_MOST:
        raise BadScanError(f"{path.name} has {len(plan.frames)} frames; at most {FRAMES_MOST} are read")


def _measured(
    path: Path,
    plan: Plan,
    samples: np.ndarray,
    axis: str | None,
    slices: Sequence[int] | None,
    check: bool,
    mask: np.ndarray | None,
) -> Acquisition:
    transformed = set(plan.sidecar.get("image_space", ()))
    if plan.content == "coil-images":
        transformed |= {"row", "column"}
    if axis is not None:
        kspace = _view(samples, transformed, axis)
        chosen = chosen_slices(slices, kspace.shape[0], path.name)
        kspace = kspace[list(chosen)]
    else:
        chosen = chosen_slices(slices, plan.shape[0], path.name)
        kspace = torch.from_numpy(np.ascontiguousarray(samples[list(chosen)], dtype=np.complex64))
        axes = tuple(number for number, name in ((-2, "row"), (-1, "column")) if name in transformed)
        kspace = to_kspace(kspace, axes) if axes else kspace
    if plan.sidecar.get("zero_frequency") == "first" and plan.content == "kspace":
        kspace = torch.fft.fftshift(kspace, (-2, -1))
    kspace = kspace.contiguous()
    found, acquirable = _sampling(path, plan, kspace, mask)
    if found is not None:
        kspace = torch.where(found, kspace, 0)
    if check:
        check_samples(kspace, chosen, path.name)
    shape = (int(kspace.shape[-2]), int(kspace.shape[-1]))
    crop = tuple(map(min, plan.sidecar.get("crop", shape), shape)) if axis in (None, "z") else shape
    readout = plan.sidecar.get("readout_axis", "row")
    if axis == "x":
        readout = "none"
    return Acquisition(
        kspace=kspace,
        name=path.name,
        slices=chosen,
        crop=crop,  # type: ignore[arg-type]
        acquirable=acquirable,
        mask=found,
        readout_axis=None if readout == "none" else readout,
    )


def _view(samples: np.ndarray, transformed: set[str], axis: str) -> Tensor:
    """A volume (slice, coil, row, column) of three encoded axes, cut along one."""
    names = dict(zip(("row", "column", "slice"), AXES, strict=True))
    volume = Volume(
        samples.transpose(1, 2, 3, 0), tuple(names[name] for name in transformed if name in names)
    )
    return volume.view(axis)


def _sampling(
    path: Path, plan: Plan, kspace: Tensor, mask: np.ndarray | None
) -> tuple[Tensor | None, Tensor]:
    """The scan's mask, None where all was acquired, and what could be acquired."""
    n_rows, n_columns = kspace.shape[-2:]
    if mask is not None:
        shapes = {
            (n_columns,): (1, n_columns),
            (1, n_columns): (1, n_columns),
            (n_rows, n_columns): (n_rows, n_columns),
        }
        if mask.shape not in shapes:
            raise BadScanError(
                f"{path.name}: the mask has shape {mask.shape} but the k-space has {n_rows} rows and "
                f"{n_columns} "
                f"columns; a mask is ({n_columns},) or ({n_rows}, {n_columns})"
            )
        found = torch.from_numpy(mask.reshape(shapes[mask.shape]).copy())[None, None]
        return found, torch.ones(1, 1, 1, n_columns, dtype=torch.bool)
    held = (kspace != 0).any(0).any(0)
    columns = held.any(0)
    if not columns.any():
        return None, torch.ones(1, 1, 1, n_columns, dtype=torch.bool)
    filled = columns.nonzero().flatten()
    acquirable = torch.zeros(n_columns, dtype=torch.bool)
    acquirable[filled[0] : filled[-1] + 1] = True
    inside = held[held.any(1)][:, acquirable]
    if plan.sidecar.get("mask") == "nonzero":
        found = columns[None] if bool((held[held.any(1)] == columns).all()) else held
        return found[None, None], acquirable[None, None, None]
    if not bool(inside.all()):
        raise BadScanError(
            f"{path.name}: {1 - inside.float().mean():.0%} of its samples are exactly 0 in every coil, so "
            "they were "
            f'hardly acquired; say which were in {sidecar_path(path).name}: mask = "NAME" of an array, or '
            f'mask = "nonzero"'
        )
    return None, acquirable[None, None, None]
