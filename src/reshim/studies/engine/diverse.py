"""Networks of one distribution or several, scored on any: what the studies of diverse data have in common.

Source: K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271). Their questions are `OneForAll` and `HeldOut`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from reshim.evaluation.claims import FEWEST_SUBJECTS
from reshim.report.blocks import Choice, Curve, CurvesBlock, ImagesBlock, TableBlock
from reshim.studies.engine.alone import AtWork
from reshim.studies.engine.crowd import one_of_each
from reshim.studies.engine.lab import EVALUATION, NAMES, SHOWN, Distribution, any_of, settings_of, training
from reshim.studies.engine.study import Study
from reshim.training.run_folder import Trained
from reshim.types import Reconstructor

TOLERANCE = {"unet-tiny": 0.003, "unrolled-tiny": 0.003, "vit-tiny": 0.005, "varnet-tiny": 0.005}
"""SSIM that one network for all may lack on a specialist's own distribution."""


Trainings: TypeAlias = Mapping[str, Callable[[], Trained]]
"""By what rows call the network; each trains it, or finds it trained."""


@dataclass(frozen=True)
class Part:
    """What one network is trained on: P, Q or their union, each of one distribution or more."""

    label: str
    distributions: tuple[Distribution, ...]

    @classmethod
    def of(cls, distribution: Distribution) -> "Part":
        """A single distribution."""
        return cls(distribution.label, (distribution,))

    @property
    def where(self) -> str:
        """The filter of its scans."""
        return any_of(self.distributions)

    def train(
        self, study: Study, network: str, share: float = 1.0, label: str = "", seed: int = 0
    ) -> Trained:
        """Train on it: every scan is seen under every scheme as often as a specialist sees its own.

        `seed` is counted from the study's.
        """
        schemes = tuple(dict.fromkeys(each.scheme for each in self.distributions))
        settings = training(study.scale, network, schemes=schemes, seed=seed)
        settings = replace(settings, epochs=(settings.epochs or 1) * len(schemes))
        label = label or called(network, self, share)
        return study.train(
            of_seed(label, study, seed),
            network,
            self.where,
            settings,
            network_settings=settings_of(network, study.scale),
            share=share,
        )


def called(network: str, part: Part, share: float = 1.0) -> str:
    """What rows call the network that was trained on a part."""
    size = "" if share == 1 else f", 1/{round(1 / share)}"
    return f"{NAMES[network]}: {part.label}{size}"


OF_SEED = ", training seed "


def of_seed(label: str, study: Study, seed: int) -> str:
    """What a study calls one of several trainings that rows call alike; `seed` counts from its own."""
    return f"{label}{OF_SEED}{study.seed + seed}" if seed else label


def seeds_of(study: Study, recipe: int = 1) -> range:
    """Trainings of everything, counted from the study's seed: as many as were asked for, or the recipe says.

    Tiny: two at most, which shows that several run.
    """
    if study.seeds is not None:
        return range(study.seeds)
    return range(min(recipe, 2) if study.tiny else recipe)


def compare(
    study: Study,
    methods: Mapping[str, Reconstructor],
    tests: Sequence[Distribution],
    columns: Mapping[str, Any] | None = None,
) -> None:
    """Score methods on distributions, each undersampled in its own way; tiny: on as few subjects as a
    claim needs. `columns` as in `Study.compare`.
    """
    for test in tests:
        records = study.scans(test.where, "test")
        scored = replace(EVALUATION, scheme=test.scheme)
        some = one_of_each(records)[:FEWEST_SUBJECTS] if study.tiny else records
        study.compare(methods, some, scored, test=test.label, columns=columns)


def train_what_is_free(trainings: Trainings) -> None:
    """Train all that no other process is at just now."""
    for training_ in trainings.values():
        with suppress(AtWork):
            training_()


def looks_like(study: Study, away: str, by: str, shown: Sequence[str], whose: str) -> ImagesBlock:
    """What the networks in `shown` make of the slices on which the one called `by` is median and worst."""
    return ImagesBlock(
        f"What it looks like: {away}",
        f"The slice with the median and the one with the worst score of the network {whose}.",
        examples=study.examples(away, by=by, labels=shown),
    )


def to_copy(network: str, methods: Sequence[str], tests: Sequence[Choice], compare_to: str) -> TableBlock:
    """The scores of one kind of network, and each one's paired difference to the one of all."""
    return TableBlock(
        f"The table to copy: {NAMES[network]}",
        f"Differences are to “{compare_to}”, paired over subjects; p is corrected by Holm over the table.",
        rows=choices(methods),
        columns=tuple(tests),
        where=SHOWN,
        compare_to=compare_to,
    )


def learning_curves(study: Study, labels: Sequence[str] | None = None) -> CurvesBlock:
    """The validation scores that chose each checkpoint, a panel for each network.

    Of all trainings, unless some are named; of those that rows call alike, the first.
    """
    labels = list(study.runs) if labels is None else labels
    first = [label for label in labels if OF_SEED not in label]
    return CurvesBlock(
        "Training",
        "Validation SSIM in each network's own distribution, which chose its checkpoint.",
        curves=tuple(
            Curve(label, f"curves/{study.slug(label)}.jsonl", x="epoch", y="score", panel=label.split(":")[0])
            for label in first
        ),
        x_label="epoch",
        y_label="validation SSIM",
    )


def choices(methods: Sequence[str]) -> tuple[Choice, ...]:
    """Methods as rows of a table."""
    return tuple(Choice(method, {"method": method}) for method in methods)
