"""Do networks trained on a scan's own calibration lines carry less noise into maps than linear kernels?

Paper   M. Akcakaya et al., Magn. Reson. Med. 81:439 (2019): RAKI; residual
        RAKI: C. Zhang et al., NeuroImage 256:119248 (2022).
Claim   at 4x and 5x, quantitative maps from RAKI spread less over repeated noise than maps from GRAPPA, and
        not because they are blurred or biased: their error is smaller too.
Data    simulated knees, two echoes of each, noise of the scan's own level drawn anew; raw-phantom8 where
        RESHIM_REAL_DATA names its folder; --tiny: a few small ones.
Cost    about 20 minutes on one core; --tiny: under half a minute.
Run     reshim study raki-vs-grappa
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from reshim.classical.grappa import Grappa
from reshim.classical.raki import Raki
from reshim.digest import digest
from reshim.errors import BadScanError
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference, Ratio, Score, score
from reshim.evaluation.rules import AllOf, LowerBoundAbove, PointAndInterval
from reshim.evaluation.run import LeftOut
from reshim.progress import steps
from reshim.report.blocks import Block, Choice, ClaimsBlock, DosesBlock, ImagesBlock, TableBlock, TextBlock
from reshim.report.pictures import save_example
from reshim.scans import load, open_scan
from reshim.studies.engine import lab
from reshim.studies.engine.crowd import evenly, one_of_each
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.examples import already_kept, kept_in, median_and_worst
from reshim.studies.engine.repeats import ERROR, SPREAD, Repeats, key_of, maps_of, rows_of
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.types import Acquisition, Reconstructor, ScanRecord

TITLE = "RAKI against GRAPPA: noise in quantitative maps"
PAPER = "Akcakaya et al., MRM 2019; Zhang et al., NeuroImage 2022"

KNEES = "anatomy = 'knee'"
PHANTOM = "raw-phantom8"
LEAST_SQUARES, TUNED, NETWORK, RESIDUAL = "GRAPPA", "GRAPPA, tuned ridge", "RAKI", "rRAKI"
METHODS = (LEAST_SQUARES, TUNED, NETWORK, RESIDUAL)
JUDGED = (4, 5)
"""Rates that the claims are made at."""
PUBLISHED = {4: 0.23, 5: 0.48}
"""How much more resilient to noise RAKI's quantitative cardiac maps are than GRAPPA's (abstract); read here
as the share of the spread over realisations that goes away."""
MAPS = "maps"
"""What the examples of the page are called."""
STEPS = 250
"""Of Adam, for every network."""
SUBJECTS = 4
"""One scan each, spread evenly over the catalog's: a repetition is minutes a scan, not seconds."""
RATES, SIZES = (2, 3, 4, 5, 6), (16, 32)
"""Rates at 24 calibration lines, and further numbers of them at the first rate judged."""


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return Embedded(
        ("knee-pd-3t",),
        subjects=3 if scale.tiny else SUBJECTS,
        matrix=lab.SCANS[scale].matrix,
        slices=1,
        shares=(0.2, 0.2, 0.6),
        needs=(Need("knees", KNEES, ()),),
    )


def methods(tiny: bool) -> dict[str, Reconstructor]:
    """Least squares as the paper has it, the ridge tuned on simulated knees, and the networks."""
    steps_of_adam = 5 if tiny else STEPS
    return {
        LEAST_SQUARES: Grappa(ridge=1e-4, times_noise=False, falloff=0, taps=4),
        TUNED: Grappa(),
        NETWORK: Raki(iterations=steps_of_adam),
        RESIDUAL: Raki.with_linear_branch(iterations=steps_of_adam, learning_rate=3e-3),
    }


def plan(tiny: bool) -> dict[str, tuple[Repeats, ...]]:
    """Which repetitions make up each test set of the rows."""
    if tiny:
        return {"knees": tuple(Repeats(rate, n=2, coils=4) for rate in JUDGED)}
    return {
        "knees": tuple(Repeats(rate, n=4 if rate in JUDGED else 2) for rate in RATES),
        **{f"{size} lines": (Repeats(JUDGED[0], size, n=2),) for size in SIZES},
    }


def on(method: str, metric: str, rate: int) -> Score:
    """The score that claims are made on."""
    where = {"target": "full", "region": "support", "test": "knees", "acceleration": float(rate)}
    return score(f"{metric} of {method} at R = {rate}", method=method, metric=metric, **where)


def smaller(method: str, than: str, metric: str) -> AllOf:
    """The first method's figure lies below the second's at every rate judged."""
    return AllOf(
        tuple(LowerBoundAbove(Difference(on(than, metric, r), on(method, metric, r))) for r in JUDGED)
    )


def quieter_by(rate: int) -> Ratio:
    """The share of GRAPPA's spread that RAKI's lacks."""
    linear, network = on(LEAST_SQUARES, SPREAD, rate), on(NETWORK, SPREAD, rate)
    return Ratio(Difference(linear, network), linear)


CLAIMS = (
    Claim(
        "noise",
        "maps from RAKI spread less than from GRAPPA",
        smaller(NETWORK, LEAST_SQUARES, SPREAD),
        unit="1/s",
    ),
    Claim(
        "error", "maps from RAKI are nearer to the truth", smaller(NETWORK, LEAST_SQUARES, ERROR), unit="1/s"
    ),
    Claim(
        "noise-tuned",
        "maps from RAKI spread less than from GRAPPA with a tuned ridge",
        smaller(NETWORK, TUNED, SPREAD),
        unit="1/s",
    ),
    Claim(
        "error-tuned",
        "maps from RAKI are nearer to the truth than from GRAPPA with a tuned ridge",
        smaller(NETWORK, TUNED, ERROR),
        unit="1/s",
    ),
    *(
        Claim(
            f"noise-share-{rate}",
            f"at {rate}x, maps from RAKI spread less than from GRAPPA by the published share or more",
            PointAndInterval(quieter_by(rate), at_least=PUBLISHED[rate]),
            paper=f"{PUBLISHED[rate]:.0%} more resilient to noise (cardiac maps)".replace("%", " %"),
            unit="share",
        )
        for rate in JUDGED
    ),
)


def knees(study: Study) -> list[ScanRecord]:
    """The scans that are repeated: nothing is trained on others, so that the split does not matter."""
    return evenly(one_of_each(study.scans(KNEES)), SUBJECTS)


def run(study: Study) -> None:
    """Repeat every scan under every rate; the phantom too, where there is one."""
    for test, each in plan(study.tiny).items():
        for record in knees(study):
            repeat(study, test, record, partial(load, record), each)
    folder = os.environ.get("RESHIM_REAL_DATA")
    show(study)
    path = Path(folder or "") / PHANTOM / f"{PHANTOM}.h5"
    if folder and path.exists() and not study.tiny:
        scan = open_scan(path)
        each = tuple(Repeats(rate, n=2) for rate in JUDGED)
        repeat(study, "phantom", scan.record, partial(scan.load, None), each)


def repeat(
    study: Study, test: str, record: ScanRecord, read: Callable[[], Acquisition], each: tuple[Repeats, ...]
) -> None:
    """Rows of every method under each repetition of one scan; those that are stored are taken.

    A scan that cannot be read is left out and named; the others go on.
    """
    chosen = methods(study.tiny)
    scan: Acquisition | None = None
    finished = []
    with steps(f"{record.scan_id}, {test}", len(each) * len(chosen)) as tick:
        for repeats in each:
            for name, method in chosen.items():
                key = key_of(record, method, repeats)
                if not study.store.has(key):
                    try:
                        scan = scan or read()
                        rows = rows_of(record, scan, name, method, repeats)
                    except BadScanError as error:
                        study.left_out.append(LeftOut(record.scan_id, str(error)))
                        return
                    study.store.put(key, [row | {"method_sha256": digest(method)} for row in rows])
                finished.append((key, {"method": name, "test": test}))
                tick(name)
    study.finished += finished


def show(study: Study) -> None:
    """Keep every method's map of the slices where RAKI's error is the median and the largest."""
    repeats = next(each for each in plan(study.tiny)["knees"] if each.acceleration == JUDGED[-1])
    keys = [key for key, called in study.finished if called == {"method": NETWORK, "test": "knees"}]
    records = {record.scan_id: record for record in study.scans(KNEES)}
    chosen = methods(study.tiny)
    at = {"metric": ERROR, "acceleration": float(repeats.acceleration)}
    for which, (error, scan, number), of in median_and_worst(study.store, keys, at, smaller_is_better=True):
        name, where = f"{MAPS}-{which}", f"{which} slice of {of}: {scan}, slice {number}"
        caption = f"{where}, first of {repeats.n} realisations; error of {NETWORK} over all {error:.2f} 1/s"
        if already_kept(study.folder, name, chosen, caption):
            continue
        with steps(f"maps of {scan}", 1) as tick:
            maps = maps_of(records[scan], load(records[scan]), chosen, repeats)
            tick(which)
        images = {label: found[number].numpy() for label, found in maps.found.items()}
        errors = {label: f"error {float(each[number]):.2f} 1/s" for label, each in maps.errors.items()}
        save_example(study.folder, name, maps.truth[number].numpy(), images, errors, caption)


def page(study: Study) -> tuple[Block, ...]:
    """Claims first, then spread and error against the rate, and the calibration size."""
    shared = {"target": "full", "region": "support"}
    rows = tuple(Choice(name, {"method": name}) for name in METHODS)
    tests = {test: each[0].acceleration for test, each in plan(study.tiny).items()}
    if any(called["test"] == "phantom" for _, called in study.finished):
        tests["phantom"] = JUDGED[0]
    curves = tuple(
        DosesBlock(title, note, "acceleration", rows, {**shared, "test": "knees", "metric": metric})
        for metric, title, note in (
            (SPREAD, "Noise in the map", "Median deviation of the rate over realisations, in 1/s."),
            (ERROR, "Error of the map", "Median distance of the rate from that of the full scan, in 1/s."),
            ("nmse", "Error of the image", "NMSE of the first echo inside the body."),
        )
    )
    return (
        ClaimsBlock(),
        *curves,
        ImagesBlock(
            f"Maps at {JUDGED[-1]}x",
            f"Relaxation rates from one realisation, on the slices where the error of {NETWORK} is the "
            "median and the largest; 0 outside the body.",
            examples=kept_in(study.folder, MAPS),
        ),
        TableBlock(
            "Calibration lines, and a measured phantom",
            "At the lowest rate judged. Knees have 24 calibration lines. One phantom has no interval.",
            rows=rows,
            columns=tuple(
                Choice(f"{test}, {label}", {"test": test, "metric": metric, "acceleration": float(JUDGED[0])})
                for test in tests
                for metric, label in ((SPREAD, "spread, 1/s"), (ERROR, "error, 1/s"), ("nmse", "NMSE"))
            ),
            where=shared,
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                f"At most {SUBJECTS} subjects, one scan each; a catalog's are spread evenly over it. The "
                "second echo is the first, decayed at a known rate, so that the map has a truth. Each "
                "realisation adds noise of the scan's own deviation to the acquired samples of both echoes; "
                "every method, RAKI's networks included, is fitted to each realisation and echo anew.",
                f"Coils are compressed to six and networks train for {STEPS} steps, where their authors "
                "take 1,000 and 2,000: what minutes allow. A tuned ridge trades error of the image for "
                "noise on purpose, which is why its row stands beside least squares.",
            ),
        ),
    )
