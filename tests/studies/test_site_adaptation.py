"""The site's mask is one and the same for all, and its split leaves the input a calibration region."""

import pytest
import torch
from tests.conftest import make_measurement

from reshim.acquire import measure
from reshim.catalog import Catalog
from reshim.studies.engine import lab
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.site_adaptation import HOME, OBJECTIVES, OWN_MASK, SCHEME, SITE, SOURCE, run
from reshim.training.batch import Draws
from reshim.training.run_folder import Trained
from reshim.types import Acquisition


class Asked(Study):
    """A study that notes what it is asked for, and trains and scores nothing."""

    def __init__(self, folder):
        super().__init__("asked", folder, Catalog.__new__(Catalog), Scale.TINY, 0, folder)
        self.trained, self.tested = {}, []

    def scans(self, where, split):
        return []

    def slices(self, where, split):
        return 4

    def train(self, label, network, where, settings, **options):
        self.trained[label] = (where, settings, options)
        return Trained.__new__(Trained)

    def compare(self, methods, where, evaluation, **options):
        self.tested += [(name, options["test"], evaluation.scheme) for name in methods]


@pytest.fixture
def asked(tmp_path):
    study = Asked(tmp_path)
    run(study)
    return study


def test_every_network_but_that_of_home_s_own_mask_is_trained_for_the_site_s(asked):
    schemes = {label: settings.schemes for label, (_, settings, _) in asked.trained.items()}
    assert schemes.pop(OWN_MASK) == (lab.SCHEME,) != (SCHEME,)
    assert set(schemes.values()) == {(SCHEME,)}


def test_all_are_tested_under_the_site_s_mask_at_home_and_there(asked):
    assert {scheme for _, _, scheme in asked.tested} == {SCHEME}
    places = {name: {test for other, test, _ in asked.tested if other == name} for name, _, _ in asked.tested}
    assert len(places) == 3 + len(OBJECTIVES)
    assert all(there == {HOME.label, SITE.label} for there in places.values())


def test_adaptation_starts_from_the_source_and_sees_undersampled_scans_of_the_site_alone(asked):
    adapted = [each for each in asked.trained.values() if "start" in each[2]]
    assert len(adapted) == 4 * len(OBJECTIVES)
    for where, _, options in adapted:
        assert (where, options["start"], options["undersampled"]) == (SITE.where, SOURCE, SCHEME)


def test_the_split_leaves_most_of_the_calibration_lines_and_of_the_others_to_the_input():
    whole, _ = make_measurement(rows=64, columns=64, acceleration=1, n=1)
    everywhere = torch.ones(1, 1, 1, 64, dtype=torch.bool)
    scan = Acquisition(whole.kspace, "site", (0,), (64, 64), everywhere)
    measurement = measure(scan, SITE.scheme, 0)
    assert measurement.calibration.shape[1] >= 16
    theta, held = OBJECTIVES["SSDU"].split(measurement, Draws.of(measurement))
    acquired, inside = theta | held, torch.zeros(64, dtype=torch.bool)
    inside[measurement.calibration.block[1]] = True
    for columns in (inside, ~inside):
        kept = theta[..., columns].sum() / acquired[..., columns].sum()
        assert 0.5 < float(kept) < 0.7
