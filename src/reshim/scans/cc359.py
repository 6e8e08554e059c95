"""Calgary-Campinas (CC-359): T1 brains in 3D at 1 mm, the multi-coil reconstruction challenge.

Origin   Souza et al., NeuroImage 170:482 (2018); Beauferris et al., Front. Neurosci. 16:919186 (2022).
         GE 3 T.
Licence  as stated at ccdataset.com; downloaded after registration.
Layout   one HDF5 a head, `kspace` (slice, row, column, 2 x coil) float32: real and imaginary parts of each
         coil follow one another; 256 x 218 x 170 or 180, 12 or 32 coils; no header.
Quirks   the first axis is in image space already (readout was transformed); the image lies half a field of
         view off, which is a change of sign from sample to sample in k-space: put right on reading. The ends
         of the volume are empty. Axial is native, coronal and sagittal are other views of the same head.
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

NAME = "cc359"


def matches(path: Path) -> bool:
    """True for HDF5 files whose k-space is real, of 12 or 32 coils in pairs, and has no header."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return False
    seen = hdf5.glimpse(path)
    pairs = len(seen.kspace_shape) == 4 and seen.kspace_shape[-1] in (24, 64)
    return pairs and seen.kspace_kind == "f" and "ismrmrd_header" not in seen.names


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """The three views of one head."""
    return COLLECTION.read_records(
        path, root, root_name, patient=path.stem.split("_")[0], xyz_mm=(1.0, 1.0, 1.0)
    )


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    return COLLECTION.load(path, record, slices, check)


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: the files store k-space alone."""
    return None


def _shape_of(path: Path) -> tuple[int, int, int, int]:
    with hdf5.open_file(path) as file:
        kspace = hdf5.numeric(file, "kspace")
        if kspace is None or kspace.ndim != 4 or kspace.shape[-1] % 2:
            raise BadScanError(
                f"{path.name}: kspace is not (slice, row, column, 2 x coil); download it again"
            )
        x, y, z, pairs = map(int, kspace.shape)
        return pairs // 2, x, y, z


def _volume_of(path: Path, echo: int) -> Volume:
    with hdf5.open_file(path) as file:
        source = hdf5.numeric(file, "kspace")
        assert source is not None
        pairs = hdf5.read(source)
    samples = np.moveaxis(pairs[..., ::2] + 1j * pairs[..., 1::2], -1, 0).astype(np.complex64)
    rows, columns = np.ogrid[: samples.shape[2], : samples.shape[3]]
    # Counted from frequency 0 in the middle, so that the image keeps its sign.
    from_center = rows - samples.shape[2] // 2 + columns - samples.shape[3] // 2
    samples *= (1 - 2 * (from_center % 2)).astype(np.float32)
    return Volume(samples, ("x",))


COLLECTION = Collection(
    reader=NAME,
    shape_of=_shape_of,
    volume_of=_volume_of,
    views={"x": ("cc-359_ax", "axial"), "y": ("cc-359_cor", "coronal"), "z": ("cc-359_sag", "sagittal")},
    known={"anatomy": "brain", "contrast": "T1", "vendor": "GE", "field_tesla": 3.0, "protocol": "T1 3D"},
)
