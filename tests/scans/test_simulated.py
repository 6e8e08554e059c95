import h5py
import torch

from reshim.catalog import Catalog
from reshim.scans import load, load_reference
from reshim.simulation.write import simulate


def test_simulated_scans_are_read_as_what_they_are(tmp_path):
    names = ("brain-t2-3t", "knee-pd-1.5t")
    simulate(tmp_path / "sim", names, subjects=1, matrix=32, slices=2)
    catalog = Catalog.index([tmp_path / "sim"], tmp_path / "c.parquet").catalog
    brain, knee = catalog.records()
    assert (brain.protocol, knee.protocol) == names
    assert (brain.anatomy, brain.contrast, brain.field_tesla) == ("brain", "T2", 3.0)
    assert (knee.anatomy, knee.contrast, knee.field_tesla) == ("knee", "PD", 1.5)
    assert {brain.data_kind, knee.data_kind} == {"simulated"}
    assert brain.subject != knee.subject
    acquisition = load(brain)
    assert acquisition.kspace.shape == (2, brain.n_coils, 64, 32)
    assert acquisition.crop == (32, 32)
    assert acquisition.noise_covariance.shape == (brain.n_coils,) * 2
    deviation = acquisition.noise_covariance.diagonal().real.mean().sqrt()
    torch.testing.assert_close(torch.tensor(acquisition.noise_std), deviation, rtol=1e-5, atol=0.0)
    assert load_reference(brain, "clean").shape == load_reference(brain, "rss").shape == (2, 32, 32)


def test_the_segmentation_of_a_simulated_scan_is_1_in_lesions(tmp_path):
    (path,) = simulate(tmp_path, ("brain-flair-3t",), subjects=1, matrix=48, slices=4, lesions=1.0)
    with h5py.File(path) as file:
        names = list(file["labels"].attrs["names"])
        expected = file["labels"][()] == names.index("lesion")
    segmentation = load_reference(path, "segmentation")
    assert expected.any()
    assert torch.equal(segmentation, torch.from_numpy(expected).long())
    assert torch.equal(load_reference(path, "segmentation", [2]), segmentation[2:3])
