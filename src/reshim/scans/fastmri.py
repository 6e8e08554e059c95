"""fastMRI: knee and brain raw data of NYU Langone, and every file written in its layout.

Origin   Zbontar et al., arXiv:1811.08839; Knoll et al., Radiol. Artif. Intell. 2:e190007 (2020).
Licence  by agreement with NYU (fastmri.med.nyu.edu); nothing may be redistributed.
Layout   one HDF5 file a volume: `kspace` (slice, coil, row, column) complex64, row is readout;
         `reconstruction_rss` (slice, row, column) except in the test and challenge sets, which have a
         `mask` (column); `ismrmrd_header` (XML); attributes `max`, `norm`, `acquisition`, `patient_id`.
Quirks   readout is oversampled twofold; outer phase columns can be zero padding (from the header's limits);
         images are stored upside down; a few brain volumes (FLAIR 203) are narrower than their stated
         reconstruction and are scored on a square of their width, as the fastMRI code does.
Ours     simulated scans add `data_kind`, `subject`, `noise_covariance`, `reconstruction_clean`; other
         sources add `fully_sampled`, a `mask` (row, column), `padding_left`, `padding_right`, `readout_axis`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.physics.fourier import center_crop
from reshim.scans import hdf5, vocabulary
from reshim.scans.fingerprint import fingerprint, pseudonym
from reshim.scans.layout import REFERENCES, Layout, check_reference_shape, layout_of, read_layout
from reshim.scans.reader import (
    check_samples,
    chosen_slices,
    dataset_of_folder,
    relative_to_root,
    scan_id_of,
    split_of_folder,
    with_folder,
)
from reshim.types import Acquisition, ScanRecord

DATA_KINDS = ("simulated", "semi-synthetic", "emulated", "measured")
LESION = "lesion"
"""The label of every finding in a simulated file."""
LICENCES = {"fastmri_knee": "NYU fastMRI agreement", "fastmri_brain": "NYU fastMRI agreement"}


def matches(path: Path) -> bool:
    """True for every HDF5 file by its name or its first bytes: this reader explains what is wrong with it."""
    if path.suffix.lower() in (".h5", ".hdf5"):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def read_record(path: Path, root: Path | None = None, root_name: str | None = None) -> ScanRecord:
    """What the file's headers say; no k-space is read.

    Raises
    ------
    BadScanError
        If the file is cut short, has no `kspace`, has its axes in another order, or a mask of another length.
    """
    folder, relative = relative_to_root(path, root)
    layout = read_layout(path)
    known, header = layout.attributes, layout.header
    acquisition = _word(known, "acquisition") or _word(known, "protocol") or header.protocol
    root_name = root_name or folder.name
    dataset = _dataset_name(known, relative, root_name, acquisition, path.stem)
    anatomy, contrast, view = _what(known, acquisition, path.stem, relative)
    n_slices, n_coils, n_rows, n_columns = layout.shape
    field = known.get("field_tesla", header.field_tesla)
    record = ScanRecord(
        scan_id=scan_id_of(dataset, relative),
        root=root_name,
        path=relative,
        dataset=dataset,
        data_kind=_data_kind(known, path.name),
        subject=_subject(known, dataset, anatomy, path.stem),
        n_slices=n_slices,
        n_coils=n_coils,
        n_rows=n_rows,
        n_columns=n_columns,
        recon_rows=layout.crop[0],
        recon_columns=layout.crop[1],
        fully_sampled=layout.fully_sampled,
        fingerprint=fingerprint(path),
        view_of=_word(known, "view_of"),
        split=_word(known, "split") or split_of_folder(relative),
        anatomy=anatomy,
        contrast=contrast,
        protocol=_word(known, "protocol") or acquisition,
        view=view,
        orientation=_word(known, "orientation") or ("flip-rows" if dataset in LICENCES else None),
        vendor=vocabulary.vendor_of(_word(known, "vendor") or header.vendor),
        model=_word(known, "model") or header.model,
        field_tesla=vocabulary.field_of(field if isinstance(field, int | float) else None),
        spacing_mm=_numbers(known.get("spacing_mm")) or header.spacing_mm,
        echo_ms=header.echo_ms[0] if header.echo_ms else None,
        repetition_ms=header.repetition_ms,
        inversion_ms=header.inversion_ms,
        licence=_word(known, "licence") or LICENCES.get(dataset),
        # What batches must share besides the shape stands in the catalog, so that nobody opens files for it.
        extra={"padding": list(layout.padding), "readout_axis": layout.readout_axis or "none"},
    )
    return with_folder(record, folder, "fastmri")


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """`read_record` as a list of one."""
    return [read_record(path, root, root_name)]


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space, zero where the scan's own mask leaves out; see `scans.load`."""
    layout = layout_of(path)
    chosen = chosen_slices(slices, layout.shape[0], path.name)
    with hdf5.open_file(path) as file:
        kspace = _kspace(file, layout, chosen)
        covariance = _noise_covariance(file, layout)
    mask = None if layout.mask is None else torch.from_numpy(layout.mask.copy())[None, None]
    if not layout.fully_sampled:
        if mask is None:
            raise BadScanError(
                f"{path.name} says that it is undersampled (fully_sampled = False) but carries no mask; "
                f"which "
                "samples were acquired is never guessed from zeros: add a dataset `mask` (column) or (row, "
                "column)"
            )
        kspace = torch.where(mask, kspace, 0)
    columns = torch.arange(layout.shape[3])
    acquirable = ((columns >= layout.padding[0]) & (columns < layout.padding[1]))[None, None, None]
    if check:
        check_samples(kspace, chosen, path.name)
    return Acquisition(
        kspace=kspace,
        name=path.name,
        slices=chosen,
        crop=layout.crop,
        acquirable=acquirable,
        mask=mask,
        readout_axis=layout.readout_axis,
        noise_covariance=covariance,
        noise_std=_positive(layout.attributes.get("noise_std")),
    )


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """The stored reference on the crop, or None; see `scans.load_reference`.

    ``segmentation`` is 1 where the simulated truth's label is a lesion.

    Raises
    ------
    BadScanError
        If `kind` is none of `rss`, `mvue`, `clean`, `segmentation`.
    """
    if kind == "segmentation":
        return _segmentation(path, slices)
    if kind not in REFERENCES:
        raise BadScanError(f"there is no reference {kind!r}; references are {', '.join(REFERENCES)}")
    layout = layout_of(path)
    chosen = chosen_slices(slices, layout.shape[0], path.name)
    with hdf5.open_file(path) as file:
        found = next(filter(None, (hdf5.numeric(file, name) for name in REFERENCES[kind])), None)
        if found is None:
            return None
        check_reference_shape(found, layout.shape, path.name)
        image = torch.from_numpy(hdf5.read_slices(found, chosen))
    image = image.to(torch.complex64 if image.is_complex() else torch.float32)
    # What is stored larger than what is scored shares its centre; the crop was never larger than it.
    return center_crop(image, layout.crop)


def _segmentation(path: Path, slices: Sequence[int] | None) -> Tensor | None:
    layout = layout_of(path)
    chosen = chosen_slices(slices, layout.shape[0], path.name)
    with hdf5.open_file(path) as file:
        found = hdf5.numeric(file, "labels")
        if found is None:
            return None
        check_reference_shape(found, layout.shape, path.name)
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in found.attrs.get("names", ())]
        if LESION not in names:
            return None
        labels = torch.from_numpy(hdf5.read_slices(found, chosen))
    return center_crop((labels == names.index(LESION)).to(torch.int64), layout.crop)


def _kspace(file: h5py.File, layout: Layout, chosen: tuple[int, ...]) -> Tensor:
    source = hdf5.numeric(file, "kspace")
    assert source is not None
    samples = np.asarray(hdf5.read_slices(source, chosen), dtype=np.complex64)
    return torch.from_numpy(samples if layout.has_coil_axis else samples[:, None])


def _noise_covariance(file: h5py.File, layout: Layout) -> Tensor | None:
    found = hdf5.numeric(file, "noise_covariance")
    if found is None:
        return None
    n_coils = layout.shape[1]
    if found.shape != (n_coils, n_coils):
        raise BadScanError(
            f"{Path(file.filename).name}: noise_covariance has shape {found.shape} but the k-space has "
            f"{n_coils} "
            f"coils; it is {n_coils}x{n_coils}: write that of these coils or leave it out"
        )
    return torch.from_numpy(np.asarray(hdf5.read(found), dtype=np.complex64))


def _word(known: dict[str, Any], name: str) -> str | None:
    value = known.get(name)
    return str(value).strip()[:200] or None if value is not None else None


def _numbers(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, int | float) and item > 0 for item in value):
        return None
    return tuple(map(float, value))


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 and np.isfinite(value) else None


def _data_kind(known: dict[str, Any], name: str) -> Any:
    kind = known.get("data_kind", "measured")
    if kind not in DATA_KINDS:
        raise BadScanError(f"{name}: data_kind is {kind!r}; it is one of {DATA_KINDS}: correct the attribute")
    return kind


def _what(
    known: dict[str, Any], acquisition: str | None, stem: str, relative: str
) -> tuple[str | None, str | None, str | None]:
    """Anatomy, contrast and view: as the file states, as the protocol is known, or as the names say."""
    names = (acquisition, stem, relative)
    official = vocabulary.PROTOCOLS.get(acquisition or "", (None, None, None))
    guessed = vocabulary.anatomy_of(*names), vocabulary.contrast_of(*names), vocabulary.view_of(*names)
    stated = (_word(known, name) for name in ("anatomy", "contrast", "view"))
    return tuple(a or b or c for a, b, c in zip(stated, official, guessed, strict=True))  # type: ignore[return-value]


def _dataset_name(known: dict[str, Any], relative: str, root: str, acquisition: str | None, stem: str) -> str:
    stated = _word(known, "dataset")
    if stated:
        return stated
    if known.get("data_kind") == "simulated":
        return "simulated"
    # The files of NYU are called file1000052 (knee) and file_brain_AXT2_200_2000080.
    if acquisition in vocabulary.PROTOCOLS and re.fullmatch(r"file\d+|file_brain_\w+", stem):
        return f"fastmri_{vocabulary.PROTOCOLS[acquisition][0]}"
    return dataset_of_folder(relative, root)


def _subject(known: dict[str, Any], dataset: str, anatomy: str | None, stem: str) -> str:
    if known.get("data_kind") == "simulated" and "subject" in known:
        subject = str(known["subject"])
        return f"{anatomy or dataset}-{int(subject):04d}" if subject.isdecimal() else subject
    return pseudonym(dataset, _word(known, "patient_id") or stem)
