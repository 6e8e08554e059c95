"""The questions of the papers: a name, and the recipe that answers it."""

import importlib
from types import ModuleType

STUDIES = {
    "first-look": "first_look",
}


def recipe_of(name: str) -> ModuleType:
    """The module of a study; its docstring's first line is the question, `run(study)` the answer."""
    return importlib.import_module(f"reshim.studies.{STUDIES[name]}")
