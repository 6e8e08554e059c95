"""The questions of the papers: a name, and the recipe that answers it."""

import importlib
from types import ModuleType

STUDIES = {
    "adversarial": "adversarial",
    "data-filtering": "data_filtering",
    "distributional-overfitting": "distributional_overfitting",
    "diverse-anatomy": "diverse_anatomy",
    "diverse-contrast": "diverse_contrast",
    "diverse-field": "diverse_field",
    "diverse-forward-model": "diverse_forward_model",
    "diverse-large": "diverse_large",
    "diverse-scanner": "diverse_scanner",
    "diverse-skew": "diverse_skew",
    "first-look": "first_look",
    "natural-shift": "natural_shift",
    "pathology": "pathology",
    "raki-vs-grappa": "raki_vs_grappa",
    "shift-alarm": "shift_alarm",
    "similarity": "similarity",
    "site-adaptation": "site_adaptation",
    "ssdu-vs-supervised": "ssdu_vs_supervised",
    "ttt-acceleration": "ttt_acceleration",
    "ttt-anatomy": "ttt_anatomy",
    "ttt-dataset": "ttt_dataset",
    "ttt-modality": "ttt_modality",
    "zero-shot": "zero_shot",
}


def recipe_of(name: str) -> ModuleType:
    """The module of a study; its docstring's first line is the question, `run(study)` the answer."""
    return importlib.import_module(f"reshim.studies.{STUDIES[name]}")
