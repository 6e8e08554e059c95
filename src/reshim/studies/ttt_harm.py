"""Does fitting the weights ever make a scan worse, and does the guard let the gains through?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204), who hand out every adapted image.
Claim   in distribution nothing is lost; at most 2 % of all slices lose 0.002 SSIM and none 0.01, and of the
        slices that adapting without the guard improves by 0.005, the guard lets at least 90 % through: to
        refuse everything does not pass. What is refused is reconciled, which may gain as much: how many of
        those slices are handed out improved is a claim of its own. The same of ``--adapt auto``, which fits
        no weights, with runs that `reshim calibrate` has seen, and with the same runs without their
        calibration, so that usual scans are left as they are. All of it of U-nets and of VarNets.
Data    networks of knees and brains of the catalog, or simulated, at home and on the four shifts of the ttt-*
        studies, of them acceleration both ways. Simulated test subjects are the laboratory's and, for each
        network and what it meets, four more; the alarm of each network is calibrated on forty others.
Cost    about 105 minutes on one core that other work shared; --tiny: minutes.
Run     reshim study ttt-harm
"""

import logging
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from reshim.acquire import Scheme
from reshim.adaptation.modes import AdaptedWhereUnusual
from reshim.adaptation.reconciled import Reconciled
from reshim.alarm.calibrate import Foreteller, calibrate_alarm
from reshim.errors import UserError
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, Score, score
from reshim.evaluation.rules import LowerBoundAtLeast, NoneOf, Rule, UpperBoundBelow
from reshim.methods import run_method
from reshim.report.blocks import Block, Choice, ClaimsBlock, MatrixBlock, TextBlock
from reshim.simulation.protocols import protocol_of
from reshim.studies.engine import lab
from reshim.studies.engine.crowd import crowd
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.guarded import PLACE, handed_out, rows_of
from reshim.studies.engine.lab import EVALUATION, SHOWN, Distribution
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import JOINT, KINDS, UNET, Kind, fitted, pair
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


PAIRS = tuple((home, home) for home in AT_HOME) + AWAY


def tested(kind: Kind, source: Distribution, target: Distribution) -> str:
    """What rows call a network from one distribution met with another."""
    return f"{source.label} on {target.label}{'' if kind is UNET else f', {kind.name}'}"


def tests_with(kind: Kind) -> tuple[str, ...]:
    """What rows call the pairs, those at home first."""
    return tuple(tested(kind, *each) for each in PAIRS)


def of(method: str, tests: tuple[str, ...], **where: Any) -> Score:
    """A score over several test sets together."""
    return score(f"{method}, {where.get('metric', 'SSIM')}", method=method, test=list(tests), **where)


FEW = 0.02


@dataclass(frozen=True)
class Handing:
    """A way of handing out images of a kind of network, and the claims that are made of it."""

    kind: Kind
    method: str
    ending: str = ""
    """Sets the claims' ids apart from those of another way."""

    def loses_nothing_at_home(self, ident: str, claim: str) -> Claim:
        """The mean change over the tests at home."""
        changes = tuple(
            Difference(of(self.method, (test,), **SHOWN), of(BEFORE, (test,), **SHOWN))
            for test in tests_with(self.kind)[: len(AT_HOME)]
        )
        return self._claim(ident, claim, LowerBoundAtLeast(Average(changes), -0.001), unit="SSIM")

    def few(self, ident: str, claim: str, metric: str) -> Claim:
        """Of all slices, fewer than `FEW` are so."""
        return self._claim(ident, claim, UpperBoundBelow(self._share(metric), FEW))

    def most(self, ident: str, claim: str, metric: str) -> Claim:
        """Nine in ten of the slices that count are so."""
        return self._claim(ident, claim, LowerBoundAtLeast(self._share(metric), 0.9))

    def none(self, ident: str, claim: str, metric: str) -> Claim:
        """Of all slices, not one is so."""
        return self._claim(ident, claim, NoneOf(self._share(metric)))

    def _share(self, metric: str) -> Score:
        return of(self.method, tests_with(self.kind), metric=metric)

    def _claim(self, ident: str, claim: str, rule: Rule, unit: str = "share") -> Claim:
        whose = "" if self.kind is UNET else self.kind.name
        ident = "-".join(filter(None, (ident, self.ending, whose.lower())))
        return Claim(ident, f"{claim} ({whose})" if whose else claim, rule, unit=unit)


def claims_of_fits(kind: Kind) -> tuple[Claim, ...]:
    """What fitting does to a kind of network, its guard, and reconciling alone."""
    guarded_, reconciled = Handing(kind, GUARDED), Handing(kind, RECONCILED)
    return (
        guarded_.loses_nothing_at_home("in-distribution", "at home, fitting with the guard loses nothing"),
        guarded_.few("losers", "at most 2 % of all slices lose more than 0.002", LOSERS),
        guarded_.none("great-losers", "no slice loses more than 0.01", GREAT_LOSERS),
        reconciled.few(
            "reconciled-losers",
            "of reconciled slices, no weight moved, at most 2 % lose more than 0.002",
            LOSERS,
        ),
        guarded_.most(
            "let-through",
            "the guard lets through at least 90 % of the slices on which adapting gains 0.005",
            LET_THROUGH,
        ),
        guarded_.most(
            "gains-kept",
            "let through or reconciled, at least 90 % of those slices are handed out with that gain",
            KEPT,
        ),
        guarded_.most(
            "fits-let-through",
            "the guard lets through at least 90 % of the slices on which fitting gains 0.005 over "
            "reconciling",
            FITS,
        ),
    )


def claims_of_auto(kind: Kind, method: str, name: str, ending: str = "") -> tuple[Claim, ...]:
    """What is claimed of ``auto``, whatever it knows of its run."""
    auto = Handing(kind, method, ending)
    return (
        auto.loses_nothing_at_home("auto-in-distribution", f"at home, {name} loses nothing"),
        auto.few("auto-losers", f"at most 2 % of all slices lose more than 0.002 by {name}", LOSERS),
        auto.none("auto-great-losers", f"no slice loses more than 0.01 by {name}", GREAT_LOSERS),
        auto.most(
            "auto-let-through",
            f"{name} hands out the gain of at least 90 % of the slices on which reconciling gains 0.005",
            MENDED,
        ),
    )


CLAIMS = tuple(
    claim
    for kind in KINDS
    for claim in (
        *claims_of_fits(kind),
        *claims_of_auto(kind, AUTO, "auto"),
        *claims_of_auto(kind, NOT_CALIBRATED, "auto without calibration", "uncalibrated"),
    )
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*dict.fromkeys(each for pair_ in PAIRS for each in pair_), scale=scale)


def run(study: Study) -> None:
    """Fit without the guard and keep its verdict; what the guarded method hands out follows from both."""
    for kind, (number, (source, target)) in product(KINDS, enumerate(PAIRS)):
        supervised, joint = pair(study, kind, source)
        calibrate(study, joint, source)
        steps = 4 if study.tiny else kind.steps
        free = fitted(joint, supervised, study.tiny, steps=steps, guarded=False)
        auto = run_method(study.path_of(kind.of(source, JOINT)), "auto", None, study.device)
        methods: dict[str, Reconstructor] = {
            BEFORE: supervised,
            RECONCILED: Reconciled(supervised, train_seed=supervised.train_seed),
            UNGUARDED: Reconciled(free, train_seed=joint.train_seed),
            AUTO: auto,
            NOT_CALIBRATED: not_calibrated(auto),
        }
        test, scored = tested(kind, source, target), replace(EVALUATION, scheme=target.scheme)
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


def worst(study: Study, kind: Kind, method: str) -> Worst:
    """Of all slices that a method handed out of a kind of network, the one that lost most."""
    found = []
    for test in tests_with(kind):
        before, after = (rows_of(study, name, test) for name in (BEFORE, method))
        for place, row in after.items():
            if place[2:] == tuple(SHOWN[name] for name in ("metric", "target", "region")):
                change = row["value"] - before[place]["value"]
                found.append(Worst(test, row["scan_id"], row["slice"], change))
    return min(found, key=lambda each: each.change)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, scores before and after, shares of slices, the worst slice by name."""
    tests = tuple(Choice(test, {"test": test}) for kind in KINDS for test in tests_with(kind))
    methods = tuple(
        Choice(name, {"method": name})
        for name in (BEFORE, RECONCILED, AUTO, NOT_CALIBRATED, GUARDED, UNGUARDED)
    )
    lost = {
        f"{kind.name}, {method}": worst(study, kind, method)
        for kind in KINDS
        for method in (GUARDED, AUTO, NOT_CALIBRATED)
    }
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
                    f"{whose}: {each.test}, {each.scan}, slice {each.slice}: {each.change:+.4f} SSIM."
                    for whose, each in lost.items()
                ),
                "Whole volumes are fitted together, so the slices of one volume share a verdict.",
                "Not calibrated, auto does not know whether reconciling helps usual scans: it leaves them as "
                "they are, and reconciles or hands over what the shift score finds unusual.",
            ),
        ),
    )
