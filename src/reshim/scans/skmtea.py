"""SKM-TEA: quantitative double-echo knees (qDESS) in 3D at 3 T, two echoes a scan.

Origin   Desai et al., arXiv:2203.06823 (2021); Stanford AIMI. GE 3 T, 155 patients.
Licence  by agreement with Stanford; nothing may be redistributed.
Layout   one HDF5 a scan, `kspace` (x, ky, kz, echo, coil) complex64; `maps`, `target`, `masks` beside it.
Quirks   x is in image space already. Sagittal is native, axial and coronal are other views of the same knee
         (which way x and y run in the body is unverified). The outer columns are padding: 48 to 464 of 512
         were acquired. The two echoes are two contrasts of one knee and must not part.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans import hdf5
from reshim.scans.volume import Volume
from reshim.scans.volumes import Collection
from reshim.types import Acquisition, ScanRecord

NAME = "skmtea"
ACQUIRED = (48, 464)
FULL_COLUMNS = 512


def matches(path: Path) -> bool:
    """True for HDF5 files whose k-space has five axes of which the fourth counts two echoes."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return False
    seen = hdf5.glimpse(path)
    return len(seen.kspace_shape) == 5 and seen.kspace_shape[3] == 2


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """The two echoes of one knee, each in its sagittal, axial and coronal view."""
    return _collection(path).read_records(path, root, root_name, patient=path.stem)


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    return _collection(path).load(path, record, slices, check)


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: the stored target is a reconstruction with maps of its own."""
    return None


def _collection(path: Path) -> Collection:
    padded = _shape_of(path)[2] == FULL_COLUMNS
    return Collection(
        reader=NAME,
        shape_of=_shape_of,
        volume_of=_volume_of,
        # Sagittal is native; x runs from foot to head, y from front to back.
        views={"z": ("skm-tea", "sagittal"), "x": ("skm-tea_ax", "axial"), "y": ("skm-tea_cor", "coronal")},
        echoes=2,
        known={
            "anatomy": "knee",
            "contrast": "DESS",
            "vendor": "GE",
            "field_tesla": 3.0,
            "protocol": "qDESS",
            "licence": "Stanford AIMI agreement",
        },
        columns=ACQUIRED if padded else None,
    )


def _shape_of(path: Path) -> tuple[int, int, int, int]:
    with hdf5.open_file(path) as file:
        kspace = hdf5.numeric(file, "kspace")
        if kspace is None or kspace.ndim != 5:
            raise BadScanError(f"{path.name}: kspace is not (x, ky, kz, echo, coil); download it again")
        x, y, z, _, n_coils = map(int, kspace.shape)
        return n_coils, x, y, z


def _volume_of(path: Path, echo: int) -> Volume:
    with hdf5.open_file(path) as file:
        source = hdf5.numeric(file, "kspace")
        assert source is not None
        samples = hdf5.read(source, (slice(None), slice(None), slice(None), echo))
    return Volume(np.moveaxis(samples, -1, 0).astype(np.complex64), ("x",))
