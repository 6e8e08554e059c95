"""Example slices: reference, methods and error maps on one scale, kept as small npz files and shown as PNG.

No pickle is read, and nothing in an example comes from anywhere but its file.
"""

import base64
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from reshim.beside import beside
from reshim.errors import UserError
from reshim.report.blocks import ImagesBlock
from reshim.report.context import Context

FOLDER = "images"


@dataclass(frozen=True)
class Example:
    """One slice as every method shows it."""

    reference: Float[np.ndarray, "row column"]
    images: Float[np.ndarray, "method row column"]
    labels: tuple[str, ...]
    scores: tuple[str, ...]
    """What is printed under each method, e.g. `SSIM 0.913`; empty strings for none."""

    caption: str
    zoom: tuple[int, int, int, int] | None = None
    """Row and column where a close-up starts and where it stops; None for no close-up."""


def save_example(
    folder: Path,
    name: str,
    reference: np.ndarray,
    images: Mapping[str, np.ndarray],
    scores: Mapping[str, str],
    caption: str,
    zoom: tuple[int, int, int, int] | None = None,
) -> Path:
    """Write one slice for an `ImagesBlock`: magnitudes in float16, as parts of the reference's maximum.

    Parameters
    ----------
    folder
        The study folder; the file goes to images/`name`.npz.
    reference
        (row, column), oriented as it should be shown; complex images become magnitudes.
    images
        The same slice by each method, in the order of the page.
    scores
        The score printed under each method's image; only of methods in `images`.
    caption
        Which slice it is and why this one was chosen.
    """
    strange = sorted(set(scores) - set(images))
    if strange:
        raise ValueError(
            f"scores of {strange}, but the images are {list(images)}; give the images the same names"
        )
    peak = float(np.abs(reference).max()) or 1.0
    stack = np.stack([np.abs(np.asarray(image)) for image in images.values()]) / peak
    path = folder / FOLDER / f"{name}.npz"
    with beside(path) as own, own.open("wb") as file:
        np.savez_compressed(
            file,
            reference=(np.abs(reference) / peak).astype(np.float16),
            images=np.clip(stack, 0, 6e4).astype(np.float16),
            labels=np.array(list(images), dtype=np.str_),
            scores=np.array([scores.get(label, "") for label in images], dtype=np.str_),
            caption=np.array(caption, dtype=np.str_),
            zoom=np.array([] if zoom is None else zoom, dtype=np.int64),
        )
    return path


def load_example(folder: Path, name: str) -> Example:
    """Read what `save_example` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or lies outside the study folder.
    """
    path = (folder / FOLDER / f"{name}.npz").resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"example {name!r} lies outside {folder}")
    try:
        with np.load(path, allow_pickle=False) as file:
            zoom = tuple(int(each) for each in file["zoom"])
            return Example(
                reference=file["reference"].astype(np.float64),
                images=file["images"].astype(np.float64),
                labels=tuple(map(str, file["labels"])),
                scores=tuple(map(str, file["scores"])),
                caption=str(file["caption"]),
                zoom=(zoom[0], zoom[1], zoom[2], zoom[3]) if len(zoom) == 4 else None,
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"example {path} cannot be read ({error}); run the study again") from None


def images(block: ImagesBlock, context: Context) -> dict[str, Any]:
    """Every example as rows of pictures: images, error maps, and a close-up where one is asked for."""
    return {"examples": [_strip(load_example(context.folder, name)) for name in block.examples]}


def _strip(example: Example) -> dict[str, Any]:
    window = float(np.quantile(example.reference, 0.998)) or 1.0
    errors = np.abs(example.images - example.reference)
    # One scale for all methods, set by the middle one: the worst (zero-filled) would leave all others black.
    ceiling = float(np.median(np.nan_to_num(np.quantile(errors, 0.995, axis=(1, 2)), nan=1.0))) or 1.0
    cells = [
        {
            "label": label,
            "score": score,
            "image": grey(image / window),
            "error": heat(error / ceiling),
            "zoom": _zoomed(image / window, example.zoom),
        }
        for label, score, image, error in zip(
            example.labels, example.scores, example.images, errors, strict=True
        )
    ]
    rows, columns = example.reference.shape
    return {
        "caption": example.caption,
        "reference": grey(example.reference / window),
        "reference_zoom": _zoomed(example.reference / window, example.zoom),
        "cells": cells,
        "scale": heat(np.tile(np.linspace(1, 0, 64)[:, None], (1, 4))),
        "ceiling": f"≥ {100 * ceiling:.2g} %",
        "ratio": f"{columns} / {rows}",
        "box": _box(example, rows, columns),
    }


def _zoomed(image: Float[np.ndarray, "row column"], zoom: tuple[int, int, int, int] | None) -> str:
    return "" if zoom is None else grey(image[zoom[0] : zoom[2], zoom[1] : zoom[3]])


def _box(example: Example, rows: int, columns: int) -> dict[str, str] | None:
    if example.zoom is None:
        return None
    top, left, bottom, right = example.zoom
    return {
        "top": f"{100 * top / rows:.2f}",
        "left": f"{100 * left / columns:.2f}",
        "height": f"{100 * (bottom - top) / rows:.2f}",
        "width": f"{100 * (right - left) / columns:.2f}",
    }


def grey(image: Float[np.ndarray, "row column"]) -> str:
    """An image between 0 and 1 as the address of an inline PNG; what is not finite is shown as 0."""
    return address((255 * np.clip(np.nan_to_num(image, posinf=1.0), 0, 1) + 0.5).astype(np.uint8))


def heat(image: Float[np.ndarray, "row column"]) -> str:
    """An error map between 0 and 1, black through violet and orange to pale yellow."""
    level = np.clip(np.nan_to_num(image, nan=1.0, posinf=1.0), 0, 1)
    stops = np.linspace(0, 1, len(HEAT))
    colours = np.stack([np.interp(level, stops, HEAT[:, channel]) for channel in range(3)], axis=-1)
    return address((colours + 0.5).astype(np.uint8))


HEAT = np.array(
    [
        (0, 0, 4),
        (38, 12, 76),
        (98, 20, 108),
        (158, 42, 92),
        (214, 76, 56),
        (248, 142, 12),
        (252, 206, 76),
        (253, 252, 180),
    ],
    dtype=np.float64,
)
"""Anchors of a map whose lightness rises evenly, so that it prints in grey."""


def address(pixels: UInt8[np.ndarray, "row column *channel"]) -> str:
    """Pixels as a data address that an <img> shows without any file beside."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def png(pixels: UInt8[np.ndarray, "row column *channel"]) -> bytes:
    """An 8-bit PNG, grey or RGB.

    Source: W3C, Portable Network Graphics (2nd ed.), chapters 5 and 9; every line with filter 0.
    """
    rows, columns = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    lines = np.hstack([np.zeros((rows, 1), np.uint8), np.ascontiguousarray(pixels).reshape(rows, -1)])
    header = struct.pack(">IIBBBBB", columns, rows, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
