"""Miniatures of the collections, opened by readers that others wrote: the same samples come out."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from fastmri.data import SliceDataset
from tests.scans.miniature import coil_images, transform, write_fastmri
from tests.scans.test_arrays import write_bart
from tests.scans.test_collections import write_cc359, write_cmrxrecon
from tests.scans.test_mrd import image_lines, write_mrd

from reshim.physics.fourier import to_image
from reshim.scans import load, open_scans


def opened_by(peer: str, kind: str, folder: Path) -> dict:
    """What another package reads, in its own environment."""
    peers = os.environ.get("RESHIM_PEERS")
    python = Path(peers or "") / peer / "bin" / "python"
    if not peers or not python.exists():
        pytest.skip(f"RESHIM_PEERS names no folder with an environment {peer}")
    script = Path(__file__).with_name("peers.py")
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": ""}
    answer = subprocess.run(
        [python, script, kind, folder], capture_output=True, text=True, env=environment, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout.strip().splitlines()[-1])


def samples_of(answer: dict) -> np.ndarray:
    pairs = np.array(answer["samples"])
    return (pairs[..., 0] + 1j * pairs[..., 1]).astype(np.complex64)


def test_fastmri_opens_m4raw(tmp_path):
    path = write_fastmri(tmp_path / "2022061003_T101.h5", rows=16, columns=16, n_coils=4, field=0.3)
    theirs = SliceDataset(root=tmp_path, challenge="multicoil")
    assert len(theirs) == 2
    np.testing.assert_array_equal(load(path, [1]).kspace[0].numpy(), theirs[1][0])


def test_bart_opens_its_files(tmp_path):
    bart = shutil.which("bart")
    if bart is None:
        pytest.skip("the program bart is not installed")
    kspace = transform(coil_images(1, 3, 24, 20)).astype(np.complex64)[0]
    path = write_bart(tmp_path / "knee.cfl", kspace.transpose(1, 2, 0)[:, :, None])
    for arguments in (("fft", "-iu", "3", "knee", "images"), ("rss", "8", "images", "rss")):
        subprocess.run([bart, *arguments], cwd=tmp_path, check=True, capture_output=True)
    theirs = np.fromfile(tmp_path / "rss.cfl", np.complex64).reshape(20, 24).T
    ours = to_image(load(path).kspace)[0].abs().square().sum(0).sqrt()
    np.testing.assert_allclose(np.abs(theirs), ours, atol=1e-4)


def test_deepinv_opens_skmtea(tmp_path):
    images = np.moveaxis(coil_images(6, 3, 8, 10), 1, 0)  # coil, x, y, z
    hybrid = transform(np.stack([images, 0.5 * images], -1), (2, 3)).transpose(1, 2, 3, 4, 0)
    with h5py.File(tmp_path / "MTR_005.h5", "w") as file:
        file["kspace"] = hybrid.astype(np.complex64)
        file["target"] = np.ones((6, 8, 10, 2, 1), np.complex64)
        file["maps"] = np.ones((6, 8, 10, 3, 1), np.complex64)
        file["masks/poisson_6.0x"] = np.ones((8, 10), bool)
    answer = opened_by("deepinv", "skmtea", tmp_path)
    assert answer["slices"] == 6
    (ours,) = (
        scan.load([1]).kspace[0].numpy()
        for scan in open_scans(tmp_path / "MTR_005.h5")
        if (scan.record.extra["axis"], scan.record.extra["echo"]) == ("x", 0)
    )
    np.testing.assert_allclose(samples_of(answer), ours, atol=1e-5)


def test_deepinv_opens_cmrxrecon(tmp_path):
    path, _ = write_cmrxrecon(tmp_path / "data" / "P007" / "cine_sax.mat")
    answer = opened_by("deepinv", "cmrxrecon", tmp_path)
    assert answer["slices"] == 2
    (scan,) = open_scans(path)
    ours = scan.load(list(range(5, 10))).kspace.numpy()  # the frames of the second slice
    np.testing.assert_array_equal(samples_of(answer).transpose(3, 2, 0, 1), ours)


def test_deepinv_opens_calgary_campinas(tmp_path):
    image = np.moveaxis(coil_images(6, 12, 8, 10), 1, 0).astype(np.complex64)
    path = write_cc359(tmp_path / "e13991s3_P01536.7.h5", image)
    answer = opened_by("deepinv", "cc359", tmp_path)
    assert answer["slices"] == 6
    (ours,) = (
        scan.load([3]).kspace[0].numpy() for scan in open_scans(path) if scan.record.dataset == "cc-359_ax"
    )
    # Half a field of view is a chequerboard of signs; where it begins with a plus is a matter of taste.
    theirs = samples_of(answer)
    np.testing.assert_allclose(theirs * np.sign((theirs / ours).real[0, 0, 0]), ours, atol=1e-4)


def test_mrpro_opens_ismrmrd(tmp_path):
    kspace = coil_images(3, 4, 16, 12).astype(np.complex64)
    path = write_mrd(tmp_path / "a.h5", image_lines(kspace), (16, 12, 1), 4, slice_max=2)
    theirs = samples_of(opened_by("mrpro", "mrd", tmp_path)).squeeze()  # slice, coil, line, sample
    np.testing.assert_allclose(theirs.swapaxes(-2, -1), load(path).kspace.numpy(), atol=1e-5)
