"""The card of a run: what the weights were made from, how good they were where they were made, what for.

Written from settings.json alone, so that it says nothing that was not so.
"""

from collections.abc import Mapping
from typing import Any

from reshim.networks.import_weights import imported_card
from reshim.training.provenance import inherited, licences_of
from reshim.training.run_folder import RunFolder


def write_card(folder: RunFolder, content: Mapping[str, Any]) -> None:
    """Write ``card.md`` beside the weights."""
    beside = folder.path / ".card.md.partial"
    beside.write_text(card(content))
    beside.replace(folder.path / "card.md")


def card(content: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    if content["about"].get("imported"):
        return imported_card(content)
    network, training, data = content["network"], content["training"], content["data"]
    name = network["name"] or network["class"]
    sections = {
        "Network": f"{name}, {network['parameters']:,} parameters, settings {_plain(network['settings'])}.",
        "Training": (
            f"Objective {_plain(training['objective'])}; target {training['target']}; "
            f"undersampling {'; '.join(_scheme(scheme) for scheme in training['schemes'])}; "
            f"{content['finished']['samples']} slices in {content['finished']['steps']} steps of "
            f"{training['batch_size']}; seed {training['seed']}."
        ),
        "Data": "\n".join(_group(group) for group in data["groups"]),
        "Licences of the data": ", ".join(licences_of(content))
        or "Not stated in the catalog; look them up first.",
        "Metrics": _metrics(content),
        "Intended use": (
            "Research on reconstruction of accelerated MRI from raw k-space. The score above is in "
            "distribution, on simulated undersampling; it says nothing about other anatomies, contrasts, "
            "scanners or accelerations. Not for diagnosis."
        ),
    }
    if content["start"] is not None:
        sections["Training"] += f" Started from weights {content['start']['digest'][:12]}."
    if more := inherited(content):
        sections["Data"] += "\n" + _taken_over(more)
    body = "\n\n".join(f"## {title}\n{text}" for title, text in sections.items())
    return f"# {name}\n\nreshim {content['reshim']}, torch {content['torch']}\n\n{body}\n"


def _group(group: Mapping[str, Any]) -> str:
    subjects = {(scan["dataset"], scan["subject"]) for scan in group["scans"]}
    datasets = ", ".join(sorted({scan["dataset"] for scan in group["scans"]}))
    weight = "" if group["weight"] is None else f", weight {group['weight']:g}"
    return (
        f"- {group['name']}: {len(group['scans'])} scans of {len(subjects)} subjects from {datasets}{weight}"
    )


def _taken_over(more: Mapping[str, Any]) -> str:
    datasets = ", ".join(sorted({dataset for dataset, _ in more["training_subjects"]}))
    known = f"{len(more['training_subjects'])} subjects" + (f" from {datasets}" if datasets else "")
    reasons = f"; not all are known ({'; '.join(more['unknown'])})" if more["unknown"] else ""
    return f"- taken over with the weights of other runs: {known}{reasons}"


def _metrics(content: Mapping[str, Any]) -> str:
    finished, n_scans = content["finished"], len(content["data"]["validation"])
    if finished["score"] is None and n_scans:
        return "No epoch gave a validation score that is a number; these are the weights of the last one."
    if finished["score"] is None:
        return "No validation scans were given; these are the weights of the last epoch."
    return (
        f"Validation score {finished['score']:.4f} (mean over the slices of {n_scans} scans; epoch "
        f"{finished['best_epoch']} of {finished['epochs']}, chosen by this very score)."
    )


def _scheme(scheme: Mapping[str, Any]) -> str:
    return f"{scheme['mask']} {scheme['acceleration']:g}x"


def _plain(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
