"""Magnitude images as emulated scans: said so, cut to what was measured, with phase, coils and noise."""

import json

import numpy as np
import pytest
import torch
from tests.scans.miniature import coil_images, transform

from reshim.catalog import Catalog
from reshim.errors import BadScanError
from reshim.formats.dicom import write_dicom
from reshim.physics.fourier import center_pad, to_image, to_kspace
from reshim.scans import load, load_reference, open_scan, open_scans
from reshim.scans.emulation import Emulation, coil_maps, extent_of, smooth_phase
from reshim.scans.orientation import to_display

nibabel = pytest.importorskip("nibabel", reason="the package nibabel is not installed")
pydicom = pytest.importorskip("pydicom", reason="the package pydicom is not installed")


@pytest.fixture(scope="module")
def images():
    return np.abs(coil_images(4, 1, 48, 40)[:, 0]).astype(np.float32)


def anatomy(rows, columns):
    """Images with the falling spectrum of tissue in a body with soft borders, a slow phase and noise."""
    rng = np.random.default_rng(rows)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    spectrum = transform(rng.standard_normal((6, rows, columns))) / (0.02 + np.hypot(y, x)) ** 1.2
    texture = to_image(torch.from_numpy(spectrum)).numpy().real
    body = 1 / (1 + np.exp(20 * ((y / 0.8) ** 2 + (x / 0.7) ** 2 - 1)))
    images = body * (1 + 0.3 * texture / texture.std()) * np.exp(1j * (x + y))
    return images + 0.01 * (rng.standard_normal(images.shape) + 1j * rng.standard_normal(images.shape))


def enlarged(rows, columns, to):
    """Magnitudes of images that a scanner filled up with zeros."""
    return to_image(center_pad(to_kspace(torch.from_numpy(anatomy(rows, columns))), to)).abs().numpy()


@pytest.mark.parametrize(("rows", "columns"), [(48, 64), (64, 48), (56, 40), (64, 96)])
def test_zero_filling_is_found_in_the_spectrum(rows, columns):
    found = extent_of(enlarged(rows, columns, (128, 96)))
    assert max(abs(np.subtract(found, (rows, columns)))) <= 2


def test_images_as_they_were_measured_are_left_alone():
    assert extent_of(np.abs(anatomy(96, 80))) == (96, 80)
    rng = np.random.default_rng(0)
    assert extent_of(rng.standard_normal((4, 64, 64))) == (64, 64)


def test_phase_coils_and_noise_belong_to_the_name():
    assert torch.equal(smooth_phase((16, 12), 3, "a"), smooth_phase((16, 12), 3, "a"))
    assert not torch.equal(smooth_phase((16, 12), 3, "a"), smooth_phase((16, 12), 3, "b"))
    assert smooth_phase((64, 64), 0, "a").diff(dim=0).abs().max() < 0.6
    torch.testing.assert_close(coil_maps((24, 20), 6, "a").abs().square().sum(0), torch.ones(24, 20))
    emulation = Emulation(coils=4, noise=0.05)
    empty = torch.zeros(2, 64, 64, dtype=torch.complex64)
    noise = emulation.kspace(empty, 3.0, "a", (5, 6))
    assert noise.real.std() == pytest.approx(0.15, rel=0.03)
    assert torch.equal(emulation.kspace(empty[:1], 3.0, "a", (6,))[0], noise[1])


def nifti(path, data, affine=None, **written):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(data, np.diag([1.0, 1.5, 4.0, 1.0]) if affine is None else affine)
    nibabel.save(image, path)
    return path


def test_a_nifti_is_an_emulated_scan_with_its_image_as_reference(images, tmp_path):
    path = nifti(tmp_path / "own" / "brain_T2.nii.gz", images.transpose(2, 1, 0))
    (tmp_path / "own" / "brain_T2.json").write_text(
        json.dumps(
            {"MagneticFieldStrength": 2.89, "Manufacturer": "Siemens", "EchoTime": 0.09, "PatientName": "X"}
        )
    )
    (record,) = Catalog.index([tmp_path / "own"], tmp_path / "c.parquet").catalog.records()
    assert (record.data_kind, record.anatomy, record.contrast, record.view) == (
        "emulated",
        "brain",
        "T2",
        "axial",
    )
    assert (record.field_tesla, record.vendor, record.echo_ms) == (3.0, "Siemens", 90.0)
    assert (record.n_slices, record.n_coils, record.n_rows, record.n_columns) == (4, 8, 48, 40)
    assert record.spacing_mm == (4.0, 1.5, 1.0)
    acquisition = load(record)
    clean = load_reference(record, "clean")
    np.testing.assert_allclose(clean, images, atol=1e-6)
    assert acquisition.noise_std == pytest.approx(0.02 * np.percentile(images, 99), rel=1e-3)
    rss = to_image(acquisition.kspace).abs().square().sum(1).sqrt()
    body = clean > 0.3
    assert (rss - clean)[body].abs().mean() < 0.1
    torch.testing.assert_close(load(record, [2]).kspace[0], acquisition.kspace[2])
    assert np.asarray(nibabel.load(path).dataobj).shape == (40, 48, 4)


def test_a_nifti_is_shown_head_up_and_nose_up_whatever_its_affine(tmp_path):
    """A dot at the front right and top of the head is shown where radiologists look for it."""
    for codes in (("R", "A", "S"), ("L", "P", "S"), ("A", "S", "L"), ("S", "L", "P")):
        shape = dict(zip("xyz", (20, 24, 28), strict=True))
        axes = {"R": ("x", 1), "L": ("x", -1), "A": ("y", 1), "P": ("y", -1), "S": ("z", 1), "I": ("z", -1)}
        ras = np.zeros((20, 24, 28), np.float32)
        ras[17, 20, 24] = 1.0
        order = ["xyz".index(axes[code][0]) for code in codes]
        data = ras.transpose(order)
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for axis, code in enumerate(codes):
            name, sign = axes[code]
            affine["xyz".index(name), axis] = sign * (3.0 if axis == 2 else 1.0)
            if sign < 0:
                data = np.flip(data, axis)
        path = nifti(tmp_path / "a.nii", np.ascontiguousarray(data), affine)
        path.with_name("a.nii.toml").write_text("crop = [64, 64]\nnoise = 0.0")
        record = open_scan(path).record
        shown = to_display(load_reference(path, "clean").numpy(), record.orientation)
        _, row, column = np.unravel_index(shown.argmax(), shown.shape)
        expected = {
            "axial": (shape["y"] - 1 - 20, shape["x"] - 1 - 17),
            "coronal": (shape["z"] - 1 - 24, shape["x"] - 1 - 17),
            "sagittal": (shape["z"] - 1 - 24, shape["y"] - 1 - 20),
        }
        assert (row, column) == expected[record.view], (codes, record.view, record.orientation)


def test_volumes_of_a_nifti_are_scans_of_one_subject(images, tmp_path):
    both = np.stack([images.transpose(2, 1, 0), 2 * images.transpose(2, 1, 0)], -1)
    first, second = open_scans(nifti(tmp_path / "a.nii", both))
    assert second.record.view_of == first.record.scan_id
    assert first.record.subject == second.record.subject
    np.testing.assert_allclose(second.reference("clean"), 2 * first.reference("clean"), rtol=1e-5)


def test_damaged_and_lying_niftis_are_refused(images, tmp_path):
    path = nifti(tmp_path / "a.nii", images)
    content = bytearray(path.read_bytes())
    (tmp_path / "short.nii").write_bytes(content[:900])
    content[42:48] = np.array([30000, 30000, 3000], "<i2").tobytes()
    (tmp_path / "lying.nii").write_bytes(content)
    (tmp_path / "text.nii.gz").write_text("no image")
    for name in ("short.nii", "lying.nii", "text.nii.gz"):
        with pytest.raises(BadScanError, match=name):
            open_scan(tmp_path / name).load()


def test_a_dicom_series_is_one_scan_listed_at_its_first_file(images, tmp_path):
    folder = tmp_path / "own" / "knee"
    folder.parent.mkdir()
    write_dicom(folder, images, (3.0, 0.8, 0.9), "x")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.MagneticFieldStrength, dataset.Manufacturer = "1.5", "GE MEDICAL SYSTEMS"
        dataset.ProtocolName, dataset.PatientID = "cor PD FS", "secret-17"
        dataset.save_as(path)
    (folder / "0002.dcm").rename(folder / "zz.dcm")  # places, not names, put slices in order
    found = Catalog.index([tmp_path / "own"], tmp_path / "c.parquet")
    (record,) = found.catalog.records()
    assert not found.left_out
    assert (record.data_kind, record.path, record.n_slices) == ("emulated", "knee/0001.dcm", 4)
    assert (record.field_tesla, record.vendor, record.contrast) == (1.5, "GE", "PD-FS")
    assert (record.anatomy, record.view, record.spacing_mm) == ("knee", "axial", (3.0, 0.8, 0.9))
    assert "secret" not in str(found.catalog.table.to_pylist())
    np.testing.assert_allclose(load_reference(record, "clean"), images, atol=1e-4)
    assert load(record, [1]).kspace.shape == (1, 8, 48, 40)
    assert open_scan(folder / "zz.dcm").record.n_slices == 4


def test_dicom_says_how_much_was_measured(tmp_path):
    folder = tmp_path / "a"
    write_dicom(folder, enlarged(48, 64, (128, 128)), (3.0, 0.5, 0.5), "x")
    assert open_scan(folder / "0001.dcm").record.n_rows == pytest.approx(48, abs=2)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionMatrix = [0, 50, 40, 0]
        dataset.save_as(path)
    record = open_scan(folder / "0001.dcm").record
    assert (record.n_rows, record.n_columns) == (40, 50)
    assert record.spacing_mm == pytest.approx((3.0, 1.6, 64 / 50))


def test_other_modalities_and_damaged_dicoms_are_refused(images, tmp_path):
    write_dicom(tmp_path / "a", images, (3.0, 1.0, 1.0), "x")
    dataset = pydicom.dcmread(tmp_path / "a" / "0001.dcm")
    dataset.Modality = "CT"
    dataset.save_as(tmp_path / "a" / "0001.dcm")
    (tmp_path / "a" / "b.dcm").write_bytes(b"nothing")
    with pytest.raises(BadScanError, match="modality CT"):
        open_scan(tmp_path / "a" / "0001.dcm")
    with pytest.raises(BadScanError, match="no readable DICOM"):
        open_scan(tmp_path / "a" / "b.dcm")


def test_brats_is_four_contrasts_of_one_patient_with_labels(images, tmp_path):
    folder = tmp_path / "brats" / "BraTS2021_00003"
    labels = np.zeros(images.shape, np.uint8)
    labels[:, 20:30, 10:20] = 4
    for what in ("t1", "t1ce", "t2", "flair"):
        nifti(
            folder / f"BraTS2021_00003_{what}.nii.gz",
            images.transpose(2, 1, 0),
            np.diag([-1.0, -1.0, 1.0, 1.0]),
        )
    nifti(folder / "BraTS2021_00003_seg.nii.gz", labels.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]))
    found = Catalog.index([tmp_path / "brats"], tmp_path / "c.parquet")
    records = found.catalog.records()
    assert not found.left_out
    assert sorted(record.contrast for record in records) == ["FLAIR", "T1", "T1-post", "T2"]
    assert {(record.dataset, record.anatomy, record.data_kind) for record in records} == {
        ("brats", "brain", "emulated")
    }
    assert len({record.subject for record in records}) == 1
    np.testing.assert_array_equal(load_reference(records[0], "segmentation", [1])[0], labels[1])
    (folder / "scans.toml").write_text("crop = [24, 20]")
    half = load_reference(records[0], "segmentation", [1])
    assert half.shape == (1, 24, 20)
    assert (half == 4).sum() == 25
    assert load_reference(records[0], "clean", [1]).shape == (1, 24, 20)


@pytest.mark.parametrize("name", ["BraTS-GLI-00005-001-t2f.nii.gz", "BraTS20_Training_001_flair.nii"])
def test_brats_of_other_years(name, images, tmp_path):
    record = open_scan(nifti(tmp_path / name, images.transpose(2, 1, 0))).record
    assert (record.extra["reader"], record.contrast) == ("brats", "FLAIR")
