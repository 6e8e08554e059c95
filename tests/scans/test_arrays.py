"""Anybody's own arrays: axes by name, sizes checked before memory, nothing executed."""

import io
import zipfile

import h5py
import numpy as np
import pytest
import torch
from tests.scans.miniature import coil_images, transform

from reshim.catalog import Catalog
from reshim.errors import BadScanError
from reshim.physics.fourier import to_image
from reshim.scans import load, load_reference, open_scan, open_scans

scipy_io = pytest.importorskip("scipy.io", reason="the package scipy is not installed")


@pytest.fixture(scope="module")
def kspace():
    return transform(coil_images(3, 4, 24, 20)).astype(np.complex64)


def describe(path, text):
    path.with_name(path.name + ".toml").write_text(text)
    return path


def write_bart(path, array):
    """As BART writes: the first axis fastest."""
    sizes = array.shape + (1,) * (16 - array.ndim)
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, sizes)) + " \n")
    path.write_bytes(array.astype(np.complex64).tobytes(order="F"))
    return path


def test_a_named_kspace_is_read_as_it_stands_and_reconstructed_by_name(kspace, tmp_path):
    np.savez_compressed(tmp_path / "knee_pd.npz", kspace=kspace, other=np.zeros(3))
    scan = open_scan(tmp_path / "knee_pd.npz")
    assert (scan.record.extra["reader"], scan.record.data_kind) == ("numpy", "measured")
    assert (
        scan.record.n_slices,
        scan.record.n_coils,
        scan.record.n_rows,
        scan.record.n_columns,
    ) == kspace.shape
    assert (scan.record.anatomy, scan.record.contrast) == ("knee", "PD")
    np.testing.assert_array_equal(scan.load().kspace.numpy(), kspace)
    np.testing.assert_array_equal(scan.load([2, 0]).kspace.numpy(), kspace[[2, 0]])


def test_axes_in_any_order_are_put_right_by_a_sidecar(kspace, tmp_path):
    order = ("column", "coil", "slice", "row")
    shuffled = kspace.transpose([("slice", "coil", "row", "column").index(axis) for axis in order])
    sidecar = 'axes = ["column", "coil", "slice", "row"]\n'
    np.save(tmp_path / "a.npy", shuffled)
    scipy_io.savemat(tmp_path / "b.mat", {"data": shuffled})
    with h5py.File(tmp_path / "c.mat", "w") as file:  # MATLAB 7.3 stores axes in reverse
        record = np.empty(shuffled.T.shape, [("real", "<f4"), ("imag", "<f4")])
        record["real"], record["imag"] = shuffled.T.real, shuffled.T.imag
        file["data"] = record
    for name in ("a.npy", "b.mat", "c.mat"):
        scan = open_scan(describe(tmp_path / name, sidecar))
        np.testing.assert_array_equal(scan.load().kspace.numpy(), kspace)


def test_a_sidecar_says_what_cannot_be_inferred_and_the_folder_speaks_for_all(kspace, tmp_path):
    (tmp_path / "own").mkdir()
    np.save(describe(tmp_path / "own" / "a.npy", 'subject = "s7"\ncontrast = "T1"\n'), kspace)
    np.save(tmp_path / "own" / "b.npy", kspace)
    (tmp_path / "own" / "scans.toml").write_text(
        'axes = ["slice", "coil", "row", "column"]\nanatomy = "heart"\n'
        'field_tesla = 1.494\nvendor = "philips"\n'
        'crop = [16, 12]\nspacing_mm = [5, 1.5, 1.5]\nreadout_axis = "column"\nview = "short-axis"\n'
        'contrast = "CINE"\nsplit = "test"\n'
    )
    first, second = Catalog.index([tmp_path / "own"], tmp_path / "c.parquet").catalog.records()
    assert (first.contrast, second.contrast) == ("T1", "CINE")
    for record in (first, second):
        assert (record.anatomy, record.vendor, record.field_tesla) == ("heart", "Philips", 1.5)
        assert (record.recon_rows, record.recon_columns, record.split) == (16, 12, "test")
        assert record.spacing_mm == (5.0, 1.5, 1.5)
        assert "unknown" not in record.extra
        acquisition = load(record)
        assert (acquisition.crop, acquisition.readout_axis) == ((16, 12), "column")
    assert first.subject != second.subject


def test_what_is_missing_is_named_with_the_remedy(kspace, tmp_path):
    np.save(tmp_path / "a.npy", kspace)
    with pytest.raises(BadScanError, match=r"axes are not known; write a\.npy\.toml"):
        open_scan(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", one=kspace, two=kspace)
    with pytest.raises(BadScanError, match="array = "):
        open_scan(tmp_path / "b.npz")
    np.save(describe(tmp_path / "c.npy", 'axes = ["slice", "row", "column"]'), kspace[:, 0])
    with pytest.raises(BadScanError, match='content = "kspace" or content = "images"'):
        open_scan(tmp_path / "c.npy")
    for text, said in (
        ('axis = ["row"]', "has the key 'axis'"),
        ('axes = ["row", "kx"]', "axes = "),
        ("axes = [", "is no TOML"),
        ('field_tesla = "3 T"', "it is number"),
    ):
        with pytest.raises(BadScanError, match=said):
            open_scan(describe(tmp_path / "a.npy", text))
    describe(tmp_path / "a.npy", "skip = true")
    assert open_scans(tmp_path / "a.npy") == []


def test_frames_are_scans_of_one_subject_and_averages_are_averaged(kspace, tmp_path):
    both = np.stack([kspace, 2 * kspace])  # echo
    averaged = np.stack([both - 1, both + 1], -1).astype(np.complex64)
    (tmp_path / "own").mkdir()
    path = tmp_path / "own" / "a.npy"
    np.save(describe(path, 'axes = ["echo", "slice", "coil", "row", "column", "average"]'), averaged)
    records = Catalog.index([tmp_path / "own"], tmp_path / "c.parquet").catalog.records()
    assert [record.extra["part"] for record in records] == ["echo1", "echo2"]
    assert records[1].view_of == records[0].scan_id
    assert len({(record.subject, record.split) for record in records}) == 1
    np.testing.assert_allclose(load(records[0]).kspace, kspace, atol=1e-5)
    np.testing.assert_allclose(load(records[1]).kspace, 2 * kspace, atol=1e-5)


def test_undersampling_is_stated_never_guessed(kspace, tmp_path):
    mask = np.zeros(20, bool)
    mask[[2, 3, 9, 10, 11, 16]] = True
    np.savez(tmp_path / "a.npz", kspace=np.where(mask, kspace, 0), mask=mask)
    with pytest.raises(BadScanError, match="exactly 0 in every coil"):
        open_scan(tmp_path / "a.npz").load()
    for stated in ("mask", "nonzero"):
        scan = open_scan(describe(tmp_path / "a.npz", f'mask = "{stated}"'))
        assert not scan.record.fully_sampled
        acquisition = scan.load()
        assert acquisition.mask[0, 0, 0].tolist() == mask.tolist()
        assert (acquisition.kspace[..., ~torch.from_numpy(mask)] == 0).all()


def test_coil_images_and_corner_transforms_become_kspace(kspace, tmp_path):
    axes = 'axes = ["slice", "coil", "row", "column"]\n'
    np.save(describe(tmp_path / "a.npy", axes + 'content = "coil-images"'), transform_back(kspace))
    np.testing.assert_allclose(open_scan(tmp_path / "a.npy").load().kspace, kspace, atol=1e-5)
    corner = np.fft.ifftshift(kspace, (-2, -1))
    np.save(describe(tmp_path / "b.npy", axes + 'zero_frequency = "first"'), corner)
    np.testing.assert_array_equal(open_scan(tmp_path / "b.npy").load().kspace, kspace)


def transform_back(kspace):
    return to_image(torch.from_numpy(kspace)).numpy()


def test_bart_files_have_axes_of_fixed_meaning(kspace, tmp_path):
    bart = np.zeros((24, 20, 1, 4) + (1,) * 9 + (3,), np.complex64)
    bart[:, :, 0, :, 0, 0, 0, 0, 0, 0, 0, 0, 0, :] = kspace.transpose(2, 3, 1, 0)
    scan = open_scan(write_bart(tmp_path / "brain_t2.cfl", bart))
    assert (scan.record.extra["reader"], scan.record.n_slices, scan.record.anatomy) == ("bart", 3, "brain")
    np.testing.assert_array_equal(scan.load().kspace.numpy(), kspace)
    (tmp_path / "brain_t2.hdr").write_text("# Dimensions\n24 20 1 5 1\n")
    with pytest.raises(BadScanError, match="is damaged or of another scan"):
        open_scan(tmp_path / "brain_t2.cfl")
    (tmp_path / "brain_t2.hdr").unlink()
    with pytest.raises(BadScanError, match=r"has no brain_t2\.hdr"):
        open_scan(tmp_path / "brain_t2.cfl")


def test_a_volume_of_bart_is_three_views_of_one_subject(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.standard_normal((2, 8, 6, 10)) + 1j * rng.standard_normal((2, 8, 6, 10))
    samples = transform(image, (1, 2, 3)).transpose(1, 2, 3, 0)
    scans = open_scans(write_bart(tmp_path / "a.cfl", samples))
    assert [scan.record.extra["axis"] for scan in scans] == ["z", "x", "y"]
    assert len({scan.record.subject for scan in scans}) == 1
    for scan, axis in zip(scans, (3, 1, 2), strict=True):
        expected = np.moveaxis(image, axis, 0)
        assert (scan.record.n_slices, scan.record.n_rows, scan.record.n_columns) == (
            expected.shape[0],
            *expected.shape[2:],
        )
        np.testing.assert_allclose(to_image(scan.load().kspace).numpy(), expected, atol=1e-5)
    assert scans[1].load([1]).readout_axis is None


def test_complex_images_are_semi_synthetic_and_keep_their_phase(tmp_path):
    image = coil_images(2, 1, 32, 24)[:, 0].astype(np.complex64)
    np.save(
        describe(
            tmp_path / "a.npy",
            'axes = ["slice", "row", "column"]\ncontent = "images"\nnoise = 0.0\ncrop = [32, 24]',
        ),
        image,
    )
    scan = open_scan(tmp_path / "a.npy")
    assert (scan.record.data_kind, scan.record.n_coils) == ("semi-synthetic", 8)
    torch.testing.assert_close(scan.reference("clean"), torch.from_numpy(image))
    rss = to_image(scan.load().kspace).abs().square().sum(1).sqrt()
    torch.testing.assert_close(rss, torch.from_numpy(np.abs(image)), atol=1e-5, rtol=0)
    combined = to_image(scan.load().kspace)[:, 0] / torch.from_numpy(image)
    assert (
        combined.angle().diff(dim=-1).abs() < 0.5
    ).float().mean() > 0.95  # the coil's own slow phase alone


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


def test_objects_are_never_unpickled(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.array([Harmful()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", kspace=np.array([Harmful()], dtype=object))
    scipy_io.savemat(
        tmp_path / "c.mat",
        {"kspace": {"field": np.ones(3)}, "cell": np.array([Harmful], dtype=object).astype(str)},
    )
    for name in ("a.npy", "b.npz", "c.mat"):
        with pytest.raises(BadScanError, match=name):
            open_scan(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_sizes_are_checked_before_memory(kspace, tmp_path):
    content = io.BytesIO()
    np.save(content, kspace)
    lying = content.getvalue().replace(b"(3, 4, 24, 20)", b"(3, 4, 240000)")
    (tmp_path / "a.npy").write_bytes(lying)
    with pytest.raises(BadScanError, match="declares"):
        open_scan(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("kspace.npy", lying)
    with pytest.raises(BadScanError, match="declares"):
        open_scan(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04nothing")
    (tmp_path / "d.mat").write_bytes(bytes(400))
    for name in ("c.npz", "d.mat"):
        with pytest.raises(BadScanError, match="no readable"):
            open_scan(tmp_path / name)


def test_an_emulated_array_has_its_clean_image_as_reference(tmp_path):
    image = np.abs(coil_images(2, 1, 32, 24)[:, 0]).astype(np.float32)
    np.save(describe(tmp_path / "a.npy", 'axes = ["slice", "row", "column"]\nnoise = 0.0'), image)
    scan = open_scan(tmp_path / "a.npy")
    assert scan.record.data_kind == "emulated"
    np.testing.assert_allclose(load_reference(scan.record, "clean"), image, atol=1e-6)
    np.testing.assert_allclose(to_image(scan.load().kspace).abs().square().sum(1).sqrt(), image, atol=1e-5)
    axes = 'axes = ["slice", "row", "column"]\n'
    describe(tmp_path / "a.npy", axes + "crop = [16, 24]\nspacing_mm = [3, 1, 1]")
    record = open_scan(tmp_path / "a.npy").record
    assert (record.n_rows, record.n_columns, record.spacing_mm) == (16, 24, (3.0, 2.0, 1.0))


def test_indexing_lists_what_is_missing_of_every_file(kspace, tmp_path, capsys):
    from reshim.cli import main

    np.savez(tmp_path / "a.npz", kspace=kspace)
    np.savez(describe(tmp_path / "b.npz", 'anatomy = "knee"\ncontrast = "PD"'), kspace=2 * kspace)
    np.save(tmp_path / "c.npy", kspace)
    assert main(["index", str(tmp_path), "--out", str(tmp_path / "c.parquet")]) == 3
    said = capsys.readouterr().err
    assert "missing: a.npz: anatomy, contrast, view, vendor, field_tesla, spacing_mm not known" in said
    assert "missing: b.npz: view, vendor, field_tesla, spacing_mm not known; write b.npz.toml" in said
    assert "c.npy.toml" in said


def test_a_sidecar_that_changed_is_read_again(kspace, tmp_path):
    np.savez(describe(tmp_path / "a.npz", 'anatomy = "knee"'), kspace=kspace)
    assert Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()[0].anatomy == "knee"
    assert Catalog.index([tmp_path], tmp_path / "c.parquet").n_read == 0
    describe(tmp_path / "a.npz", 'anatomy = "heart"')
    assert Catalog.index([tmp_path], tmp_path / "c.parquet").catalog.records()[0].anatomy == "heart"
