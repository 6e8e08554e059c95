"""CMRxRecon: cardiac cine and mapping at 3 T, multi-coil, of the challenges of 2023 to 2025.

Origin   Wang et al., Sci. Data 11:687 (2024); github.com/CmrxRecon. Siemens 3 T (2023), several vendors
         later.
Licence  as stated at Synapse; downloaded after registration.
Layout   MATLAB v7.3 files (HDF5): `kspace_full` or `kspace_sub04` and the like, (x, y, coil, slice, time) in
         MATLAB, which h5py shows in reverse; real and imaginary parts are a record. P001/cine_sax.mat,
         cine_lax.mat, T1map.mat, T2map.mat; the folder names the patient.
Quirks   the order of axes is reversed on reading; every time frame of every slice is a slice here, time
         running fastest; an undersampled file's mask lies in a file of its own, so only full ones are read.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans import hdf5
from reshim.scans.reader import check_samples, chosen_slices, make_record
from reshim.scans.sidecar import has_sidecar
from reshim.types import Acquisition, ScanRecord

NAME = "cmrxrecon"
KEYS = ("kspace_full", "kspace")
_KINDS = {"cine_sax": ("CINE", "short-axis"), "cine_lax": ("CINE", "long-axis")}
_KINDS |= {"t1map": ("T1-map", "short-axis"), "t2map": ("T2-map", "short-axis")}


def matches(path: Path) -> bool:
    """True for MATLAB v7.3 files with a full k-space, unless a sidecar says that they are somebody's own."""
    if path.suffix.lower() != ".mat" or has_sidecar(path):
        return False
    return bool(hdf5.glimpse(path).names & set(KEYS))


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record; time frames are slices."""
    with hdf5.open_file(path) as file:
        n_times, n_slices, n_coils, n_columns, n_rows = _shape(file, path.name)
    patient = next(
        (part for part in reversed(path.parts[:-1]) if re.fullmatch(r"[Pp]\d+", part)), path.parent.name
    )
    contrast, view = _KINDS.get(path.stem.lower(), ("CINE", None))
    record = make_record(
        path,
        root,
        root_name,
        reader=NAME,
        dataset=NAME,
        patient=patient,
        anatomy="heart",
        contrast=contrast,
        view=view,
        protocol=path.stem,
        field_tesla=3.0,
        vendor="Siemens",
        n_slices=n_slices * n_times,
        n_coils=n_coils,
        n_rows=n_rows,
        n_columns=n_columns,
        recon_rows=n_rows,
        recon_columns=n_columns,
        extra={"n_times": n_times},
    )
    return [record]


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The frames' k-space; see `scans.load`."""
    with hdf5.open_file(path) as file:
        n_times, n_slices, _, n_columns, n_rows = _shape(file, path.name)
        chosen = chosen_slices(slices, n_slices * n_times, path.name)
        source = _source(file)
        assert source is not None
        whole = source.ndim == 5
        frames = [hdf5.read(source, (n % n_times, n // n_times) if whole else (n,)) for n in chosen]
    kspace = torch.from_numpy(np.stack(frames).astype(np.complex64).swapaxes(-2, -1).copy())
    if check:
        check_samples(kspace, chosen, path.name)
    return Acquisition(
        kspace=kspace,
        name=f"{path.parent.name}_{path.name}",
        slices=chosen,
        crop=(n_rows, n_columns),
        acquirable=torch.ones(1, 1, 1, n_columns, dtype=torch.bool),
    )


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: the files store k-space alone."""
    return None


def _source(file: h5py.File) -> h5py.Dataset | None:
    return next((found for key in KEYS if (found := hdf5.numeric(file, key)) is not None), None)


def _shape(file: h5py.File, name: str) -> tuple[int, int, int, int, int]:
    source = _source(file)
    if source is None or source.ndim not in (4, 5):
        raise BadScanError(
            f"{name}: there is no k-space (time, slice, coil, y, x) as h5py shows it; check the file"
        )
    shape = tuple(map(int, source.shape))
    return shape if len(shape) == 5 else (1, *shape)  # type: ignore[return-value]
