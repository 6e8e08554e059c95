"""The union of all protocols has the nearest image of any, and CLIP is looked at where weights are named."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from reshim.catalog import Catalog
from reshim.cli import main
from reshim.errors import UserError
from reshim.evaluation.similarity import Clip
from reshim.rows import read_rows
from reshim.studies import similarity
from reshim.studies.engine.crowd import evenly
from reshim.studies.engine.diverse import called
from reshim.studies.engine.options import options_of
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

from .engine.test_lab import record


def test_the_union_is_as_near_as_the_nearest_of_its_parts(tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    volumes: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(
        similarity,
        "images",
        lambda scan, side: volumes.setdefault(scan.scan_id, torch.rand(2, 24, 24, generator=generator)),
    )
    labels = [part.label for part in similarity.SINGLES]
    trained = {label: [record(f"train {label}", n_slices=2)] for label in labels}
    tests = {"elsewhere": [record("test", n_slices=2)]}
    study = Study("similarity", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    similarity.measure(study, trained, tests, "similarity", similarity.FEATURES["similarity"][1])
    study.store.collect(study.finished, tmp_path / "rows.parquet")
    table = read_rows(tmp_path / "rows.parquet").select(["method", "slice", "value"]).to_pylist()
    network = similarity.NETWORKS[0]
    found = {(row["method"], row["slice"]): row["value"] for row in table}
    for number in range(2):
        parts = [found[called(network, part), number] for part in similarity.SINGLES]
        assert found[called(network, similarity.UNION), number] == pytest.approx(max(parts))
        assert len(set(parts)) == len(parts)


def of_images(study, monkeypatch):
    """What `measure` puts into the rows, of random images that are the same each time."""
    volumes = {}

    def image(scan, side):
        generator = torch.Generator().manual_seed(sum(map(ord, scan.scan_id)))
        return volumes.setdefault(scan.scan_id, torch.rand(2, 24, 24, generator=generator))

    monkeypatch.setattr(similarity, "images", image)
    trained = {part.label: [record(f"train {part.label}", n_slices=2)] for part in similarity.SINGLES}
    tests = {"elsewhere": [record("test", n_slices=2)]}
    _, measured = similarity.asked_for(study)["similarity"]
    similarity.measure(study, trained, tests, "similarity", measured)
    study.store.collect(study.finished, study.folder / "rows.parquet")
    rows = read_rows(study.folder / "rows.parquet").to_pylist()
    return {(row["method"], row["slice"]): row["value"] for row in rows}


@pytest.mark.parametrize("pairs", [["patch=12"], ["patch=12", "aggregate=least"], ["neighbours=2"]])
def test_options_change_how_alike_images_are_and_not_the_claims(pairs, tmp_path, monkeypatch):
    found = []
    for number, given in enumerate(([], pairs)):
        options = options_of("similarity", similarity, given)
        folder = tmp_path / str(number)
        study = Study(
            "similarity", folder, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path, options=options
        )
        found.append(of_images(study, monkeypatch))
        texts = [text for block in similarity.page(study) for text in getattr(block, "paragraphs", ())]
        assert any(similarity.told(options) in text for text in texts)
    assert found[0].keys() == found[1].keys()
    assert all(found[0][key] != found[1][key] for key in found[0])


def test_one_embedding_is_looked_at_where_one_is_asked_for(tmp_path):
    for embedding, metrics in (("spectrum", {"similarity"}), ("efficientnet", {"similarity-efficientnet"})):
        options = options_of("similarity", similarity, [f"embedding={embedding}"])
        study = Study(
            "similarity", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path, options=options
        )
        assert similarity.asked_for(study).keys() == metrics
    options = options_of("similarity", similarity, ["embedding=clip"])
    study = Study("similarity", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path, options=options)
    with pytest.raises(UserError, match="RESHIM_CLIP_WEIGHTS"):
        similarity.asked_for(study)


@pytest.mark.parametrize(
    ("name", "pairs", "message"),
    [
        ("similarity", ["patch"], "write KEY=VALUE"),
        ("similarity", ["patch="], "write KEY=VALUE"),
        ("similarity", ["patches=3"], "it has embedding, neighbours, patch, aggregate"),
        ("similarity", ["patch=0"], "patch is at least 1"),
        ("similarity", ["patch=wide"], "a whole number"),
        ("similarity", ["aggregate=most"], "mean, least"),
        ("similarity", ["patch=8", "patch=9"], "twice"),
        ("stress", ["patch=8"], "stress has no options"),
    ],
)
def test_options_that_a_study_cannot_take_are_refused_before_anything_is_made(
    name, pairs, message, tmp_path, capsys
):
    out = tmp_path / "out"
    assert main(["study", name, "--tiny", "--out", str(out), "--option", *pairs]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_clip_has_claims_of_its_own_where_weights_are_named_and_must_then_be_there(monkeypatch):
    without, with_clip = (similarity.features(clip) for clip in (None, Clip(Path("/nowhere/clip.pt"))))
    assert not with_clip["similarity-clip"][1].standardise
    ids = [{claim.id for claim in similarity.claims(each)} for each in (without, with_clip)]
    assert ids[1] - ids[0] == {
        f"{network.removesuffix('-tiny')}-ranks-alike-clip" for network in similarity.NETWORKS
    }
    assert ids[0] < ids[1]
    monkeypatch.setattr(similarity, "FEATURES", with_clip)
    with pytest.raises(UserError, match=r"pip install|no such file"):
        similarity.installed()


def test_training_scans_are_spread_over_all_of_them_not_the_first():
    scans = [record(f"{number:02d}") for number in range(100)]
    chosen = [int(each.scan_id) for each in evenly(scans, 32)]
    assert len(set(chosen)) == 32
    assert chosen[0] < 4
    assert chosen[-1] > 95
    assert max(after - before for before, after in pairwise(chosen)) == 4
    assert evenly(scans[:14], 32) == scans[:14]


def test_the_page_says_how_many_training_scans_were_looked_at(tmp_path):
    study = Study("similarity", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    words = " ".join(text for block in similarity.page(study) for text in getattr(block, "paragraphs", ()))
    assert f"at most {similarity.MOST_TRAINING_SCANS} scans of a protocol, spread evenly" in words
