"""BraTS: brain tumours in four contrasts with their segmentation; a user's own copy, for segmentation tasks.

Origin   B. H. Menze et al., IEEE Trans. Med. Imaging 34:1993 (2015); U. Baid et al., arXiv:2107.02314 (2021).
         Many sites, 1.5 and 3 T.
Licence  by registration with the challenge of each year (Synapse); nothing may be redistributed.
Layout   a folder a patient, NIfTI of 240 x 240 x 155 at 1 mm: BraTS2021_00000_t1, _t1ce, _t2, _flair, _seg up
         to 2021; BraTS-GLI-00000-000-t1n, -t1c, -t2w, -t2f, -seg since 2023.
Quirks   emulated scans: images are registered, interpolated to 1 mm and stripped of the skull, so the
         background is exactly 0 and every method looks better than it is. Of the segmentation (1 necrosis, 2
         oedema, 3 or 4 enhancing) `load_reference(record, "segmentation")` gives the labels on the matrix of
         the scan; it is no scan itself. Vendor and field of a patient are not published.
Unverified  that layouts of later years keep these names; the miniatures follow the two above.
Citation S. Bakas et al., Sci. Data 4:170117 (2017).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from reshim.scans import nifti
from reshim.scans.reader import chosen_slices
from reshim.scans.sidecar import read_sidecar
from reshim.types import Acquisition, ScanRecord

NAME = "brats"
CONTRASTS = {"t1": "T1", "t1n": "T1", "t1ce": "T1-post", "t1c": "T1-post", "t2": "T2", "t2w": "T2"}
CONTRASTS |= {"flair": "FLAIR", "t2f": "FLAIR"}
_FILE = re.compile(
    r"(?P<patient>BraTS[-_]?\w*?[-_]\d+(?:-\d+)?)(?P<sep>[-_])(?P<what>t1ce|t1c|t1n|t1|t2w|t2f|t2|flair|seg)\.nii(\.gz)?",
    re.IGNORECASE,
)


def matches(path: Path) -> bool:
    """True for NIfTI files that are named as BraTS names them."""
    return _FILE.fullmatch(path.name) is not None


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record a contrast; none for the segmentation."""
    found, sidecar = _FILE.fullmatch(path.name), read_sidecar(path)
    assert found is not None
    if found["what"].lower() == "seg" or sidecar.get("skip"):
        return []
    return nifti.records_of(
        path,
        root,
        root_name,
        {"dataset": NAME, **sidecar},
        NAME,
        anatomy="brain",
        contrast=CONTRASTS[found["what"].lower()],
        protocol=found["what"],
        # A second visit ("-001") is the same patient.
        patient=re.sub(r"-\d{3}$", "", found["patient"]),
        licence="BraTS registration",
    )


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The emulated k-space of the slices; see `scans.load`."""
    return nifti.load(path, record, slices, check)


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """The clean image, or the labels of `segmentation` (slice, row, column) int64; None where absent."""
    if kind != "segmentation":
        return nifti.load_reference(path, record, kind, slices)
    found = _FILE.fullmatch(path.name)
    assert found is not None
    ending = path.name[len(found["patient"] + found["sep"] + found["what"]) :]
    beside = path.with_name(f"{found['patient']}{found['sep']}seg{ending}")
    if not beside.is_file():
        return None
    labels = torch.from_numpy(nifti.images_of(beside, None).copy()).round().to(torch.int64)
    labels = labels[list(chosen_slices(slices, len(labels), path.name))]
    extent = nifti.extent_on(path)
    if tuple(labels.shape[-2:]) == extent:
        return labels
    # Labels have no spectrum to cut: the nearest of the finer matrix, around the same centre.
    rows, columns = (
        ((torch.arange(n) - n // 2) * whole / n + whole // 2).round().long().clamp(0, whole - 1)
        for n, whole in zip(extent, labels.shape[-2:], strict=True)
    )
    return labels[..., rows, :][..., columns]
