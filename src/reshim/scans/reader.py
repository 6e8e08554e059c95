"""What every reader of a collection is built from: where a scan lies, and a scan once it is opened."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans.fingerprint import fingerprint, pseudonym
from reshim.types import Acquisition, KSpace, ScanRecord

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "test": "test",
    "challenge": "test",
}


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan that has been opened: its record, and its samples on demand.

    `path` is where the file lies on this machine; the record's own path is relative to its root.
    """

    record: ScanRecord
    path: Path
    reader: ModuleType

    def load(self, slices: Sequence[int] | None = None, check: bool = True) -> Acquisition:
        """The slices' k-space and geometry; all slices unless told. See `scans.load`."""
        return self.reader.load(self.path, self.record, slices, check)

    def reference(self, kind: str, slices: Sequence[int] | None = None) -> Tensor | None:
        """The stored reference `rss`, `mvue` or `clean` (slice, row, column), cropped; None where absent."""
        return self.reader.load_reference(self.path, self.record, kind, slices)


def located(record: ScanRecord) -> Path:
    """Where the record's file lies: its path under the folder of its root.

    Raises
    ------
    BadScanError
        If the record has no folder, or the file is not there any more.
    """
    folder = record.extra.get("folder")
    if folder is None:
        raise BadScanError(
            f"{record.scan_id}: its root {record.root!r} has no folder on this machine; name it: "
            f"Catalog.read(path, roots={{{record.root!r}: folder}})"
        )
    path = Path(folder) / record.path
    if not path.exists():
        raise BadScanError(
            f"{record.scan_id}: {record.path} is not under {folder}, the folder of root {record.root!r}; "
            f"the file "
            f"moved: index it again, or name the new folder: RESHIM_ROOT_{env_name(record.root)}=FOLDER"
        )
    return path


def env_name(root: str) -> str:
    """The end of the environment variable that moves a root."""
    return re.sub(r"\W", "_", root).upper()


def relative_to_root(path: Path, root: Path | None) -> tuple[Path, str]:
    """The root folder and the path under it, with forward slashes on every machine."""
    path = path.absolute()
    folder = path.parent if root is None else root.absolute()
    try:
        return folder, path.relative_to(folder).as_posix()
    except ValueError:
        raise BadScanError(f"{path} does not lie under its root {folder}; name a root above it") from None


def split_of_folder(relative: str) -> str | None:
    """The split that a folder's name gives, as in ``multicoil_train``; the nearest folder decides."""
    for part in reversed(relative.lower().split("/")[:-1]):
        for word in reversed(re.split(r"[^a-z]+", part)):
            if word in SPLIT_FOLDERS:
                return SPLIT_FOLDERS[word]
    return None


def dataset_of_folder(relative: str, root: str) -> str:
    """The nearest folder that names more than a split, else the root."""
    for part in reversed(relative.split("/")[:-1]):
        words = [word for word in re.split(r"[^a-z]+", part.lower()) if word]
        if any(word not in SPLIT_FOLDERS and word not in ("multicoil", "singlecoil") for word in words):
            return part
    return root


def scan_id_of(dataset: str, relative: str, part: str | None = None) -> str:
    """A scan's name in a catalog: dataset, path without its ending, and the part where a file has several."""
    path = re.sub(r"\.(nii\.gz|\w{1,8})$", "", relative)
    name = path if path.split("/")[0] == dataset else f"{dataset}/{path}"
    return name if part is None else f"{name}#{part}"


def chosen_slices(slices: Sequence[int] | None, n_slices: int, name: str) -> tuple[int, ...]:
    """The slice numbers asked for, all of them unless told; negative ones count from the end."""
    if slices is None:
        return tuple(range(n_slices))
    for index in slices:
        if not -n_slices <= index < n_slices:
            raise BadScanError(f"{name} has no slice {index}; it has {n_slices}: choose 0 to {n_slices - 1}")
    return tuple(int(index) % n_slices for index in slices)


def check_samples(kspace: KSpace, slices: tuple[int, ...], name: str) -> None:
    """Refuse slices that hold no signal, no number or a number without an energy, naming the first.

    Raises
    ------
    BadScanError
        If a slice is all zero, holds NaN or infinity where it was acquired, or samples so large that the
        energy of the slice is beyond single precision: bytes that were damaged often read as such.
    """
    largest = torch.view_as_real(kspace).abs().flatten(1).amax(1)
    bound = (torch.finfo(torch.float32).max / (2 * kspace[0].numel())) ** 0.5
    for index, value in zip(slices, largest.tolist(), strict=True):
        if not np.isfinite(value):
            raise BadScanError(
                f"{name}, slice {index}: k-space holds {'NaN' if np.isnan(value) else 'infinity'} among its "
                f"acquired "
                "samples; every acquired sample is a finite number: export the scan again or leave the "
                "slice out"
            )
        if value > bound:
            raise BadScanError(
                f"{name}, slice {index}: k-space holds a sample of {value:.2g}; up to {bound:.2g} the energy "
                "of a slice of this size is a number in single precision: the file is likely damaged, export "
                "the scan again or leave the slice out"
            )
        if value == 0:
            raise BadScanError(
                f"{name}, slice {index}: k-space is all zero; an acquired slice holds signal or at least "
                f"noise: the "
                "file is likely cut short, copy it again or leave the slice out"
            )


def make_record(
    path: Path, root: Path | None, root_name: str | None, *, reader: str, dataset: str, **known: Any
) -> ScanRecord:
    """A collection's record: names, places and fingerprint are the same for all, the rest is `known`.

    `part` (a view or an echo) becomes the end of the scan's name; `patient` is turned into a pseudonym.
    """
    folder, relative = relative_to_root(path, root)
    part, patient = known.pop("part", None), known.pop("patient", None)
    extra = known.pop("extra", {}) | ({} if part is None else {"part": part})
    record = ScanRecord(
        scan_id=scan_id_of(dataset, relative, part),
        root=root_name or folder.name,
        path=relative,
        dataset=dataset,
        subject=pseudonym(dataset, patient or path.stem),
        split=split_of_folder(relative),
        fingerprint=fingerprint(path),
        extra=extra,
        **{"data_kind": "measured", "fully_sampled": True, **known},
    )
    return with_folder(record, folder, reader)


def with_folder(record: ScanRecord, folder: Path, reader: str) -> ScanRecord:
    """The record, knowing where its root lies on this machine and who reads it."""
    return replace(record, extra={**record.extra, "folder": str(folder), "reader": reader})
