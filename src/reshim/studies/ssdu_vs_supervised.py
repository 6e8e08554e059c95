"""Does a network that never sees a fully sampled scan reconstruct as well as one that learned from them?

Paper   B. Yaman et al., Magn. Reson. Med. 84:3172 (2020): SSDU on knees and brains, 4 to 8 times.
Claim   trained on undersampled scans alone, with the checkpoint chosen on undersampled scans alone, the same
        network is within 0.01 SSIM of supervised training on each of five protocols at 4x, and above CG-SENSE
        and the L1-wavelet method, both tuned with references; so it is at 6x and 8x, and on prospective
        brains at 4x, 6x and 8x. The paper's were scanned at 2x and judged by readers, for want of a
        reference; ours, simulated alone, have a full scan of the same head that lay still.
Data    knees (PD, PD-FS) and brains (T1, T2, FLAIR) at 3 T of the catalog, or simulated; 16 centre lines.
        Three training seeds at 4x, one at 6x and 8x.
        Prospective: simulated brains T1 at 3 T that no network saw, each scanned once more.
Rates   nominal: with 16 of 64 columns always sampled 4x is 2.29x in effect, 6x 2.67x, 8x 2.91x.
Cost    about 55 minutes of one core; --tiny: two minutes.
Run     reshim study ssdu-vs-supervised
"""

from dataclasses import replace
from itertools import product

from reshim.acquire import Scheme
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.evaluation.run import LeftOut
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, MatrixBlock, TableBlock, TextBlock
from reshim.robustness.second_scan import SecondScan
from reshim.simulation.protocols import protocol_of
from reshim.studies.engine import lab
from reshim.studies.engine.crowd import crowd
from reshim.studies.engine.diverse import Part, compare, learning_curves, of_seed, seeds_of
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import NAMES, SHOWN, Distribution, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.training.ssdu import SSDU
from reshim.types import Reconstructor, ScanRecord

TITLE = "SSDU against supervised training"
PAPER = "Yaman et al., Magn. Reson. Med. 2020"
NETWORK = "unrolled-tiny"
CENTER_LINES = 16
"""The loss compares samples by way of the coil maps. From the five centre columns that 4x leaves of 64, maps
are so poor that what predicts samples better shows images worse (LOG.md); the paper has 24 of 320 or more.
Every fourth of 64 columns and these are 28 of them, so "4x" leaves out little more than half: `EFFECTIVE`."""
EFFECTIVE = {4: 2.29, 6: 2.67, 8: 2.91}
"""Columns over acquired ones at each nominal rate, of 64; at `--full`, of 320, it is more."""
RATES = ", ".join(f"{rate}x is {real:.2f}x" for rate, real in EFFECTIVE.items())


def _at(home: Distribution, rate: float, label: str) -> Distribution:
    return home.under(Scheme("equispaced", acceleration=rate, center_lines=CENTER_LINES), label)


PROTOCOLS = tuple(
    _at(home, 4, home.label)
    for home in (lab.KNEE_PD, lab.KNEE_PDFS, lab.BRAIN_T1, lab.BRAIN_T2, lab.BRAIN_FLAIR)
)
HOME = PROTOCOLS[2]
"""Brains T1: the paper's prospective scans are such."""
FASTER = tuple(_at(lab.BRAIN_T1, rate, f"{lab.BRAIN_T1.label}, {rate}x") for rate in (6, 8))
PROSPECTIVE = {test.label: replace(test, label=f"{test.label}, prospective") for test in (HOME, *FASTER)}
"""By what the retrospective ones are called."""
FIRST, SCANNED = 7000, 8
"""Number of the first subject that is scanned twice, and how many there are."""
SEEDS = 3
"""Trainings of both kinds at 4x."""
OBJECTIVE = SSDU(selection="uniform")
"""On development subjects uniform points were 0.008 SSIM above Gaussian ones, the paper's choice (LOG.md)."""

SUPERVISED, SELF, SENSE, WAVELET = (
    f"{NAMES[NETWORK]}, supervised",
    f"{NAMES[NETWORK]}, SSDU",
    "CG-SENSE",
    "L1-wavelet",
)
METHODS = (SENSE, WAVELET, SELF, SUPERVISED)


def _gain(over: str, test: Distribution) -> Difference:
    return Difference(on(SELF, test), on(over, test))


CLAIMS = (
    Claim(
        "near-supervised",
        "SSDU is within 0.01 of supervised training on each of five protocols",
        AllOf(tuple(LowerBoundAtLeast(_gain(SUPERVISED, test), -0.01) for test in PROTOCOLS)),
        paper="SSIM 0.88 both on knees PD-FS (4x, Gaussian split)",
    ),
    Claim(
        "above-sense",
        "SSDU is above tuned CG-SENSE on each protocol",
        AllOf(tuple(LowerBoundAbove(_gain(SENSE, test)) for test in PROTOCOLS)),
    ),
    Claim(
        "above-wavelet",
        "SSDU is above the tuned L1-wavelet method on each protocol",
        AllOf(tuple(LowerBoundAbove(_gain(WAVELET, test)) for test in PROTOCOLS)),
    ),
    Claim(
        "supervised-above-wavelet",
        "the supervised network is above the tuned L1-wavelet method on each protocol",
        AllOf(
            tuple(LowerBoundAbove(Difference(on(SUPERVISED, test), on(WAVELET, test))) for test in PROTOCOLS)
        ),
    ),
    Claim(
        "faster",
        "at 6x and 8x, too, SSDU is within 0.01 of supervised training",
        AllOf(tuple(LowerBoundAtLeast(_gain(SUPERVISED, test), -0.01) for test in FASTER)),
    ),
    Claim(
        "prospective",
        "on prospective scans at 4x, 6x and 8x, too, SSDU is within 0.01 of supervised training",
        AllOf(tuple(LowerBoundAtLeast(_gain(SUPERVISED, test), -0.01) for test in PROSPECTIVE.values())),
        paper="judged by readers (brains scanned at 2x, no reference)",
    ),
    Claim(
        "prospective-sense",
        "on prospective scans at 4x, 6x and 8x, SSDU is above tuned CG-SENSE",
        AllOf(tuple(LowerBoundAbove(_gain(SENSE, test)) for test in PROSPECTIVE.values())),
    ),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*PROTOCOLS, scale=scale)


def run(study: Study) -> None:
    """Train both ways on each protocol, tune the classical methods there, score all four."""
    twice = scanned_twice(study) if study.embedded else ()
    once = ((test, 0) for test in FASTER)
    for test, seed in (*product(PROTOCOLS, seeds_of(study, SEEDS)), *once):
        methods = trained_at(study, test, seed) | (classical_at(study, test) if seed == 0 else {})
        compare(study, methods, (test,))
        if twice and test.label in PROSPECTIVE:
            study.compare(
                methods,
                [first for first, _ in twice],
                replace(lab.EVALUATION, scheme=test.scheme),
                test=PROSPECTIVE[test.label].label,
                disturbance=SecondScan.of(twice),
            )
    if not study.embedded:
        study.left_out.append(
            LeftOut(
                "prospective scans", "a full scan of the same subject is their reference; simulated alone"
            )
        )


def trained_at(study: Study, test: Distribution, seed: int) -> dict[str, Reconstructor]:
    """Both trainings, made for one protocol and rate."""
    settings = lab.training(study.scale, NETWORK, objective=OBJECTIVE, schemes=(test.scheme,), seed=seed)
    label = of_seed(f"{SELF}: {test.label}", study, seed)
    return {
        SELF: study.train(label, NETWORK, test.where, settings, undersampled=test.scheme),
        SUPERVISED: Part.of(test).train(study, NETWORK, seed=seed),
    }


def classical_at(study: Study, test: Distribution) -> dict[str, Reconstructor]:
    """The classical methods, tuned for one protocol and rate."""
    return {
        SENSE: study.tune(f"sense {test.label}", lab.sense, lab.RIDGES, test.where, test.scheme),
        WAVELET: study.tune(f"wavelet {test.label}", lab.wavelet, lab.THRESHOLDS, test.where, test.scheme),
    }


def scanned_twice(study: Study) -> tuple[tuple[ScanRecord, ScanRecord], ...]:
    """Subjects that no network saw, each with two scans that differ in noise alone."""
    card = replace(protocol_of(HOME.protocol), name=f"{HOME.protocol}-twice", repetitions=2)
    slices = lab.SCANS[study.scale].slices
    count = 2 if study.tiny else SCANNED
    records = crowd(study, "twice", [card], range(FIRST, FIRST + count), slices=slices)
    by_name = {record.file_name: record for record in records}
    return tuple(
        (by_name[name], by_name[name.replace("_rep1", "_rep2")]) for name in by_name if "_rep1" in name
    )


def page(study: Study) -> tuple[Block, ...]:
    """Claims, methods by protocol, images, training, what was seen."""
    rows = tuple(Choice(method, {"method": method}) for method in METHODS)
    prospective = tuple(PROSPECTIVE.values()) if study.embedded else ()
    tests = tuple(test.test for test in PROTOCOLS + FASTER + prospective)
    return (
        ClaimsBlock(),
        MatrixBlock(
            "Methods by protocol",
            f"At 4x unless said; in effect {RATES}.",
            methods=rows,
            tests=tests,
            where=SHOWN,
        ),
        ImagesBlock(
            f"What it looks like: {lab.KNEE_PDFS.label}",
            "The slice with the median and the one with the worst score of SSDU.",
            examples=study.examples(lab.KNEE_PDFS.label, by=SELF, labels=METHODS),
        ),
        learning_curves(study),
        TableBlock("The table to copy", rows=rows, columns=tests, where=SHOWN, compare_to=SUPERVISED),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Both trainings have the same network, the same scans and as many updates. Supervised "
                "training draws a new mask each epoch from full scans; SSDU has one mask a scan and hides "
                "uniformly drawn samples, the innermost 4 x 4 spared. Its checkpoint is chosen by "
                "its own loss, so the curves of the two are not on one scale.",
                f"Rates are nominal. {CENTER_LINES} centre lines of 64 columns are sampled besides, so that "
                f"in effect {RATES}: 28, 24 and 22 columns. The paper's 24 of 320 or more cost its rates far "
                "less.",
                "Elsewhere samples are left out of the full scan that is the reference, and share its noise. "
                "A prospective scan is one of its own, under its mask alone. The paper's brains were scanned "
                "at 2x, so that nothing is a reference; ours are simulated, and the same head is scanned in "
                "full before, with other noise and without having moved. What a sequence changes beside the "
                "mask is not in our figures.",
            ),
        ),
    )
