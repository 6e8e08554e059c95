from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
import torch
from fastmri.data import SliceDataset

from reshim.errors import UserError
from reshim.physics.fourier import center_crop, to_image
from reshim.simulation import scanner
from reshim.simulation.protocols import PROTOCOLS
from reshim.simulation.write import simulate


@pytest.fixture(autouse=True)
def _balls_for_heads(monkeypatch, balls):
    monkeypatch.setattr(scanner, "drawer_of", lambda anatomy: balls)


@pytest.fixture
def volume(tmp_path) -> Path:
    return simulate(tmp_path, ["brain-t2-3t"], subjects=1, matrix=32, slices=2, lesions=True)[0]


def test_fastmri_reads_the_volume_as_one_of_its_own(volume):
    dataset = SliceDataset(volume.parent, challenge="multicoil", use_dataset_cache=False)
    assert len(dataset) == 2
    kspace, mask, target, attributes, name, index = dataset[1]
    assert kspace.shape == (16, 64, 32)
    assert kspace.dtype == np.complex64
    assert mask is None
    assert target.shape == (32, 32)
    assert name == "brain-t2-3t_brain-s000-0000.h5"
    assert index == 1
    assert attributes["encoding_size"] == (64, 32, 1)
    assert attributes["recon_size"] == (32, 32, 1)
    assert (attributes["padding_left"], attributes["padding_right"]) == (0, 32)
    assert attributes["acquisition"] == "AXT2"


def test_the_stored_rss_is_that_of_the_stored_kspace(volume):
    with h5py.File(volume) as file:
        images = center_crop(to_image(torch.from_numpy(file["kspace"][()])), (32, 32))
        rss = images.abs().square().sum(1).sqrt()
        np.testing.assert_allclose(file["reconstruction_rss"][()], rss, rtol=1e-4, atol=1e-9)
        assert file.attrs["max"] == pytest.approx(file["reconstruction_rss"][()].max())


def test_a_complete_file_is_left_and_one_of_other_settings_is_made_anew(volume):
    written = volume.stat().st_mtime_ns
    settings = {"subjects": 1, "matrix": 32, "slices": 2}
    simulate(volume.parent, ["brain-t2-3t"], lesions=True, **settings)
    assert volume.stat().st_mtime_ns == written
    simulate(volume.parent, ["brain-t2-3t"], lesions=True, seed=0, **(settings | {"slices": 1}))
    with h5py.File(volume) as file:
        assert file["kspace"].shape[0] == 1


def test_a_truncated_file_is_made_anew(volume):
    whole = volume.read_bytes()
    volume.write_bytes(whole[: len(whole) // 2])
    simulate(volume.parent, ["brain-t2-3t"], subjects=1, matrix=32, slices=2, lesions=True)
    with h5py.File(volume) as file:
        assert file["kspace"].shape == (2, 16, 64, 32)


def test_nothing_half_written_stays_where_writing_fails(tmp_path, monkeypatch):
    def fail(self: object, index: int, repetition: int) -> None:
        raise RuntimeError("the coil fell off")

    monkeypatch.setattr(scanner.Exam, "acquire", fail)
    with pytest.raises(RuntimeError, match="fell off"):
        simulate(tmp_path, ["brain-t2-3t"], subjects=1, matrix=32, slices=1)
    assert list(tmp_path.iterdir()) == []


def test_one_subject_keeps_its_name_under_every_protocol(tmp_path):
    protocols = [PROTOCOLS["brain-t1-1.5t"], replace(PROTOCOLS["brain-t2-3t"], name="brain-other")]
    paths = simulate(tmp_path, protocols, subjects=[3], matrix=16, slices=1, seed=7)
    names = set()
    for path in paths:
        with h5py.File(path) as file:
            names |= {file.attrs["subject"], file.attrs["patient_id"]}
    assert names == {"brain-s007-0003"}


def test_the_header_states_the_scan(volume):
    with h5py.File(volume) as file:
        root = ElementTree.fromstring(file["ismrmrd_header"][()])
    space = {"m": "http://www.ismrm.org/ISMRMRD"}
    said = {name: root.findtext(f".//m:{name}", namespaces=space) for name in ("TE", "TR", "protocolName")}
    assert said == {"TE": "100.0", "TR": "6000.0", "protocolName": "brain-t2-3t"}
    assert root.findtext(".//m:receiverChannels", namespaces=space) == "16"
    assert root.findtext(".//m:systemVendor", namespaces=space) == "simulated"
    assert root.findtext(".//m:encodedSpace/m:fieldOfView_mm/m:x", namespaces=space) == "440.0"
    assert root.find(".//m:TI", namespaces=space) is None


def test_an_unknown_protocol_is_named_with_those_that_exist(tmp_path):
    with pytest.raises(UserError, match=r"'brain-t9'.*brain-t2-3t"):
        simulate(tmp_path, ["brain-t9"])
