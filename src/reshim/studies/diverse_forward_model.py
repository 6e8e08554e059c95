"""Is one network of all accelerations, and of all masks, as good under each as the one trained for it?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271): shifts of the forward model are named, figures
        were not to be had.
Claim   one network of 2x, 4x and 8x is within 0.003 SSIM (U-net, unrolled; ViT and VarNet 0.005) of the
        specialist of each; so is one of equispaced, random and Gaussian masks; so is one of 12 and 16 coils.
        One of equispaced and random masks is under Gaussian ones no worse than the better of one.
Data    brains T2 at 3 T under each rate and mask, through 16 coils; and through 12, all else as it was. In
        a catalog, arrays of 15 and more against those of fewer.
Cost    about 69 minutes on one core, some networks trained by other studies; --tiny: minutes.
Run     reshim study diverse-forward-model
"""

from reshim.acquire import Scheme
from reshim.report.blocks import Block, ClaimsBlock
from reshim.studies import lab
from reshim.studies.diverse import Part
from reshim.studies.embedded import Embedded
from reshim.studies.held_out import HeldOut
from reshim.studies.lab import Distribution
from reshim.studies.needs import answerable
from reshim.studies.one_for_all import OneForAll
from reshim.studies.scale import Scale
from reshim.studies.study import Study

TITLE = "Accelerations, masks and coils: one network or one each"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "vit-tiny", "varnet-tiny", "unrolled-tiny")


def _through(coils: str, bound: str, protocol: str) -> Distribution:
    label = f"{lab.BRAIN_T2.label}{coils}"
    return Distribution(label, f"{lab.BRAIN_T2.where} and n_coils {bound}", protocol)


SCANS = _through("", ">= 15", "brain-t2-3t")
FEW_COILS = _through(", 12 coils", "< 15", "brain-t2-3t-12ch")

RATES = OneForAll(
    "rate",
    tuple(
        Part.of(SCANS if rate == 4 else SCANS.under(Scheme("equispaced", rate), f"{SCANS.label}, {rate}x"))
        for rate in (2, 4, 8)
    ),
    NETWORKS,
    "2x, 4x and 8x",
)
MASKS = OneForAll(
    "mask",
    (
        Part.of(SCANS),
        *(Part.of(SCANS.under(Scheme(mask, 4), f"{SCANS.label}, {mask}")) for mask in ("random", "gaussian")),
    ),
    NETWORKS,
    "three masks",
)
COILS = OneForAll("coils", (Part.of(SCANS), Part.of(FEW_COILS)), NETWORKS, "16 and 12 coils")
EQUISPACED, RANDOM, GAUSSIAN = MASKS.tests
UNSEEN = HeldOut("mask-unseen", (EQUISPACED, RANDOM), (GAUSSIAN,), NETWORKS)
QUESTIONS = (RATES, MASKS, COILS, UNSEEN)
CLAIMS = tuple(claim for question in QUESTIONS for claim in question.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(SCANS, FEW_COILS, scale=scale)


def run(study: Study) -> None:
    """Train under each rate, each mask and each coil array, and under all; score all under all and unseen."""
    for question in answerable(study, QUESTIONS):
        question.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for question in answerable(study, QUESTIONS):
        question.train(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, then rates, masks and coils."""
    asked = answerable(study, QUESTIONS)
    return (ClaimsBlock(), *(block for question in asked for block in question.blocks(study)))
