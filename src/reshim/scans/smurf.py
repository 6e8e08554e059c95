"""SMURF: fat and water of abdomen, breast and knee, excited apart, as Siemens twix.

Origin   Harvard Dataverse, DVN/XNMCYI; B. Bachrata et al., Magn. Reson. Med. 86 (2021). The list of
         evaluation sets of arXiv:2508.13822 counts twelve of it: abdomen, breast and knee, each conventional,
         Dixon, with fat saturation and with water saturation.
Licence  as stated at the Dataverse; direct download.
Layout   twix `.dat`, one measurement a file, read as every twix file is; this reader knows files in a folder
         whose name contains `smurf`, and takes anatomy and preparation from the names.
Quirks   fat and water are two excitations of one subject and must not part: the subject is the folder.
Unverified  field (3 T is assumed nowhere; the header says), coil count, names of files, and whether the
         simultaneous excitation is stored as a set, an echo or by phase cycling. Only miniatures were read.
Citation B. Bachrata et al., as above.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from reshim.scans import twix, vocabulary
from reshim.scans.sidecar import read_sidecar
from reshim.types import Acquisition, ScanRecord

NAME = "smurf"
_PREPARATIONS = {"fatsat": "FS", "watersat": "WS", "dixon": "Dixon", "conventional": "conventional"}


def matches(path: Path) -> bool:
    """True for twix files with SMURF in their name or in that of one of three folders above."""
    named = any("smurf" in part.lower() for part in path.absolute().parts[-4:])
    return named and twix.matches(path)


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record a scan, three where it is a volume."""
    sidecar = read_sidecar(path)
    if sidecar.get("skip"):
        return []
    words = re.sub(r"[^a-z]", "", path.stem.lower())
    prepared = next((short for word, short in _PREPARATIONS.items() if word in words), None)
    inner = path.parent.name
    patient = path.stem if "smurf" in inner.lower() else inner
    return twix.records_of(
        path,
        root,
        root_name,
        {"dataset": NAME, **sidecar},
        NAME,
        anatomy=vocabulary.anatomy_of(path.stem, inner),
        contrast=None if prepared is None else f"GRE-{prepared}",
        patient=patient,
    )


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    return twix.load(path, record, slices, check)


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: raw data store no reference."""
    return None
