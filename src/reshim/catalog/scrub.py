"""Free text on its way into a catalog: dates coarsened to their year, names of persons dropped.

Readers never look at the parts of a header that identify a person. What a scanner's user types into the name
of a protocol is text like any other, and has been seen to hold both.
"""

import re

_YEAR = r"(?P<year>(?:19|20)\d\d)"
_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATES = (
    re.compile(
        rf"(?<!\d){_YEAR}(?P<mark>[-._/]?){_MONTH}(?P=mark){_DAY}(?:[T_ ]?\d\d:?\d\d(?::?\d\d)?)?(?!\d)"
    ),
    re.compile(rf"(?<!\d){_DAY}(?P<mark>[-./]){_MONTH}(?P=mark){_YEAR}(?!\d)"),
    re.compile(rf"(?<!\d){_MONTH}(?P<mark>[-./]){_DAY}(?P=mark){_YEAR}(?!\d)"),
)
# A person's name as DICOM writes it: parts joined by carets.
_PERSON = re.compile(r"[^\W\d_][^\s^]*\^[^\s]*")


def scrubbed(text: str | None) -> str | None:
    """The text with dates as years and without names of persons; None where nothing remains."""
    if text is None:
        return None
    for pattern in _DATES:
        text = pattern.sub(lambda found: found["year"], text)
    return " ".join(_PERSON.sub("", text).split()) or None
