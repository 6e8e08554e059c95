"""Can a measurement alone tell that a network will do badly on it, and how good its image will be?

Paper   none; the interval is split-conformal (V. Vovk et al., 2005; J. Lei et al., J. Am. Stat. Assoc. 2018).
Claim   a shift score from the samples tells shifted scans from usual ones of the same matrix, coils, SNR,
        mask and rate (AUROC of 0.95 or more), and is the higher, the more the network loses on a scan;
        predicted SSIM errs at most half as much as trivial predictors; its 90 % interval covers 86 to 94 % of
        new subjects.
Data    simulated knees under PD at 3 T (training, fitting, calibration, test) and, matched to them, brains
        under T2, T1 and T1 after contrast agent, which nothing was fitted on. Two closer shifts beside them:
        T1 brains met by a network of T2, and PD knees at 1.5 T by one of PD-FS, in volumes of as many slices
        as those networks were trained on; all others are slices. Of a catalog, the knees' validation subjects
        for fitting and calibration, their test subjects and those of the others.
Cost    about 37 minutes of one core, some networks trained by other studies; --tiny: about a minute.
Run     reshim study shift-alarm
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from reshim.acquire import Scheme
from reshim.alarm.features import NAMES
from reshim.alarm.metadata import KnownHeaders
from reshim.alarm.prediction import check_numbers
from reshim.alarm.shift import Alarm
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Best, Difference, Ratio, Score, score
from reshim.evaluation.rules import (
    AllOf,
    LowerBoundAbove,
    LowerBoundAtLeast,
    PointAndInterval,
    UpperBoundBelow,
    Within,
)
from reshim.report.blocks import Block, Choice, ClaimsBlock, MatrixBlock, TableBlock, TextBlock
from reshim.simulation.protocols import Protocol, protocol_of
from reshim.studies.engine import lab, relations
from reshim.studies.engine.crowd import crowd, one_of_each
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import UNET, supervised
from reshim.studies.engine.study import Study
from reshim.studies.engine.watched import (
    ALARM,
    EVERYWHERE,
    WITHIN,
    Watched,
    fitted_of,
    keep_errors,
    keep_placements,
    keep_predictions,
    keep_ranks,
    middle_of,
    predictor_of,
    scored,
    watch,
)
from reshim.types import Measurement, ScanRecord

TITLE = "The alarm: unusual scans told from usual ones, and image quality foretold"
PAPER = ""

HOME = lab.KNEE_PD
SHIFTS = (lab.BRAIN_T2, lab.BRAIN_T1, lab.BRAIN_T1_POST)
"""They cost the network of knees 0.05 SSIM (`diverse-large`). Contrasts among brains cost nothing (LOG.md),
and what costs nothing need not be told from the usual."""
CLOSE = {"contrast": (lab.BRAIN_T2, lab.BRAIN_T1), "dataset": (lab.KNEE_PDFS, lab.KNEE_PD_15)}
"""Shifts within an anatomy that cost a complex U-net 0.03 SSIM or more (`ttt-modality`, `ttt-dataset`)."""

NETWORK = "unrolled-tiny"
SNRS = (15.0, 22.0, 30.0, 45.0)
"""Of the crowd that predicted SSIM is fitted on, calibrated on and tested on; the shifts have 30."""

RATES = (4.0, 6.0)
SNR = 30.0

SCORES = ("shift score", "metadata")
MIDDLE = "shift score of the middle slice"
"""Of a volume, all of whose slices the score of a scan compares: the more, the surer."""

TRIVIAL = {
    "mean of the fitted subjects": (),
    "regression on the noise": ("noise",),
    "regression on the residual": ("residual",),
}
"""What predicted SSIM has to beat, and the features that each looks at."""


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, *SHIFTS, *dict.fromkeys(sum(CLOSE.values(), ())), scale=scale)


def placed(method: str, test: lab.Distribution) -> Score:
    """The area under the curve of a score: how many usual scans lie below a shifted one, on average."""
    return score(f"AUROC of the {method} on {test.label}", method=method, test=test.label, metric="placement")


def missed(method: str) -> Score:
    """Mean distance of predicted from true SSIM."""
    return score(f"error of the {method}", method=method, test=HOME.label, metric="mae_ssim")


def cost(test: lab.Distribution) -> Difference:
    """What the shift costs the network."""
    return Difference(on(test.label, test), on(HOME.label, test))


def close_cost(home: lab.Distribution, away: lab.Distribution) -> Difference:
    """What a close shift costs the U-net."""
    return Difference(on(UNET.of(away), away), on(UNET.of(home), away))


def told(home: lab.Distribution, away: lab.Distribution) -> str:
    """What rows call a close shift."""
    return f"{away.label} told from {home.label}"


CLAIMS = (
    Claim(
        "cost",
        "every one of the shifts costs the network 0.02 SSIM or more",
        AllOf(tuple(PointAndInterval(cost(test), at_least=0.02) for test in SHIFTS)),
    ),
    Claim(
        "auroc",
        "the shift score tells scans of every shift from usual ones",
        AllOf(tuple(LowerBoundAtLeast(placed("shift score", test), 0.95) for test in SHIFTS)),
        unit="AUROC",
    ),
    *(
        claim
        for name, (home, away) in CLOSE.items()
        for claim in (
            Claim(
                f"cost-{name}",
                f"{away.label} costs a U-net of {home.label} 0.02 SSIM or more",
                PointAndInterval(close_cost(home, away), at_least=0.02),
            ),
            Claim(
                f"auroc-{name}",
                f"the shift score of a network of {home.label} tells {away.label} from it",
                LowerBoundAtLeast(
                    score(
                        f"AUROC, {told(home, away)}",
                        method="shift score",
                        test=told(home, away),
                        metric="placement",
                    ),
                    0.95,
                ),
                unit="AUROC",
            ),
        )
    ),
    Claim(
        "rank",
        "the higher the shift score, the more SSIM the network lacks of a network of the scan's own kind",
        LowerBoundAbove(relations.correlation("shift score", EVERYWHERE)),
        unit="rank correlation",
    ),
    Claim(
        "prediction",
        "predicted SSIM errs at most half as much as the best of three trivial predictors",
        UpperBoundBelow(
            Ratio(missed(ALARM), Best(tuple(missed(name) for name in TRIVIAL), lower_is_better=True)), 0.5
        ),
        unit="ratio",
    ),
    Claim(
        "coverage",
        "the 90 % interval covers 86 to 94 % of new subjects",
        Within(score("coverage", method=ALARM, test=HOME.label, metric="covered"), 0.86, 0.94),
        unit="share",
    ),
)


def run(study: Study) -> None:
    """Train at home and on each shift; calibrate; look at new subjects at home and at those of the shifts."""
    if not study.embedded:
        n_known = len(one_of_each(study.scans(HOME.where, "val")))
        check_numbers(fitted_of(n_known), n_known - fitted_of(n_known))
    settings = lab.training(study.scale, NETWORK)
    runs = {test.label: study.train(test.label, NETWORK, test.where, settings) for test in (HOME, *SHIFTS)}
    home = runs[HOME.label]
    for test in SHIFTS:
        methods = {HOME.label: home, test.label: runs[test.label]}
        study.compare(methods, test.where, lab.EVALUATION, test=test.label)
    study.compare({HOME.label: home}, HOME.where, lab.EVALUATION, test=HOME.label)

    sizes = (18, 6, 4) if study.tiny else (1000, 800, 60)
    cards = [replace(protocol_of(HOME.protocol), name=f"{HOME.protocol}-snr{snr:g}", snr=snr) for snr in SNRS]
    schemes = [Scheme("equispaced", acceleration=rate) for rate in RATES]
    numbers = {"known": range(1000, 1000 + sizes[0]), "new": range(2000, 2000 + sizes[1])}
    unusual = Alarm.of_run(study.path_of(HOME.label))
    crowds = (
        people(study, "known", HOME, "val", cards, numbers["known"]),
        people(study, "new", HOME, "test", cards, numbers["new"]),
    )
    known, tested = (watch(study, home, unusual, each, schemes) for each in crowds)
    alarm = predictor_of(study, known, NAMES)
    keep_predictions(study, alarm, tested, HOME.label)
    for name, features in TRIVIAL.items():
        rows = tested.rows[:, [NAMES.index(feature) for feature in features]]
        keep_errors(study, name, predictor_of(study, known, features), replace(tested, rows=rows), HOME.label)

    headers = KnownHeaders.of(study.scans(HOME.where, "train"))
    alarms: dict[str, Callable[[Watched], Tensor]] = {
        "shift score": lambda seen: seen.scores,
        "metadata": lambda seen: torch.tensor([headers(record) for record in seen.records]),
    }
    usual_people, there = range(3000, 3000 + sizes[2]), range(4000, 4000 + sizes[2])
    at_home = people(study, "matched-coils", HOME, "test", [matched(HOME, HOME)], usual_people)
    usual = watch(study, home, unusual, at_home, [lab.SCHEME])
    seen, lost = {HOME.label: usual}, {HOME.label: torch.zeros_like(usual.ssim)}
    for test in SHIFTS:
        records = people(study, "matched-coils", test, "test", [matched(test, HOME)], there)
        shifted = watch(study, home, unusual, records, [lab.SCHEME])
        keep_predictions(study, alarm, shifted, test.label)
        for name, score_of in alarms.items():
            keep_placements(study, name, score_of(usual), score_of(shifted), shifted.records, test.label)
        own = watch(study, runs[test.label], unusual, shifted.records, [lab.SCHEME])
        seen[test.label] = shifted.among(own)
        lost[test.label] = own.ssim - seen[test.label].ssim
    for name, score_of in alarms.items():
        scores = {label: score_of(each) for label, each in seen.items()}
        keep_ranks(study, name, scores, lost, seen, HOME.label)
    for home_, away in CLOSE.values():
        look_closely(study, home_, away, usual_people, there)


def matched(test: lab.Distribution, home: lab.Distribution) -> Protocol:
    """The card of a shift with the coils and the noise of the network's own."""
    coils = protocol_of(home.protocol).coils
    name = f"{test.protocol}-as-{home.protocol}"
    return replace(protocol_of(test.protocol), name=name, snr=noise_of(home), coils=coils)


def noise_of(home: lab.Distribution) -> float:
    """Signal-to-noise ratio of what is held against each other."""
    return SNR if home is HOME else protocol_of(home.protocol).snr


def look_closely(
    study: Study, home: lab.Distribution, away: lab.Distribution, usual_people: range, there: range
) -> None:
    """A close shift: what it costs the U-net, and where its scans stand among the usual ones."""
    methods = {UNET.of(each): supervised(study, UNET, each) for each in (home, away)}
    study.compare(methods, away.where, lab.EVALUATION, test=away.label)
    alarm, headers = (
        Alarm.of_run(study.path_of(UNET.of(home))),
        KnownHeaders.of(study.scans(home.where, "train")),
    )
    slices = lab.SCANS[study.scale].slices
    usual, shifted = (
        people(study, "matched-volumes", test, "test", [matched(test, home)], numbers, slices)
        for test, numbers in ((home, usual_people), (away, there))
    )
    scores: dict[str, Callable[[ScanRecord, Measurement], float]] = {
        "shift score": lambda _, measurement: alarm(measurement),
        MIDDLE: lambda _, measurement: alarm(middle_of(measurement)),
        "metadata": lambda record, _: headers(record),
    }
    first, second = (scored(study, some, scores) for some in (usual, shifted))
    chosen = [record for record in shifted if record.scan_id in second]
    for name in scores:
        below, above = (torch.tensor([each[name] for each in some.values()]) for some in (first, second))
        keep_placements(study, name, below, above, chosen, told(home, away))


def people(
    study: Study,
    name: str,
    test: lab.Distribution,
    split: str,
    cards: Sequence[Protocol],
    numbers: range,
    slices: int = 1,
) -> list[ScanRecord]:
    """Subjects to look at: the catalog's split; where scans are simulated, a crowd under these cards."""
    if study.embedded:
        return crowd(study, name, cards, numbers, slices=slices)
    return one_of_each(study.scans(test.where, split))


def page(study: Study) -> tuple[Block, ...]:
    """Claims, the areas, the predictions at home and on the shifts."""
    tests = tuple(test.test for test in (HOME, *SHIFTS))
    shifts = tuple(test.test for test in SHIFTS)
    scores = tuple(Choice(name, {"method": name}) for name in SCORES)
    return (
        ClaimsBlock(),
        MatrixBlock(
            "Shifted scans told from usual ones",
            "The share of usual scans (the network's own kind, same matrix, coils, SNR, mask and rate) that "
            "score below a shifted one: the area under the ROC curve. Headers name anatomy and contrast, so "
            "that metadata alone has it easy.",
            methods=scores,
            tests=shifts,
            where={"metric": "placement"},
        ),
        MatrixBlock(
            "Shifts within one anatomy",
            "The same for the networks of T2 brains and PD-FS knees, at the noise of their own protocol.",
            methods=(*scores, Choice(MIDDLE, {"method": MIDDLE})),
            tests=tuple(Choice(name, {"test": name}) for name in (told(*each) for each in CLOSE.values())),
            where={"metric": "placement"},
        ),
        TableBlock(
            "The score and what the network loses",
            "Spearman's rank correlation of a score with the SSIM that the network of knees lacks of a "
            "network of the scan's own kind (0 on usual scans).",
            rows=scores,
            columns=tuple(Choice(among, {"test": among}) for among in (EVERYWHERE, WITHIN)),
            where={"metric": "spearman"},
        ),
        TableBlock(
            "Predicted SSIM",
            "Mean distance from the truth, share of 90 % intervals that hold it, their mean width, and the "
            "share of scans of which the alarm says that it does not know.",
            rows=tests,
            columns=tuple(
                Choice(label, {"metric": metric})
                for label, metric in (
                    ("error", "mae_ssim"),
                    ("covered", "covered"),
                    ("width", "width"),
                    ("unknown", "unknown"),
                )
            ),
            where={"method": ALARM},
        ),
        TableBlock(
            "Against trivial predictors",
            f"Mean distance of predicted from true SSIM on new subjects of {HOME.label}.",
            rows=tuple(Choice(name, {"method": name}) for name in (ALARM, *TRIVIAL)),
            columns=(Choice("error", {"metric": "mae_ssim"}),),
            where={"test": HOME.label},
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "New subjects at home have one of four noise levels and are measured at 4x or 6x, as those "
                "of the fit and of the calibration; the network was trained at 4x and the protocol's noise.",
                "Scans of the shifts have the matrix, coils, signal-to-noise ratio, mask and rate of the "
                "usual scans that they are held against. Neither the statistics nor the regression met them.",
                "The promise of the interval is for subjects like those it was calibrated on; under a shift "
                "its coverage is shown, not promised.",
            ),
        ),
    )
