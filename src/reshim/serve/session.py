"""One connection: a scan comes in line by line, its images go out, and with them what was done to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedIOBase
from typing import Literal
from xml.sax.saxutils import escape

import numpy as np

from reshim.errors import BadScanError
from reshim.methods import method_of
from reshim.reconstruction import Card, Request, reconstruct_acquisition
from reshim.scans.header import ScannerHeader, parse
from reshim.scans.lines import Line, sort_lines
from reshim.scans.mrd_scan import Head, as_acquisition, head_of, line_of
from reshim.serve.messages import (
    IMAGE_HEAD,
    LineHead,
    StreamError,
    read_messages,
    write_close,
    write_image,
)
from reshim.types import Reconstructor

NAME = "stream"
"""What a scan from the network is called: its own names may be a person's."""

EXPANSION = 64
"""K-space that a header may declare, over the samples that came: 16x undersampling with room to spare."""

WHITE = 4095
"""The largest value of integer images, 12 bits as scanners show them."""

Numbers = Literal["float32", "uint16"]


@dataclass
class Received:
    """A scan as it came."""

    configuration: str = ""
    header: ScannerHeader | None = None
    heads: list[LineHead] = field(default_factory=list)
    samples: list[np.ndarray] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """Of samples."""
        return sum(samples.nbytes for samples in self.samples)


@dataclass(frozen=True)
class Shown:
    """One scan's images (slice, row, column) with their heads, and the card."""

    images: np.ndarray
    heads: list[LineHead]
    card: Card


@dataclass
class Session:
    """What every connection is answered with."""

    request: Request
    max_bytes: int = 4 << 30
    """Of samples a scan."""

    numbers: Numbers = "float32"
    """Of the images: file units, or whole numbers up to 4095."""

    _methods: dict[str, Reconstructor] = field(default_factory=dict, init=False, repr=False)

    def receive(self, incoming: BufferedIOBase) -> Received:
        """Take a scan.

        Raises
        ------
        StreamError
            If what comes is no scan of raw data, or too large.
        """
        return receive(incoming, self.max_bytes)

    def answer(self, received: Received, outgoing: BufferedIOBase) -> list[Card]:
        """Send a scan's images and close.

        Raises
        ------
        BadScanError
            If the scan cannot be read.
        UserError
            If the method does not fit it.
        """
        cards = []
        for number, shown in enumerate(self.images_of(received)):
            self._send(outgoing, shown, number)
            cards.append(shown.card)
        write_close(outgoing)
        outgoing.flush()
        return cards

    def prepare(self) -> None:
        """Load what takes time, and find out whether the method exists, before anybody waits for it."""
        self._method("")

    def images_of(self, received: Received) -> Iterator[Shown]:
        """Each scan of what came (contrast, repetition, set) with its images."""
        if received.header is None:
            raise StreamError("no header came before the end; send the ISMRMRD header, then the lines")
        if not received.heads:
            raise BadScanError("no line of data came; the scan was stopped before it began")
        head = head_of(received.header, int(received.heads[0]["active_channels"]), NAME)
        if head.declared_bytes > min(self.max_bytes, EXPANSION * received.n_bytes):
            raise BadScanError(
                f"the header declares {head.declared_bytes} bytes of k-space and {received.n_bytes} came; "
                "the header belongs to another scan, or most of it was not sent"
            )
        name, method = self._method(received.configuration)
        lines = [line_of(head, *each) for each in zip(received.heads, received.samples, strict=True)]
        counted = {line.scan for line in lines if line.purpose == "image"}
        for scan in sorted(counted):
            yield self._one(head, lines, received.heads, scan, name, method)

    def _one(
        self,
        head: Head,
        lines: Sequence[Line],
        heads: Sequence[LineHead],
        scan: tuple[int, ...],
        name: str,
        method: Reconstructor,
    ) -> Shown:
        sorted_lines = sort_lines(lines, head.lines_fit, scan, NAME)
        flat = head.matrix[2] == 1
        # Transforming along an undersampled axis would fold, and readout never is.
        axis = "z" if flat or sorted_lines.acquired.all() else "x"
        acquisition = as_acquisition(head, sorted_lines, axis, NAME, None)
        request = replace(self.request, method=name)
        images, card = reconstruct_acquisition(acquisition, method, request, NAME, scored=False)
        firsts: dict[tuple[int, ...], LineHead] = {}
        for line, line_head in zip(lines, heads, strict=True):
            if line.purpose == "image" and line.scan == scan:
                firsts.setdefault(line.frame, line_head)
        templates = [firsts[frame] for frame in sorted(firsts)]
        size = images.shape[-2:]
        made = [
            _image_head(head, templates[number if flat else 0], axis, size, None if flat else number)
            for number in range(len(images))
        ]
        return Shown(images.abs().numpy().astype(np.float32), made, card)

    def _method(self, configuration: str) -> tuple[str, Reconstructor]:
        """A classical method that the client names; else the server's own, for strangers name no files."""
        from reshim.classical import METHODS

        name = configuration if configuration in METHODS else self.request.method
        if name not in self._methods:
            asked = self.request
            if name == asked.method:
                method = method_of(name, asked.adapt, asked.budget_seconds, asked.device, asked.adapt_options)
            else:
                method = method_of(name, device=asked.device)
            self._methods[name] = method
        return name, self._methods[name]

    def _send(self, outgoing: BufferedIOBase, shown: Shown, series: int) -> None:
        scale = 1.0
        if self.numbers == "uint16":
            brightest = float(shown.images.max())
            scale = WHITE / brightest if brightest > 0 else 1.0
        for number, (image, head) in enumerate(zip(shown.images, shown.heads, strict=True)):
            head["image_index"], head["image_series_index"] = number + 1, series
            values = np.rint(image * scale).astype(np.uint16) if self.numbers == "uint16" else image
            write_image(outgoing, values, head, attributes(shown.card, scale))
        outgoing.flush()


def receive(incoming: BufferedIOBase, max_bytes: int) -> Received:
    """Everything up to the message that closes the scan."""
    received = Received()
    for message in read_messages(incoming, max_bytes):
        if message.kind == "config":
            received.configuration = received.configuration or message.text
        elif message.kind == "header":
            received.header = parse(message.text, NAME)
        else:
            assert message.head is not None
            assert message.samples is not None
            received.heads.append(message.head)
            received.samples.append(message.samples)
    return received


def attributes(card: Card, scale: float) -> str:
    """What was done, as the XML that travels with an image."""
    entries: list[tuple[str, object]] = [
        ("DataRole", "Image"),
        ("ImageProcessingHistory", f"reshim {card.method}"),
        ("EffectiveAcceleration", f"{card.effective_acceleration:.4g}"),
        ("AdaptAsked", card.adapt["asked"]),
        ("AdaptedSlices", f"{card.adapt['done']} of {card.adapt['of_slices']}"),
        ("RescaleSlope", f"{1 / scale:.8g}"),
    ]
    if card.shift_score is not None:
        entries.append(("ShiftScore", f"{card.shift_score:.4g}"))
    foretold = card.predicted_ssim or {}
    known = [key for key in ("value", "low", "high", "unknown") if foretold.get(key) is not None]
    entries += [(f"PredictedSSIM{key.capitalize()}", foretold[key]) for key in known]
    entries += [("Warning", text) for text in card.warnings]
    inside = "".join(
        f"<meta><name>{name}</name><value>{escape(str(value))}</value></meta>" for name, value in entries
    )
    return f'<?xml version="1.0"?><ismrmrdMeta>{inside}</ismrmrdMeta>'


def _image_head(
    head: Head, line: LineHead, axis: str, size: tuple[int, ...], partition: int | None
) -> LineHead:
    """Where an image lies: its line's place, turned to the view, moved to the partition."""
    made: LineHead = np.zeros(1, IMAGE_HEAD)[0]
    for name in ("measurement_uid", "acquisition_time_stamp", "physiology_time_stamp"):
        made[name] = line[name]
    for name in ("average", "slice", "contrast", "phase", "repetition", "set"):
        made[name] = line["idx"][name]
    made["patient_table_position"] = line["patient_table_position"]
    spacing = head.header.spacing_mm or (1.0, 1.0, 1.0)
    along = {"x": ("read_dir", spacing[1]), "y": ("phase_dir", spacing[2]), "z": ("slice_dir", spacing[0])}
    rows, columns, slices = ("x", "y", "z") if axis == "z" else ("y", "z", "x")
    for target, source in (("read_dir", rows), ("phase_dir", columns), ("slice_dir", slices)):
        made[target] = line[along[source][0]]
    made["field_of_view"] = (
        along[rows][1] * size[0],
        along[columns][1] * size[1],
        along[slices][1],
    )
    made["position"] = line["position"]
    if partition is not None:
        count = head.matrix[2] if axis == "z" else head.matrix[0]
        made["position"] += made["slice_dir"] * along[slices][1] * (partition - count // 2)
        made["slice"] = partition
    return made
