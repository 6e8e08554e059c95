import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from fastmri.data.mri_data import SliceDataset
from tests.scans.miniature import cropped, header_xml, write_fastmri

from reshim.errors import BadScanError
from reshim.scans import load, load_reference, open_scan
from reshim.scans.fastmri import read_record

REAL = os.environ.get("RESHIM_REAL_DATA")
real_data = pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real scans")


def test_a_record_says_what_the_headers_say(tmp_path):
    path = write_fastmri(tmp_path / "multicoil_val" / "file1000052.h5", padding=(2, 3))
    record = read_record(path, tmp_path)
    assert (record.dataset, record.anatomy, record.contrast, record.view) == (
        "fastmri_knee",
        "knee",
        "PD",
        "coronal",
    )
    assert (record.vendor, record.model, record.field_tesla) == ("Siemens", "Skyra", 3.0)
    assert (record.n_slices, record.n_coils, record.n_rows, record.n_columns) == (2, 3, 32, 20)
    assert (record.recon_rows, record.recon_columns, record.spacing_mm) == (16, 16, (4.5, 0.5, 0.5))
    assert (record.split, record.orientation, record.fully_sampled) == ("val", "flip-rows", True)
    assert (record.echo_ms, record.repetition_ms, record.inversion_ms) == (32.0, 2750.0, None)
    assert (record.path, record.protocol) == ("multicoil_val/file1000052.h5", "CORPD_FBK")


def test_no_name_date_or_patient_reaches_a_record(tmp_path):
    record = read_record(write_fastmri(tmp_path / "file1.h5", patient="DOE^JANE"), tmp_path)
    for secret in ("DOE", "JANE", "1970", "2018-03", "NYU^", "institution"):
        assert secret not in str(record).replace(str(tmp_path), "")


def test_one_patient_is_one_subject_in_every_file(tmp_path):
    first = read_record(write_fastmri(tmp_path / "file1.h5", patient="a"), tmp_path)
    second = read_record(write_fastmri(tmp_path / "file2.h5", patient="a", seed=1), tmp_path)
    third = read_record(write_fastmri(tmp_path / "file3.h5", patient="b"), tmp_path)
    assert first.subject == second.subject != third.subject


def test_loaded_samples_are_the_files_and_slices_are_those_asked_for(tmp_path):
    path = write_fastmri(tmp_path / "file1.h5", n_slices=4)
    with h5py.File(path) as file:
        kspace = torch.from_numpy(file["kspace"][()])
        rss = torch.from_numpy(file["reconstruction_rss"][()])
    assert torch.equal(load(path).kspace, kspace)
    for slices in ([2], [3, 1], [0, 2], [-1]):
        acquisition = load(path, slices)
        assert torch.equal(acquisition.kspace, kspace[slices])
        assert acquisition.slices == tuple(index % 4 for index in slices)
        assert torch.equal(load_reference(path, "rss", slices), rss[slices])
    assert load_reference(path, "mvue") is None
    assert load(path).name == "file1.h5"
    assert load(path).crop == (16, 16)


def test_padding_columns_are_not_acquirable_and_agree_with_fastmri(tmp_path):
    write_fastmri(tmp_path / "file1.h5", padding=(2, 3))
    sample = SliceDataset(root=tmp_path, challenge="multicoil")[1]
    acquisition = load(tmp_path / "file1.h5", [1])
    columns = acquisition.acquirable[0, 0, 0].nonzero().flatten()
    assert columns[0] == sample[3]["padding_left"] == 2
    assert columns[-1] + 1 == sample[3]["padding_right"] == 17
    np.testing.assert_array_equal(acquisition.kspace[0].numpy(), sample[0])
    assert acquisition.crop == sample[3]["recon_size"][:2]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_an_undersampled_scan_carries_its_mask_and_reads_zero_elsewhere(tmp_path, dtype):
    mask = np.zeros(20, dtype=dtype)
    mask[::4] = mask[8:12] = 1
    path = write_fastmri(tmp_path / "file1.h5", mask=mask)
    with h5py.File(path, "a") as file:
        values = file["kspace"][()]
        values[..., mask == 0] = np.nan
        file["kspace"][...] = values
    acquisition = load(path)
    assert not read_record(path).fully_sampled
    assert torch.equal(acquisition.mask[0, 0, 0], torch.from_numpy(mask != 0))
    assert (acquisition.kspace[..., mask == 0] == 0).all()
    assert acquisition.kspace.isfinite().all()
    assert acquisition.readout_axis == "row"


def test_a_mask_of_both_axes_means_that_no_axis_is_read_out_in_one_go(tmp_path):
    mask = np.random.default_rng(0).random((32, 20)) < 0.4
    acquisition = load(write_fastmri(tmp_path / "a.h5", mask=mask))
    assert acquisition.mask.shape == (1, 1, 32, 20)
    assert acquisition.readout_axis is None


def test_undersampled_without_a_mask_is_refused_when_loaded(tmp_path):
    path = write_fastmri(tmp_path / "a.h5", attributes={"fully_sampled": False})
    assert not read_record(path).fully_sampled
    with pytest.raises(BadScanError, match="never guessed from zeros"):
        load(path)


def test_a_scan_narrower_than_its_reconstruction_is_scored_on_a_square(tmp_path):
    acquisition = load(
        write_fastmri(tmp_path / "a.h5", rows=32, columns=20, recon=(24, 24), acquisition="AXFLAIR")
    )
    assert acquisition.crop == (20, 20)


def test_without_a_header_the_matrix_is_the_reconstruction_unless_an_image_says_less(tmp_path):
    path = write_fastmri(tmp_path / "a.h5", header=None, attributes={"padding_left": 1, "padding_right": 18})
    assert load(path).crop == (16, 16)
    with h5py.File(path, "a") as file:
        del file["reconstruction_rss"]
    shutil.copy(path, tmp_path / "b.h5")
    acquisition = load(tmp_path / "b.h5")
    assert acquisition.crop == (32, 20)
    assert acquisition.acquirable.sum() == 17


def test_a_single_coil_file_has_one_coil(tmp_path):
    path = write_fastmri(tmp_path / "file1.h5")
    with h5py.File(path, "a") as file:
        single = file["kspace"][:, 0]
        image = np.abs(file["reconstruction_rss"][()])
        del file["kspace"], file["reconstruction_rss"]
        file["kspace"], file["reconstruction_esc"] = single, image
    assert load(path).kspace.shape == (2, 1, 32, 20)
    assert load_reference(path, "rss").shape == (2, 16, 16)


def test_a_simulated_scan_states_what_it_is(tmp_path):
    covariance = (np.eye(3) + 0.1j * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])).astype(np.complex64)
    clean = np.ones((2, 16, 16), dtype=np.float32)
    path = write_fastmri(
        tmp_path / "brain-t2_0003.h5",
        acquisition="AXT2",
        attributes={"data_kind": "simulated", "protocol": "brain-t2-skyra", "subject": 3},
        datasets={"noise_covariance": covariance, "reconstruction_clean": clean},
    )
    scan = open_scan(path)
    assert (scan.record.data_kind, scan.record.dataset) == ("simulated", "simulated")
    assert (scan.record.protocol, scan.record.subject, scan.record.contrast) == (
        "brain-t2-skyra",
        "brain-0003",
        "T2",
    )
    assert torch.equal(scan.load().noise_covariance, torch.from_numpy(covariance))
    assert torch.equal(scan.reference("clean"), torch.from_numpy(clean))


def test_a_reference_of_the_full_matrix_is_cut_to_the_crop(tmp_path):
    full = np.random.default_rng(1).random((2, 32, 20)).astype(np.float32)
    path = write_fastmri(tmp_path / "a.h5", datasets={"reconstruction_mvue": full.astype(np.complex64)})
    assert torch.equal(load_reference(path, "mvue").real, torch.from_numpy(cropped(full, (16, 16)).copy()))


@pytest.mark.parametrize("spoilt", [np.nan, 0, np.inf])
def test_a_spoilt_slice_is_named_and_the_others_still_load(tmp_path, spoilt):
    path = write_fastmri(tmp_path / "a.h5", n_slices=3)
    with h5py.File(path, "a") as file:
        file["kspace"][1] = spoilt if spoilt == 0 else file["kspace"][1]
        file["kspace"][1, 0, 4, 4] = spoilt
    with pytest.raises(BadScanError, match="slice 1: k-space"):
        load(path)
    assert load(path, [0, 2]).kspace.isfinite().all()
    assert load(path, check=False).kspace.shape[0] == 3


def test_a_truncated_file_says_how_much_is_missing(tmp_path):
    path = write_fastmri(tmp_path / "a.h5")
    whole = path.stat().st_size
    os.truncate(path, whole // 2)
    with pytest.raises(BadScanError, match=f"{whole // 2} bytes of the {whole}"):
        read_record(path)


def test_a_file_without_kspace_says_what_it_has(tmp_path):
    path = write_fastmri(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["kspace"]
    with pytest.raises(BadScanError, match=r"no dataset `kspace` \(it has \['ismrmrd_header'"):
        read_record(path)


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (0, 2, 3, 1), (2, 3, 0, 1), (1, 0, 3, 2)])
def test_another_axis_order_is_seen_in_the_header_and_the_remedy_is_right(tmp_path, order):
    path = write_fastmri(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        right = file["kspace"][()]
        del file["kspace"], file["reconstruction_rss"]
        file["kspace"] = right.transpose(order)
    with pytest.raises(BadScanError, match=r"kspace\.transpose\((.*)\) puts it right") as raised:
        read_record(path)
    remedy = tuple(map(int, str(raised.value).split("transpose(")[1].split(")")[0].split(",")))
    assert right.transpose(order).transpose(remedy).shape[2:] == right.shape[2:]


@pytest.mark.parametrize(("length", "why"), [(19, "another scan"), (32, "swapped")])
def test_a_mask_of_the_wrong_length_is_refused(tmp_path, length, why):
    path = write_fastmri(tmp_path / "a.h5", datasets={"mask": np.ones(length, dtype=bool)})
    with pytest.raises(BadScanError, match=f"{length}.*20 columns.*{why}"):
        read_record(path)


def test_five_axes_and_real_numbers_are_refused(tmp_path):
    for number, values in enumerate((np.zeros((1, 2, 3, 8, 8), np.complex64), np.ones((2, 3, 8, 8)))):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["kspace"] = values
        with pytest.raises(BadScanError, match=r"axes|complex"):
            read_record(path)


def test_references_of_other_slices_are_refused(tmp_path):
    path = write_fastmri(
        tmp_path / "a.h5", datasets={"reconstruction_mvue": np.zeros((3, 16, 16), np.float32)}
    )
    with pytest.raises(BadScanError, match="reconstruction_mvue has shape"):
        read_record(path)


def test_a_slice_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(BadScanError, match="no slice 5; it has 2"):
        load(write_fastmri(tmp_path / "a.h5"), [5])


def test_centre_and_maximum_of_the_header_that_make_no_sense_leave_all_columns(tmp_path):
    for center, maximum in ((900, 3), (-5, 1), (10, -4)):
        header = header_xml(center=center, maximum=maximum)
        path = write_fastmri(tmp_path / f"{center}.h5", header=header)
        assert load(path).acquirable.any()


@real_data
@pytest.mark.real_data
def test_real_scans_read_as_their_readme_says():
    expected = {
        "raw-brain8-full": ((1, 8, 230, 180), True, None),
        "raw-brain16-96": ((1, 16, 96, 96), True, "row"),
        "raw-brain8-poisson": ((1, 8, 230, 180), False, None),
        "raw-brain8-poisson2": ((1, 8, 230, 180), False, None),
        "raw-phantom8": ((1, 8, 256, 256), True, "row"),
    }
    for name, (shape, fully_sampled, readout_axis) in expected.items():
        scan = open_scan(Path(REAL) / name / f"{name}.h5")
        acquisition = scan.load()
        assert tuple(acquisition.kspace.shape) == shape
        assert acquisition.fully_sampled == scan.record.fully_sampled == fully_sampled
        assert acquisition.readout_axis == readout_axis
        assert scan.record.anatomy == ("phantom" if "phantom" in name else "brain")
        if fully_sampled:
            images = np.fft.fftshift(
                np.fft.ifft2(np.fft.ifftshift(acquisition.kspace, (-2, -1)), norm="ortho"), (-2, -1)
            )
            rss = np.sqrt((np.abs(images) ** 2).sum(1))
            np.testing.assert_allclose(scan.reference("rss"), rss, atol=1e-4 * rss.max())
