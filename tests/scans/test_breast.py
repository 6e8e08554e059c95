import h5py
import numpy as np
import pytest
import torch

from reshim.errors import BadScanError
from reshim.physics.fourier import to_image
from reshim.scans import open_scan
from reshim.scans.gridding import radial_trajectory


def gaussian_samples(places, center, width, size):
    """The transform, in closed form, of a Gaussian blob of height 1 in an image of size x size."""
    frequency = places / size
    fall = np.exp(-2 * np.pi**2 * width**2 * (frequency**2).sum(-1))
    return 2 * np.pi * width**2 * fall * np.exp(-2j * np.pi * (frequency @ np.asarray(center))) / size


def write_breast(path, slices=6, size=32, spokes=101, attributes=True):
    """Blobs that move from slice to slice, in two coils, as the published files lay them down."""
    places = radial_trajectory(spokes, 2 * size)
    images = np.stack(
        [
            [
                gaussian_samples(places, (s - 2, 3 * coil - 1), 3.0, size) * (1 + 1j * coil)
                for coil in range(2)
            ]
            for s in range(slices)
        ]
    )  # slice, coil, spoke, sample
    along = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(images, 0), axis=0, norm="ortho"), 0)
    stored = np.stack([along.real, along.imag], -1).transpose(0, 1, 3, 2, 4).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        source = file.create_dataset("kspace", data=stored)
        if attributes:
            source.attrs["partitions"], source.attrs["imagesPerSlab"] = str(slices), str(slices)
            source.attrs["centerPartition"] = str(slices // 2 + 1)
    return path


@pytest.mark.parametrize("attributes", [True, False])
def test_breasts_are_gridded_onto_a_cartesian_matrix_in_the_right_place_and_scale(attributes, tmp_path):
    scan = open_scan(write_breast(tmp_path / "fastMRI_breast_007_1.h5", attributes=attributes))
    record = scan.record
    assert (record.dataset, record.data_kind, record.anatomy) == (
        "fastmri_breast",
        "semi-synthetic",
        "breast",
    )
    assert (record.n_slices, record.n_coils, record.n_rows, record.n_columns) == (6, 2, 32, 32)
    images = to_image(scan.load().kspace)
    y, x = (torch.arange(32) - 16)[:, None], (torch.arange(32) - 16)[None]
    for slice_ in range(6):
        for coil in range(2):
            blob = torch.exp(-((y - slice_ + 2) ** 2 + (x - 3 * coil + 1) ** 2) / 18.0) * (1 + 1j * coil)
            assert (images[slice_, coil] - blob).abs().max() < 0.05, (slice_, coil)
    torch.testing.assert_close(scan.load([4]).kspace[0], scan.load().kspace[4])


def test_parts_of_an_examination_are_one_patient(tmp_path):
    first = open_scan(write_breast(tmp_path / "b" / "fastMRI_breast_007_1.h5")).record
    second = open_scan(write_breast(tmp_path / "b" / "fastMRI_breast_007_2.h5")).record
    assert first.subject == second.subject
    assert first.scan_id != second.scan_id


def test_a_slab_that_does_not_fit_is_refused(tmp_path):
    path = write_breast(tmp_path / "fastMRI_breast_007_1.h5")
    with h5py.File(path, "a") as file:
        file["kspace"].attrs["imagesPerSlab"] = "3"
    with pytest.raises(BadScanError, match="do not fit a slab"):
        open_scan(path)
