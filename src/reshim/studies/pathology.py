"""Does a network that only ever saw healthy subjects reconstruct lesions as well as one that saw some?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), section 5 (fastMRI+ boxes on brains, two sizes).
Claim   inside the boxes around lesions, small (up to 1 % of the image) and large, a network of healthy
        subjects is within 0.005 SSIM of one of the same subjects without and with lesions; and of one that
        saw as many slices and updates, of half of the subjects without and with lesions.
Data    knees (PD-FS) and brains (FLAIR) at 3 T, each subject without and with simulated lesions; or a catalog
        with the healthy scans in folders ``healthy`` and the others in folders ``lesions``, and the boxes of
        fastMRI+ as FOLDER/annotations.csv. Simulated test subjects are many, because few have a large lesion.
Cost    about 49 minutes on one core; --tiny: under a minute.
Run     reshim study pathology
"""

from dataclasses import replace

from reshim.evaluation.claims import AllOf, Claim, LowerBoundAtLeast
from reshim.evaluation.quantities import Difference
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, TableBlock, TextBlock
from reshim.scans.boxes import read_fastmri_plus
from reshim.simulation.protocols import protocol_of
from reshim.studies import lab
from reshim.studies.crowd import crowd
from reshim.studies.diverse import learning_curves
from reshim.studies.embedded import Embedded
from reshim.studies.lab import EVALUATION, NAMES, Distribution, on
from reshim.studies.scale import Scale
from reshim.studies.study import Study
from reshim.types import ScanRecord

TITLE = "Lesions that training never saw"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "unrolled-tiny")
SLICES = 8
"""Lesions have to be met: twice the slices of the other studies."""

MORE = range(2000, 2096)
"""Further simulated test subjects with lesions: one brain in four has a large one, and half of the knees."""

TESTS = (lab.KNEE_PDFS, lab.BRAIN_FLAIR)
BANDS = {"box-small": "boxes of up to 1 % of the image", "box-large": "larger boxes"}
TOLERANCE = 0.005
HEALTHY, LESIONS = (f"scan_id LIKE '%{folder}/%'" for folder in ("healthy", "lesions"))
HEALTHY_ONLY, MIXED, SAME_SIZE = "healthy", "healthy and lesions", "healthy and lesions, same size"
TRAINED = {HEALTHY_ONLY: 1.0, MIXED: 1.0, SAME_SIZE: 0.5}
"""What a network is trained on, and the share of the subjects."""


def called(network: str, trained: str) -> str:
    """What rows call a network."""
    return f"{NAMES[network]}: {trained}"


def _alike(network: str, other: str, test: Distribution, band: str) -> LowerBoundAtLeast:
    healthy, with_some = (on(called(network, name), test, region=band) for name in (HEALTHY_ONLY, other))
    return LowerBoundAtLeast(Difference(healthy, with_some), -TOLERANCE)


CLAIMS = tuple(
    Claim(
        f"{network.removesuffix('-tiny')}-{band}{ending}",
        f"{NAMES[network]} of healthy subjects is within {TOLERANCE:g} of one that "
        f"saw lesions{much}, in {words}",
        AllOf(tuple(_alike(network, other, test, band) for test in TESTS)),
        paper="alike in both sizes (no figure known)",
    )
    for other, ending, much in ((MIXED, "", ""), (SAME_SIZE, "-equal", " and as many slices"))
    for network in NETWORKS
    for band, words in BANDS.items()
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*TESTS, scale=scale, twins=True, slices=SLICES // 2 if scale.tiny else SLICES)


def run(study: Study) -> None:
    """Train on healthy subjects, and on the same without and with lesions; score inside boxes."""
    file = study.folder / "annotations.csv"
    evaluation = replace(
        EVALUATION,
        regions=(*EVALUATION.regions, "box", *BANDS),
        annotations=read_fastmri_plus(file) if file.exists() else None,
    )
    everything = lab.any_of(TESTS)
    for network in NETWORKS:
        settings = lab.training(study.scale, network)
        methods = {
            called(network, name): study.train(
                called(network, name),
                network,
                f"({everything}) AND {HEALTHY}" if name == HEALTHY_ONLY else everything,
                settings,
                share=share,
            )
            for name, share in TRAINED.items()
        }
        for test in TESTS:
            study.compare(methods, with_lesions(study, test), evaluation, test=test.label)


def with_lesions(study: Study, test: Distribution) -> list[ScanRecord]:
    """The test subjects that have lesions, and more of them where scans are simulated."""
    records = study.scans(f"({test.where}) AND {LESIONS}", "test")
    if study.embedded:
        numbers = MORE[:2] if study.tiny else MORE
        cards = [protocol_of(test.protocol)]
        records += crowd(study, "lesions", cards, numbers, slices=SLICES // 2, lesions=True)
    return records


def page(study: Study) -> tuple[Block, ...]:
    """Claims, a table by size of box, images, training, what is compared."""
    rows = {
        network: tuple(Choice(name, {"method": called(network, name)}) for name in TRAINED)
        for network in NETWORKS
    }
    columns = tuple(
        Choice(f"{test.label}, {words}", {"test": test.label, "region": region})
        for test in TESTS
        for region, words in {**BANDS, "support": "the body"}.items()
    )
    tables = tuple(
        TableBlock(
            f"{NAMES[network]}: inside boxes and in the body",
            "SSIM; a subject without such a box does not count.",
            rows[network],
            columns,
            {"metric": "ssim", "target": "mvue"},
            compare_to=MIXED,
        )
        for network in NETWORKS
    )
    labels = [called(NETWORKS[-1], name) for name in TRAINED]
    return (
        ClaimsBlock(),
        *tables,
        ImagesBlock(
            f"What it looks like: {TESTS[0].label}",
            "With lesions: the slice with the median and the one with the worst score.",
            examples=study.examples(TESTS[0].label, by=labels[0], labels=labels),
        ),
        learning_curves(study, list(study.runs)),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Where scans are simulated, the same subjects are scanned without and with lesions: all else "
                "is equal. “Same size” has half of the subjects, both ways, and so as many slices and "
                "updates as “healthy”. A score inside boxes may still hide a lesion that is missed.",
            ),
        ),
    )
