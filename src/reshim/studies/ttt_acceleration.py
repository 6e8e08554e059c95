"""Does fitting a network of one acceleration to each scan of another close the gap?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204).
Claim   fitting closes the gap (96 % for the U-net, 73 % for the VarNet, one slice).
Data    knees PD at 3 T of the catalog, or simulated, 4x (P) and 2x (Q) as published,
        then the other way round.
Cost    about 35 minutes on one core, some networks trained by other studies; --tiny: about a minute.
Run     reshim study ttt-acceleration
"""

from dataclasses import replace

from reshim.acquire import Scheme
from reshim.report.blocks import Block, TextBlock
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import Shift
from reshim.studies.engine.study import Study

TITLE = "Test-time training: from one acceleration to another"
PAPER = "Darestani, Liu and Heckel, ICML 2022"

FOUR = lab.KNEE_PD
TWO = lab.KNEE_PD.under(Scheme("equispaced", acceleration=2), "knee PD 3 T at 2x")
PAPER_FIGURES = {
    "U-net": ("0.055, one slice", "96 %, one slice"),
    "VarNet": ("0.037, one slice", "73 %, one slice"),
}
PUBLISHED = Shift(FOUR, TWO, paper=PAPER_FIGURES)
HARDER = Shift(TWO, FOUR, many=False)
"""The way round that hurts: from much data to little."""

CLAIMS = (
    *PUBLISHED.claims(),
    *(replace(claim, id=f"{claim.id}-2x-to-4x") for claim in HARDER.claims()),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*PUBLISHED.distributions, scale=scale)


def run(study: Study) -> None:
    """Train at 4x and at 2x, fit to each scan of the other acceleration, both ways."""
    PUBLISHED.run(study)
    HARDER.run(study)


def page(study: Study) -> tuple[Block, ...]:
    """Both directions, claims first."""
    between = TextBlock("The other way round", paragraphs=("From here on P is 2x and Q is 4x.",))
    return (*PUBLISHED.blocks(study), between, *HARDER.blocks(study)[1:])
