"""The union of all protocols has the nearest image of any, and CLIP is looked at where weights are named."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from reshim.catalog import Catalog
from reshim.errors import UserError
from reshim.evaluation.similarity import Clip
from reshim.rows import read_rows
from reshim.studies import similarity
from reshim.studies.crowd import evenly
from reshim.studies.diverse import called
from reshim.studies.scale import Scale
from reshim.studies.study import Study

from .test_lab import record


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
