"""Does a network that only ever saw healthy subjects reconstruct lesions as well as one that saw some?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), section 5 (fastMRI+ boxes on brains, two sizes).
Claim   inside the boxes around lesions, small (up to 1 % of the image) and large, a network of healthy
        subjects is within 0.005 SSIM of one of the same subjects without and with lesions; and of one that
        saw as many slices and updates, of half of the subjects without and with lesions.
Data    knees (PD-FS) and brains (FLAIR) at 3 T, each subject without and with simulated lesions; or a catalog
        with the findings of fastMRI+ as FOLDER/annotations*.csv and, as FOLDER/reviewed*.csv, its lists of
        the scans that were looked at. Without them, a catalog's healthy scans lie in folders ``healthy`` and
        the others in folders ``lesions``. Simulated test subjects are many, because few have a large lesion.
Cost    about 37 minutes of one core; --tiny: under a minute.
Run     reshim study pathology
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from reshim.errors import UserError
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference
from reshim.evaluation.rules import AllOf, LowerBoundAtLeast
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, TableBlock, TextBlock
from reshim.scans.boxes import Annotations, Box, Label, read_fastmri_plus, read_reviewed
from reshim.simulation.protocols import protocol_of
from reshim.studies.engine import lab
from reshim.studies.engine.crowd import crowd
from reshim.studies.engine.diverse import learning_curves
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.lab import EVALUATION, NAMES, Distribution, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
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
HEALTHY_ONLY, MIXED, SAME_SIZE = "healthy", "healthy and lesions", "healthy and lesions, same size"
TRAINED = (HEALTHY_ONLY, MIXED, SAME_SIZE)
"""What a network is trained on."""

NO_PATHOLOGY = frozenset(
    {"normal for age", "normal variant", "possible artifact", "motion artifact", "artifact"}
)
"""Labels of fastMRI+, in small letters, that name no disease: a scan with no others is healthy (the paper's P
is the brains that are normal for their age), and their boxes are no lesions."""


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


@dataclass(frozen=True)
class Told:
    """Which scans are healthy and which have lesions, as filters over the catalog."""

    healthy: str = "scan_id LIKE '%healthy/%'"
    lesions: str = "scan_id LIKE '%lesions/%'"
    annotations: Annotations | None = None
    """The boxes of lesions, where a file tells them."""

    @classmethod
    def of(cls, study: Study) -> "Told":
        """By the annotations in the study's folder, or else by the folders that scans lie in.

        A scan that is neither annotated nor on a list of those that were looked at is left out: nobody knows.

        Raises
        ------
        UserError
            If no training scan of the catalog is healthy, or none has lesions.
        """
        files = [] if study.embedded else sorted(study.folder.glob("annotations*.csv"))
        told = cls._by_annotations(study, files) if files else cls()
        for kind, which in (("is healthy", told.healthy), ("has lesions", told.lesions)):
            if not study.scans(f"({lab.any_of(TESTS)}) AND {which}", "train"):
                raise UserError(
                    f"no training scan of the catalog's knees PD-FS and brains FLAIR {kind} by "
                    f"{', '.join(file.name for file in files) or 'its folder'}; put the findings of fastMRI+ "
                    f"into {study.folder / 'annotations.csv'} and the stems of the scans that were looked "
                    f"at, one a line, into {study.folder / 'reviewed.csv'}"
                )
        return told

    @classmethod
    def _by_annotations(cls, study: Study, files: Iterable[Path]) -> "Told":
        everything = [read_fastmri_plus(file) for file in files]
        reviewed = {name for file in study.folder.glob("reviewed*.csv") for name in read_reviewed(file)}
        looked_at = reviewed.union(*(each.scans for each in everything))
        lesions = Annotations(
            tuple(box for each in everything for box in each.boxes if is_pathology(box)),
            tuple(label for each in everything for label in each.labels if is_pathology(label)),
            drawn_upside_down=True,
        )
        ill: list[str] = []
        healthy: list[str] = []
        for record in study.scans(lab.any_of(TESTS)):
            stem = Path(record.path).stem
            if stem in looked_at:
                (ill if stem in lesions.scans else healthy).append(record.scan_id)
        return cls(_among(healthy), _among(ill), lesions)

    @property
    def either(self) -> str:
        """Scans that are known to be one or the other."""
        return f"({self.healthy} OR {self.lesions})"


def is_pathology(finding: Box | Label) -> bool:
    """Whether what was found is a disease or a lesion."""
    return finding.label.strip().lower() not in NO_PATHOLOGY


def _among(names: Iterable[str]) -> str:
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(names))
    return f"scan_id IN ({quoted or 'NULL'})"


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    everything = Need.any_of([test.need() for test in TESTS], "train", "val")
    needs = (everything, *(test.need("test") for test in TESTS))
    slices = SLICES // 2 if scale.tiny else SLICES
    return lab.embedded(*TESTS, scale=scale, twins=True, slices=slices, needs=needs)


def run(study: Study) -> None:
    """Train on healthy subjects, and on the same without and with lesions; score inside boxes."""
    told = Told.of(study)
    evaluation = replace(
        EVALUATION, regions=(*EVALUATION.regions, "box", *BANDS), annotations=told.annotations
    )
    healthy, mixed = (f"({lab.any_of(TESTS)}) AND {which}" for which in (told.healthy, told.either))
    same_size = study.slices(healthy, "train") / study.slices(mixed, "train")
    trained = {HEALTHY_ONLY: (healthy, 1.0), MIXED: (mixed, 1.0), SAME_SIZE: (mixed, same_size)}
    for network in NETWORKS:
        settings = lab.training(study.scale, network)
        methods = {
            called(network, name): study.train(called(network, name), network, where, settings, share=share)
            for name, (where, share) in trained.items()
        }
        for test in TESTS:
            study.compare(methods, with_lesions(study, test, told), evaluation, test=test.label)


def with_lesions(study: Study, test: Distribution, told: Told) -> list[ScanRecord]:
    """The test subjects that have lesions, and more of them where scans are simulated."""
    records = study.scans(f"({test.where}) AND {told.lesions}", "test")
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
        learning_curves(study),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Where scans are simulated, the same subjects are scanned without and with lesions: all else "
                "is equal. “Same size” has half of the subjects, both ways, and so as many slices and "
                "updates as “healthy”. A score inside boxes may still hide a lesion that is missed.",
                "Of a catalog with the annotations of fastMRI+, those scans are healthy that were looked at "
                "and have no finding but artefacts and what is normal; “same size” is then the share of the "
                "subjects that has as many slices.",
            ),
        ),
    )
