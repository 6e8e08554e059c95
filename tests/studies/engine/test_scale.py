"""Full size trains the papers' networks under the names that recipes use."""

from dataclasses import replace

import pytest

from reshim.cli import main
from reshim.networks import NETWORKS
from reshim.studies import STUDIES, recipe_of
from reshim.studies.engine import lab, scale
from reshim.studies.engine.embedded import catalog_of
from reshim.studies.engine.scale import FULL, Scale
from reshim.studies.engine.shifts import VARNET
from reshim.studies.engine.study import Study


@pytest.mark.parametrize("name", lab.NAMES)
def test_every_network_of_the_laboratory_stands_for_a_larger_one(name):
    small, large = (
        sum(p.numel() for p in NETWORKS[each](**lab.SETTINGS.get(name, {})).parameters())
        for each in (name, Scale.FULL.network(name))
    )
    assert large > 4 * small
    assert Scale.EMBEDDED.network(name) == Scale.TINY.network(name) == name


def test_only_what_is_adapted_differs_from_the_published_network_at_full_size():
    for name in lab.NAMES:
        assert lab.settings_of(name, Scale.FULL) is None
        assert lab.settings_of(name, Scale.EMBEDDED) == lab.SETTINGS.get(name)
    assert VARNET.settings["maps"] == "given"


def test_full_size_takes_the_published_budget_and_the_question_still_changes_it():
    settings = lab.training(Scale.FULL, "vit-tiny")
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (scale.EPOCHS, 4, 5e-4)
    assert lab.training(Scale.FULL, "vit-tiny", epochs=3).epochs == 3


@pytest.mark.parametrize("name", STUDIES)
def test_every_recipe_names_its_scans_at_every_size(name):
    sizes = [recipe_of(name).embedded(each) for each in Scale]
    assert len({size.protocols for size in sizes}) == 1
    assert sizes[0].matrix <= sizes[1].matrix <= sizes[2].matrix


def test_training_at_full_size_trains_the_network_that_is_stood_for(tmp_path, monkeypatch):
    monkeypatch.setitem(FULL, "unet-tiny", replace(FULL["unet-tiny"], network="unet-xs", batch_size=2))
    scans = replace(lab.embedded(lab.KNEE_PD, scale=Scale.TINY), subjects=4)
    catalog = catalog_of(scans, tmp_path, tmp_path / "catalog.parquet", seed=0)
    study = Study("x", tmp_path, catalog, Scale.FULL, 0, tmp_path)
    settings = lab.training(study.scale, "unet-tiny", epochs=1)
    trained = study.train("one", "unet-tiny", lab.KNEE_PD.where, settings)
    assert trained.settings["network"]["name"] == "unet-xs"
    assert not study.tiny


def test_a_study_is_of_one_size(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["study", "first-look", "--tiny", "--full"])
    assert "not allowed with" in capsys.readouterr().err


def test_an_absent_device_is_named_before_anything_is_done(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["study", "first-look", "--tiny", "--device", "cuda:7", "--out", str(out)]) == 2
    assert "cuda:7" in capsys.readouterr().err
    assert not out.exists()
