"""Is one network of knees and brains as good on each as its specialist, and what does it do elsewhere?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), sections 3 and 4, anatomy.
Claim   one network of knees and brains is within 0.003 SSIM (U-net; ViT and VarNet 0.005) of each specialist;
        one of all brain contrasts is on knees no worse than the best of one contrast.
Data    knees (PD, PD-FS) and brains (T1, T2, FLAIR) at 3 T of the catalog, or simulated; three training
        seeds.
Cost    about 88 minutes on one core, some networks trained by other studies; --tiny: minutes.
Run     reshim study diverse-anatomy
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

TITLE = "Knees and brains: one network or two"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "vit-tiny", "varnet-tiny")

KNEES = Part("knees", (lab.KNEE_PD, lab.KNEE_PDFS))
BRAINS = Part("brains", (lab.BRAIN_T1, lab.BRAIN_T2, lab.BRAIN_FLAIR))
TOGETHER = OneForAll("anatomy", (KNEES, BRAINS), NETWORKS, seeds=3)
ELSEWHERE = HeldOut("knees-unseen", BRAINS.distributions, KNEES.distributions, NETWORKS, seeds=3)
QUESTIONS = (TOGETHER, ELSEWHERE)
CLAIMS = tuple(claim for question in QUESTIONS for claim in question.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*TOGETHER.tests, scale=scale)


def run(study: Study) -> None:
    """Train on knees, brains and both; and on one, two, three contrasts of brains for knees."""
    for question in answerable(study, QUESTIONS):
        question.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for question in answerable(study, QUESTIONS):
        question.train(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, who was trained on what, what happens on the anatomy that was not seen."""
    asked = answerable(study, QUESTIONS)
    return (ClaimsBlock(), *(block for question in asked for block in question.blocks(study)))
