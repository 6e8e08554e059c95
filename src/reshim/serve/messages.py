"""Messages of the ISMRMRD streaming protocol, read from strangers and written.

Source: S. J. Inati et al., Magn. Reson. Med. 77:411 (2017); the streamed form is Gadgetron's (M. S. Hansen
and T. S. Sorensen, Magn. Reson. Med. 69:1768, 2013): a two-byte number says what follows.
Ours differs: nothing is held before its size was looked at, lengths have limits, and whatever is no part of a
raw scan is passed over or refused, never interpreted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Literal, TypeAlias

import numpy as np

from reshim.errors import UserError
from reshim.scans.mrd_scan import MAX_COILS

CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT = 1, 2, 3, 4, 5
ACQUISITION, IMAGE, WAVEFORM = 1008, 1022, 1026

CONFIG_BYTES = 1024
MAX_TEXT = 4 << 20
CHUNK = 1 << 20
"""Bytes that are asked for at a time: a sender gets no more memory than it fills."""

_COUNTERS = [
    (name, "<u2")
    for name in (
        "kspace_encode_step_1",
        "kspace_encode_step_2",
        "average",
        "slice",
        "contrast",
        "phase",
        "repetition",
        "set",
        "segment",
    )
]
LINE_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("idx", [*_COUNTERS, ("user", "<u2", (8,))]),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
IMAGE_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("data_type", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("matrix_size", "<u2", (3,)),
        ("field_of_view", "<f4", (3,)),
        ("channels", "<u2"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("image_type", "<u2"),
        ("image_index", "<u2"),
        ("image_series_index", "<u2"),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
        ("attribute_string_len", "<u4"),
    ]
)
_WAVEFORM_HEAD = np.dtype(
    {
        "names": ["number_of_samples", "channels"],
        "formats": ["<u2", "<u2"],
        "offsets": [28, 30],
        "itemsize": 40,
    }
)
_IMAGE_TYPES = {np.dtype(np.uint16): 1, np.dtype(np.float32): 5}
_MAGNITUDE = 1

LineHead: TypeAlias = np.void
"""One record of `LINE_HEAD`."""


class StreamError(UserError):
    """What came over the network is no scan, or more than was allowed."""


@dataclass(frozen=True, slots=True)
class Message:
    """What came: a configuration's name or text, the scan's header, or a line."""

    kind: Literal["config", "header", "line"]
    text: str = ""
    head: LineHead | None = None
    samples: np.ndarray | None = None
    """(coil, sample) complex64."""


def read_messages(stream: BufferedIOBase, max_bytes: int) -> Iterator[Message]:
    """Messages up to the one that closes the scan; text, waveforms and trajectories are passed over.

    Parameters
    ----------
    stream
        Where `read(n)` gives up to n bytes, and none at its end.
    max_bytes
        Of samples, all lines together.

    Raises
    ------
    StreamError
        If the stream ends early, a message is unknown, or a length is beyond its limit.
    """
    left = max_bytes
    while (number := int.from_bytes(_exactly(stream, 2, "the number of a message"), "little")) != CLOSE:
        if number == CONFIG_FILE:
            name = _exactly(stream, CONFIG_BYTES, "a configuration's name").partition(b"\0")[0]
            yield Message("config", _decoded(name))
        elif number in (CONFIG_TEXT, HEADER):
            text = _text(stream)
            yield Message("header" if number == HEADER else "config", text)
        elif number == TEXT:
            _text(stream)
        elif number == WAVEFORM:
            head = np.frombuffer(_exactly(stream, 40, "a waveform"), _WAVEFORM_HEAD)[0]
            _pass_over(stream, 4 * int(head["number_of_samples"]) * int(head["channels"]), "a waveform")
        elif number == ACQUISITION:
            message, taken = _line(stream, left, max_bytes)
            left -= taken
            yield message
        else:
            raise StreamError(
                f"message {number} is none that raw data consist of "
                f"({CONFIG_FILE} to {TEXT}, {ACQUISITION}, {WAVEFORM}); send an ISMRMRD raw scan"
            )


def _line(stream: BufferedIOBase, left: int, max_bytes: int) -> tuple[Message, int]:
    head = np.frombuffer(_exactly(stream, LINE_HEAD.itemsize, "a line's head"), LINE_HEAD)[0]
    n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
    n_dimensions = int(head["trajectory_dimensions"])
    if not 0 < n_coils <= MAX_COILS or n_samples == 0 or n_dimensions > 4:
        raise StreamError(
            f"a line has {n_coils} channels of {n_samples} samples and {n_dimensions} trajectory dimensions; "
            f"1 to {MAX_COILS} channels, at least one sample and up to 4 dimensions are expected"
        )
    n_bytes = 8 * n_coils * n_samples
    if n_bytes > left:
        raise StreamError(
            f"the scan has more than {max_bytes} bytes of samples, the limit of this server; "
            "start it with a larger --max-gib"
        )
    _pass_over(stream, 4 * n_dimensions * n_samples, "a trajectory")
    samples = np.frombuffer(_exactly(stream, n_bytes, "a line's samples"), "<c8")
    return Message("line", head=head, samples=samples.reshape(n_coils, n_samples)), n_bytes


def _text(stream: BufferedIOBase) -> str:
    length = int.from_bytes(_exactly(stream, 4, "the length of a text"), "little")
    if length > MAX_TEXT:
        raise StreamError(f"a text of {length} bytes is announced; up to {MAX_TEXT} are taken")
    return _decoded(_exactly(stream, length, "a text").rstrip(b"\0"))


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise StreamError("a text is not UTF-8, as the protocol has it; send it so") from None


def _exactly(stream: BufferedIOBase, n_bytes: int, what: str) -> bytes:
    parts, missing = [], n_bytes
    while missing:
        part = stream.read(min(missing, CHUNK))
        if not part:
            raise StreamError(f"the stream ends inside {what}; the sender stopped or the connection broke")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _pass_over(stream: BufferedIOBase, n_bytes: int, what: str) -> None:
    while n_bytes:
        n_bytes -= len(_exactly(stream, min(n_bytes, CHUNK), what))


def write_image(stream: BufferedIOBase, image: np.ndarray, head: LineHead, attributes: str) -> None:
    """One magnitude image (row, column), rows along the head's `read_dir`; uint16 or float32."""
    head = head.copy()
    head["version"], head["channels"], head["image_type"] = 1, 1, _MAGNITUDE
    head["data_type"] = _IMAGE_TYPES[image.dtype]
    head["matrix_size"] = (*image.shape, 1)
    text = attributes.encode("utf-8")
    head["attribute_string_len"] = len(text)
    # The protocol's first axis runs fastest, which is the row of ours.
    samples = np.ascontiguousarray(image.T)
    stream.write(
        b"".join(
            (
                IMAGE.to_bytes(2, "little"),
                head.tobytes(),
                len(text).to_bytes(8, "little"),
                text,
                samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes(),
            )
        )
    )


def write_text(stream: BufferedIOBase, text: str) -> None:
    """A remark for whoever reads the other end."""
    encoded = text.encode("utf-8")
    stream.write(TEXT.to_bytes(2, "little") + len(encoded).to_bytes(4, "little") + encoded)


def write_close(stream: BufferedIOBase) -> None:
    """Nothing more will come."""
    stream.write(CLOSE.to_bytes(2, "little"))
