"""Agreement with SigPy and BART on the same samples, maps and weights."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import make_measurement

from reshim.classical.l1_wavelet import L1Wavelet
from reshim.classical.sense import Sense
from reshim.physics.scaling import intensity_scale
from reshim.types import Measurement


def one_slice() -> tuple[Measurement, torch.Tensor]:
    return make_measurement(64, 64, n_coils=6, n=1, acceleration=3, center=16, noise=0.01)


def sigpy_arguments(measurement: Measurement) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert measurement.maps is not None
    weights = measurement.mask[0].float().expand(measurement.kspace.shape[1:])
    return measurement.kspace[0].numpy(), measurement.maps[0, 0].numpy(), weights.numpy()


def test_sense_is_that_of_sigpy():
    app = pytest.importorskip("sigpy.mri.app", reason="sigpy is not installed")
    measurement, _ = one_slice()
    kspace, maps, weights = sigpy_arguments(measurement)
    theirs = app.SenseRecon(kspace, maps, lamda=0.02, weights=weights, max_iter=60, show_pbar=False).run()
    ours = Sense(ridge=0.02, times_noise=False, iterations=60, tolerance=0)(measurement)[0]
    assert float((ours - torch.from_numpy(theirs)).norm() / ours.norm()) < 1e-4


def test_l1_wavelet_is_as_good_as_that_of_sigpy_at_the_same_weight():
    app = pytest.importorskip("sigpy.mri.app", reason="sigpy is not installed")
    measurement, images = one_slice()
    kspace, maps, weights = sigpy_arguments(measurement)
    limit = 0.02
    job = app.L1WaveletRecon(kspace, maps, limit, weights=weights, max_iter=100, show_pbar=False)
    theirs = torch.from_numpy(job.run())
    settings = {"times_noise": False, "iterations": 100, "shrink_coarsest": True, "shifts": False}
    ours = L1Wavelet(weight=limit / float(intensity_scale(measurement)[0]), **settings)(measurement)[0]
    truth = images[0]
    # SigPy's pyramid goes down further and continues by zeros at the border: only the quality is the same.
    assert float((ours - theirs).norm() / truth.norm()) < 0.1
    assert float((ours - truth).norm()) < 1.05 * float((theirs - truth).norm())


def test_sense_is_that_of_bart(tmp_path):
    if shutil.which("bart") is None:
        pytest.skip("bart is not installed (apt-get install bart)")
    measurement, _ = one_slice()
    assert measurement.maps is not None
    for name, samples in (("k", measurement.kspace[0]), ("s", measurement.maps[0, 0])):
        array = np.moveaxis(samples.numpy(), 0, -1)[:, :, None, :].astype(np.complex64)
        Path(tmp_path, f"{name}.hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
        array.ravel(order="F").tofile(Path(tmp_path, f"{name}.cfl"))
    command = ["bart", "pics", "-l2", "-r", "0.02", "-i", "60", "-w", "1", "k", "s", "x"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = np.fromfile(tmp_path / "x.cfl", np.complex64).reshape((64, 64), order="F").copy()
    ours = Sense(ridge=0.02, times_noise=False, iterations=60, tolerance=0)(measurement)[0]
    assert float((ours - torch.from_numpy(theirs)).norm() / ours.norm()) < 1e-3
