"""Miniature files in the exact public layouts, written from the documented keys, types and axis orders."""

from pathlib import Path

import h5py
import numpy as np

HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <subjectInformation><patientName>DOE^JANE</patientName><patientBirthdate>1970-01-02</patientBirthdate>
  </subjectInformation>
  <studyInformation><studyDate>2018-03-04</studyDate></studyInformation>
  <measurementInformation><protocolName>{protocol}</protocolName></measurementInformation>
  <acquisitionSystemInformation><systemVendor>{vendor}</systemVendor><systemModel>{model}</systemModel>
    <systemFieldStrength_T>{field}</systemFieldStrength_T><institutionName>NYU</institutionName>
  </acquisitionSystemInformation>
  <encoding>
    <encodedSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{encoded_row_mm}</x><y>{encoded_column_mm}</y><z>4.5</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>{recon_rows}</x><y>{recon_columns}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{row_mm}</x><y>{column_mm}</y><z>4.5</z></fieldOfView_mm></reconSpace>
    <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum>
      <center>{center}</center></kspace_encoding_step_1></encodingLimits>
    <trajectory>cartesian</trajectory>
  </encoding>
  <sequenceParameters><TR>2750.0</TR><TE>32.0</TE></sequenceParameters>
</ismrmrdHeader>"""


def header_xml(
    rows: int = 32,
    columns: int = 20,
    recon: tuple[int, int] = (16, 16),
    padding: tuple[int, int] = (0, 0),
    **changed: object,
) -> str:
    """The header of a scan whose outer `padding` columns (left, right) were never acquired."""
    acquired = columns - sum(padding)
    fields = {
        "protocol": "CORPD_FBK",
        "vendor": "SIEMENS",
        "model": "Skyra",
        "field": 2.8936,
        "rows": rows,
        "columns": columns,
        "recon_rows": recon[0],
        "recon_columns": recon[1],
        "encoded_row_mm": 280.0,
        "encoded_column_mm": 175.0,
        "row_mm": 0.5 * recon[0],
        "column_mm": 0.5 * recon[1],
        "center": columns // 2 - padding[0],
        "maximum": acquired - 1,
    }
    return HEADER.format(**{**fields, **changed})


def coil_images(n_slices: int = 2, n_coils: int = 3, rows: int = 32, columns: int = 20, seed: int = 0):
    """Complex coil images (slice, coil, row, column) of an ellipse, lit from the coils' sides, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    images = np.empty((n_slices, n_coils, rows, columns), dtype=np.complex128)
    for slice_ in range(n_slices):
        body = ((y / 0.7) ** 2 + (x / 0.6) ** 2 < 1) * (1 + 0.3 * np.cos(6 * x + slice_) * np.sin(5 * y))
        for coil in range(n_coils):
            angle = 2 * np.pi * coil / n_coils
            images[slice_, coil] = body * np.exp(
                -((y - np.sin(angle)) ** 2) - (x - np.cos(angle)) ** 2 + 1j * x
            )
    return images + 0.01 * (rng.standard_normal(images.shape) + 1j * rng.standard_normal(images.shape))


def transform(images: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> np.ndarray:
    """Centred orthonormal Fourier transform, in numpy alone."""
    shifted = np.fft.ifftshift(images, axes)
    return np.fft.fftshift(np.fft.fftn(shifted, axes=axes, norm="ortho"), axes)


def cropped(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    top, left = (n // 2 - wanted // 2 for n, wanted in zip(images.shape[-2:], shape, strict=True))
    return images[..., top : top + shape[0], left : left + shape[1]]


def write_fastmri(
    path: Path,
    n_slices: int = 2,
    n_coils: int = 3,
    rows: int = 32,
    columns: int = 20,
    recon: tuple[int, int] = (16, 16),
    padding: tuple[int, int] = (0, 0),
    acquisition: str = "CORPD_FBK",
    patient: str = "patient-7",
    mask: np.ndarray | None = None,
    header: str | None = "",
    seed: int = 0,
    attributes: dict | None = None,
    datasets: dict | None = None,
    **header_fields: object,
) -> Path:
    """A file as NYU publishes them: train and val with a reference, test with a mask instead."""
    images = coil_images(n_slices, n_coils, rows, columns, seed)
    kspace = transform(images).astype(np.complex64)
    kspace[..., : padding[0]] = 0
    kspace[..., columns - padding[1] :] = 0
    rss = (
        cropped(np.sqrt((np.abs(images) ** 2).sum(1)), recon).astype(np.float32)
        if columns >= recon[1]
        else None
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        if mask is None:
            file["kspace"] = kspace
            if rss is not None:
                file["reconstruction_rss"] = rss
        else:
            file["kspace"] = np.where(mask, kspace, 0)
            file["mask"] = mask
        if header is not None:
            fields = {"protocol": acquisition, **header_fields}
            file["ismrmrd_header"] = header or header_xml(rows, columns, recon, padding, **fields)
        for name, values in (datasets or {}).items():
            file[name] = values
        file.attrs["acquisition"] = acquisition
        file.attrs["patient_id"] = patient
        if rss is not None:
            file.attrs["max"] = float(rss.max())
            file.attrs["norm"] = float(np.linalg.norm(rss))
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
    return path
