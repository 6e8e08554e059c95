"""A study's seed is that of its trainings; of several trainings, the first's."""

from contextlib import suppress

import pytest
from tests.training.toy import record

from reshim.catalog import Catalog
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.cli import main
from reshim.studies import distributional_overfitting, diverse_controls, diverse_skew, ssdu_vs_supervised
from reshim.studies.engine import lab
from reshim.studies.engine import study as module
from reshim.studies.engine.diverse import Part, learning_curves, seeds_of
from reshim.studies.engine.held_out import HeldOut
from reshim.studies.engine.one_for_all import OneForAll
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.training.run_folder import Trained

PAIR = (lab.KNEE_PD, lab.BRAIN_T2)
TOGETHER = OneForAll("both", tuple(Part.of(each) for each in PAIR), ("unet-tiny",), seeds=3)


@pytest.fixture
def trained(monkeypatch):
    """Folder's name and seed of each training that was asked for; nothing is trained."""
    asked = []

    def pretended(network, groups, validation, settings, path, **_):
        asked.append((path.name, settings.seed))
        return Trained.__new__(Trained)

    monkeypatch.setattr(module, "train", pretended)
    monkeypatch.setattr(Study, "scans", lambda *_: [record("a")])
    monkeypatch.setattr(Study, "_keep_curve", lambda *_: None)
    return asked


def study(folder, seed=0, **known) -> Study:
    return Study("x", folder, Catalog.__new__(Catalog), Scale.EMBEDDED, seed, folder, **known)


def test_the_seed_of_a_study_is_that_of_its_trainings_and_makes_other_models(tmp_path, trained):
    for seed in (0, 0, 1):
        settings = lab.training(Scale.EMBEDDED, "unet-tiny")
        study(tmp_path, seed).train("one", "unet-tiny", "anatomy = 'knee'", settings)
    (first, zero), (again, _), (other, one) = trained
    assert (zero, one) == (0, 1)
    assert first == again != other


def test_at_seed_0_settings_stay_as_they_are_so_that_finished_models_are_found(tmp_path, monkeypatch):
    given, settings = [], lab.training(Scale.EMBEDDED, "unet-tiny", seed=2)
    monkeypatch.setattr(
        module, "train", lambda *asked, **_: given.append(asked[3]) or Trained.__new__(Trained)
    )
    monkeypatch.setattr(Study, "scans", lambda *_: [record("a")])
    monkeypatch.setattr(Study, "_keep_curve", lambda *_: None)
    study(tmp_path).train("one", "unet-tiny", "anatomy = 'knee'", settings)
    assert given == [settings]


@pytest.mark.parametrize(
    ("seed", "asked", "expected"), [(0, None, {0, 1, 2}), (4, None, {4, 5, 6}), (4, 2, {4, 5})]
)
def test_several_trainings_have_the_seeds_from_the_studys_on(tmp_path, trained, seed, asked, expected):
    TOGETHER.train(study(tmp_path, seed, seeds=asked))
    assert {each for _, each in trained} == expected
    assert (len(trained), len(set(trained))) == (4 * len(expected), len(expected))


def test_what_trains_once_trains_as_often_as_it_is_asked_to(tmp_path, trained):
    held_out = HeldOut("x", PAIR, (lab.BRAIN_FLAIR,), ("unet-tiny",), shares=(1.0,))
    held_out.train(study(tmp_path))
    assert {each for _, each in trained} == {0}
    trained.clear()
    held_out.train(study(tmp_path, seeds=2))
    diverse_skew.train(study(tmp_path, seeds=2))
    assert {each for _, each in trained} == {0, 1}


@pytest.mark.parametrize("recipe", [distributional_overfitting, ssdu_vs_supervised, diverse_controls])
def test_every_study_that_repeats_hands_each_training_its_seed(recipe, tmp_path, monkeypatch):
    class EnoughError(Exception):
        pass

    asked = []

    def pretended(self, label, network, where, settings, **_):
        asked.append(settings.seed)
        self.runs[label] = Trained.__new__(Trained)
        return self.runs[label]

    def stop(*_, **__):
        raise EnoughError

    monkeypatch.setattr(Study, "train", pretended)
    monkeypatch.setattr(Study, "compare", lambda *_, **__: None)
    monkeypatch.setattr(Study, "tune", lambda *_, **__: L1Wavelet())
    monkeypatch.setattr(Study, "scans", lambda *_: [])
    monkeypatch.setattr(distributional_overfitting, "choose", stop)
    monkeypatch.setattr(distributional_overfitting.Trajectory, "of", stop)
    with suppress(EnoughError):
        recipe.run(study(tmp_path, seeds=2, embedded=False))
    assert set(asked) == {0, 1}


def test_of_what_was_trained_several_times_a_page_draws_the_first_curve(tmp_path, trained):
    asked = study(tmp_path, seed=4)
    for seed in range(3):
        Part.of(lab.KNEE_PD).train(asked, "unet-tiny", seed=seed)
    assert len(asked.runs) == 3
    (curve,) = learning_curves(asked).curves
    assert curve.file == f"curves/{asked.slug(next(iter(asked.runs)))}.jsonl"


def test_a_tiny_form_shows_two_trainings_at_most(tmp_path):
    tiny = Study("x", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    assert (list(seeds_of(tiny, 3)), list(seeds_of(tiny))) == ([0, 1], [0])


def test_seeds_are_refused_where_nobody_heeds_them(tmp_path, capsys):
    assert main(["study", "stress", "--seeds", "3", "--out", str(tmp_path / "out")]) == 2
    assert "diverse-skew" in capsys.readouterr().err
    assert main(["study", "diverse-field", "--seeds", "0", "--out", str(tmp_path / "out")]) == 2
    assert "at least 1" in capsys.readouterr().err
