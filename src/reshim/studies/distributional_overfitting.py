"""Does long training make a network worse on other distributions, and does stopping early prevent it?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), section 6, distributional overfitting. The paper
        gives no rule that needs no data of the other distribution; `EarlyStop` is ours.
Claim   a network trained on P is best on Q before its training ends; stopping when validation on P has nearly
        ceased to improve gains on Q and costs at most 0.003 SSIM on P.
Data    four pairs P, Q to choose the rule's share and window on their validation subjects, four others to
        judge it on their test subjects, of three training seeds; of the catalog, or simulated.
Cost    about 40 minutes on one core; --tiny: two minutes.
Run     reshim study distributional-overfitting
"""

import json
from dataclasses import dataclass, replace
from itertools import product

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, Quantity
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    Curve,
    CurvesBlock,
    DosesBlock,
    ImagesBlock,
    MatrixBlock,
    TableBlock,
    TextBlock,
)
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import of_seed, seeds_of
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import EVALUATION, NAMES, SHOWN, Distribution, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study, watched_scores, write_text
from reshim.training.run_folder import RunFolder, load_run
from reshim.training.settings import EarlyStop

TITLE = "Trained too long for elsewhere"
PAPER = "Lin and Heckel, ICML 2024"
NETWORK = "unet-tiny"
EPOCHS, LOOKED_AT = 60, 8
"""Passes over the training slices, and how many of them are scored on test subjects for the figure."""

CANDIDATES = tuple(
    EarlyStop(share, window)
    for window in (20, 15, 10, 6, 3)
    for share in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)
)
"""Rules to choose from. A short window is a short patience whatever its share: as many epochs without a new
best end training."""

TOLERANCE = 0.003


@dataclass(frozen=True)
class Pair:
    """Trained on `home`, looked at on `away`."""

    home: Distribution
    away: Distribution

    @property
    def label(self) -> str:
        """What the training is called."""
        return f"{NAMES[NETWORK]}: {self.home.label}, long"

    def trained(self, study: Study, seed: int = 0) -> str:
        """What the study calls one of several trainings, of this seed counted from its own."""
        return of_seed(self.label, study, seed)

    def called(self, how: str) -> str:
        """What rows call a checkpoint of it."""
        return f"{self.label}, {how}"

    def difference(self, first: str, second: str, test: Distribution) -> Difference:
        """Between two of its checkpoints."""
        return Difference(on(self.called(first), test), on(self.called(second), test))


TO_CHOOSE = (
    Pair(lab.KNEE_PD, lab.BRAIN_T2),
    Pair(lab.BRAIN_T1, lab.BRAIN_FLAIR),
    Pair(lab.BRAIN_T2, lab.KNEE_PD),
    Pair(lab.KNEE_PDFS, lab.BRAIN_T1),
)
TO_JUDGE = (
    Pair(lab.BRAIN_FLAIR, lab.KNEE_PDFS),
    Pair(lab.KNEE_PD_15, lab.BRAIN_T1_POST),
    Pair(lab.BRAIN_T1_POST, lab.KNEE_PDFS_15),
    Pair(lab.KNEE_PDFS_15, lab.BRAIN_T2_15),
)
SEEDS = 3
"""Trainings on each P that is judged."""
CHECKPOINTS = PEAK, EARLY, END = "at the peak elsewhere", "stopped early", "to the end"


def _mean(first: str, second: str) -> Quantity:
    return Average(tuple(pair.difference(first, second, pair.away) for pair in TO_JUDGE))


CLAIMS = (
    Claim(
        "overfits",
        "the epoch that is best on Q's validation subjects beats the end of training on Q's test subjects",
        LowerBoundAbove(_mean(PEAK, END)),
        paper="robustness peaks early (no figure known)",
    ),
    Claim(
        "early-gains",
        "stopping by the rule, which never sees Q, gains on Q",
        LowerBoundAbove(_mean(EARLY, END)),
        paper="no loss of robustness (no figure known)",
    ),
    Claim(
        "early-costs-little",
        f"stopping by the rule costs at most {TOLERANCE:g} on P",
        AllOf(
            tuple(LowerBoundAtLeast(pair.difference(EARLY, END, pair.home), -TOLERANCE) for pair in TO_JUDGE)
        ),
        paper="almost optimal in distribution (no figure known)",
    ),
)


@dataclass(frozen=True)
class Trajectory:
    """Validation scores after each epoch, at home and away."""

    home: list[float]
    away: list[float]

    @classmethod
    def of(cls, study: Study, pair: Pair, seed: int = 0) -> "Trajectory":
        """From the log of one of its trainings."""
        lines = RunFolder(study.path_of(pair.trained(study, seed))).read_log("epoch")
        home = [float(line["validation"]["score"]) for line in lines]
        return cls(home, [watched_scores(line)[pair.away.label] for line in lines])

    def chosen(self, rule: EarlyStop | None) -> int:
        """The epoch (from 0) that validation at home picks among those before the rule stops."""
        stop = None if rule is None else rule.epoch(self.home)
        known = self.home if stop is None else self.home[: stop + 1]
        return known.index(max(known))

    @property
    def peak(self) -> int:
        """The epoch (from 0) that is best away: for looking only."""
        return self.away.index(max(self.away))


def choose(trajectories: list[Trajectory], tolerance: float = TOLERANCE) -> EarlyStop:
    """The rule that gains most away among those that cost little at home; the cheapest if none does."""

    def means(rule: EarlyStop) -> tuple[float, float]:
        gains = [each.away[each.chosen(rule)] - each.away[each.chosen(None)] for each in trajectories]
        costs = [each.home[each.chosen(None)] - each.home[each.chosen(rule)] for each in trajectories]
        return sum(gains) / len(gains), sum(costs) / len(costs)

    cheap = [rule for rule in CANDIDATES if means(rule)[1] <= tolerance]
    if not cheap:
        return min(CANDIDATES, key=lambda rule: means(rule)[1])
    return max(cheap, key=lambda rule: means(rule)[0])


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    pairs = TO_CHOOSE + TO_JUDGE
    watched = tuple(pair.away.need("val") for pair in pairs)
    trained = tuple(pair.home.need("train", "val") for pair in pairs)
    scored = tuple(each.need("test") for pair in TO_JUDGE for each in (pair.home, pair.away))
    distributions = (each for pair in pairs for each in (pair.home, pair.away))
    return lab.embedded(*distributions, scale=scale, needs=(*trained, *watched, *scored))


def run(study: Study) -> None:
    """Train long on each P, choose the rule on four pairs, score its checkpoints on the four others."""
    settings = lab.training(study.scale, NETWORK, epochs=5 if study.tiny else EPOCHS)
    judged = tuple(product(TO_JUDGE, seeds_of(study, SEEDS)))
    for pair, seed in (*((pair, 0) for pair in TO_CHOOSE), *judged):
        watch = {pair.away.label: pair.away.where}
        seeded = replace(settings, seed=seed)
        study.train(pair.trained(study, seed), NETWORK, pair.home.where, seeded, watch=watch)
    rule = choose([Trajectory.of(study, pair) for pair in TO_CHOOSE])
    write_text(study.folder / "tuned" / "early-stop.json", json.dumps(vars(rule)) + "\n")
    for pair, seed in judged:
        _score(study, pair, seed, rule)


def _score(study: Study, pair: Pair, seed: int, rule: EarlyStop) -> None:
    """Checkpoints of one training, at home and away: the three that claims are about, and some between."""
    seen, path = Trajectory.of(study, pair, seed), study.path_of(pair.trained(study, seed))
    epochs = {PEAK: seen.peak, EARLY: seen.chosen(rule), END: seen.chosen(None)}
    for test in (pair.home, pair.away):
        methods = {
            pair.called(how): load_run(path, epoch=epoch + 1, device=study.device)
            for how, epoch in epochs.items()
        }
        study.compare(methods, test.where, EVALUATION, test=test.label)
        for epoch in spread(len(seen.home), LOOKED_AT):
            study.compare(
                {pair.called("over training"): load_run(path, epoch=epoch, device=study.device)},
                test.where,
                EVALUATION,
                test=test.label,
                columns={"epoch": float(epoch)},
                keep_images=False,
            )


def spread(last: int, count: int) -> list[int]:
    """Epochs from 1 to the last, evenly in their logarithm."""
    return sorted({round(last ** (index / (count - 1))) for index in range(count)})


def page(study: Study) -> tuple[Block, ...]:
    """Claims, scores over training, checkpoints beside each other, images, the rule, curves, the table."""
    return (
        ClaimsBlock(),
        *(_over_training(pair) for pair in TO_JUDGE),
        *(_checkpoints(pair) for pair in TO_JUDGE),
        *(_images(study, pair) for pair in TO_JUDGE),
        _rule_told(study),
        _validation(study),
        _table(),
    )


def _over_training(pair: Pair) -> Block:
    return DosesBlock(
        f"Over training on {pair.home.label}",
        "Test subjects: at home, and on a distribution that training never saw.",
        dose="epoch",
        lines=tuple(
            Choice(f"on {test.label}", {"method": pair.called("over training"), "test": test.label})
            for test in (pair.home, pair.away)
        ),
        where=SHOWN,
        log_x=True,
    )


def _checkpoints(pair: Pair) -> Block:
    return MatrixBlock(
        f"Checkpoints of training on {pair.home.label}",
        methods=tuple(Choice(how, {"method": pair.called(how)}) for how in CHECKPOINTS),
        tests=(pair.home.test, pair.away.test),
        where=SHOWN,
    )


def _images(study: Study, pair: Pair) -> Block:
    return ImagesBlock(
        f"What it looks like: {pair.away.label}",
        f"Trained on {pair.home.label}: the slices with the median and the worst score at the end.",
        examples=study.examples(
            pair.away.label,
            pair.called(END),
            [pair.called(how) for how in CHECKPOINTS],
            called=f"from {pair.home.label}",
        ),
    )


def _rule_told(study: Study) -> Block:
    rule = EarlyStop(**json.loads((study.folder / "tuned" / "early-stop.json").read_text()))
    chosen_on = ", ".join(f"{pair.home.label} → {pair.away.label}" for pair in TO_CHOOSE)
    return TextBlock(
        "The rule",
        paragraphs=(
            f"Training ends when the mean gain of the last {rule.window} epochs falls below a share of the "
            f"whole gain since the first epoch; both, the share of {rule.share:g} and the number of epochs, "
            f"are chosen on the validation subjects of {chosen_on}. "
            f"“{PEAK}” looks at Q's validation subjects and is no rule that anyone could use.",
        ),
    )


def _validation(study: Study) -> Block:
    return CurvesBlock(
        "Validation at home and away",
        "The curve away is for looking only.",
        curves=tuple(
            Curve(name, f"curves/{study.slug(pair.label)}.jsonl", "epoch", column, pair.home.label)
            for pair in TO_CHOOSE + TO_JUDGE
            for name, column in (
                (f"on {pair.home.label}", "score"),
                (f"on {pair.away.label}", f"watched {pair.away.label}"),
            )
        ),
        x_label="epoch",
        y_label="validation SSIM",
    )


def _table() -> Block:
    return TableBlock(
        "The table to copy",
        "P is what was trained on, Q what never was.",
        rows=tuple(
            Choice(pair.called(how), {"method": pair.called(how)}) for pair in TO_JUDGE for how in CHECKPOINTS
        ),
        columns=(
            Choice("on P", {"test": [pair.home.label for pair in TO_JUDGE]}),
            Choice("on Q", {"test": [pair.away.label for pair in TO_JUDGE]}),
        ),
        where=SHOWN,
    )
