import h5py
import numpy as np
import pytest
import torch
from tests.scans.miniature import coil_images, transform
from tests.scans.miniature_mrd import line, write_mrd

from reshim.catalog import Catalog
from reshim.errors import BadScanError
from reshim.physics.fourier import to_image
from reshim.scans import load, open_scan, open_scans


def image_lines(kspace, reverse_every=0, asymmetric=0):
    """Lines of (slice, coil, x, y), interleaved over slices as scanners do, some of them backwards."""
    lines = []
    for y in range(kspace.shape[3]):
        for slice_ in [*range(1, kspace.shape[0], 2), *range(0, kspace.shape[0], 2)]:
            values = kspace[slice_, :, asymmetric:, y]
            reverse = reverse_every and y % reverse_every == 0
            lines.append(
                line(
                    values[:, ::-1] if reverse else values,
                    y,
                    flags=1 << 21 if reverse else 0,
                    center=kspace.shape[2] // 2 - asymmetric,
                    slice=slice_,
                )
            )
    return lines


@pytest.fixture(scope="module")
def kspace():
    return transform(coil_images(3, 4, 16, 12)).astype(np.complex64)


def test_lines_of_interleaved_slices_find_their_places(kspace, tmp_path):
    path = write_mrd(
        tmp_path / "a.h5", image_lines(kspace), (16, 12, 1), 4, slice_max=2, protocol="AX T2 FSE brain"
    )
    scan = open_scan(path)
    assert (scan.record.dataset, scan.record.extra["reader"]) == ("mrd", "mrd")
    assert (scan.record.n_slices, scan.record.n_coils, scan.record.n_rows, scan.record.n_columns) == (
        3,
        4,
        16,
        12,
    )
    assert (scan.record.vendor, scan.record.field_tesla, scan.record.contrast) == ("GE", 3.0, "T2")
    acquisition = scan.load()
    np.testing.assert_array_equal(acquisition.kspace.numpy(), kspace)
    assert acquisition.fully_sampled
    np.testing.assert_array_equal(scan.load([2]).kspace.numpy(), kspace[[2]])


def test_backward_lines_are_turned_and_asymmetric_echoes_start_off_centre(kspace, tmp_path):
    lines = image_lines(kspace, asymmetric=3)
    acquisition = load(write_mrd(tmp_path / "a.h5", lines, (16, 12, 1), 4, slice_max=2))
    np.testing.assert_array_equal(acquisition.kspace.numpy()[:, :, 3:], kspace[:, :, 3:])
    assert (acquisition.kspace[:, :, :3] == 0).all()
    lines = image_lines(kspace, reverse_every=2)
    acquisition = load(write_mrd(tmp_path / "b.h5", lines, (16, 12, 1), 4, slice_max=2))
    np.testing.assert_array_equal(acquisition.kspace.numpy(), kspace)


def test_averages_are_averaged_and_other_lines_are_no_image(kspace, tmp_path):
    extra = [line(np.full((4, 16), 100 + 0j), 3, flags=1 << (bit - 1)) for bit in (20, 23, 24)]
    doubled = [*extra, *image_lines(kspace), *image_lines(3 * kspace)]
    acquisition = load(write_mrd(tmp_path / "a.h5", doubled, (16, 12, 1), 4, slice_max=2))
    np.testing.assert_allclose(acquisition.kspace.numpy(), 2 * kspace, rtol=1e-6)


def test_noise_lines_give_the_covariance_of_the_coils(kspace, tmp_path):
    rng = np.random.default_rng(0)
    mixing = np.array([[1, 0, 0, 0], [0.5j, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    white = rng.standard_normal((4, 4000)) + 1j * rng.standard_normal((4, 4000))
    lines = [line(mixing @ white, flags=1 << 18), *image_lines(kspace)]
    covariance = load(write_mrd(tmp_path / "a.h5", lines, (16, 12, 1), 4, slice_max=2)).noise_covariance
    # E[n n^H] / 2: unit variance of the real part of each white channel.
    np.testing.assert_allclose(covariance, mixing @ mixing.conj().T, atol=0.2)
    assert (
        load(write_mrd(tmp_path / "b.h5", image_lines(kspace), (16, 12, 1), 4, slice_max=2)).noise_covariance
        is None
    )


def test_missing_lines_are_a_mask_inside_and_padding_outside(kspace, tmp_path):
    kept = [
        record
        for record in image_lines(kspace)
        if record["head"]["idx"]["kspace_encode_step_1"] in (2, 3, 5, 6, 8)
    ]
    acquisition = load(write_mrd(tmp_path / "a.h5", kept, (16, 12, 1), 4, slice_max=2))
    assert acquisition.mask[0, 0, 0].nonzero().flatten().tolist() == [2, 3, 5, 6, 8]
    assert acquisition.acquirable[0, 0, 0].nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert (acquisition.kspace[..., [0, 1, 4, 7, 9, 10, 11]] == 0).all()


def test_a_centre_that_is_off_shifts_the_lines(kspace, tmp_path):
    lines = [record for record in image_lines(kspace) if record["head"]["idx"]["kspace_encode_step_1"] >= 4]
    for record in lines:
        record["head"]["idx"]["kspace_encode_step_1"] -= 4
    path = write_mrd(tmp_path / "a.h5", lines, (16, 12, 1), 4, slice_max=2, y_max=7, y_center=2)
    acquisition = load(path)
    np.testing.assert_array_equal(acquisition.kspace.numpy()[..., 4:], kspace[..., 4:])
    assert acquisition.fully_sampled


@pytest.fixture(scope="module")
def volume():
    """k-space (coil, x, y, z) of a volume without symmetry."""
    rng = np.random.default_rng(3)
    image = rng.standard_normal((2, 8, 6, 4)) + 1j * rng.standard_normal((2, 8, 6, 4))
    return image, transform(image, (1, 2, 3)).astype(np.complex64)


def volume_lines(kspace, keep=lambda y, z: True):
    _, _, n_y, n_z = kspace.shape
    return [line(kspace[:, :, y, z], y, z) for z in range(n_z) for y in range(n_y) if keep(y, z)]


def test_a_3d_scan_is_three_views_of_one_subject_and_each_is_the_same_image(volume, tmp_path):
    image, kspace = volume
    write_mrd(tmp_path / "scans" / "stanford_3d" / "a.h5", volume_lines(kspace), (8, 6, 4), 2)
    catalog = Catalog.index([tmp_path / "scans"], tmp_path / "c.parquet").catalog
    records = {record.view: record for record in catalog.records()}
    assert set(records) == {"axial", "coronal", "sagittal"}
    assert len(catalog.subjects()) == 1
    assert len({record.split for record in records.values()}) == 1
    assert records["axial"].view_of == records["coronal"].view_of == records["sagittal"].scan_id
    assert (records["axial"].dataset, records["axial"].contrast) == ("stanford_3d", "PD")
    for view, axis in (("axial", 1), ("coronal", 2), ("sagittal", 3)):
        acquisition = load(records[view])
        expected = np.moveaxis(image, axis, 0)
        assert acquisition.kspace.shape == expected.shape
        assert records[view].n_slices == image.shape[axis]
        np.testing.assert_allclose(to_image(acquisition.kspace).numpy(), expected, atol=1e-5)
    assert load(records["axial"]).readout_axis is None


def test_an_undersampled_3d_scan_has_the_view_along_readout_alone(volume, tmp_path):
    _, kspace = volume
    path = write_mrd(tmp_path / "a.h5", volume_lines(kspace, lambda y, z: (y + z) % 2 == 0), (8, 6, 4), 2)
    scans = {scan.record.extra["part"]: scan for scan in open_scans(path)}
    acquisition = scans["x"].load()
    assert acquisition.mask.shape == (1, 1, 6, 4)
    assert acquisition.mask.sum() == 12
    full = to_image(torch.from_numpy(kspace), (1,)).movedim(1, 0)
    np.testing.assert_allclose(acquisition.kspace, torch.where(acquisition.mask, full, 0), atol=1e-5)
    with pytest.raises(BadScanError, match="undersampled along y and z"):
        scans["z"].load()


def test_damage_is_named(kspace, tmp_path):
    lines = image_lines(kspace)
    with pytest.raises(BadScanError, match="limits are those of another scan"):
        load(write_mrd(tmp_path / "a.h5", lines, (16, 8, 1), 4, slice_max=2))
    with pytest.raises(BadScanError, match="spiral trajectory"):
        open_scan(write_mrd(tmp_path / "b.h5", lines, (16, 12, 1), 4, trajectory="spiral"))
    with pytest.raises(BadScanError, match="declares"):
        open_scan(write_mrd(tmp_path / "c.h5", lines, (16, 12, 1), 4, slice_max=60000))
    with pytest.raises(BadScanError, match="no line of data"):
        open_scan(write_mrd(tmp_path / "d.h5", [], (16, 12, 1), 4))
    lines[5]["head"]["number_of_samples"] = 7
    with pytest.raises(BadScanError, match="the file is damaged"):
        load(write_mrd(tmp_path / "e.h5", lines, (16, 12, 1), 4, slice_max=2))


def test_the_independent_reader_opens_the_miniature(kspace, tmp_path):
    ismrmrd = pytest.importorskip("ismrmrd", reason="the package ismrmrd is not installed")
    path = write_mrd(tmp_path / "a.h5", image_lines(kspace), (16, 12, 1), 4, slice_max=2)
    dataset = ismrmrd.Dataset(str(path), "dataset", create_if_needed=False)
    assert dataset.number_of_acquisitions() == 36
    acquisition = dataset.read_acquisition(7)
    np.testing.assert_array_equal(
        acquisition.data, kspace[acquisition.idx.slice, :, :, acquisition.idx.kspace_encode_step_1]
    )
    dataset.close()
    with h5py.File(path) as file:
        assert file["dataset/data"].shape == (36,)
