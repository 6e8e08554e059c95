"""Each collection's reader on a miniature file in the collection's own layout, quirks included."""

import h5py
import numpy as np
import pytest
import torch
from tests.scans.miniature import coil_images, header_xml, transform, write_fastmri

from reshim.catalog import Catalog
from reshim.physics.fourier import to_image
from reshim.scans import load, load_reference, open_scan, open_scans


@pytest.fixture(scope="module")
def image():
    """A volume (coil, x, y, z) without symmetry."""
    rng = np.random.default_rng(5)
    return (rng.standard_normal((12, 6, 8, 10)) + 1j * rng.standard_normal((12, 6, 8, 10))).astype(
        np.complex64
    )


def write_cc359(path, image):
    """As the challenge publishes heads: axial slices, plain transforms, coils in pairs of reals."""
    # The published image is centred after a plain inverse FFT, so k-space carries the half-field shift.
    kspace = np.fft.fftshift(np.fft.fft2(image, norm="ortho"), (-2, -1))
    pairs = np.stack([kspace.real, kspace.imag], -1).transpose(1, 2, 3, 0, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["kspace"] = pairs.reshape(*pairs.shape[:3], -1).astype(np.float32)
    return path


def test_cc359_is_one_head_in_three_views_and_centred(image, tmp_path):
    write_cc359(tmp_path / "cc" / "e13991s3_P01536.7.h5", image)
    catalog = Catalog.index([tmp_path / "cc"], tmp_path / "c.parquet").catalog
    records = {record.dataset: record for record in catalog.records()}
    assert set(records) == {"cc-359_ax", "cc-359_cor", "cc-359_sag"}
    assert len(catalog.subjects()) == 1
    assert (records["cc-359_ax"].n_coils, records["cc-359_ax"].n_slices) == (12, 6)
    for name, axis in (("cc-359_ax", 1), ("cc-359_cor", 2), ("cc-359_sag", 3)):
        expected = np.moveaxis(image, axis, 0)
        acquisition = load(records[name])
        np.testing.assert_allclose(to_image(acquisition.kspace).numpy(), expected, atol=1e-4)
        assert acquisition.kspace.shape[-2:] == (records[name].n_rows, records[name].n_columns)
        assert torch.equal(load(records[name], [2]).kspace[0], acquisition.kspace[2])


def test_skmtea_is_two_echoes_of_one_knee_and_sagittal(image, tmp_path):
    echoes = np.stack([image, 0.5 * image], -1)  # coil, x, y, z, echo
    hybrid = transform(echoes, (2, 3)).transpose(1, 2, 3, 4, 0).astype(np.complex64)
    (tmp_path / "sk").mkdir()
    with h5py.File(tmp_path / "sk" / "MTR_005.h5", "w") as file:
        file["kspace"] = hybrid
    catalog = Catalog.index([tmp_path / "sk"], tmp_path / "c.parquet").catalog
    records = {(record.extra["axis"], record.extra["echo"]): record for record in catalog.records()}
    assert len(records) == 6
    assert len({(record.subject, record.split) for record in records.values()}) == 1
    first, second = records["z", 0], records["z", 1]
    assert {record.view_of for record in records.values()} == {None, first.scan_id}
    assert (first.dataset, first.anatomy, first.view, first.n_slices) == ("skm-tea", "knee", "sagittal", 10)
    np.testing.assert_allclose(to_image(load(first).kspace).numpy(), np.moveaxis(image, 3, 0), atol=1e-4)
    np.testing.assert_allclose(load(second).kspace, 0.5 * load(first).kspace, atol=1e-5)
    for axis, place, view in (("x", 1, "axial"), ("y", 2, "coronal")):
        assert records[axis, 0].view == view
        expected = np.moveaxis(image, place, 0)
        np.testing.assert_allclose(to_image(load(records[axis, 0]).kspace).numpy(), expected, atol=1e-4)


def test_skmtea_has_padding_columns_at_its_real_width(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "MTR_001.h5", "w") as file:
        file["kspace"] = rng.standard_normal((4, 512, 4, 2, 1)).astype(np.complex64)
    scans = {scan.record.extra["axis"]: scan for scan in open_scans(tmp_path / "MTR_001.h5")}
    columns = scans["z"].load([1]).acquirable[0, 0, 0].nonzero().flatten()
    assert (columns[0], columns[-1]) == (48, 463)
    rows = scans["x"].load([1]).acquirable[0, 0, :, 0].nonzero().flatten()
    assert (rows[0], rows[-1]) == (48, 463)
    assert scans["y"].load([1]).acquirable.all()


def test_prostate_merges_its_averages_and_pads_to_the_encoded_matrix(tmp_path):
    kspace = transform(coil_images(2, 3, 16, 12)).astype(np.complex64)
    noise = 0.1 * transform(coil_images(2, 3, 16, 12, seed=9)).astype(np.complex64)
    averages = np.zeros((3, *kspace.shape), np.complex64)
    averages[0, ..., 1::2] = (kspace + noise)[..., 1::2]
    averages[2, ..., 1::2] = (kspace - noise)[..., 1::2]
    averages[1, ..., ::2] = kspace[..., ::2]
    with h5py.File(tmp_path / "file_prostate_AXT2_001.h5", "w") as file:
        file["kspace"] = averages
        file["ismrmrd_header"] = header_xml(16, 16, (12, 12), (2, 2), protocol="AXT2")
        file["reconstruction_rss"] = np.ones((2, 12, 12), np.float32)
        file.attrs["patient_id"] = "p1"
    scan = open_scan(tmp_path / "file_prostate_AXT2_001.h5")
    assert (scan.record.dataset, scan.record.anatomy, scan.record.n_columns) == (
        "fastmri_prostate",
        "prostate",
        16,
    )
    acquisition = scan.load()
    np.testing.assert_allclose(acquisition.kspace[..., 2:14], kspace, atol=1e-5)
    assert (acquisition.kspace[..., [0, 1, 14, 15]] == 0).all()
    assert acquisition.acquirable[0, 0, 0].nonzero().flatten().tolist() == list(range(2, 14))
    assert scan.reference("rss") is None


def test_m4raw_repetitions_are_one_volunteer_at_low_field(tmp_path):
    for name in ("2022061003_T101", "2022061003_T102", "2022061003_FLAIR01", "2022061004_T201"):
        fields = {"vendor": "XGY", "model": "", "field": 0.3}
        write_fastmri(
            tmp_path / "m4" / f"{name}.h5", rows=16, columns=16, n_coils=4, acquisition="x", **fields
        )
    catalog = Catalog.index([tmp_path / "m4"], tmp_path / "c.parquet").catalog
    assert catalog.by(["dataset", "contrast", "field_tesla"]) == [
        {
            "dataset": "m4raw",
            "contrast": "FLAIR",
            "field_tesla": 0.3,
            "subjects": 1,
            "volumes": 1,
            "slices": 2,
        },
        {"dataset": "m4raw", "contrast": "T1", "field_tesla": 0.3, "subjects": 1, "volumes": 2, "slices": 4},
        {"dataset": "m4raw", "contrast": "T2", "field_tesla": 0.3, "subjects": 1, "volumes": 1, "slices": 2},
    ]
    assert len(catalog.subjects()) == 2
    assert load_reference(catalog.records()[0], "rss").shape == (2, 16, 16)


def test_m4raw_gradient_echoes_are_centred_and_turned(tmp_path):
    right = transform(coil_images(2, 4, 128, 96)).astype(np.complex64)
    stored = np.roll(right[..., ::-1].swapaxes(-2, -1), 45, -1)  # backwards, exchanged, 45 columns off
    path = write_fastmri(tmp_path / "2022061003_GRE01.h5", n_coils=4, rows=96, columns=128, recon=(96, 128))
    with h5py.File(path, "a") as file:
        file["kspace"][...] = stored
    scan = open_scan(path)
    assert (scan.record.dataset, scan.record.n_rows, scan.record.n_columns) == ("m4raw_gre", 128, 96)
    np.testing.assert_array_equal(scan.load().kspace.numpy(), right)
    assert scan.load().crop == (128, 96)
    assert scan.reference("rss") is None


def write_cmrxrecon(path):
    """As MATLAB 7.3 writes: axes reversed, real and imaginary parts in a record; also the array itself."""
    rng = np.random.default_rng(2)
    matlab = rng.standard_normal((16, 12, 3, 2, 5)) + 1j * rng.standard_normal(
        (16, 12, 3, 2, 5)
    )  # x, y, coil, slice, time
    record = np.empty(matlab.T.shape, np.dtype([("real", "<f8"), ("imag", "<f8")]))
    record["real"], record["imag"] = matlab.T.real, matlab.T.imag
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["kspace_full"] = record
        file["kspace_full"].attrs["MATLAB_class"] = np.bytes_("double")
    return path, matlab


def test_cmrxrecon_axes_are_reversed_and_frames_are_slices(tmp_path):
    _, matlab = write_cmrxrecon(tmp_path / "cm" / "P007" / "cine_sax.mat")
    (scan,) = Catalog.index([tmp_path / "cm"], tmp_path / "c.parquet").catalog.records()
    assert (scan.dataset, scan.anatomy, scan.contrast, scan.view) == (
        "cmrxrecon",
        "heart",
        "CINE",
        "short-axis",
    )
    assert (scan.n_slices, scan.n_coils, scan.n_rows, scan.n_columns) == (10, 3, 16, 12)
    kspace = load(scan).kspace
    for slice_ in range(2):
        for time in range(5):
            expected = matlab[:, :, :, slice_, time].transpose(2, 0, 1).astype(np.complex64)
            np.testing.assert_array_equal(kspace[slice_ * 5 + time].numpy(), expected)
    np.testing.assert_array_equal(load(scan, [7]).kspace.numpy(), kspace[[7]].numpy())
