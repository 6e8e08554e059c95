"""What a study keeps, it keeps for what it was made on."""

import pytest

from reshim.acquire import Scheme
from reshim.catalog import Catalog
from reshim.classical.sense import Sense
from reshim.classical.tune import Tuned
from reshim.studies import study as module
from reshim.studies.scale import Scale
from reshim.studies.study import Study

from .test_lab import record


@pytest.fixture
def tunings(monkeypatch):
    """Weights that are tried, one list a tuning; no scan is looked at, and the last weight wins."""
    asked = []

    def pretended(make, values, pairs, score, *, larger_is_better):
        asked.append(list(values))
        return Tuned(values[-1], tuple(values), (0.0,) * len(values), "ssim", ("a",), True)

    monkeypatch.setattr(module, "tune", pretended)
    monkeypatch.setattr(Study, "scans", lambda self, where, split=None: [record(where)])
    monkeypatch.setattr(Study, "pair_of", lambda self, scan, scheme: (scan, scheme))
    return asked


def test_a_tuning_is_made_once_and_again_for_other_weights_scans_or_masks(tmp_path, tunings):
    study = Study("x", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)

    def tuned(values=(1.0, 2.0), where="knee", rate=4):
        return study.tune("SENSE", lambda ridge: Sense(ridge=ridge), values, where, Scheme(acceleration=rate))

    assert tuned().ridge == tuned().ridge == 2.0
    assert len(tunings) == 1
    assert tuned(values=(1.0, 3.0)).ridge == 3.0
    tuned(where="brain")
    tuned(rate=8)
    assert len(tunings) == 4
    assert tuned().ridge == 2.0
    assert len(tunings) == 4
