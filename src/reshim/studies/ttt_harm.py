"""Does fitting the weights ever make a scan worse, and does the guard let the gains through?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204), who hand out every adapted image.
Claim   in distribution nothing is lost; at most 2 % of all slices lose 0.002 SSIM and none 0.01, and of the
        slices that adapting without the guard improves by 0.005, the guard lets at least 90 % through: to
        refuse everything does not pass. What is refused is reconciled, which may gain as much: how many of
        those slices are handed out improved is a claim of its own. The same of ``--adapt auto``, which fits
        no weights, with runs that `reshim calibrate` has seen, and with the same runs without their
        calibration, so that usual scans are left as they are.
Data    U-nets of knees and brains of the catalog, or simulated, at home and on the four shifts of the ttt-*
        studies, of them acceleration both ways. Simulated test subjects are the laboratory's and, for each
        network and what it meets, four more; the alarm of each network is calibrated on forty others.
Cost    about 85 minutes on one core that other work shared, its four networks among them; --tiny: minutes.
Run     reshim study ttt-harm
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

from reshim.acquire import Scheme
from reshim.adaptation.modes import AdaptedWhereUnusual
from reshim.adaptation.reconciled import Reconciled
from reshim.alarm.calibrate import Foreteller, calibrate_alarm
from reshim.errors import UserError
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, Score, score
from reshim.evaluation.rules import LowerBoundAtLeast, NoneOf, UpperBoundBelow
from reshim.methods import run_method
from reshim.report.blocks import Block, Choice, ClaimsBlock, MatrixBlock, TextBlock
from reshim.simulation.protocols import protocol_of
from reshim.studies.engine import lab
from reshim.studies.engine.crowd import crowd
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.guarded import PLACE, handed_out, rows_of
from reshim.studies.engine.lab import EVALUATION, SHOWN, Distribution
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import JOINT, UNET, fitted, pair
from reshim.studies.engine.study import Study
from reshim.training.run_folder import Trained
from reshim.types import Reconstructor, ScanRecord

log = logging.getLogger(__name__)

TITLE = "Test-time training: harm, and what the guard lets through"
PAPER = "no published counterpart"

TWO = lab.KNEE_PD.under(Scheme("equispaced", acceleration=2), "knee PD 3 T at 2x")
AT_HOME = (lab.KNEE_PD, lab.BRAIN_T2)
AWAY = (
    (lab.KNEE_PD, lab.BRAIN_T2),
    (lab.KNEE_PD, TWO),
    (lab.KNEE_PDFS, lab.KNEE_PD_15),
    (lab.BRAIN_T2, lab.BRAIN_T1),
    (TWO, lab.KNEE_PD),
)
LOSS, GREAT_LOSS, GAIN = 0.002, 0.01, 0.005

CALIBRATION = range(5000, 5040)
"""Simulated subjects that the alarm of each source's network is calibrated on."""

MORE, FIRST = 4, 3000
"""Further simulated test subjects of each pair, and the number of the first: 44 in all."""

BEFORE, RECONCILED, AUTO = "as trained", "reconciled", "auto"
NOT_CALIBRATED = "auto, not calibrated"
"""Calibration of these runs has usual scans reconciled; without it ``auto`` leaves them as they are."""

GUARDED, UNGUARDED = "fitted and reconciled, guarded", "fitted and reconciled, without the guard"
LOSERS, GREAT_LOSERS = "loses more than 0.002", "loses more than 0.01"
LET_THROUGH, FITS = "let through of the gains", "let through of what fitting gains over reconciling"
KEPT = "handed out with the gain"
MENDED = "let through of what reconciling gains"


def tested(source: Distribution, target: Distribution) -> str:
    """What rows call a network from one distribution met with another."""
    return f"{source.label} on {target.label}"


PAIRS = tuple((home, home) for home in AT_HOME) + AWAY
TESTS = tuple(tested(*each) for each in PAIRS)


def of(method: str, tests: tuple[str, ...], **where: Any) -> Score:
    """A score over several test sets together."""
    return score(f"{method}, {where.get('metric', 'SSIM')}", method=method, test=list(tests), **where)


def nothing_lost_at_home(method: str) -> LowerBoundAtLeast:
    """The mean change over the tests at home."""
    changes = tuple(
        Difference(of(method, (test,), **SHOWN), of(BEFORE, (test,), **SHOWN))
        for test in TESTS[: len(AT_HOME)]
    )
    return LowerBoundAtLeast(Average(changes), -0.001)


def at_most(ident: str, claim: str, method: str, metric: str, bound: float) -> Claim:
    """Of all slices, fewer than this share are so."""
    return Claim(ident, claim, UpperBoundBelow(of(method, TESTS, metric=metric), bound), unit="share")


def at_least(ident: str, claim: str, method: str, metric: str) -> Claim:
    """Nine in ten of the slices that count are so."""
    return Claim(ident, claim, LowerBoundAtLeast(of(method, TESTS, metric=metric), 0.9), unit="share")


def none_of(ident: str, claim: str, method: str, metric: str) -> Claim:
    """Of all slices, not one is so."""
    return Claim(ident, claim, NoneOf(of(method, TESTS, metric=metric)), unit="share")


FEW = 0.02


def claims_of_auto(method: str, name: str, ending: str = "") -> tuple[Claim, ...]:
    """What is claimed of ``auto``, whatever it knows of its run; `ending` sets the ids apart."""
    return (
        Claim(
            f"auto-in-distribution{ending}", f"at home, {name} loses nothing", nothing_lost_at_home(method)
        ),
        at_most(
            f"auto-losers{ending}",
            f"at most 2 % of all slices lose more than 0.002 by {name}",
            method,
            LOSERS,
            FEW,
        ),
        none_of(
            f"auto-great-losers{ending}", f"no slice loses more than 0.01 by {name}", method, GREAT_LOSERS
        ),
        at_least(
            f"auto-let-through{ending}",
            f"{name} hands out the gain of at least 90 % of the slices on which reconciling gains 0.005",
            method,
            MENDED,
        ),
    )


CLAIMS = (
    Claim("in-distribution", "at home, fitting with the guard loses nothing", nothing_lost_at_home(GUARDED)),
    at_most("losers", "at most 2 % of all slices lose more than 0.002", GUARDED, LOSERS, FEW),
    none_of("great-losers", "no slice loses more than 0.01", GUARDED, GREAT_LOSERS),
    at_most(
        "reconciled-losers",
        "of reconciled slices, no weight moved, at most 2 % lose more than 0.002",
        RECONCILED,
        LOSERS,
        FEW,
    ),
    at_least(
        "let-through",
        "the guard lets through at least 90 % of the slices on which adapting gains 0.005",
        GUARDED,
        LET_THROUGH,
    ),
    at_least(
        "gains-kept",
        "let through or reconciled, at least 90 % of those slices are handed out with that gain",
        GUARDED,
        KEPT,
    ),
    at_least(
        "fits-let-through",
        "the guard lets through at least 90 % of the slices on which fitting gains 0.005 over reconciling",
        GUARDED,
        FITS,
    ),
    *claims_of_auto(AUTO, "auto"),
    *claims_of_auto(NOT_CALIBRATED, "auto without calibration", "-uncalibrated"),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*dict.fromkeys(each for pair_ in PAIRS for each in pair_), scale=scale)


def run(study: Study) -> None:
    """Fit without the guard and keep its verdict; what the guarded method hands out follows from both."""
    for number, (source, target) in enumerate(PAIRS):
        supervised, joint = pair(study, UNET, source)
        calibrate(study, joint, source)
        free = fitted(joint, supervised, study.tiny, guarded=False)
        auto = run_method(study.path_of(UNET.of(source, JOINT)), "auto", None, study.device)
        methods: dict[str, Reconstructor] = {
            BEFORE: supervised,
            RECONCILED: Reconciled(supervised, train_seed=supervised.train_seed),
            UNGUARDED: Reconciled(free, train_seed=joint.train_seed),
            AUTO: auto,
            NOT_CALIBRATED: not_calibrated(auto),
        }
        test, scored = tested(source, target), replace(EVALUATION, scheme=target.scheme)
        study.compare(methods, tests_of(study, target, number), scored, test=test, keep_images=False)
        guarded(study, test)
        for method in (AUTO, NOT_CALIBRATED):
            left_or_mended(study, test, method)


def not_calibrated(auto: Reconstructor) -> Reconstructor:
    """``--adapt auto`` of a run as if `reshim calibrate` had never seen it."""
    assert isinstance(auto, AdaptedWhereUnusual)
    return replace(auto, foretell=None, mends_usual=False)


def calibrate(study: Study, run: Trained, source: Distribution) -> None:
    """Calibrate a network's alarm once; with a catalog, on its validation subjects if they are enough."""
    known = Foreteller.of_run(run)
    if known is not None and "reconciling" in known.predictor.about:
        return
    records = study.scans(source.where, "val")
    if study.embedded:
        numbers = CALIBRATION[:16] if study.tiny else CALIBRATION
        records = crowd(study, "harm-calibration", [protocol_of(source.protocol)], numbers)
    try:
        calibrate_alarm(run, records, schemes=(source.scheme,))
    except UserError as error:
        log.warning("the alarm of the network of %s stays uncalibrated: %s", source.label, error)


def tests_of(study: Study, target: Distribution, number: int) -> list[ScanRecord]:
    """The test subjects of a pair, and more of them where scans are simulated: no two pairs share these."""
    records = study.scans(target.where, "test")
    if study.embedded:
        more = 1 if study.tiny else MORE
        numbers = range(FIRST + MORE * number, FIRST + MORE * number + more)
        slices = lab.SCANS[study.scale].slices
        records += crowd(study, "harm", [protocol_of(target.protocol)], numbers, slices=slices)
    return records


def guarded(study: Study, test: str) -> None:
    """Rows of the guarded method, and for each slice whether it lost and whether a gain came through."""
    rows: list[dict[str, Any]] = []
    solved: list[dict[str, Any]] = []
    trained = rows_of(study, BEFORE, test)
    for reconciled, given, free in handed_out(study, RECONCILED, UNGUARDED, test):
        rows.append(given)
        if all(free[column] == value for column, value in SHOWN.items()):
            old = trained[tuple(free[name] for name in PLACE)]["value"]
            new = given["value"]
            judged = _losses(old, new)
            if free["value"] >= old + GAIN:
                judged[LET_THROUGH] = float(given["adapted"])
                judged[KEPT] = float(new >= old + GAIN)
            if free["value"] >= reconciled["value"] + GAIN:
                judged[FITS] = float(given["adapted"])
            rows += [{**free, "metric": name, "value": value} for name, value in judged.items()]
            without = _losses(old, reconciled["value"])
            solved += [{**reconciled, "metric": name, "value": value} for name, value in without.items()]
    study.keep(rows, method=GUARDED, test=test)
    study.keep(solved, method=RECONCILED, test=test)


def left_or_mended(study: Study, test: str, method: str) -> None:
    """Rows of an auto: for each slice whether it lost, and whether the gain of reconciling came through."""
    trained, reconciled, auto = (rows_of(study, name, test) for name in (BEFORE, RECONCILED, method))
    rows: list[dict[str, Any]] = []
    for place, given in auto.items():
        if all(given[column] == value for column, value in SHOWN.items()):
            old, new = trained[place]["value"], given["value"]
            judged = _losses(old, new)
            if reconciled[place]["value"] >= old + GAIN:
                judged[MENDED] = float(new >= old + GAIN)
            rows += [{**given, "metric": name, "value": value} for name, value in judged.items()]
    study.keep(rows, method=method, test=test)


def _losses(old: float, new: float) -> dict[str, float]:
    """Whether a slice lost, and whether it lost much."""
    return {LOSERS: float(new < old - LOSS), GREAT_LOSERS: float(new < old - GREAT_LOSS)}


@dataclass(frozen=True)
class Worst:
    """The slice that lost most."""

    test: str
    scan: str
    slice: int
    change: float


def worst(study: Study, method: str = GUARDED) -> Worst:
    """Of all slices that a method handed out, the one that lost most."""
    found = []
    for test in TESTS:
        before, after = (rows_of(study, name, test) for name in (BEFORE, method))
        for place, row in after.items():
            if place[2:] == tuple(SHOWN[name] for name in ("metric", "target", "region")):
                change = row["value"] - before[place]["value"]
                found.append(Worst(test, row["scan_id"], row["slice"], change))
    return min(found, key=lambda each: each.change)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, scores before and after, shares of slices, the worst slice by name."""
    tests = tuple(Choice(test, {"test": test}) for test in TESTS)
    methods = tuple(
        Choice(name, {"method": name})
        for name in (BEFORE, RECONCILED, AUTO, NOT_CALIBRATED, GUARDED, UNGUARDED)
    )
    lost = {method: worst(study, method) for method in (GUARDED, AUTO, NOT_CALIBRATED)}
    shares = (
        *(Choice(f"guarded: {name}", {"method": GUARDED, "metric": name})
          for name in (LOSERS, GREAT_LOSERS, LET_THROUGH, KEPT, FITS)),
        *(Choice(f"reconciled: {name}", {"method": RECONCILED, "metric": name})
          for name in (LOSERS, GREAT_LOSERS)),
        *(Choice(f"{method}: {name}", {"method": method, "metric": name})
          for method in (AUTO, NOT_CALIBRATED) for name in (LOSERS, GREAT_LOSERS, MENDED)),
    )  # fmt: skip
    return (
        ClaimsBlock(),
        MatrixBlock(
            "Before and after",
            "SSIM inside the body. A row is a way of handing out, a column a network and what it met.",
            methods=methods,
            tests=tests,
            where=SHOWN,
        ),
        MatrixBlock(
            "Shares of slices",
            "Of all slices; of those on which adapting without the guard gains 0.005 over the network as it "
            "is; of those on which fitting gains 0.005 over reconciling; and of those on which reconciling "
            "gains 0.005.",
            methods=shares,
            tests=tests,
            where={"target": SHOWN["target"], "region": SHOWN["region"]},
        ),
        TextBlock(
            "The worst slices",
            paragraphs=(
                *(
                    f"{method}: {each.test}, {each.scan}, slice {each.slice}: {each.change:+.4f} SSIM."
                    for method, each in lost.items()
                ),
                "Whole volumes are fitted together, so the slices of one volume share a verdict.",
                "Not calibrated, auto does not know whether reconciling helps usual scans: it leaves them as "
                "they are, and reconciles or hands over what the shift score finds unusual.",
            ),
        ),
    )
