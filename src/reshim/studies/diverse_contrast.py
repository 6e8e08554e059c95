"""Is one network of several contrasts as good on each as its specialist, and on a contrast never seen?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), sections 3 and 4, contrast.
Claim   one network is within 0.003 SSIM (U-net; ViT and VarNet 0.005) of each contrast's specialist; one of
        T1 and T2 is on FLAIR no worse than the better of both.
Data    knees (PD, PD-FS; three training seeds) and brains (T1, T2, FLAIR) at 3 T of the catalog, or
        simulated.
Cost    about 59 minutes on one core, some networks trained by other studies; --tiny: minutes.
Run     reshim study diverse-contrast
"""

from reshim.report.blocks import Block, ClaimsBlock
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import Part
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.held_out import HeldOut
from reshim.studies.engine.needs import answerable
from reshim.studies.engine.one_for_all import OneForAll
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TITLE = "Contrasts: one network or one each"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "vit-tiny", "varnet-tiny")

KNEES = OneForAll(
    "knee", tuple(Part.of(each) for each in (lab.KNEE_PD, lab.KNEE_PDFS)), NETWORKS, "knees", seeds=3
)
BRAINS = OneForAll(
    "brain",
    tuple(Part.of(each) for each in (lab.BRAIN_T1, lab.BRAIN_T2, lab.BRAIN_FLAIR)),
    NETWORKS,
    "brains",
)
ELSEWHERE = HeldOut("flair-unseen", (lab.BRAIN_T1, lab.BRAIN_T2), (lab.BRAIN_FLAIR,), NETWORKS)
QUESTIONS = (KNEES, BRAINS, ELSEWHERE)
CLAIMS = tuple(claim for question in QUESTIONS for claim in question.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*KNEES.tests, *BRAINS.tests, scale=scale)


def run(study: Study) -> None:
    """Train on each contrast and on all of an anatomy; score all on all, and on FLAIR unseen."""
    for question in answerable(study, QUESTIONS):
        question.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for question in answerable(study, QUESTIONS):
        question.train(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, knees, brains, and the contrast that was not seen."""
    asked = answerable(study, QUESTIONS)
    return (ClaimsBlock(), *(block for question in asked for block in question.blocks(study)))
