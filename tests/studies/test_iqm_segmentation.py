"""The judge sees planted correlations, gains and costs, and none where there are none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.studies.answers import verdicts
from tests.training.toy import record

from reshim.catalog import Catalog
from reshim.classical.zero_filled import ZeroFilled
from reshim.cli import main
from reshim.errors import UserError
from reshim.evaluation.segmenter import DenseSegmenter
from reshim.report.pictures import load_example
from reshim.rows import read_rows
from reshim.studies import iqm_segmentation
from reshim.studies.engine import outlines
from reshim.studies.engine.outlines import EXAMPLES, FULL, Outliner, Outlines
from reshim.studies.engine.relations import claim_id, halves
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.iqm_segmentation import CLAIMS, SOURCES, SPLIT_BY, TEST, TRAINED, half


def planted(correlation: float, gain: float, cost: float):
    def value(where):
        if where["metric"] == "spearman":
            return correlation * (1.0 if where["method"] == "psnr" else -1.0)
        shown = where["method"] in (*SOURCES, TRAINED)
        return 0.8 + (gain if "better" in where["method"] else 0) - (cost if shown else 0)

    return value


def test_planted_correlations_gains_and_no_cost_are_seen():
    found = verdicts(CLAIMS, planted(0.7, 0.05, 0.0))
    assert found == dict.fromkeys(found, "holds")


def test_no_correlation_and_no_gain_are_not_seen_and_a_cost_contradicts():
    found = verdicts(CLAIMS, planted(0.0, 0.0, 0.1))
    # Of eleven effects that are none, a 95 % interval may leave one's 0 out by chance.
    assert list(found.values()).count("holds") <= 1
    assert found["undersampling-costs-little"] == found["undersampling-costs-little-unet"] == "contradicted"


def test_a_gain_of_the_worse_half_contradicts():
    found = verdicts(CLAIMS, planted(0.7, -0.05, 0.0))
    assert {found[claim_id(*each)] for each in SPLIT_BY} == {"contradicted"}


def test_halves_are_equally_large_apart_and_in_the_metrics_own_direction():
    values = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0, "none": np.nan}
    assert halves(list(values), values, "psnr") == (["e", "d"], ["b", "a"])
    assert halves(list(values), values, "cjv") == (["a", "b"], ["d", "e"])


def test_above_the_median_the_middle_is_in_neither_half():
    values = dict(zip("abcdefghij", range(10), strict=True))
    assert halves("abcdefghij", values, "psnr", 0.7) == (["j", "i", "h"], ["c", "b", "a"])
    assert halves("abcdefghij", values, "psnr", 0.9) == (["j"], ["a"])
    for wrong in (0.4, 1.0):
        with pytest.raises(ValueError, match=f"quantile is {wrong}; give 0.5"):
            halves("ab", values, "psnr", wrong)


def test_methods_of_the_user_are_refused_where_none_are_asked_about_or_they_saw_the_test_scans(
    tmp_path, monkeypatch, capsys
):
    command = ["study", "first-look", "--tiny", "--out", str(tmp_path), "--with", "sense"]
    assert main(command) == 2
    assert "asks about methods of its own, and --with names 'sense'" in capsys.readouterr().err

    seen = [record("a")]

    class Learned(ZeroFilled):
        training_subjects = frozenset({(seen[0].dataset, seen[0].subject)})

    monkeypatch.setattr(Study, "scans", lambda self, where, split=None: seen if split == "test" else [])
    study = Study(
        "made", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path, methods={"mine": Learned()}
    )
    with pytest.raises(UserError, match="mine at 4x was trained on"):
        iqm_segmentation.run(study)


def test_what_was_outlined_is_found_again_only_for_the_same_scans_and_training(tmp_path, monkeypatch):
    trained = []

    def train(volumes, masks, *, epochs, seed):
        trained.append((len(volumes), epochs, seed))
        return DenseSegmenter()

    monkeypatch.setattr(outlines, "train_segmenter", train)
    monkeypatch.setattr(outlines, "dice_of", lambda network, volumes, masks: dict.fromkeys(volumes, 0.5))
    study = Study("planted", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    volume = torch.zeros(1, 4, 4)
    known = Outlines(*(dict.fromkeys("abc", value) for value in (volume, volume > 0)))
    known.fingerprints.update(a="1", b="2", c="3")

    def asked(study=study, chosen="ab", shown="c", epochs=2, sources=None):
        volumes = {"fold": dict.fromkeys(shown, volume)}
        return list(Outliner(study, known, epochs).dice("fold 1", list(chosen), volumes, sources)["fold"])

    assert asked() == asked() == ["c"]
    assert len(trained) == 1
    asked(chosen="a")
    assert asked(shown="bc") == ["b", "c"]
    assert asked(sources={"fold": SOURCES["CG-SENSE at 4x"]}) == ["c"]
    assert len(trained) == 2
    assert len(list((tmp_path / "segmenters").glob("*.json"))) == 4
    asked(replace(study, seed=1))
    asked(epochs=9)
    known.fingerprints["a"] = "another"
    asked()
    assert trained == [(2, 2, 0), (1, 2, 0), (2, 2, 1), (2, 9, 0), (2, 2, 0)]


def test_where_nothing_is_to_be_outlined_no_picture_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(outlines, "train_segmenter", lambda *_, **__: DenseSegmenter().eval())
    study = Study("planted", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    known = Outlines({"a": torch.rand(2, 8, 8)}, {"a": torch.zeros(2, 8, 8, dtype=torch.bool)}, {"a": "1"})
    outliner = Outliner(study, known, 1)
    outliner.show("all", ["a"], {FULL: known.images})
    assert not (tmp_path / "images").exists()
    known.masks["a"][1, 2:4, 2:4] = True
    known.fingerprints["a"] = "2"
    outliner.show("all", ["a"], {FULL: known.images})
    assert load_example(tmp_path, f"{EXAMPLES}-worst").labels == (FULL,)


@pytest.mark.slow
def test_the_tiny_form_outlines_in_folds_halves_and_reconstructions(tmp_path):
    command = ["study", "iqm-segmentation", "--tiny", "--out", str(tmp_path), "--with", "l1-wavelet"]
    assert main(command) == 0
    rows = [row for row in read_rows(tmp_path / "rows.parquet").to_pylist() if row["metric"] == "dice"]
    shown = (*SOURCES, TRAINED, "l1-wavelet at 4x")
    assert {*shown, *(half(better, *each) for each in SPLIT_BY for better in (True, False))} <= {
        row["method"] for row in rows
    }
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
    assert {row["split"] for row in rows if row["test"] == TEST} == {"test"}
    kept = sorted((tmp_path / "segmenters").glob("*.json"))
    fold = json.loads(next(path for path in kept if path.name.startswith("fold-1-")).read_text())
    assert not set(fold["trained on"]) & set(fold["dice"]["fold"])
    page = (tmp_path / "index.html").read_text()
    assert "Dice on the independent test set" in page
    assert "after Holm" in page
    assert "--with l1-wavelet" in page
    pictured = [load_example(tmp_path, f"{EXAMPLES}-{which}") for which in ("median", "worst")]
    for example in pictured:
        assert example.labels == (FULL, *shown)
        # Fully sampled, the image is the reference's: the outlines alone differ, by one step of grey.
        apart = np.abs(example.images[0] - example.reference)
        assert (np.isclose(apart, 0, atol=0.01) | np.isclose(apart, apart.max(), atol=0.01)).all()
    # Run again, it trains nothing and finds the same.
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "segmenters").iterdir()}
    rows = read_rows(tmp_path / "rows.parquet").to_pylist()
    assert main(command) == 0
    again = sorted((tmp_path / "segmenters").iterdir())
    assert {path: path.stat().st_mtime_ns for path in again} == stamps
    assert read_rows(tmp_path / "rows.parquet").to_pylist() == rows
