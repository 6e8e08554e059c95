"""fastMRI breast: dynamic contrast-enhanced breasts, radial stack of stars at golden angles; read gridded.

Origin   Solomon et al., fastMRI Breast (2024/25); fastmri.med.nyu.edu, github.com/eddysolo/demo_dce_recon.
Licence  by agreement with NYU; nothing may be redistributed.
Layout   one HDF5 an examination, fastMRI_breast_001_1.h5 (patient, part): `kspace` (partition, coil, sample,
         spoke, 2) float, real and imaginary part last; attributes `partitions` 83, `centerPartition` 32 (31
         in the published script), `imagesPerSlab` 192; 640 samples of 320 oversampled twofold.
Quirks   our physics is Cartesian: all spokes of a slice are gridded (`gridding.py`) and transformed onto
         320 x 320, so the scan is `semi-synthetic`: samples are interpolated, the corners outside the
         measured disc are empty, and contrast uptake over the examination is averaged. Partitions are
         zero-filled to the slab and transformed; slices that this interpolates are not independent.
         A scan stored without the attributes is filled to nothing.
Unverified  the order of axes and angles is that of the published reconstruction script; field (3 T), vendor
         and coil count are not stated in the file. Only miniatures were read.
Citation Solomon et al., as above.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.physics.fourier import to_image, to_kspace
from reshim.scans import hdf5
from reshim.scans.gridding import radial_image
from reshim.scans.reader import check_samples, chosen_slices, make_record
from reshim.types import Acquisition, ScanRecord

NAME = "fastmri_breast"
_FILE = re.compile(r"fastMRI_breast_(?P<patient>\d+)_\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Sizes:
    partitions: int
    coils: int
    samples: int
    spokes: int
    slices: int
    first: int
    """Where the first partition goes among the slab's frequencies."""

    @property
    def size(self) -> int:
        return self.samples // 2


def matches(path: Path) -> bool:
    """True for HDF5 files of real k-space with five axes of which the last holds pairs."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return False
    seen = hdf5.glimpse(path)
    return len(seen.kspace_shape) == 5 and seen.kspace_shape[-1] == 2 and seen.kspace_kind == "f"


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record an examination."""
    sizes, found = _sizes(path), _FILE.match(path.stem)
    return [
        make_record(
            path,
            root,
            root_name,
            reader=NAME,
            dataset=NAME,
            patient=found["patient"] if found else path.stem,
            data_kind="semi-synthetic",
            anatomy="breast",
            contrast="T1-post",
            protocol="DCE radial stack of stars",
            view="axial",
            vendor="Siemens",
            licence="NYU fastMRI agreement",
            n_slices=sizes.slices,
            n_coils=sizes.coils,
            n_rows=sizes.size,
            n_columns=sizes.size,
            recon_rows=sizes.size,
            recon_columns=sizes.size,
            extra={"spokes": sizes.spokes, "gridded": True},
        )
    ]


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' gridded k-space; see `scans.load`."""
    sizes, status = _sizes(path), path.stat()
    chosen = chosen_slices(slices, sizes.slices, path.name)
    along = _slab(path, status.st_size, status.st_mtime_ns)
    kspace = torch.stack([to_kspace(radial_image(along[index], sizes.size)) for index in chosen])
    if check:
        check_samples(kspace, chosen, path.name)
    return Acquisition(
        kspace=kspace,
        name=path.name,
        slices=chosen,
        crop=(sizes.size, sizes.size),
        acquirable=torch.ones(1, 1, 1, sizes.size, dtype=torch.bool),
    )


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: the stored `temptv` is another reconstruction."""
    return None


@lru_cache(maxsize=1)
def _slab(path: Path, size: int, mtime_ns: int) -> np.ndarray:
    """(slice, coil, spoke, sample), transformed along partitions."""
    sizes = _sizes(path)
    with hdf5.open_file(path) as file:
        source = hdf5.numeric(file, "kspace")
        assert source is not None
        pairs = hdf5.read(source)
    samples = (pairs[..., 0] + 1j * pairs[..., 1]).astype(np.complex64).transpose(0, 1, 3, 2)
    slab = torch.zeros(sizes.slices, *samples.shape[1:], dtype=torch.complex64)
    slab[sizes.first : sizes.first + sizes.partitions] = torch.from_numpy(samples)
    return to_image(slab, (0,)).numpy()


def _sizes(path: Path) -> _Sizes:
    with hdf5.open_file(path) as file:
        source = hdf5.numeric(file, "kspace")
        if source is None or source.ndim != 5 or source.shape[-1] != 2:
            raise BadScanError(
                f"{path.name}: kspace is not (partition, coil, sample, spoke, 2); download it again"
            )
        partitions, coils, samples, spokes, _ = map(int, source.shape)
        slices = _whole(source.attrs.get("imagesPerSlab"), partitions)
        # Counted from 1 in the file: 32 is the middle where the published script counts 31 from 0.
        center = _whole(source.attrs.get("centerPartition"), partitions // 2 + 1) - 1
    first = slices // 2 - center
    if samples < 8 or spokes < 4 or not 0 <= first <= slices - partitions or slices > 4 * partitions:
        raise BadScanError(
            f"{path.name}: {partitions} partitions around {center} do not fit a slab of {slices} images; the "
            "attributes are those of another file"
        )
    return _Sizes(partitions, coils, samples, spokes, slices, first)


def _whole(value: Any, otherwise: int) -> int:
    try:
        return int(value.decode() if isinstance(value, bytes) else value)
    except (TypeError, ValueError):
        return otherwise
