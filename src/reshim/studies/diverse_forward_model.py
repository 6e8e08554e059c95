"""Is one network of all accelerations, and of all masks, as good under each as the one trained for it?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271): shifts of the forward model are named, figures
        were not to be had.
Claim   one network of 2x, 4x and 8x is within 0.003 SSIM (U-net, unrolled; ViT and VarNet 0.005) of the
        specialist of each; so is one of equispaced, random and Gaussian masks; so is one of 12 and 16 coils.
        One of equispaced and random masks is under Gaussian ones no worse than the better of one; nor is one
        of three rates at 3x and 6x, nor one of both arrays through 8 coils.
Data    brains T2 at 3 T under each rate and mask, through 16 coils; and through 12 and 8, all else as it
        was. In a catalog, arrays of 15 and more, of 10 to 14, and of fewer.
Cost    about 76 minutes of one core, half of it on two (--processes 2), some networks trained by other
        studies; --tiny: minutes.
Run     reshim study diverse-forward-model
"""

from reshim.acquire import Scheme
from reshim.report.blocks import Block, ClaimsBlock
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import Part
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.held_out import HeldOut
from reshim.studies.engine.lab import Distribution
from reshim.studies.engine.needs import answerable
from reshim.studies.engine.one_for_all import OneForAll
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TITLE = "Accelerations, masks and coils: one network or one each"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "vit-tiny", "varnet-tiny", "unrolled-tiny")


def _through(coils: str, bound: str, protocol: str) -> Distribution:
    label = f"{lab.BRAIN_T2.label}{coils}"
    return Distribution(label, f"{lab.BRAIN_T2.where} and n_coils {bound}", protocol)


SCANS = _through("", ">= 15", "brain-t2-3t")
FEW_COILS = _through(", 12 coils", ">= 10 and n_coils < 15", "brain-t2-3t-12ch")
FEWER_COILS = _through(", 8 coils", "< 10", "brain-t2-3t-8ch")


def _at(rate: float) -> Distribution:
    return SCANS if rate == 4 else SCANS.under(Scheme("equispaced", rate), f"{SCANS.label}, {rate:g}x")


RATES = OneForAll(
    "rate",
    tuple(Part.of(_at(rate)) for rate in (2, 4, 8)),
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
LINE = (1.0, 1 / 4)
"""Shares of the training subjects in the lines of rates and coils: three and two single ones make them up."""
UNSEEN = (
    HeldOut("mask-unseen", (EQUISPACED, RANDOM), (GAUSSIAN,), NETWORKS, unseen="a mask that no training saw"),
    HeldOut(
        "rate-unseen",
        RATES.tests,
        (_at(3), _at(6)),
        NETWORKS,
        LINE,
        union_label=RATES.union.label,
        unseen="rates that no training saw",
        one="unseen rate",
    ),
    HeldOut(
        "coils-unseen",
        COILS.tests,
        (FEWER_COILS,),
        NETWORKS,
        LINE,
        union_label=COILS.union.label,
        unseen="a coil array that no training saw",
        one="unseen coil array",
    ),
)
QUESTIONS = (RATES, MASKS, COILS, *UNSEEN)
CLAIMS = tuple(claim for question in QUESTIONS for claim in question.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    needs = (SCANS.need(), FEW_COILS.need(), FEWER_COILS.need("test"))
    return lab.embedded(SCANS, FEW_COILS, FEWER_COILS, scale=scale, needs=needs)


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
