"""Siemens twix (`.dat`, VB to VE): raw data as the scanner wrote them.

Origin   anybody's own; the layout is known from twixtools (Ehses) and pymapvbvd (Clarke).
Licence  the user's.
Layout   one measurement or several (the last is the scan); a header of protocol texts, then one block a
         readout: counters (line, partition, slice, echo, phase, repetition, set, segment) and flags, then
         each channel's samples in complex float32.
Quirks   noise lines give the coils' covariance; navigators, phase-correction and separate reference lines are
         no image; reflected lines run backwards; the matrix follows from where the counters' centres lie.
         Echoes, repetitions and sets are scans of one subject, time frames of a flat scan are slices. The
         patient's name in the header is never read. Indexing walks over the blocks' heads, not their samples.
Not done non-Cartesian sequences cannot be told from Cartesian ones by their counters and read as nonsense;
         ramp sampling is not regridded.
Citation twixtools 0.24 (github.com/pehses/twixtools).
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from reshim.errors import BadScanError
from reshim.scans.lines import Line, Matrix, Purpose, Sorted, line_mask, sort_lines
from reshim.scans.own import own_record
from reshim.scans.reader import check_samples, chosen_slices
from reshim.scans.sidecar import read_sidecar
from reshim.scans.twix_protocol import described, number, read_protocol, twixtools
from reshim.scans.volume import Volume, crop_of, matrix_of, spacing_of
from reshim.types import Acquisition, ScanRecord

NAME = "twix"
MAX_EXPANSION = 100
MAX_BLOCKS = 5_000_000
_FLAT_SCAN = {"contrast": "Eco", "repetition": "Rep", "set": "Set"}
_FLAT_FRAME = {"slice": "Sli", "phase": "Phs"}
_NO_IMAGE = ("RTFEEDBACK", "HPFEEDBACK", "REFPHASESTABSCAN", "PHASESTABSCAN", "PHASCOR", "noname60")


@dataclass(frozen=True, slots=True)
class _Block:
    """Where one readout lies, and its head."""

    offset: int
    head: Any


@dataclass(frozen=True)
class _Measurement:
    """The blocks of a file's last measurement and what its protocol says."""

    is_new: bool
    """VD and VE, with one head for all channels."""

    blocks: tuple[_Block, ...]
    protocol: dict[str, Any]
    n_coils: int
    x: int
    y: int
    z: int
    counts: dict[str, int]

    @property
    def is_flat(self) -> bool:
        """True where there is one partition."""
        return self.z == 1

    @property
    def scan_counters(self) -> dict[str, str]:
        """Counters that tell scans apart, and their names in the block."""
        return _FLAT_SCAN if self.is_flat else {**_FLAT_SCAN, **_FLAT_FRAME}

    @property
    def frame_counters(self) -> dict[str, str]:
        """Counters that tell slices of a scan apart."""
        return _FLAT_FRAME if self.is_flat else {}

    @property
    def recon(self) -> tuple[int, int, int]:
        """Rows without the twofold oversampling, columns, partitions."""
        return (
            min(number(self.protocol, "sKSpace", "lBaseResolution") or self.x // 2, self.x),
            self.y,
            self.z,
        )


def matches(path: Path) -> bool:
    """True for `.dat` files that begin as twix does."""
    if path.suffix.lower() != ".dat" or not path.is_file() or path.stat().st_size < 1024:
        return False
    with path.open("rb") as file:
        first, second = np.frombuffer(file.read(8), "<u4")
    return bool((first < 10_000 and 1 <= second <= 64) or 32 < first < path.stat().st_size)


def read_records(path: Path, root: Path | None = None, root_name: str | None = None) -> list[ScanRecord]:
    """One record a scan, three where it is a volume."""
    sidecar = read_sidecar(path)
    return [] if sidecar.get("skip") else records_of(path, root, root_name, sidecar, NAME)


def records_of(
    path: Path, root: Path | None, root_name: str | None, sidecar: dict[str, Any], reader: str, **known: Any
) -> list[ScanRecord]:
    """The records of a file, for this reader and those of collections in twix."""
    measured = _measurement_of(path)
    inferred = {"vendor": "Siemens"} | described(measured.protocol) | known
    xyz_mm = inferred.pop("xyz_mm", None)
    counted = [name for name in measured.scan_counters if measured.counts[name] > 1]
    records: list[ScanRecord] = []
    for index in np.ndindex(*(measured.counts[name] for name in counted)):
        scan = dict(zip(counted, map(int, index), strict=True))
        for axis in ("z",) if measured.is_flat else ("z", "x", "y"):
            xyz = (measured.x, measured.y, measured.z)
            shape, crop = matrix_of(xyz, axis), crop_of(measured.recon, axis)
            n_slices = shape[0]
            if measured.is_flat:
                n_slices = measured.counts["slice"] * measured.counts["phase"]
            parts = [f"{name}{number + 1}" for name, number in scan.items()]
            parts += [] if measured.is_flat else [axis]
            if xyz_mm is not None:
                inferred["spacing_mm"] = spacing_of(xyz_mm, axis)
            record = own_record(
                path,
                root,
                root_name,
                sidecar,
                (n_slices, measured.n_coils, *shape[1:]),
                crop,
                reader,
                view_of=records[0].scan_id if records else None,
                part="-".join(parts) or None,
                extra={"axis": axis, "scan": scan},
                **inferred,
            )
            records.append(record)
    return records


def load(
    path: Path, record: ScanRecord | None = None, slices: Sequence[int] | None = None, check: bool = True
) -> Acquisition:
    """The slices' k-space; see `scans.load`."""
    measured = _measurement_of(path)
    about = record.extra if record is not None else {}
    axis, asked = about.get("axis", "z"), about.get("scan", {})
    scan = tuple(int(asked.get(name, 0)) for name in measured.scan_counters)
    lines = _sorted_lines(path, scan, *_stamp(path))
    acquired = torch.from_numpy(lines.acquired)
    if measured.is_flat:
        kspace = torch.where(acquired[:, 0], torch.from_numpy(lines.samples[..., 0]), 0)
        mask, acquirable = line_mask(acquired[:, 0])
    else:
        if not acquired.all() and axis != "x":
            raise BadScanError(
                f"{path.name} is a 3D scan undersampled along line and partition; take its view along "
                "readout, "
                "part 'x'"
            )
        kspace = Volume(lines.samples[0]).view(axis)
        mask = acquired[None, None] if axis == "x" and not acquired.all() else None
        acquirable = torch.ones(1, 1, 1, kspace.shape[-1], dtype=torch.bool)
    chosen = chosen_slices(slices, kspace.shape[0], path.name)
    kspace = kspace[list(chosen)].clone()
    if check:
        check_samples(kspace, chosen, path.name)
    return Acquisition(
        kspace=kspace,
        name=path.name,
        slices=chosen,
        crop=crop_of(measured.recon, axis),
        acquirable=acquirable,
        mask=mask,
        readout_axis=None if axis == "x" else "row",
        noise_covariance=None if lines.covariance is None else torch.from_numpy(lines.covariance),
    )


def load_reference(
    path: Path, record: ScanRecord | None, kind: str, slices: Sequence[int] | None = None
) -> Tensor | None:
    """None: raw data store no reference."""
    return None


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _sorted_lines(path: Path, scan: tuple[int, ...], size: int, mtime_ns: int) -> Sorted:
    measured = _measurement_of(path)
    n_frames = int(np.prod([measured.counts[name] for name in measured.frame_counters], dtype=object) or 1)
    matrix = Matrix(measured.n_coils, n_frames, measured.x, measured.y, measured.z)
    with path.open("rb") as file:
        lines = (_line(file, measured, block) for block in measured.blocks)
        return sort_lines(lines, matrix, scan, path.name)


def _line(file: BinaryIO, measured: _Measurement, block: _Block) -> Line:
    head, counter = block.head, block.head.Counter
    file.seek(block.offset)
    skipped = _sizes(measured.is_new)[1]
    width = skipped + 8 * head.SamplesInScan
    content = file.read(head.UsedChannels * width)
    layout = np.dtype([("head", f"V{skipped}"), ("samples", "<c8", (head.SamplesInScan,))])
    values = np.frombuffer(content, layout, head.UsedChannels)["samples"]
    purpose = _purpose(head)
    first, last = int(head.CutOff.Pre), head.SamplesInScan - int(head.CutOff.Post)
    center = int(head.CenterCol)
    if purpose == "image":
        values, center = values[:, first:last], center - first
    return Line(
        values,
        center,
        int(counter.Lin) - int(head.CenterLin) + measured.y // 2,
        0 if measured.is_flat else int(counter.Par) - int(head.CenterPar) + measured.z // 2,
        tuple(int(getattr(counter, name)) for name in measured.scan_counters.values()),
        tuple(int(getattr(counter, name)) for name in measured.frame_counters.values()),
        int(counter.Seg),
        purpose,
        _is(head, "REFLECT"),
    )


def _purpose(head: Any) -> Purpose:
    if _is(head, "NOISEADJSCAN"):
        return "noise"
    if any(_is(head, flag) for flag in _NO_IMAGE):
        return "other"
    return "other" if _is(head, "PATREFSCAN") and not _is(head, "PATREFANDIMASCAN") else "image"


def _measurement_of(path: Path) -> _Measurement:
    return _measurement(path, *_stamp(path))


@lru_cache(maxsize=2)
def _measurement(path: Path, size: int, mtime_ns: int) -> _Measurement:
    try:
        with path.open("rb") as file:
            is_new, start, stop = _last_measurement(file, size)
            header_bytes = _unsigned(file, start)
            if not 16 <= header_bytes <= stop - start:
                raise ValueError(f"a header of {header_bytes} bytes")
            protocol = read_protocol(file, start, header_bytes)
            blocks = tuple(_blocks(file, start + header_bytes, stop, is_new))
    except (OSError, ValueError, EOFError, IndexError, OverflowError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise BadScanError(f"{path.name} is no readable twix file ({reason}); export it again") from None
    images = [block.head for block in blocks if _purpose(block.head) == "image"]
    if not images:
        raise BadScanError(f"{path.name} has no image line; the scan was stopped or the copy is cut short")
    return _sized(path, is_new, blocks, protocol, images, size)


def _sized(
    path: Path,
    is_new: bool,
    blocks: tuple[_Block, ...],
    protocol: dict[str, Any],
    images: list[Any],
    size: int,
) -> _Measurement:
    """Sizes from the counters: as far as lines reach on either side of their centre."""
    x = max(2 * max(int(head.CenterCol), head.SamplesInScan - int(head.CenterCol)) for head in images)
    y = _span([(int(head.Counter.Lin), int(head.CenterLin)) for head in images])
    z = _span([(int(head.Counter.Par), int(head.CenterPar)) for head in images])
    counts = {
        name: 1 + max(int(getattr(head.Counter, field)) for head in images)
        for name, field in {**_FLAT_SCAN, **_FLAT_FRAME}.items()
    }
    n_coils = int(images[0].UsedChannels)
    declared = 8 * n_coils * x * y * z * int(np.prod(list(counts.values()), dtype=object))
    if declared > MAX_EXPANSION * size or not 0 < n_coils <= 1024:
        raise BadScanError(
            f"{path.name} declares {declared} bytes of k-space ({n_coils} coils, {x}x{y}x{z}) in a file of "
            f"{size}; "
            "it is damaged"
        )
    return _Measurement(is_new, blocks, protocol, n_coils, x, y, z, counts)


def _span(places: list[tuple[int, int]]) -> int:
    """Size of a matrix whose middle is the centre line: even, or 1 where all lie on it."""
    before = max(center - place for place, center in places)
    after = max(place - center + 1 for place, center in places)
    return 1 if len(set(places)) == 1 else 2 * max(before, after)


def _last_measurement(file: BinaryIO, size: int) -> tuple[bool, int, int]:
    hdr_def = twixtools("hdr_def")
    first, second = (_unsigned(file, offset) for offset in (0, 4))
    if not (first < 10_000 and 1 <= second <= 64):
        return False, 0, size
    file.seek(0)
    raid = np.frombuffer(file.read(hdr_def.MultiRaidFileHeader.itemsize), hdr_def.MultiRaidFileHeader, 1)[0]
    entry = raid["entry"][second - 1]
    start, length = int(entry["off_"]), int(entry["len_"])
    if not 0 < start < size:
        raise ValueError(f"a measurement at byte {start} of {size}")
    return True, start, min(start + (length or size), size)


def _blocks(file: BinaryIO, offset: int, stop: int, is_new: bool) -> Iterator[_Block]:
    mdh_def = twixtools("mdh_def")
    kind = mdh_def.Scan_header if is_new else mdh_def.VB17_header
    first, each = _sizes(is_new)
    for _ in range(MAX_BLOCKS):
        if offset + ctypes.sizeof(kind) > stop:
            return
        file.seek(offset)
        head = kind.from_buffer_copy(file.read(ctypes.sizeof(kind)))
        if _is(head, "ACQEND"):
            return
        if _is(head, "SYNCDATA"):
            length = int(mdh_def.get_dma_len(head))
            if length < ctypes.sizeof(kind):
                raise ValueError(f"a block of {length} bytes")
        else:
            length = first + head.UsedChannels * (each + 8 * head.SamplesInScan)
            if offset + length > stop:
                raise EOFError("cut short")
            if head.SamplesInScan and head.UsedChannels:
                yield _Block(offset + first, head)
        offset += max(length, ctypes.sizeof(kind))


def _sizes(is_new: bool) -> tuple[int, int]:
    """Bytes in front of a block and in front of each channel's samples."""
    mdh_def = twixtools("mdh_def")
    if is_new:
        return ctypes.sizeof(mdh_def.Scan_header), ctypes.sizeof(mdh_def.Channel_header)
    return 0, ctypes.sizeof(mdh_def.VB17_header)


def _is(head: Any, flag: str) -> bool:
    return bool(twixtools("mdh_def").is_flag_set(head, flag))


def _unsigned(file: BinaryIO, offset: int) -> int:
    file.seek(offset)
    return int(np.frombuffer(file.read(4), "<u4")[0])
