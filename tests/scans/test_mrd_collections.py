"""OCMR, Stanford 2D and NYU in miniature, quirks included; every echo or repetition is a scan of its own."""

import h5py
import numpy as np
import pytest
from tests.scans.miniature import coil_images, transform
from tests.scans.miniature_mrd import limit, line, user, write_mrd

from reshim.catalog import Catalog
from reshim.errors import BadScanError
from reshim.physics.fourier import to_image
from reshim.scans import load, open_scan, open_scans
from reshim.scans.lines import segment_phase


@pytest.fixture(scope="module")
def kspace():
    return transform(coil_images(2, 3, 16, 12)).astype(np.complex64)


def lines_of(kspace, **index):
    return [
        line(kspace[slice_, :, :, y], y, slice=slice_, **index)
        for slice_ in range(kspace.shape[0])
        for y in range(kspace.shape[-1])
    ]


def opened_by_ismrmrd(path, n_lines, vendor="GE MEDICAL SYSTEMS"):
    ismrmrd = pytest.importorskip("ismrmrd", reason="the package ismrmrd is not installed")
    dataset = ismrmrd.Dataset(str(path), "dataset", create_if_needed=False)
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    assert dataset.number_of_acquisitions() == n_lines
    assert header.acquisitionSystemInformation.systemVendor == vendor
    dataset.read_acquisition(n_lines - 1)
    dataset.close()


@pytest.mark.parametrize("counter", ["contrast", "repetition", "set"])
def test_contrasts_repetitions_and_sets_are_scans_of_one_subject(counter, kspace, tmp_path):
    both = [*lines_of(kspace, **{counter: 1}), *lines_of(3 * kspace, **{counter: 0})]
    declared = {"contrast_max": 1} if counter == "contrast" else {"limits": limit(counter, 1)}
    (tmp_path / "own").mkdir()
    write_mrd(tmp_path / "own" / "a.h5", both, (16, 12, 1), 3, slice_max=1, **declared)
    first, second = Catalog.index([tmp_path / "own"], tmp_path / "c.parquet").catalog.records()
    assert [first.extra["part"], second.extra["part"]] == [f"{counter}1", f"{counter}2"]
    assert second.view_of == first.scan_id
    assert (first.subject, first.split, first.n_slices) == (second.subject, second.split, 2)
    np.testing.assert_allclose(load(first).kspace, 3 * kspace, rtol=1e-6)
    np.testing.assert_array_equal(load(second).kspace, kspace)


def test_every_echo_of_a_3d_scan_has_its_three_views(tmp_path):
    rng = np.random.default_rng(2)
    image = rng.standard_normal((2, 2, 8, 6, 4)) + 1j * rng.standard_normal((2, 2, 8, 6, 4))  # echo first
    kspace = transform(image, (2, 3, 4)).astype(np.complex64)
    lines = [
        line(kspace[echo, :, :, y, z], y, z, contrast=echo)
        for echo in range(2)
        for z in range(4)
        for y in range(6)
    ]
    path = write_mrd(
        tmp_path / "7T" / "a.h5", lines, (8, 6, 4), 2, contrast_max=1, protocol="MP2RAGEME brain"
    )
    scans = open_scans(path)
    assert [scan.record.extra["part"] for scan in scans] == [
        f"contrast{echo}-{axis}" for echo in (1, 2) for axis in "zxy"
    ]
    assert {scan.record.view_of for scan in scans[1:]} == {scans[0].record.scan_id}
    assert {scan.record.dataset for scan in scans} == {"7t"}
    for scan, echo, axis in zip(scans, (0, 0, 0, 1, 1, 1), (3, 1, 2) * 2, strict=True):
        expected = np.moveaxis(image[echo], axis, 0)
        np.testing.assert_allclose(to_image(scan.load().kspace).numpy(), expected, atol=1e-5)


def test_an_echo_that_the_header_promises_and_the_file_lacks_is_named(kspace, tmp_path):
    path = write_mrd(tmp_path / "a.h5", lines_of(kspace), (16, 12, 1), 3, slice_max=1, contrast_max=1)
    first, second = open_scans(path)
    assert first.load().kspace.shape == kspace.shape
    with pytest.raises(BadScanError, match="no image line in common"):
        second.load()


def test_stanford_2d_segments_are_brought_into_phase_by_their_calibration_lines(kspace, tmp_path):
    """Each of three segments drifts by a phase and a shift of its echo; one line of each is not encoded."""
    x = np.arange(16)
    drift = [np.zeros(16), 0.7 + 0.11 * x, -1.9 - 0.07 * x]

    def drifted(values, segment):
        return transform(to_rows(values) * np.exp(1j * drift[segment]), (-1,))

    calibration = kspace[:, :, :, 6]  # frequency 0 of the phase direction
    lines = [
        line(drifted(kspace[s, :, :, y], y % 3), y, slice=s, segment=y % 3)
        for s in range(2)
        for y in range(12)
    ]
    lines += [
        line(drifted(calibration[s], k), 12 + k, slice=s, segment=k) for s in range(2) for k in range(3)
    ]
    path = write_mrd(
        tmp_path / "stanford_2d" / "a.h5", lines, (16, 12, 1), 3, slice_max=1, limits=limit("segment", 2)
    )
    scan = open_scan(path)
    assert (scan.record.dataset, scan.record.vendor, scan.record.n_slices) == ("stanford_2d", "GE", 2)
    np.testing.assert_allclose(scan.load().kspace, kspace, atol=2e-3)
    opened_by_ismrmrd(path, 30)
    uncorrected = np.stack([record["data"][0].view(np.complex64).reshape(3, 16) for record in lines[:12]], -1)
    assert np.abs(uncorrected - kspace[0]).max() > 0.5


def to_rows(values):
    shifted = np.fft.ifftshift(values, -1)
    return np.fft.fftshift(np.fft.ifft(shifted, norm="ortho"), -1)


def test_the_phase_between_two_lines_is_found_exactly():
    rng = np.random.default_rng(0)
    image = rng.standard_normal((4, 32)) + 1j * rng.standard_normal((4, 32))
    wanted = 0.4 - 0.05 * np.arange(32)
    found = segment_phase(transform(image, (-1,)), transform(image * np.exp(1j * wanted), (-1,)))
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * wanted), atol=1e-12)


def test_stanford_lines_of_alternating_sign_are_turned_back(kspace, tmp_path):
    lines = [line((-1) ** y * kspace[s, :, :, y], y, slice=s) for s in range(2) for y in range(12)]
    path = write_mrd(
        tmp_path / "stanford_2d" / "a.h5", lines, (16, 12, 1), 3, slice_max=1, user=user(ChopY=0, ChopZ=1)
    )
    np.testing.assert_array_equal(load(path).kspace, kspace)
    opened_by_ismrmrd(path, 24)


def test_nyu_knees_have_fewer_lines_than_columns(kspace, tmp_path):
    """Encoded lines 2 to 10 of 12: padding outside, the centre from the header."""
    lines = [line(kspace[s, :, :, y], y - 2, slice=s) for s in range(2) for y in range(2, 11)]
    path = write_mrd(
        tmp_path / "nyu" / "52c2fd53.h5",
        lines,
        (16, 12, 1),
        3,
        slice_max=1,
        y_max=8,
        y_center=4,
        recon_x=8,
        protocol="sag_t2_fs",
    )
    with h5py.File(path, "r+") as file:
        file["dataset/xml"][0] = file["dataset/xml"][0].replace(b"GE MEDICAL SYSTEMS", b"SIEMENS")
    scan = open_scan(path)
    record = scan.record
    assert (record.dataset, record.anatomy, record.contrast, record.view) == (
        "nyu",
        "knee",
        "T2-FS",
        "sagittal",
    )
    assert (record.vendor, record.field_tesla, record.recon_rows) == ("Siemens", 3.0, 8)
    acquisition = scan.load()
    assert acquisition.fully_sampled
    assert acquisition.acquirable[0, 0, 0].nonzero().flatten().tolist() == list(range(2, 11))
    np.testing.assert_array_equal(acquisition.kspace[..., 2:11], kspace[..., 2:11])
    opened_by_ismrmrd(path, 18, "SIEMENS")


def cine_lines(kspace, keep):
    """Time frames (phase) of one slice; each is measured twice."""
    return [
        line(kspace[time, :, :, y] * weight, y, phase=time, average=average)
        for average, weight in ((0, 0.5), (1, 1.5))
        for time in range(kspace.shape[0])
        for y in range(kspace.shape[-1])
        if keep(time, y)
    ]


def test_ocmr_cine_frames_are_slices_and_averages_are_averaged(tmp_path):
    frames = transform(coil_images(4, 3, 16, 12)).astype(np.complex64)
    path = write_mrd(
        tmp_path / "ocmr" / "fs_0001_1_5T.h5",
        cine_lines(frames, lambda time, y: True),
        (16, 12, 1),
        3,
        limits=limit("phase", 3),
        recon_x=8,
        protocol="cine sax",
    )
    scan = open_scan(path)
    record = scan.record
    assert (record.dataset, record.anatomy, record.contrast, record.view) == (
        "ocmr",
        "heart",
        "CINE",
        "short-axis",
    )
    assert (record.n_slices, record.recon_rows) == (4, 8)
    np.testing.assert_allclose(scan.load().kspace, frames, rtol=1e-5, atol=1e-6)
    opened_by_ismrmrd(path, 96)


def test_undersampled_ocmr_frames_have_what_all_share(tmp_path):
    frames = transform(coil_images(4, 3, 16, 12)).astype(np.complex64)
    lines = cine_lines(frames, lambda time, y: 4 <= y < 8 or y % 4 == time)
    path = write_mrd(tmp_path / "ocmr" / "us_0002.h5", lines, (16, 12, 1), 3, limits=limit("phase", 3))
    acquisition = load(path)
    assert acquisition.kspace.abs().sum((0, 1, 2)).nonzero().flatten().tolist() == [4, 5, 6, 7]
    assert acquisition.acquirable[0, 0, 0].nonzero().flatten().tolist() == [4, 5, 6, 7]
