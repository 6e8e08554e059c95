"""What is asked of a study: the words that ask for it again ask for the same."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reshim.cli import build_parser
from reshim.errors import UserError
from reshim.studies import STUDIES, question_of, recipe_of
from reshim.studies.engine.asked import Asked
from reshim.studies.engine.scale import Scale

PLAIN = Asked("adversarial", recipe_of("adversarial"), Path("out"))
ALL = replace(
    PLAIN,
    catalog=Path("scans.parquet"),
    scale=Scale.FULL,
    seed=3,
    shared=Path("shared"),
    device="cuda:1",
    seeds=2,
    methods=("sense", "runs/mine"),
    options=("patch=16",),
)


def parsed(words):
    parser, _ = build_parser()
    return vars(parser.parse_args(words[1:] if words[0] == "reshim" else words))


@pytest.mark.parametrize("asked", [PLAIN, ALL])
def test_the_command_on_the_page_asks_for_the_same(asked):
    found = parsed(asked.command)
    names = ("name", "catalog", "seed", "seeds")
    assert {name: found[name] for name in names} == {name: getattr(asked, name) for name in names}
    assert (found["full"], found["tiny"]) == (asked.scale is Scale.FULL, asked.scale is Scale.TINY)
    assert (tuple(found["methods"]), tuple(found["options"])) == (asked.methods, asked.options)
    assert not found["train_only"]


@pytest.mark.parametrize("asked", [PLAIN, ALL])
def test_the_processes_beside_train_for_the_same(asked):
    found = parsed(asked.trainings)
    names = ("name", "catalog", "seed", "seeds", "device")
    assert {name: found[name] for name in names} == {name: getattr(asked, name) for name in names}
    assert (found["out"], found["shared"]) == (asked.folder, asked.shared or asked.folder)
    assert (found["full"], found["train_only"]) == (asked.scale is Scale.FULL, True)


def test_runs_of_another_size_seed_catalog_or_number_of_trainings_are_another_study():
    others = (
        replace(PLAIN, scale=Scale.TINY),
        replace(PLAIN, seed=1),
        replace(PLAIN, catalog=Path("scans.parquet")),
        replace(PLAIN, seeds=3),
    )
    forms = [each.form for each in (PLAIN, *others)]
    assert all(forms.count(form) == 1 for form in forms)
    assert replace(PLAIN, device="cuda", folder=Path("elsewhere")).form == PLAIN.form


def test_methods_are_refused_where_the_recipe_takes_none(tmp_path):
    with pytest.raises(UserError, match="'sense'"):
        Asked("first-look", recipe_of("first-look"), tmp_path, methods=("sense",)).study()


def test_every_question_is_read_without_importing_what_answers_it():
    code = (
        "import sys; from reshim.cli import main; "
        "assert main(['study', '--list']) == 0; raise SystemExit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
    )
    for name in STUDIES:
        recipe = recipe_of(name)
        assert question_of(name) == Asked(name, recipe, Path("out")).question
        assert question_of(name).endswith("?"), name
