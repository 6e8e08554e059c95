"""Does training on everything there is make a network more robust where nothing was trained?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), section 7 (13 data sets; four held out), and the
        effective-robustness plots of section 4.
Claim   a network of all training protocols is on no held-out protocol significantly worse than the best
        network of one (paired, Holm), better in the mean, on most and at its worst, and above the line of the
        single ones over training-set sizes; at home it is within 0.003 SSIM (U-net, unrolled; ViT and VarNet
        0.005) of each.
Data    knees (PD, PD-FS) and brains (T1, T2) at 3 T to train on; held out are two more contrasts (FLAIR, T1
        with contrast agent) and four protocols at 1.5 T; and, further away, three other organs, 7 T, and
        knees cut from another side; of the catalog, or simulated; three training seeds. The paper trains on
        more: 13 data sets.
Cost    about two hours of one core, half of it on two (--processes 2); --tiny: minutes.
Run     reshim study diverse-large
"""

from reshim.report.blocks import Block, ClaimsBlock
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import learning_curves
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.held_out import HeldOut
from reshim.studies.engine.needs import answerable
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study

TITLE = "All protocols against one, where nothing was trained"
PAPER = "Lin and Heckel, ICML 2024"
SEEDS = 3
"""Trainings of everything."""

LARGE = HeldOut(
    "large",
    singles=(lab.KNEE_PD, lab.KNEE_PDFS, lab.BRAIN_T1, lab.BRAIN_T2),
    held_out=(
        lab.BRAIN_FLAIR,
        lab.BRAIN_T1_POST,
        lab.KNEE_PD_15,
        lab.KNEE_PDFS_15,
        lab.BRAIN_T2_15,
        lab.BRAIN_FLAIR_15,
    ),
    networks=("unet-tiny", "vit-tiny", "varnet-tiny", "unrolled-tiny"),
    seeds=SEEDS,
)
FAR = HeldOut(
    "far",
    singles=LARGE.singles,
    held_out=(lab.ABDOMEN_T2, lab.PROSTATE_T2, lab.HEART_GRE, lab.BRAIN_GRE_7, lab.KNEE_SAGITTAL),
    networks=LARGE.networks,
    unseen="organs, a field and a view that no training saw",
    one="distant distribution",
    seeds=SEEDS,
)
QUESTIONS = (LARGE, FAR)
CLAIMS = (*LARGE.claims(), *LARGE.at_home(), *FAR.claims())


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    needs = (*LARGE.needs, *FAR.needs)
    return lab.embedded(*LARGE.singles, *LARGE.held_out, *FAR.held_out, scale=scale, needs=needs)


def run(study: Study) -> None:
    """Train on each protocol and on all, at four sizes; score at home and on what is held out."""
    for question in answerable(study, QUESTIONS):
        question.run(study)


def train(study: Study) -> None:
    """Train what `run` needs and no other process is at."""
    for question in answerable(study, QUESTIONS):
        question.train(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, held-out protocols, effective robustness, images, training, the tables to copy."""
    there = answerable(study, QUESTIONS)
    asked = [question for question in QUESTIONS if question in there]
    return (
        ClaimsBlock(),
        *(block for question in asked for block in (*question.blocks(study), question.images(study))),
        learning_curves(study),
        *(table for question in asked for table in question.tables()),
    )
