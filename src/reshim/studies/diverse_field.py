"""Is one network of 3 T and 1.5 T as good on each as its specialist, and what do 3 T networks do at 1.5 T?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), sections 3 and 4, field strength.
Claim   one network of both fields is within 0.003 SSIM (U-net; ViT and VarNet 0.005) of each specialist; one
        of both anatomies at 3 T is at 1.5 T no worse than the better of one.
Data    knees (PD) and brains (T2) at 3 T and 1.5 T of the catalog, or simulated.
Cost    about 52 minutes on one core, some networks trained by other studies; --tiny: minutes.
Run     reshim study diverse-field
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

TITLE = "3 T and 1.5 T: one network or two"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "vit-tiny", "varnet-tiny")

HIGH = Part("3 T", (lab.KNEE_PD, lab.BRAIN_T2))
LOW = Part("1.5 T", (lab.KNEE_PD_15, lab.BRAIN_T2_15))
TOGETHER = OneForAll("field", (HIGH, LOW), NETWORKS)
ELSEWHERE = HeldOut("low-field-unseen", HIGH.distributions, LOW.distributions, NETWORKS)
QUESTIONS = (TOGETHER, ELSEWHERE)
CLAIMS = tuple(claim for question in QUESTIONS for claim in question.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*TOGETHER.tests, scale=scale)


def run(study: Study) -> None:
    """Train on 3 T, 1.5 T and both; and on knees, brains and both at 3 T for 1.5 T."""
    for question in answerable(study, QUESTIONS):
        question.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for question in answerable(study, QUESTIONS):
        question.train(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, who was trained on what, what happens at the field that was not seen."""
    asked = answerable(study, QUESTIONS)
    return (ClaimsBlock(), *(block for question in asked for block in question.blocks(study)))
