"""Records of files that belong to no collection: what the file says, what its names say, what a sidecar says.

The sidecar is believed before the file, the file before its names. What stays unknown is kept in the record
(`extra["unknown"]`), so that ``reshim index`` can list it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from reshim.scans import vocabulary
from reshim.scans.reader import dataset_of_folder, make_record, relative_to_root
from reshim.scans.sidecar import NUMBERS, WORDS, sidecar_path
from reshim.types import ScanRecord

WORTH_KNOWING = ("anatomy", "contrast", "view", "vendor", "field_tesla", "spacing_mm")


def own_record(
    path: Path,
    root: Path | None,
    root_name: str | None,
    sidecar: dict[str, Any],
    shape: tuple[int, int, int, int],
    crop: tuple[int, int],
    reader: str,
    **inferred: Any,
) -> ScanRecord:
    """The record of a scan (slice, coil, row, column) from what is `inferred` and what the sidecar says."""
    folder, relative = relative_to_root(path, root)
    stated = {name: sidecar[name] for name in (*WORDS, *NUMBERS, "spacing_mm") if name in sidecar}
    known = {name: value for name, value in inferred.items() if value is not None} | stated
    names = (known.get("protocol"), path.stem, *reversed(relative.split("/")[:-1]))
    known.setdefault("anatomy", vocabulary.anatomy_of(*names))
    known.setdefault("contrast", vocabulary.contrast_of(*names))
    known.setdefault("view", vocabulary.view_of(*names))
    known["vendor"] = vocabulary.vendor_of(known.get("vendor"))
    known["field_tesla"] = vocabulary.field_of(known.get("field_tesla"))
    if known.get("spacing_mm") is not None:
        known["spacing_mm"] = tuple(map(float, known["spacing_mm"]))
    extra = known.pop("extra", {})
    if "spacing_mm" in sidecar and "stored" in extra:
        # A sidecar speaks of the file; the matrix may have been cut to what was measured.
        known["spacing_mm"] = spacing_at(known["spacing_mm"], tuple(extra["stored"][1:]), shape[2:])
    dataset = known.pop("dataset", None) or dataset_of_folder(relative, root_name or folder.name)
    patient = known.pop("subject", None) or known.pop("patient", None) or path.stem
    known.pop("patient", None)
    unknown = [name for name in WORTH_KNOWING if known.get(name) is None]
    extra = extra | ({"unknown": unknown} if unknown else {})
    split = known.pop("split", None)
    sizes = dict(zip(("n_slices", "n_coils", "n_rows", "n_columns"), shape, strict=True))
    record = make_record(
        path,
        root,
        root_name,
        reader=reader,
        dataset=dataset,
        patient=patient,
        extra=extra,
        recon_rows=crop[0],
        recon_columns=crop[1],
        **sizes,
        **known,
    )
    return record if split is None else replace(record, split=split)


def spacing_at(
    spacing_mm: tuple[float, float, float], stored: tuple[int, int], extent: tuple[int, int]
) -> tuple[float, float, float]:
    """Spacing after the matrix was cut: the field of view stays."""
    return (
        spacing_mm[0],
        spacing_mm[1] * (stored[0] / extent[0]),
        spacing_mm[2] * (stored[1] / extent[1]),
    )


def what_is_missing(record: ScanRecord) -> str | None:
    """One line on what is not known of a scan of one's own, and where to say it; None where all is known."""
    unknown = record.extra.get("unknown")
    if not unknown:
        return None
    return (
        f"{record.path}: {', '.join(unknown)} not known; write "
        + f"{sidecar_path(Path(record.path)).name} beside it"
        + f", e.g. {unknown[0]} = {_EXAMPLES[unknown[0]]}"
    )


_EXAMPLES = {
    "anatomy": '"knee"',
    "contrast": '"PD-FS"',
    "view": '"coronal"',
    "vendor": '"Siemens"',
    "field_tesla": "3.0",
    "spacing_mm": "[3.0, 0.5, 0.5]  # slice, row, column",
}
