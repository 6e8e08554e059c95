import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from reshim.errors import UserError
from reshim.formats import write as module
from reshim.formats.write import write
from reshim.scans.orientation import steps_of, to_display


@pytest.fixture
def images():
    """Three slices; the first pixel of the first slice is the brightest."""
    magnitude = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    magnitude[0, 0, 0] = 5
    return torch.polar(magnitude, torch.full_like(magnitude, 0.7))


def test_h5_keeps_the_array_and_names_the_orientation(images, tmp_path):
    (path,) = write(images, tmp_path, "scan", ("h5",), (3.0, 1.0, 2.0), "flip-rows")
    with h5py.File(path) as file:
        assert file["reconstruction"].dtype == np.float32
        np.testing.assert_allclose(file["reconstruction"][()], images.abs().numpy(), rtol=1e-6)
        np.testing.assert_array_equal(file["reconstruction_complex"][()], images.numpy())
        assert file.attrs["orientation"] == "flip-rows"
        assert tuple(file.attrs["spacing_mm"]) == (3, 1, 2)
    (path,) = write(images.abs(), tmp_path, "scan", ("h5",))
    with h5py.File(path) as file:
        assert list(file) == ["reconstruction"]


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(None, (0, 0)), ("flip-rows", (-1, 0)), ("flip-columns", (0, -1)), ("transpose+flip-rows", (-1, 0))],
)
def test_shown_formats_are_turned_as_the_orientation_says(images, tmp_path, orientation, corner):
    paths = write(images, tmp_path, "scan", ("nii", "dcm", "png"), (3.0, 1.0, 2.0), orientation)
    nifti = nibabel.load(paths[0])
    volume = np.asarray(nifti.dataobj).transpose(2, 1, 0)
    assert volume[(0, *corner)] == volume.max() == 5
    transposed = orientation is not None and "transpose" in orientation
    assert nifti.header.get_zooms() == ((1, 2, 3) if transposed else (2, 1, 3))
    dicom = pydicom.dcmread(paths[1] / "0001.dcm")
    assert dicom.pixel_array[corner] == 65535
    assert [float(mm) for mm in dicom.PixelSpacing] == ([2, 1] if transposed else [1, 2])
    sheet = np.asarray(Image.open(paths[2]))
    # Two tiles a side of 6 mm by 8 mm, one pixel a millimetre.
    assert sheet.shape == ((2 * 8, 2 * 6) if transposed else (2 * 6, 2 * 8))


def test_dicom_gives_the_values_back_and_knows_nobody(images, tmp_path):
    (folder,) = write(images, tmp_path, "scan", ("dcm",))
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    assert [int(s.InstanceNumber) for s in slices] == [1, 2, 3]
    values = np.stack([s.pixel_array * float(s.RescaleSlope) for s in slices])
    np.testing.assert_allclose(values, images.abs().numpy(), atol=5 / 65535)
    assert {str(s.PatientName) for s in slices} == {"anonymous"}
    assert all(not s.PatientBirthDate and not s.StudyDate for s in slices)
    assert len({s.SOPInstanceUID for s in slices}) == 3
    (again,) = write(images, tmp_path / "again", "scan", ("dcm",))
    assert (again / "0002.dcm").read_bytes() == (folder / "0002.dcm").read_bytes()


def test_png_is_a_sheet_of_slices_windowed_without_the_brightest_pixel(images, tmp_path):
    (path,) = write(images, tmp_path, "scan", ("png",))
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (12, 8)
    assert (sheet[6:, 4:] == 0).all()  # three slices of four places
    magnitude = images.abs().numpy()
    top = np.percentile(magnitude, 99.5)
    np.testing.assert_allclose(sheet[:6, :4], np.clip(magnitude[0] / top, 0, 1) * 255, atol=0.51)


def test_nan_and_nothing_still_make_a_picture(tmp_path):
    images = torch.zeros(70, 5, 5)
    images[3] = float("nan")
    for path in write(images, tmp_path, "scan", ("png", "dcm", "nii", "h5")):
        assert path.exists()
    assert np.asarray(Image.open(tmp_path / "scan.png")).shape == (40, 40)  # 64 of the 70 slices


def test_what_stood_there_is_replaced_whole_or_not_at_all(images, tmp_path, monkeypatch):
    write(images, tmp_path, "scan", ("dcm", "h5"))
    write(images[:1], tmp_path, "scan", ("dcm",))
    assert len(list((tmp_path / "scan-dcm").iterdir())) == 1
    before = (tmp_path / "scan.h5").read_bytes()

    def refuse(path, *rest):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(module.WRITERS, "h5", (".h5", refuse))
    with pytest.raises(UserError, match="No space left"):
        write(images, tmp_path, "scan", ("h5",))
    assert (tmp_path / "scan.h5").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan-dcm", "scan.h5"]


def test_unknown_formats_shapes_and_orientations_are_refused(images, tmp_path):
    with pytest.raises(UserError, match="'bmp'; formats are h5, nii, dcm, png"):
        write(images, tmp_path, "scan", ("bmp",))
    with pytest.raises(UserError, match=r"\(slice, row, column\)"):
        write(images[0], tmp_path, "scan", ("h5",))
    with pytest.raises(ValueError, match="has the step 'upside'"):
        steps_of("upside")


def test_turning_there_and_back_is_nothing():
    array = np.arange(24).reshape(2, 3, 4)
    for orientation in ("flip-rows", "flip-columns", "transpose", "as-stored", "flip-rows+flip-columns"):
        np.testing.assert_array_equal(to_display(to_display(array, orientation), orientation), array)
    np.testing.assert_array_equal(to_display(array, "transpose+flip-rows"), np.rot90(array, axes=(1, 2)))
