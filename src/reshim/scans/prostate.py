"""fastMRI prostate, T2: three averages of a turbo spin echo at 3 T, each sampled at every second line.

Origin   Tibrewala et al., arXiv:2304.09254 (2023); fastmri.med.nyu.edu.
Licence  by agreement with NYU; nothing may be redistributed.
Layout   `kspace` (average, slice, coil, row, column) with 3 averages, `ismrmrd_header`, `reconstruction_rss`
         (of a GRAPPA reconstruction), `calibration_data`.
Quirks   averages 0 and 2 hold the odd columns, average 1 the even ones: merged on reading, the two that
         measured the same are averaged. The stored image comes from GRAPPA and is not used as a reference.
         Columns are zero-padded to the header's encoded matrix.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans import hdf5, vocabulary
from reshim.scans.header import ScannerHeader, parse
from reshim.scans.reader import check_samples, chosen_slices, make_record
from reshim.types import Acquisition, ScanRecord

NAME = "fastmri_prostate"
CROP = (320, 320)


def matches(path: Path) -> bool:
    """True for HDF5 files whose k-space has five axes of which the first counts 3 averages."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return False
    seen = hdf5.glimpse(path)
    return len(seen.kspace_shape) == 5 and seen.kspace_shape[0] == 3


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record from the headers."""
    header, shape, known = _read(path)
    n_slices, n_coils, n_rows, n_columns = shape
    crop = _crop(shape)
    return [
        make_record(
            path,
            root,
            root_name,
            reader=NAME,
            dataset="fastmri_prostate",
            patient=str(known.get("patient_id") or path.stem),
            anatomy="prostate",
            contrast="T2",
            view="axial",
            protocol=str(known.get("acquisition") or header.protocol or "") or None,
            orientation="flip-rows",
            vendor=vocabulary.vendor_of(header.vendor),
            model=header.model,
            field_tesla=vocabulary.field_of(header.field_tesla),
            spacing_mm=header.spacing_mm,
            echo_ms=header.echo_ms[0] if header.echo_ms else None,
            repetition_ms=header.repetition_ms,
            n_slices=n_slices,
            n_coils=n_coils,
            n_rows=n_rows,
            n_columns=n_columns,
            recon_rows=crop[0],
            recon_columns=crop[1],
            licence="NYU fastMRI agreement",
        )
    ]


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space, averages merged; see `scans.load`."""
    header, shape, _ = _read(path)
    chosen = chosen_slices(slices, shape[0], path.name)
    with hdf5.open_file(path) as file:
        source = hdf5.numeric(file, "kspace")
        assert source is not None
        averages = np.stack([hdf5.read(source, (slice(None), index)) for index in chosen], 1)
        merged = averages[1].copy()
        merged[..., 1::2] = (averages[0, ..., 1::2] + averages[2, ..., 1::2]) / 2
    left, right = header.padding(shape[3])
    kspace = torch.zeros(len(chosen), *shape[1:], dtype=torch.complex64)
    start = left if merged.shape[-1] <= shape[3] - left else 0
    kspace[..., start : start + merged.shape[-1]] = torch.from_numpy(merged)
    if check:
        check_samples(kspace, chosen, path.name)
    columns = torch.arange(shape[3])
    stop = min(right, start + merged.shape[-1])
    return Acquisition(
        kspace=kspace,
        name=path.name,
        slices=chosen,
        crop=_crop(shape),
        acquirable=((columns >= start) & (columns < stop))[None, None, None],
    )


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: the stored image is that of another reconstruction."""
    return None


def _read(path: Path) -> tuple[ScannerHeader, tuple[int, int, int, int], dict]:
    with hdf5.open_file(path) as file:
        source = hdf5.numeric(file, "kspace")
        if source is None or source.ndim != 5 or source.shape[0] != 3 or source.dtype.kind != "c":
            raise BadScanError(
                f"{path.name}: kspace is not (3 averages, slice, coil, row, column); export it again"
            )
        xml = hdf5.text(file, "ismrmrd_header")
        header = ScannerHeader() if xml is None else parse(xml, path.name)
        _, n_slices, n_coils, n_rows, n_columns = map(int, source.shape)
        encoded = header.encoded_matrix
        if encoded is not None and n_columns < encoded[1] <= 4 * n_columns:
            n_columns = encoded[1]
        return header, (n_slices, n_coils, n_rows, n_columns), hdf5.attributes(file)


def _crop(shape: tuple[int, int, int, int]) -> tuple[int, int]:
    return min(CROP[0], shape[2]), min(CROP[1], shape[3])
