"""Is one network of several scanners as good on each as its specialist, and on a scanner never seen?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271): a distribution is a protocol on a scanner model;
        figures by scanner were not to be had.
Claim   one network of two scanners is within 0.003 SSIM (U-net, unrolled; ViT and VarNet 0.005) of the
        specialist of each, and on a third and a fourth no worse than the better of one.
Data    brains T2. Three scanners of one field, 3 T, that differ in coils (16, 20, 12), noise, echo time,
        bandwidth and matrix: A and B are trained on, C is not; nor is D, of another field (0.3 T, 4 coils).
        Simulated; in a catalog of fastMRI Skyra, Biograph mMR, Prisma and, of 1.5 T, Aera.
Cost    about 58 minutes on one core, some networks trained by other studies; --tiny: minutes.
Run     reshim study diverse-scanner
"""

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

TITLE = "Scanners: one network or one each"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = ("unet-tiny", "vit-tiny", "varnet-tiny", "unrolled-tiny")


def _scanner(name: str, simulated: str, real: str, protocol: str) -> Distribution:
    models = f"model IN ('SimScan {simulated}', '{real}')"
    return Distribution(name, f"anatomy = 'brain' AND contrast = 'T2' AND {models}", protocol)


FIRST = _scanner("scanner A", "3T", "Skyra", "brain-t2-3t")
SECOND = _scanner("scanner B", "3T B", "Biograph_mMR", "brain-t2-3t-b")
THIRD = _scanner("scanner C", "3T C", "Prisma_fit", "brain-t2-3t-c")
FOURTH = _scanner("scanner D, another field", "0.3T", "Aera", "brain-t2-0.3t")
TOGETHER = OneForAll("scanner", (Part.of(FIRST), Part.of(SECOND)), NETWORKS)
ELSEWHERE = HeldOut("scanner-unseen", (FIRST, SECOND), (THIRD, FOURTH), NETWORKS)
QUESTIONS = (TOGETHER, ELSEWHERE)
CLAIMS = tuple(claim for question in QUESTIONS for claim in question.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    needs = (*TOGETHER.needs, *ELSEWHERE.needs)
    return lab.embedded(FIRST, SECOND, THIRD, FOURTH, scale=scale, needs=needs)


def run(study: Study) -> None:
    """Train on either scanner and on both; score on them and on those that were not seen."""
    for question in answerable(study, QUESTIONS):
        question.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for question in answerable(study, QUESTIONS):
        question.train(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, who was trained on what, what happens on scanners that were not seen."""
    asked = answerable(study, QUESTIONS)
    return (ClaimsBlock(), *(block for question in asked for block in question.blocks(study)))
