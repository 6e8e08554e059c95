"""The questions of the papers: a name, and the recipe that answers it."""

import ast
import importlib
from importlib.resources import files
from types import ModuleType

STUDIES = {
    "adversarial": "adversarial",
    "data-crimes": "data_crimes",
    "data-filtering": "data_filtering",
    "distributional-overfitting": "distributional_overfitting",
    "diverse-anatomy": "diverse_anatomy",
    "diverse-contrast": "diverse_contrast",
    "diverse-controls": "diverse_controls",
    "diverse-field": "diverse_field",
    "diverse-forward-model": "diverse_forward_model",
    "diverse-large": "diverse_large",
    "diverse-scanner": "diverse_scanner",
    "diverse-skew": "diverse_skew",
    "first-look": "first_look",
    "iqm-reconstruction": "iqm_reconstruction",
    "iqm-segmentation": "iqm_segmentation",
    "jittering": "jittering",
    "natural-shift": "natural_shift",
    "pathology": "pathology",
    "raki-vs-grappa": "raki_vs_grappa",
    "shift-alarm": "shift_alarm",
    "similarity": "similarity",
    "site-adaptation": "site_adaptation",
    "small-features": "small_features",
    "ssdu-vs-supervised": "ssdu_vs_supervised",
    "stress": "stress",
    "ttt-acceleration": "ttt_acceleration",
    "ttt-anatomy": "ttt_anatomy",
    "ttt-controls": "ttt_controls",
    "ttt-cost": "ttt_cost",
    "ttt-dataset": "ttt_dataset",
    "ttt-harm": "ttt_harm",
    "ttt-modality": "ttt_modality",
    "ttt-shares": "ttt_shares",
    "zero-shot": "zero_shot",
}

REPEATED = (
    *(name for name in STUDIES if name.startswith("diverse-")),
    "distributional-overfitting",
    "ssdu-vs-supervised",
)
"""Those that train everything with several seeds where they are asked to."""


def recipe_of(name: str) -> ModuleType:
    """The module of a study; its docstring's first line is the question, `run(study)` the answer."""
    return importlib.import_module(f"reshim.studies.{STUDIES[name]}")


def question_of(name: str) -> str:
    """The first line of a recipe's docstring, read without importing what the recipe stands on."""
    source = files(__package__).joinpath(f"{STUDIES[name]}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
