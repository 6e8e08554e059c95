"""A catalog that lacks what a study needs is refused, or a question left out, before anything is trained."""

from dataclasses import replace
from types import ModuleType

import pytest

from reshim.catalog import Catalog
from reshim.cli import main
from reshim.errors import UserError
from reshim.report.blocks import ClaimsBlock
from reshim.studies import STUDIES, diverse_contrast, recipe_of
from reshim.studies.engine import lab
from reshim.studies.engine.asked import Asked
from reshim.studies.engine.embedded import Need
from reshim.studies.engine.needs import answerable, check_catalog, lacking, subjects
from reshim.studies.engine.one_for_all import OneForAll
from reshim.studies.engine.run import run_study
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

from .test_lab import record

SPLITS = ("train", "val", "test")
ABOUT = {"knee": "coronal", "brain": "axial"}


def scans_of(*distributions, splits=SPLITS):
    """One subject a split of each."""
    for each in distributions:
        anatomy, contrast, tesla, _ = each.label.split(" ")
        known = {
            "anatomy": anatomy,
            "contrast": contrast,
            "field_tesla": float(tesla),
            "view": ABOUT[anatomy],
        }
        for split in splits:
            made = record(f"{each.label} {split}", **known, split=split, spacing_mm=(3.0, 1.0, 1.0))
            yield replace(made, subject=f"{each.label} {split}")


BRAINS = tuple(scans_of(lab.BRAIN_T1, lab.BRAIN_T2, lab.BRAIN_FLAIR))
KNEES = tuple(scans_of(lab.KNEE_PD, lab.KNEE_PDFS, lab.KNEE_PD_15))


def refusal(name, *records):
    recipe = recipe_of(name)
    try:
        check_catalog(name, recipe, recipe.embedded(Scale.EMBEDDED), Catalog.of(records))
    except UserError as error:
        return str(error)
    return ""


def test_subjects_are_counted_by_split():
    catalog = Catalog.of([*scans_of(lab.KNEE_PD), *scans_of(lab.KNEE_PD, splits=("test",))])
    assert subjects(lab.KNEE_PD.need(), catalog) == {"train": 1, "val": 1, "test": 1}
    assert lacking([lab.KNEE_PD.need(), lab.KNEE_PDFS.need("test")], catalog) == [
        f"knee PD-FS 3 T needs a subject in test; found 0 train, 0 val, 0 test; filter: {lab.KNEE_PDFS.where}"
    ]


def test_one_filter_is_named_once_with_every_split_that_is_needed():
    twice = [lab.KNEE_PD.need("test"), lab.KNEE_PD.under(lab.SCHEME, "again").need("train")]
    (sentence,) = lacking(twice, Catalog.of(BRAINS))
    assert sentence.startswith("knee PD 3 T needs a subject in train, test; found 0 train")


def test_any_split_will_do_where_none_is_named():
    assert not lacking([Need("knees", "anatomy = 'knee'", ())], Catalog.of(KNEES[:1]))
    assert lacking([Need("knees", "anatomy = 'knee'", ())], Catalog.of(BRAINS))


def test_a_refusal_names_every_missing_distribution_its_filter_and_the_remedy():
    said = refusal("natural-shift", *BRAINS)
    for each in (lab.KNEE_PD, lab.KNEE_PDFS, lab.KNEE_PD_15):
        assert f"{each.label} needs a subject in" in said
        assert each.where in said
    assert lab.BRAIN_T2.label not in said
    assert "nothing was trained" in said
    assert "reshim index FOLDER" in said
    assert refusal("natural-shift", *KNEES, *BRAINS) == ""


def test_what_is_only_scored_on_needs_no_training_subjects():
    some = [each for each in KNEES if "PD 3 T" in each.scan_id or each.split == "test"]
    assert refusal("natural-shift", *some, *BRAINS) == ""


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_refuses_a_catalog_of_nothing_that_it_looks_at(name):
    heart = replace(record("heart"), anatomy="heart", contrast="GRE", split="train")
    assert refusal(name, heart)


@pytest.mark.parametrize("name", ["iqm-reconstruction", "iqm-segmentation", "data-filtering", "pathology"])
def test_studies_of_a_union_train_on_what_there_is_of_it(name):
    tests = {
        "iqm-reconstruction": (lab.KNEE_PD,),
        "iqm-segmentation": (lab.BRAIN_FLAIR,),
        "data-filtering": (lab.BRAIN_T2_15, lab.BRAIN_FLAIR_15, lab.KNEE_PD),
        "pathology": (lab.KNEE_PDFS, lab.BRAIN_FLAIR),
    }
    assert refusal(name, *scans_of(*tests[name])) == ""


def test_a_study_of_several_questions_answers_those_that_it_can(tmp_path):
    assert refusal("diverse-contrast", *KNEES) == ""
    study = Study("x", tmp_path, Catalog.of(KNEES), Scale.TINY, 0, tmp_path, embedded=False)
    for _ in range(2):
        assert answerable(study, diverse_contrast.QUESTIONS) == (diverse_contrast.KNEES,)
    assert [each.scan_id for each in study.left_out] == ["question brain", "question flair-unseen"]
    assert all(lab.BRAIN_FLAIR.label in each.reason for each in study.left_out)
    assert "needs a subject in" in refusal("diverse-contrast", *scans_of(lab.BRAIN_T1))


def test_simulated_scans_answer_every_question(tmp_path):
    study = Study("x", tmp_path, Catalog.__new__(Catalog), Scale.TINY, 0, tmp_path)
    assert answerable(study, diverse_contrast.QUESTIONS) == diverse_contrast.QUESTIONS


def test_the_command_ends_with_2_before_anything_is_made(tmp_path, capsys):
    path, out = tmp_path / "brains.parquet", tmp_path / "out"
    Catalog.of(BRAINS).write(path)
    for more in ([], ["--train-only"]):
        name = "diverse-large" if more else "natural-shift"
        assert main(["study", name, "--catalog", str(path), "--out", str(out), *more]) == 2
        assert lab.KNEE_PD.label in capsys.readouterr().err
    assert not out.exists()


def test_what_was_left_out_stands_in_the_result_and_on_the_page(tmp_path, monkeypatch):
    path = tmp_path / "knees.parquet"
    Catalog.of(KNEES).write(path)
    asked = []
    monkeypatch.setattr(OneForAll, "run", lambda self, study: (asked.append(self.name), keep(study)))
    monkeypatch.setattr(OneForAll, "blocks", lambda self, study: ())
    recipe = ModuleType("made", "One or many?")
    recipe.TITLE, recipe.PAPER, recipe.QUESTIONS = "Made", "none", diverse_contrast.QUESTIONS
    recipe.CLAIMS, recipe.embedded = diverse_contrast.CLAIMS, diverse_contrast.embedded
    recipe.run = diverse_contrast.run
    recipe.page = lambda study: (
        ClaimsBlock(),
        *(b for q in answerable(study, recipe.QUESTIONS) for b in q.blocks(study)),
    )
    result = run_study(Asked("made", recipe, tmp_path / "out", path, Scale.TINY))
    assert asked == ["knee"]
    assert [line.split(":")[0] for line in result.left_out] == ["question brain", "question flair-unseen"]
    assert "Left out" in result.page.read_text()
    assert {claim["verdict"] for claim in result.claims} == {"unanswered"}


def keep(study):
    """A row, so that there is something to draw."""
    known = {"scan_id": "a", "dataset": "d", "data_kind": "simulated", "subject": "a", "metric": "ssim"}
    study.keep(
        [{**known, "target": "mvue", "region": "support", "slice": 0, "value": 0.5}], method="m", test="t"
    )
