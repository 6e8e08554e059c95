"""Siemens twix: miniatures written by twixtools, read here and by twixtools."""

import struct

import numpy as np
import pytest
from tests.scans.miniature import coil_images, transform

from reshim.errors import BadScanError
from reshim.physics.fourier import to_image
from reshim.scans import open_scan, open_scans

twixtools = pytest.importorskip("twixtools", reason="the package twixtools is not installed")
from twixtools.mdb import Mdb_local  # noqa: E402

PROTOCOL = """### ASCCONV BEGIN ###
tProtocolName = "{name}"
sProtConsistencyInfo.flNominalB0 = 2.89
sKSpace.lBaseResolution = 8
sKSpace.lPhaseEncodingLines = 12
alTE[0] = 32000
alTR[0] = 2750000
sSliceArray.asSlice[0].dReadoutFOV = 16.0
sSliceArray.asSlice[0].dPhaseFOV = 12.0
sSliceArray.asSlice[0].dThickness = 3.0
### ASCCONV END ###
"""


def readout(values, flags=(), center=None, lines=(0, 6), partitions=(0, 0), **counters):
    block = Mdb_local(np.asarray(values, np.complex64))
    block.mdh.CenterCol = values.shape[1] // 2 if center is None else center
    block.mdh.Counter.Lin, block.mdh.CenterLin = lines
    block.mdh.Counter.Par, block.mdh.CenterPar = partitions
    for name, value in counters.items():
        setattr(block.mdh.Counter, name, value)
    for flag in flags:
        block.add_flag(flag)
    return block


def write_twix(path, blocks, name="knee_pd"):
    text = PROTOCOL.format(name=name).encode()
    body = b"MeasYaps\0" + struct.pack("<I", len(text)) + text
    size = -(-(8 + len(body)) // 32) * 32
    header = np.frombuffer((struct.pack("<II", size, 1) + body).ljust(size, b"\0"), "S1")
    path.parent.mkdir(parents=True, exist_ok=True)
    twixtools.write_twix([{"hdr_str": header, "mdb": blocks, "hdr": {}}], str(path))
    return path


@pytest.fixture(scope="module")
def kspace():
    return transform(coil_images(2, 3, 16, 12)).astype(np.complex64)


def image_blocks(kspace, **counters):
    return [
        readout(kspace[s, :, :, y], lines=(y, 6), Sli=s, **counters)
        for s in (1, 0)
        for y in range(kspace.shape[-1])
    ]


def test_lines_find_their_places_and_the_protocol_is_understood(kspace, tmp_path):
    path = write_twix(tmp_path / "meas_MID17.dat", image_blocks(kspace))
    scan = open_scan(path)
    record = scan.record
    assert (record.extra["reader"], record.vendor, record.field_tesla) == ("twix", "Siemens", 3.0)
    assert (record.protocol, record.anatomy, record.contrast) == ("knee_pd", "knee", "PD")
    assert (record.echo_ms, record.repetition_ms, record.spacing_mm) == (32.0, 2750.0, (3.0, 2.0, 1.0))
    assert (record.n_slices, record.n_coils, record.n_rows, record.n_columns) == (2, 3, 16, 12)
    assert (record.recon_rows, record.recon_columns) == (8, 12)
    np.testing.assert_array_equal(scan.load().kspace, kspace)
    theirs = twixtools.read_twix(str(path), verbose=False, parse_pmu=False, parse_geometry=False)[-1]
    assert len(theirs["mdb"]) == 24
    np.testing.assert_array_equal(theirs["mdb"][5].data, kspace[1, :, :, 5])


def test_noise_reflected_and_reference_lines(kspace, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((3, 4000)) + 1j * rng.standard_normal((3, 4000))
    blocks = [readout(noise, ["NOISEADJSCAN"])]
    blocks += [
        readout(np.full((3, 16), 99), [flag], lines=(4, 6)) for flag in ("PATREFSCAN", "PHASCOR", "noname60")
    ]
    for y in range(12):
        for s in range(2):
            turned = kspace[s, :, ::-1, y] if y % 2 else kspace[s, :, :, y]
            blocks.append(readout(turned, ["REFLECT"] if y % 2 else [], lines=(y, 6), Sli=s))
    acquisition = open_scan(write_twix(tmp_path / "a.dat", blocks)).load()
    np.testing.assert_array_equal(acquisition.kspace, kspace)
    np.testing.assert_allclose(acquisition.noise_covariance, np.eye(3), atol=0.1)


def test_asymmetric_echoes_and_missing_lines(kspace, tmp_path):
    blocks = [
        readout(kspace[s, :, 3:, y], lines=(y, 6), center=5, Sli=s)
        for s in range(2)
        for y in (0, 2, 5, 6, 7, 10)
    ]
    acquisition = open_scan(write_twix(tmp_path / "a.dat", blocks)).load()
    np.testing.assert_array_equal(acquisition.kspace[:, :, 3:, 5:8], kspace[:, :, 3:, 5:8])
    assert acquisition.mask[0, 0, 0].nonzero().flatten().tolist() == [0, 2, 5, 6, 7, 10]


def test_echoes_are_scans_of_one_subject(kspace, tmp_path):
    blocks = image_blocks(kspace, Eco=0) + image_blocks(2 * kspace, Eco=1)
    first, second = open_scans(write_twix(tmp_path / "a.dat", blocks))
    assert second.record.view_of == first.record.scan_id
    np.testing.assert_allclose(second.load().kspace, 2 * first.load().kspace)


def test_a_volume_has_three_views(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.standard_normal((2, 8, 6, 4)) + 1j * rng.standard_normal((2, 8, 6, 4))
    kspace = transform(image, (1, 2, 3)).astype(np.complex64)
    blocks = [
        readout(kspace[:, :, y, z], lines=(y, 3), partitions=(z, 2)) for z in range(4) for y in range(6)
    ]
    scans = open_scans(write_twix(tmp_path / "a.dat", blocks))
    for scan, axis in zip(scans, (3, 1, 2), strict=True):
        np.testing.assert_allclose(to_image(scan.load().kspace), np.moveaxis(image, axis, 0), atol=1e-5)


def test_smurf_names_say_anatomy_and_preparation(kspace, tmp_path):
    path = write_twix(tmp_path / "SMURF" / "volunteer3" / "breast_fatSat.dat", image_blocks(kspace), "gre")
    record = open_scan(path).record
    assert (record.dataset, record.anatomy, record.contrast) == ("smurf", "breast", "GRE-FS")
    other = write_twix(tmp_path / "SMURF" / "volunteer3" / "knee_dixon.dat", image_blocks(kspace), "gre")
    assert open_scan(other).record.subject == record.subject
    np.testing.assert_array_equal(open_scan(path).load().kspace, kspace)


def outcome_of(path):
    try:
        for scan in open_scans(path):
            scan.load()
    except BadScanError as error:
        return "refused" if path.name in str(error) else str(error)
    return "read"


def test_files_with_changed_or_missing_bytes_read_or_say_why_not(kspace, tmp_path):
    content = write_twix(tmp_path / "a.dat", image_blocks(kspace)).read_bytes()
    outcomes = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        changed = bytearray(content)
        for place in rng.integers(0, 12_000, 4):
            changed[place] ^= int(rng.integers(1, 256))
        path = tmp_path / "changed.dat"
        path.write_bytes(changed[: rng.integers(1024, len(content))] if seed % 3 == 0 else changed)
        outcomes.add(outcome_of(path))
    assert outcomes == {"read", "refused"}
