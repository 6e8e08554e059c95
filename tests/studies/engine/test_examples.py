"""A page shows the median and the worst slice with the images of every method, kept or made once more."""

from dataclasses import dataclass, replace

import pytest
import torch

from reshim.catalog import Catalog
from reshim.classical.sense import Sense
from reshim.classical.zero_filled import ZeroFilled
from reshim.evaluation.insertion import Feature
from reshim.report.pictures import load_example
from reshim.robustness.disturbance import Disturbance
from reshim.rows import read_rows
from reshim.simulation.write import simulate
from reshim.studies.engine import lab
from reshim.studies.engine.examples import shown_inserted
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

METHODS = {"zero-filled": ZeroFilled(), "CG-SENSE": Sense()}
WHERE = "anatomy = 'knee'"
TEST = "knees"


@dataclass(frozen=True)
class Louder(Disturbance):
    """All samples times a factor, as seen by methods alone."""

    factor: float = 2.0

    def of_scan(self, acquisition):
        return replace(acquisition, kspace=self.factor * acquisition.kspace)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    simulate(folder / "scans", ["knee-pd-3t"], subjects=3, matrix=48, slices=2)
    shares = {"train": 0.0, "val": 0.0, "test": 1.0}
    return Catalog.index([folder / "scans"], folder / "catalog.parquet", shares=shares).catalog


@pytest.fixture
def study(scans, tmp_path):
    return Study("made", tmp_path, scans, Scale.TINY, 0, tmp_path)


def test_images_that_were_not_kept_are_made_of_two_scans_and_rows_stay_as_they_are(study):
    columns = {"dose": 2.0}
    asked = {"test": TEST, "columns": columns, "disturbance": Louder()}
    study.compare(METHODS, WHERE, lab.EVALUATION, keep_images=False, **asked)
    assert study.examples(TEST, "zero-filled", list(METHODS), columns) == ()
    before = [study.store.path(key).read_bytes() for key, _ in study.finished]
    study.show(METHODS, WHERE, lab.EVALUATION, by="zero-filled", **asked)
    names = study.examples(TEST, "zero-filled", list(METHODS), columns, called="loud")
    assert names == (f"{TEST}, loud-median", f"{TEST}, loud-worst")
    assert [study.store.path(key).read_bytes() for key, _ in study.finished] == before
    assert len({path.stem for path in study.pictures.folder.rglob("*.npz")}) <= 2 * len(METHODS)
    study.store.collect(study.finished, study.folder / "rows.parquet")
    rows = [row for row in read_rows(study.folder / "rows.parquet").to_pylist() if is_shown(row)]
    worst = min((row for row in rows if row["method"] == "zero-filled"), key=lambda row: row["value"])
    example = load_example(study.folder, names[1])
    assert example.labels == tuple(METHODS)
    assert example.scores[0] == f"SSIM {worst['value']:.3f}"
    assert f"{worst['scan_id']}, slice {worst['slice']}" in example.caption
    # What is shown is what was disturbed: about twice as bright as the reference, which was not.
    ratio = (example.images[1] * example.reference).sum() / (example.reference**2).sum()
    assert ratio > 1.5


def is_shown(row):
    return all(row[name] == value for name, value in lab.SHOWN.items())


def test_a_row_without_the_column_that_is_asked_for_stands_beside_those_that_have_it(study):
    study.compare({"zero-filled": ZeroFilled()}, WHERE, lab.EVALUATION, test=TEST)
    for share, ridge in ((0.5, 10.0), (1.0, 0.0)):
        columns = {"share": share}
        study.compare({"adapted": Sense(ridge=ridge)}, WHERE, lab.EVALUATION, test=TEST, columns=columns)
    names = [
        study.examples(TEST, "zero-filled", ("zero-filled", "adapted"), {"share": share})
        for share in (0.5, 1.0)
    ]
    assert names[0] == names[1] != ()
    last = load_example(study.folder, names[0][0]).images
    study.examples(TEST, "zero-filled", ("zero-filled", "adapted"), {"share": 0.5})
    first = load_example(study.folder, names[0][0]).images
    assert (first[0] == last[0]).all()
    assert not (first[1] == last[1]).all()


def test_a_feature_is_shown_where_it_lies_and_not_drawn_again(study, monkeypatch):
    feature = Feature("square", 5, 0.9)
    columns = {"feature": feature.label}
    study.insert(METHODS, WHERE, lab.EVALUATION, feature, test=TEST, columns=columns)
    asked = {"by": "CG-SENSE", "test": TEST, "columns": columns}
    study.show_inserted(METHODS, WHERE, lab.EVALUATION, feature, **asked)
    names = shown_inserted(study.folder, TEST, feature)
    assert names == (f"{TEST}, {feature.label}-median", f"{TEST}, {feature.label}-worst")
    example = load_example(study.folder, names[0])
    assert example.labels == tuple(METHODS)
    top, left, bottom, right = example.zoom
    inside = torch.as_tensor(example.reference)[top:bottom, left:right]
    middle = tuple(size // 2 for size in inside.shape)
    assert inside[middle] > inside.median()
    monkeypatch.setattr(Feature, "put_into", lambda *_: pytest.fail("drawn again"))
    study.show_inserted(METHODS, WHERE, lab.EVALUATION, feature, **asked)
