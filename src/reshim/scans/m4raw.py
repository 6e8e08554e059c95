"""M4Raw: brains at 0.3 T, four coils, every contrast repeated and each repetition a file.

Origin   Lyu et al., Sci. Data 10:264 (2023); 183 volunteers, XGY Oper-0.3. On Zenodo.
Licence  as stated on Zenodo.
Layout   fastMRI's: `kspace` (18, 4, 256, 256), `reconstruction_rss`, `ismrmrd_header`; the name says who,
         what and which repetition: 2022061003_T101.h5, _T202, _FLAIR01, and _GRE01 in the gradient echo
         subset.
Quirks   repetitions of one contrast share a subject and must not part. The gradient echo files have their
         centre 45 columns off, rows and columns exchanged and the last axis backwards: put right on reading
         (`m4raw_gre`); their stored image is not used.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from reshim.scans import fastmri
from reshim.scans.fingerprint import pseudonym
from reshim.scans.reader import scan_id_of
from reshim.types import Acquisition, ScanRecord

NAME = "m4raw"
GRE_SHIFT = -45
_FILE = re.compile(r"(?P<subject>\d{10})_(?P<contrast>T1|T2|FLAIR|GRE)(?P<repetition>\d{2})", re.IGNORECASE)


def matches(path: Path) -> bool:
    """True for HDF5 files that are named as M4Raw names them."""
    return path.suffix.lower() == ".h5" and _FILE.fullmatch(path.stem) is not None


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record: what the name says over what the header says."""
    record = fastmri.read_record(path, root, root_name)
    found = _FILE.fullmatch(path.stem)
    assert found is not None
    contrast = found["contrast"].upper()
    gre = contrast == "GRE"
    dataset = "m4raw_gre" if gre else "m4raw"
    n_rows, n_columns = (record.n_columns, record.n_rows) if gre else (record.n_rows, record.n_columns)
    crop = (record.recon_columns, record.recon_rows) if gre else (record.recon_rows, record.recon_columns)
    known = replace(
        record,
        scan_id=scan_id_of(dataset, record.path),
        dataset=dataset,
        # The gradient echo subset shows volunteers of the same study: one name for both.
        subject=pseudonym("m4raw", found["subject"]),
        anatomy="brain",
        contrast=contrast,
        view="axial",
        vendor="XGY",
        model=record.model or "Oper-0.3",
        field_tesla=0.3,
        n_rows=n_rows,
        n_columns=n_columns,
        recon_rows=crop[0],
        recon_columns=crop[1],
        extra=record.extra
        | {"reader": NAME, "repetition": int(found["repetition"]), "padding": [0, n_columns]},
    )
    return [known]


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    acquisition = fastmri.load(path, record, slices, check)
    if not _is_gre(path):
        return acquisition
    kspace = torch.roll(acquisition.kspace, GRE_SHIFT, -1).transpose(-2, -1).flip(-1).contiguous()
    acquirable = torch.ones(1, 1, 1, kspace.shape[-1], dtype=torch.bool)
    return replace(acquisition, kspace=kspace, crop=acquisition.crop[::-1], acquirable=acquirable)


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """The stored reference; None for gradient echoes, whose stored image lies unlike their k-space."""
    return None if _is_gre(path) else fastmri.load_reference(path, record, kind, slices)


def _is_gre(path: Path) -> bool:
    found = _FILE.fullmatch(path.stem)
    return found is not None and found["contrast"].upper() == "GRE"
