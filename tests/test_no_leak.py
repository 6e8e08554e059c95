"""No method sees the answer: NaN in every reference and every unacquired sample changes not one bit."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from reshim.acquire import Scheme, measure
from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.adaptation.zero_shot import ZeroShot
from reshim.alarm import Alarm
from reshim.classical import METHODS
from reshim.networks import NETWORKS
from reshim.physics.maps import default_estimator
from reshim.physics.masks import draw_line_mask
from reshim.scans import load
from reshim.simulation.write import simulate
from reshim.training.features import features
from reshim.training.statistics import Statistics
from reshim.types import Measurement

NETWORK_FORMS = {
    "unet-tiny": {},
    "unet-tiny complex": {"input": "complex"},
    "unet-tiny after sense": {"input": "complex", "start": "sense"},
    "vit-tiny": {},
    "vit-tiny complex": {"input": "complex"},
    "varnet-tiny": {},
    "varnet-tiny given": {"maps": "given", "output": "mvue"},
    "unrolled-tiny": {},
}
TRAINED_ON_THE_SCAN = {"raki": {"iterations": 20}, "rraki": {"iterations": 20}}
"""Fewer steps than by default: what is asked is whether the bits agree."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Measurement, Measurement]:
    """The same undersampled scan twice; the second file is poisoned wherever a scanner has no sample."""
    folder = tmp_path_factory.mktemp("scans")
    (full,) = simulate(folder, protocols=["brain-t2-3t"], subjects=1, matrix=64, slices=2)
    columns = draw_line_mask("equispaced", 64, 3, center_lines=14, seed=1).columns
    clean, poisoned = folder / "clean" / "scan.h5", folder / "poisoned" / "scan.h5"
    for path, poison in ((clean, 0), (poisoned, complex(np.nan, np.nan))):
        path.parent.mkdir()
        shutil.copy(full, path)
        with h5py.File(path, "r+") as file:
            kspace = file["kspace"][:]
            kspace[..., ~columns] = poison
            file["kspace"][:] = kspace
            file["mask"] = columns
            file.attrs["fully_sampled"] = False
            for name in [name for name in file if name.startswith("reconstruction")]:
                if path == poisoned:
                    file[name][:] = np.nan
                    file.attrs["max"] = file.attrs["norm"] = np.nan
    return taken(clean), taken(poisoned)


def taken(path: Path) -> Measurement:
    return default_estimator(measure(load(path), Scheme(mask="file"), 0))


def assert_same_bits(method, pair: tuple[Measurement, Measurement]) -> None:
    first, second = (torch.view_as_real(method(measurement)) for measurement in pair)
    assert torch.isfinite(first).all()
    assert torch.equal(first, second)


def test_the_poison_is_in_the_file_and_not_in_the_measurement(pair):
    clean, poisoned = pair
    assert torch.equal(clean.kspace, poisoned.kspace)
    assert torch.equal(clean.maps, poisoned.maps)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_classical_methods_see_acquired_samples_alone(name, pair):
    assert_same_bits(METHODS[name](**TRAINED_ON_THE_SCAN.get(name, {})), pair)


@pytest.mark.parametrize("form", NETWORK_FORMS)
def test_networks_see_acquired_samples_alone(form, pair):
    torch.manual_seed(0)
    network = NETWORKS[form.split()[0]](**NETWORK_FORMS[form]).eval()
    with torch.no_grad():
        assert_same_bits(network, pair)


@pytest.mark.parametrize("scope", ["slice", "volume"])
def test_adaptation_its_stopping_and_its_guard_see_acquired_samples_alone(scope, pair):
    torch.manual_seed(0)
    base, fallback = (NETWORKS["unet-tiny"](input="complex").eval() for _ in range(2))
    method = AdaptedAtTestTime(base, fallback, scope=scope, steps=4, check_every=2, warm_up=1)
    assert_same_bits(method, pair)
    assert method.explain(pair[0]).reason == method.explain(pair[1]).reason


def test_reconciling_sees_acquired_samples_alone(pair):
    torch.manual_seed(0)
    base, fallback = (NETWORKS["unet-tiny"](input="complex").eval() for _ in range(2))
    assert_same_bits(Reconciled(base, iterations=4), pair)
    assert_same_bits(Reconciled(AdaptedAtTestTime(base, fallback, steps=2), iterations=4), pair)


def test_the_reference_algorithm_sees_acquired_samples_alone(pair):
    torch.manual_seed(0)
    base = NETWORKS["unet-tiny"](input="complex").eval()
    assert_same_bits(ReferenceAdaptation(base, max_steps=3), pair)


@pytest.mark.parametrize(
    "method",
    [
        FittedDecoder(iterations=2, channels=8, layers=3),
        ZeroShot(epochs=1, n_splits=1),
        ZeroShot(epochs=1, n_splits=1, unit="column"),
    ],
    ids=["conv-decoder", "zs-ssl", "zs-ssl by columns"],
)
def test_methods_that_train_on_the_scan_see_acquired_samples_alone(method, pair):
    assert_same_bits(method, pair)
    assert method.explain(pair[0]).reason == method.explain(pair[1]).reason


def test_the_alarm_sees_acquired_samples_alone(pair):
    usual = features(pair[0])
    spread = torch.randn(2, usual.shape[1], generator=torch.Generator().manual_seed(0))
    statistics = Statistics.of(usual + spread)
    alarm = Alarm(statistics)
    assert alarm(pair[0]) == alarm(pair[1])
