"""Does fitting a network of T2 brains to each T1 brain close the gap between contrasts?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204).
Claim   fitting closes the gap (114 % for the U-net, 115 % for the VarNet, one slice).
Data    brains T2 at 3 T (P) and brains T1 at 3 T (Q) of the catalog, or simulated.
Cost    about 30 minutes on one core, some networks trained by other studies; --tiny: about a minute.
Run     reshim study ttt-modality
"""

from reshim.report.blocks import Block
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import Shift
from reshim.studies.engine.study import Study

TITLE = "Test-time training: from T2 to T1"
PAPER = "Darestani, Liu and Heckel, ICML 2022"

PAPER_FIGURES = {
    "U-net": ("0.054, one slice", "114 %, one slice"),
    "VarNet": ("0.021, one slice", "115 %, one slice"),
}
SHIFT = Shift(lab.BRAIN_T2, lab.BRAIN_T1, paper=PAPER_FIGURES)

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
