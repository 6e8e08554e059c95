"""The ISMRMRD header: the XML in which a scanner's matrix, field of view and timing stand.

Source: S. J. Inati et al., Magn. Reson. Med. 77:411 (2017), schema at ismrmrd.org.
Ours differs: what identifies a person, a place or a date (subjectInformation, studyInformation, institution)
is never read, entities and external references are refused, and a field that is no number is unknown.
"""

import math
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from reshim.errors import BadScanError

MAX_MATRIX = 1 << 16


@dataclass(frozen=True, slots=True)
class ScannerHeader:
    """What is used of the header. Unknown is None; matrices are (row, column, slice) as x, y, z."""

    encoded_matrix: tuple[int, int, int] | None = None
    recon_matrix: tuple[int, int, int] | None = None
    encoded_mm: tuple[float, float, float] | None = None
    recon_mm: tuple[float, float, float] | None = None
    phase_center: int | None = None
    phase_maximum: int | None = None
    partition_center: int | None = None
    limits: tuple[tuple[str, int], ...] = ()
    """Largest index of every counter that the header limits, e.g. ("slice", 29)."""

    chop: tuple[int, int] = (0, 0)
    """1 where lines were stored with a sign that alternates from step 1 (or 2) to the next."""

    n_coils: int | None = None
    trajectory: str | None = None
    vendor: str | None = None
    model: str | None = None
    field_tesla: float | None = None
    protocol: str | None = None
    echo_ms: tuple[float, ...] = ()
    repetition_ms: float | None = None
    inversion_ms: float | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Slice, row and column spacing of the reconstructed images, in the order of their axes."""
        if self.recon_matrix is None or self.recon_mm is None or min(self.recon_matrix) < 1:
            return None
        row_mm, column_mm, slice_mm = (mm / n for mm, n in zip(self.recon_mm, self.recon_matrix, strict=True))
        return slice_mm, row_mm, column_mm

    def padding(self, n_columns: int) -> tuple[int, int]:
        """First and past-the-last phase-encoded column that was really acquired.

        The centre and maximum of `kspace_encoding_step_1` place the acquired lines in the encoded matrix.
        """
        if self.phase_center is None or self.phase_maximum is None or self.encoded_matrix is None:
            return 0, n_columns
        left = self.encoded_matrix[1] // 2 - self.phase_center
        right = left + self.phase_maximum + 1
        left, right = max(left, 0), min(right, n_columns)
        return (left, right) if right > left else (0, n_columns)


def parse(xml: str, name: str) -> ScannerHeader:
    """The header as numbers.

    Raises
    ------
    BadScanError
        If the text is no XML, or XML that defines entities or refers to other files.
    """
    try:
        root = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, RecursionError) as error:
        raise BadScanError(
            f"{name}: ismrmrd_header is no plain XML ({type(error).__name__}: {str(error)[:120]}); entities "
            f"and "
            "references are refused: remove or repair the header"
        ) from None
    return ScannerHeader(
        encoded_matrix=_triple(root, "encoding/encodedSpace/matrixSize", int),
        recon_matrix=_triple(root, "encoding/reconSpace/matrixSize", int),
        encoded_mm=_triple(root, "encoding/encodedSpace/fieldOfView_mm", float),
        recon_mm=_triple(root, "encoding/reconSpace/fieldOfView_mm", float),
        phase_center=_number(root, "encoding/encodingLimits/kspace_encoding_step_1/center", int),
        phase_maximum=_number(root, "encoding/encodingLimits/kspace_encoding_step_1/maximum", int),
        partition_center=_number(root, "encoding/encodingLimits/kspace_encoding_step_2/center", int),
        limits=_limits(root),
        chop=_chop(root),
        n_coils=_number(root, "acquisitionSystemInformation/receiverChannels", int),
        trajectory=_text(root, "encoding/trajectory"),
        vendor=_text(root, "acquisitionSystemInformation/systemVendor"),
        model=_text(root, "acquisitionSystemInformation/systemModel"),
        field_tesla=_number(root, "acquisitionSystemInformation/systemFieldStrength_T", float),
        protocol=_text(root, "measurementInformation/protocolName"),
        echo_ms=_numbers(root, "sequenceParameters/TE"),
        repetition_ms=next(iter(_numbers(root, "sequenceParameters/TR")), None),
        inversion_ms=next(iter(_numbers(root, "sequenceParameters/TI")), None),
    )


def _limits(root: Element) -> tuple[tuple[str, int], ...]:
    found = []
    for element in (child for limits in _all(root, "encoding/encodingLimits")[:1] for child in limits):
        maximum = _number(element, "maximum", int)
        if maximum is not None and 0 <= maximum <= MAX_MATRIX:
            found.append((element.tag.split("}")[-1], maximum))
    return tuple(found[:32])


def _chop(root: Element) -> tuple[int, int]:
    """GE scanners at Stanford say ChopY = 0 where they alternated the sign themselves."""
    said = {
        _text(each, "name"): _number(each, "value", int)
        for each in _all(root, "userParameters/userParameterLong")
    }
    return int(said.get("ChopY") == 0), int(said.get("ChopZ") == 0)


def _all(root: Element, path: str) -> list[Element]:
    elements = [root]
    for tag in path.split("/"):
        elements = [child for element in elements for child in element if child.tag.split("}")[-1] == tag]
    return elements


def _text(root: Element, path: str) -> str | None:
    found = _all(root, path)
    content = (found[0].text or "").strip() if found else ""
    return content[:200] or None


def _numbers(root: Element, path: str) -> tuple[float, ...]:
    values = (_as_number(element.text, float) for element in _all(root, path))
    return tuple(value for value in values if value is not None)


def _number(root: Element, path: str, kind: type) -> Any:
    found = _all(root, path)
    return _as_number(found[0].text, kind) if found else None


def _as_number(content: str | None, kind: type) -> Any:
    try:
        value = float(content or "")
    except ValueError:
        return None
    if not math.isfinite(value) or abs(value) > 1e9:
        return None
    return int(value) if kind is int else value


def _triple(root: Element, path: str, kind: type) -> Any:
    values = tuple(_number(root, f"{path}/{axis}", kind) for axis in "xyz")
    if any(value is None or not 0 < value <= MAX_MATRIX for value in values):
        return None
    return values
