"""Does fitting a network of one collection's knees to each knee of another close the gap?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204).
Claim   fitting closes the gap (85 % for the U-net, 16 % for the VarNet, one slice).
Data    fat-suppressed knees at 3 T (P) and PD knees at 1.5 T with another coil (Q), also
        simulated; the paper goes from fastMRI's fat-suppressed knees to Stanford's.
Cost    about 45 minutes on one core, some networks trained by other studies; --tiny: about a minute.
Run     reshim study ttt-dataset
"""

from reshim.report.blocks import Block
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import Shift
from reshim.studies.engine.study import Study

TITLE = "Test-time training: from one collection to another"
PAPER = "Darestani, Liu and Heckel, ICML 2022"

PAPER_FIGURES = {
    "U-net": ("0.021, one slice", "85 %, one slice"),
    "VarNet": ("0.037, one slice", "16 %, one slice"),
}
SHIFT = Shift(lab.KNEE_PDFS, lab.KNEE_PD_15, paper=PAPER_FIGURES)

CLAIMS = SHIFT.claims()


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*SHIFT.distributions, scale=scale)


def run(study: Study) -> None:
    """Train on P and on Q, fit to each scan of Q and of P."""
    SHIFT.run(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, the gap, images, the table."""
    return SHIFT.blocks(study)
