"""Damaged files of every format that is not HDF5: read, or refused by name; never another error."""

import warnings
from collections import Counter

import numpy as np
import pytest
from tests.scans.miniature import coil_images, transform

from reshim.errors import BadScanError
from reshim.formats.dicom import write_dicom
from reshim.scans import open_scans

AXES = 'axes = ["slice", "coil", "row", "column"]\n'


def write_nifti(path):
    nibabel = pytest.importorskip("nibabel", reason="the package nibabel is not installed")
    images = np.abs(coil_images(3, 1, 24, 20)[:, 0]).astype(np.float32).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(images, np.diag([1.0, 1.5, 4.0, 1.0])), path)


def write_series(path):
    pytest.importorskip("pydicom", reason="the package pydicom is not installed")
    images = np.abs(coil_images(1, 1, 24, 20)[:, 0]).astype(np.float32)
    write_dicom(path.parent / "series", images, (4.0, 1.5, 1.0), "series")
    path.write_bytes((path.parent / "series" / "0001.dcm").read_bytes())


def write_matlab(path):
    scipy_io = pytest.importorskip("scipy.io", reason="the package scipy is not installed")
    scipy_io.savemat(path, {"kspace": kspace()}, do_compression=path.stem == "packed")


def write_cfl(path):
    path.write_bytes(kspace().transpose(2, 3, 1, 0).tobytes(order="F"))
    path.with_suffix(".hdr").write_text("# Dimensions\n16 12 1 2 1 1 1 1 1 1 1 1 1 2 1 1 \n")


def kspace():
    return transform(coil_images(2, 2, 16, 12)).astype(np.complex64)


WRITERS = {
    "plain.nii": write_nifti,
    "packed.nii.gz": write_nifti,
    "image.dcm": write_series,
    "plain.mat": write_matlab,
    "packed.mat": write_matlab,
    "plain.npy": lambda path: np.save(path, kspace()),
    "packed.npz": lambda path: np.savez_compressed(path, kspace=kspace()),
    "plain.cfl": write_cfl,
    "plain.hdr": lambda path: write_cfl(path.with_suffix(".cfl")),
}


def damaged(content, seed):
    """The bytes with some changed, half of the time near the front, and sometimes the end cut."""
    rng = np.random.default_rng(seed)
    changed = bytearray(content)
    reach = len(changed) if seed % 2 else min(len(changed), 512)
    for position in rng.integers(0, reach, rng.integers(1, 7)):
        changed[position] ^= int(rng.integers(1, 256))
    return bytes(changed[: rng.integers(len(changed))] if rng.random() < 0.2 else changed)


def outcome_of(path):
    """What reading comes to: ``read``, ``refused``, or the error that nobody foresaw."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn of what they read past
            for scan in open_scans(path):
                scan.load()
                scan.reference("clean")
    except BadScanError as error:
        named = path.name in str(error) or path.with_suffix(".hdr").name in str(error)
        return "refused" if named else f"refused without the name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


@pytest.mark.parametrize("n_files", [25, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WRITERS)
def test_files_with_changed_or_missing_bytes_read_or_say_why_not(tmp_path, name, n_files):
    path = tmp_path / name
    WRITERS[name](path)
    read = path.with_suffix(".cfl") if path.suffix == ".hdr" else path
    if path.suffix in (".mat", ".npy"):
        path.with_name(f"{name}.toml").write_text(AXES)
    content = path.read_bytes()
    assert outcome_of(read) == "read"
    outcomes = Counter()
    if path.suffix == ".mat":  # each is read by a process of its own, half a second of it
        n_files = 4 if n_files < 100 else 60
    for seed in range(n_files):
        path.write_bytes(damaged(content, seed))
        outcomes[outcome_of(read)] += 1
    assert set(outcomes) <= {"read", "refused"}, outcomes
    assert outcomes["refused"]
