"""Does fitting a knee network to each brain close the gap that it has on brains?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204).
Claim   fitting closes the gap (105 % for the U-net, 96 % for the VarNet, one slice).
Data    knees PD at 3 T (P) and brains T2 at 3 T (Q) of the catalog, or simulated.
Cost    about 45 minutes on one core, four networks trained by other studies; --tiny: about a minute.
Run     reshim study ttt-anatomy
"""

from reshim.report.blocks import Block
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import Shift
from reshim.studies.engine.study import Study

TITLE = "Test-time training: from knees to brains"
PAPER = "Darestani, Liu and Heckel, ICML 2022"

PAPER_FIGURES = {
    "U-net": ("0.063, one slice", "105 %, one slice"),
    "VarNet": ("0.053, one slice", "96 %, one slice"),
}
SHIFT = Shift(lab.KNEE_PD, lab.BRAIN_T2, paper=PAPER_FIGURES)

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
