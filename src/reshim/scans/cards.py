"""The cards of the readers as a table: the page on scans is made of what the readers say of themselves."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

from reshim.scans import READERS

MET = {
    "fastmri": "real scans of other origin in this layout; NYU's own files as miniatures",
    "nifti": "real files",
    "numpy": "real arrays",
}
"""What a reader has read besides its miniature; the others have read miniatures alone."""

INDEPENDENT = {
    "fastmri": "fastmri",
    "m4raw": "fastmri",
    "skmtea": "deepinv",
    "cc359": "deepinv",
    "cmrxrecon": "deepinv",
    "bart": "bart",
    "mrd": "ismrmrd, mrpro",
    "smurf": "twixtools",
    "twix": "twixtools",
    "nifti": "nibabel",
    "brats": "nibabel",
    "dicom": "pydicom",
    "matlab": "scipy",
    "numpy": "numpy",
}
"""The independent package that opens, or wrote, the reader's miniature in a test.

deepinv and mrpro are opened in environments of their own (`RESHIM_PEERS`, tests/scans/peers.py).
"""

_FIELD = re.compile(r"^(Origin|Licence|Layout|Quirks|Not done|Unverified|Ours|Citation)\s+(.*)$")


def card(name: str) -> dict[str, str]:
    """What a reader's docstring says: `what` (its first line) and its fields, each as one line.

    The module is not imported, so a missing package does not hide its card.
    """
    spec = find_spec(READERS[name])
    assert spec is not None
    assert spec.origin is not None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    what, _, rest = text.partition("\n")
    fields = {"what": what.strip().rstrip(".")}
    current = None
    for line in rest.splitlines():
        found = _FIELD.match(line)
        if found:
            current = found[1].lower()
            fields[current] = found[2].strip()
        elif current and line.strip():
            fields[current] += " " + line.strip()
    return fields


def table() -> str:
    """The readers as a Markdown table, in the order in which a file is offered to them."""
    rows = ["| reader | what | licence | has read | miniature also opened by |", "|---|---|---|---|---|"]
    for name in READERS:
        known = card(name)
        cells = (f"`{name}`", known["what"], known["licence"], MET.get(name, "miniatures"))
        rows.append("| " + " | ".join((*cells, INDEPENDENT.get(name, "–"))) + " |")
    return "\n".join(rows)
