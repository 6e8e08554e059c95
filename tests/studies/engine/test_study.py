"""What a study keeps, it keeps for what it was made on."""

import pytest

from reshim.acquire import Scheme
from reshim.catalog import Catalog
from reshim.classical.sense import Sense
from reshim.classical.tune import Tuned
from reshim.robustness.sources import Processed
from reshim.studies.engine import lab
from reshim.studies.engine import study as module
from reshim.studies.engine.processed import AsProcessed
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

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
    monkeypatch.setattr(Study, "pair_of", lambda self, scan, scheme, read: (scan, scheme))
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


def test_processed_scans_are_other_scans_and_are_read_so(tmp_path, tunings):
    study = Study("x", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    for processed in (None, Processed("magnitude", 1.0), Processed("magnitude", 0.5)):
        study.tune("SENSE", lambda ridge: Sense(ridge=ridge), (1.0, 2.0), "knee", Scheme(), processed)
    assert len(tunings) == 3
    reader = AsProcessed(Processed("magnitude", 1.0))
    assert reader.record(record("knee")).fingerprint != record("knee").fingerprint
    assert reader.record(record("knee")).subject == record("knee").subject


def test_scans_are_not_undersampled_and_processed_at_once(tmp_path):
    study = Study("x", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    both = {"undersampled": Scheme(), "processed": Processed("magnitude", 1.0)}
    with pytest.raises(ValueError, match="undersampled or processed, not both"):
        study.train("label", "unet-tiny", "anatomy = 'knee'", lab.training(Scale.TINY, "unet-tiny"), **both)
