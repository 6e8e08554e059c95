"""Reconstructions as files: HDF5, NIfTI, DICOM and a PNG contact sheet, each written beside and then renamed.

HDF5 keeps the array as it is and names its orientation; the other three are turned as a person is used to
see them. Magnitude of a complex image; the phase goes into HDF5 alone. No writer knows a patient, so none is
named.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
from torch import Tensor

from reshim.errors import UserError
from reshim.formats.dicom import write_dicom
from reshim.scans.orientation import spacing_to_display, to_display

MAX_TILES = 64
WINDOW_PERCENTILE = 99.5


def write(
    images: Tensor,
    folder: Path,
    stem: str,
    formats: Sequence[str] = ("h5",),
    spacing_mm: tuple[float, ...] | None = None,
    orientation: str | None = None,
) -> list[Path]:
    """Write images (slice, row, column), real or complex, and return what was written.

    Parameters
    ----------
    images
        In file units.
    folder, stem
        ``folder/stem.h5``, ``.nii.gz``, ``.png``, and ``folder/stem-dcm/0001.dcm`` and so on.
    formats
        Of ``h5``, ``nii``, ``dcm``, ``png``.
    spacing_mm
        Slice, row and column spacing; 1 mm where unknown, and the file says so where it can.
    orientation
        As in the catalog.

    Raises
    ------
    UserError
        If a format is unknown, its package is missing, or the folder cannot be written.
    """
    unknown = [name for name in formats if name not in WRITERS]
    if unknown:
        raise UserError(f"--format has {unknown[0]!r}; formats are {', '.join(WRITERS)}, joined by commas")
    array = images.detach().cpu().numpy()
    if array.ndim != 3:
        raise UserError(f"images have shape {array.shape}; writers take (slice, row, column)")
    folder.mkdir(parents=True, exist_ok=True)
    return [_beside(folder, stem, name, array, spacing_mm, orientation) for name in formats]


def _beside(
    folder: Path,
    stem: str,
    name: str,
    array: np.ndarray,
    spacing_mm: tuple[float, ...] | None,
    orientation: str | None,
) -> Path:
    suffix, writer = WRITERS[name]
    path, partial = folder / f"{stem}{suffix}", folder / f".partial-{stem}{suffix}"
    _remove(partial)
    try:
        writer(partial, array, spacing_mm, orientation)
        _remove(path)
        partial.replace(path)
    except ImportError as error:
        raise UserError(
            f"--format {name} needs the package {error.name}; pip install 'reshim[formats]'"
        ) from None
    except OSError as error:
        _remove(partial)
        raise UserError(f"{path} cannot be written ({error}); free space or name another --out") from None
    return path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_h5(
    path: Path, array: np.ndarray, spacing_mm: tuple[float, ...] | None, orientation: str | None
) -> None:
    with h5py.File(path, "w") as file:
        file["reconstruction"] = np.abs(array).astype(np.float32)
        if np.iscomplexobj(array):
            file["reconstruction_complex"] = array.astype(np.complex64)
        if spacing_mm is not None:
            file.attrs["spacing_mm"] = spacing_mm
        if orientation is not None:
            file.attrs["orientation"] = orientation


def _write_nifti(
    path: Path, array: np.ndarray, spacing_mm: tuple[float, ...] | None, orientation: str | None
) -> None:
    import nibabel

    shown = to_display(np.abs(array).astype(np.float32), orientation)
    slice_mm, row_mm, column_mm = _three(spacing_to_display(spacing_mm, orientation))
    # Columns run to the subject's left and rows to the back, as images are shown; NIfTI counts to the right
    # and the front. Where the scan lay in the scanner is not known, so the origin is the corner.
    affine = np.diag([-column_mm, -row_mm, slice_mm, 1.0])
    image = nibabel.Nifti1Image(np.ascontiguousarray(shown.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"reshim; spacing " + (b"unknown" if spacing_mm is None else b"from the scan")
    path.write_bytes(_gzipped(image.to_bytes()))


def _gzipped(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, compresslevel=6, mtime=0)


def _write_dicom(
    path: Path, array: np.ndarray, spacing_mm: tuple[float, ...] | None, orientation: str | None
) -> None:
    shown = to_display(np.abs(array).astype(np.float32), orientation)
    spacing = spacing_to_display(spacing_mm, orientation)
    write_dicom(path, shown, _three(spacing), path.name.removeprefix(".partial-").removesuffix("-dcm"))


def _write_png(
    path: Path, array: np.ndarray, spacing_mm: tuple[float, ...] | None, orientation: str | None
) -> None:
    from PIL import Image

    shown = np.nan_to_num(to_display(np.abs(array).astype(np.float32), orientation))
    _, row_mm, column_mm = _three(spacing_to_display(spacing_mm, orientation))
    chosen = np.unique(np.linspace(0, len(shown) - 1, min(len(shown), MAX_TILES)).round().astype(int))
    top = float(np.percentile(shown, WINDOW_PERCENTILE)) or 1.0
    grey = (np.clip(shown[chosen] / top, 0, 1) * 255).round().astype(np.uint8)
    # Square on the screen is square in the body.
    smallest = min(row_mm, column_mm)
    height = round(grey.shape[1] * row_mm / smallest)
    width = round(grey.shape[2] * column_mm / smallest)
    tiles = [
        np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.BILINEAR)) for tile in grey
    ]
    across = math.ceil(math.sqrt(len(tiles)))
    sheet = np.zeros((math.ceil(len(tiles) / across) * height, across * width), dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    Image.fromarray(sheet).save(path, format="PNG")


def _three(spacing_mm: tuple[float, ...] | None) -> tuple[float, float, float]:
    return spacing_mm if spacing_mm is not None and len(spacing_mm) == 3 else (1.0, 1.0, 1.0)  # type: ignore


Writer = Callable[[Path, np.ndarray, tuple[float, ...] | None, str | None], None]
WRITERS: dict[str, tuple[str, Writer]] = {
    "h5": (".h5", _write_h5),
    "nii": (".nii.gz", _write_nifti),
    "dcm": ("-dcm", _write_dicom),
    "png": (".png", _write_png),
}
"""Format, ending of what it writes, and its writer."""
