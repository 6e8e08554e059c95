"""The commands on real scans: index, reconstruct, warn. Skipped where RESHIM_REAL_DATA names no folder."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from reshim.acquire import Scheme, measure, without_oversampling
from reshim.catalog import Catalog
from reshim.cli import main
from reshim.methods import method_of
from reshim.physics.maps import default_estimator
from reshim.scans import open_scan
from tests.training.toy import run

pytestmark = pytest.mark.real_data

BOUNDS = {"raw-brain8-full": 0.010, "raw-brain16-96": 0.0006}


def in_support(real_data, name: str, image: np.ndarray) -> float:
    """NMSE of magnitudes against conj(maps) coil images of the folder's own maps, inside its support."""
    with h5py.File(real_data / name / f"{name}.h5") as file:
        kspace = file["kspace"][0]
    with np.load(real_data / "coilmaps" / f"{name.removeprefix('raw-')}.npz", allow_pickle=False) as file:
        maps = next(file[key] for key in file.files if file[key].ndim == 3)
        support = file["support"].astype(bool)
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    coils = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))
    reference = np.abs((maps.conj() * coils).sum(0))
    error = np.linalg.norm((image - reference)[support]) ** 2
    return float(error / np.linalg.norm(reference[support]) ** 2)


@pytest.mark.parametrize("name", BOUNDS)
def test_sense_reconstructs_the_real_brains_from_24_centre_columns(real_data, tmp_path, name):
    scan = real_data / name / f"{name}.h5"
    arguments = ["--accelerate", "4", "--center-lines", "24", "--with", "sense", "--format", "h5"]
    assert main(["reconstruct", str(scan), *arguments, "--out", str(tmp_path)]) == 0
    with h5py.File(tmp_path / f"{name}.h5") as file:
        image = file["reconstruction"][0]
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["warnings"] == []
    assert in_support(real_data, name, image) <= BOUNDS[name]


def test_eight_centre_columns_are_too_few_and_the_card_says_so(real_data, tmp_path):
    scan = real_data / "raw-brain16-96" / "raw-brain16-96.h5"
    assert (
        main(["reconstruct", str(scan), "--accelerate", "4", "--with", "sense", "--out", str(tmp_path)]) == 0
    )
    (warning,) = json.loads((tmp_path / "card.json").read_text())["warnings"]
    assert "--center-lines 24" in warning


@pytest.mark.parametrize("name", ["raw-brain8-poisson", "raw-brain8-poisson2"])
def test_a_prospective_scan_is_reconstructed_with_the_mask_of_its_file(real_data, tmp_path, name):
    scan = real_data / name / f"{name}.h5"
    assert main(["reconstruct", str(scan), "--with", "sense", "--out", str(tmp_path)]) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["scores"] is None
    assert 7 < card["effective_acceleration"] < 9


def test_auto_on_a_real_brain_sees_nothing_that_was_not_acquired(real_data, tmp_path):
    run(tmp_path / "toy", epochs=1)
    method = method_of(str(tmp_path / "toy"), "auto")
    acquisition = open_scan(real_data / "raw-brain16-96" / "raw-brain16-96.h5").load(None)
    measurement = default_estimator(measure(without_oversampling(acquisition), Scheme(center_lines=16), 1))
    outcome = method.explain(measurement)
    assert "beyond what training saw" in outcome.reason[0]
    assert outcome.action[0] in ("reconciled", "classical")
    assert torch.isfinite(torch.view_as_real(outcome.image)).all()
    spoilt = torch.where(measurement.mask, measurement.kspace, torch.nan)
    blind = method.explain(replace(measurement, kspace=spoilt))
    assert torch.equal(blind.image, outcome.image)
    assert blind.reason == outcome.reason


def test_every_real_scan_is_indexed(real_data, tmp_path):
    out = tmp_path / "real.parquet"
    assert main(["index", str(real_data), "--out", str(out)]) in (0, 3)
    kinds = {record.data_kind for record in Catalog.read(out).records() if record.dataset.startswith("raw-")}
    assert kinds == {"measured"}
    assert len(Catalog.read(out).where("dataset like 'raw-%'")) == 5
