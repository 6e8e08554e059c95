"""Damaged NIfTI and DICOM files: read, or refused by name; never another error."""

import warnings
from collections import Counter

import numpy as np
import pytest
from tests.scans.miniature import coil_images

from reshim.errors import BadScanError
from reshim.formats.dicom import write_dicom
from reshim.scans import open_scans


def write_nifti(path):
    nibabel = pytest.importorskip("nibabel", reason="the package nibabel is not installed")
    images = np.abs(coil_images(3, 1, 24, 20)[:, 0]).astype(np.float32).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(images, np.diag([1.0, 1.5, 4.0, 1.0])), path)


def write_series(path):
    pytest.importorskip("pydicom", reason="the package pydicom is not installed")
    images = np.abs(coil_images(1, 1, 24, 20)[:, 0]).astype(np.float32)
    write_dicom(path.parent / "series", images, (4.0, 1.5, 1.0), "series")
    path.write_bytes((path.parent / "series" / "0001.dcm").read_bytes())


WRITERS = {
    "plain.nii": write_nifti,
    "packed.nii.gz": write_nifti,
    "image.dcm": write_series,
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
        return "refused" if path.name in str(error) else f"refused without the name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


@pytest.mark.parametrize("name", WRITERS)
def test_files_with_changed_or_missing_bytes_read_or_say_why_not(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    assert outcome_of(path) == "read"
    outcomes = Counter()
    for seed in range(25):
        path.write_bytes(damaged(content, seed))
        outcomes[outcome_of(path)] += 1
    assert set(outcomes) <= {"read", "refused"}, outcomes
    assert outcomes["refused"]
