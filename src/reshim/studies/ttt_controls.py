"""How much of each gap closes for free, before any weight is moved?

Paper   M. Z. Darestani, A. S. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103), sample notebooks: 0.105
        SSIM on one slice by a matched resolution.
Claim   none of the simple repairs closes half of a gap by itself; one solve that reconciles the network's
        image with the samples and with sparsity does.
Data    knees PD at 3 T (P); brains T2 at 3 T, PD knees at 1.5 T and 2x (Q) of the catalog, or simulated.
Cost    about 6 minutes on one core after the ttt-* studies, which train the same networks; --tiny: a minute.
Run     reshim study ttt-controls
"""

from dataclasses import replace

from reshim.acquire import Scheme
from reshim.adaptation.controls import DataConsistent, Resampled, Transposed
from reshim.adaptation.reconciled import Reconciled
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.evaluation.claims import Claim, LowerBoundAbove, UpperBoundBelow
from reshim.evaluation.quantities import Quantity, share_of_gap
from reshim.report.blocks import Block, Choice, ClaimsBlock, MatrixBlock, TextBlock
from reshim.studies import lab
from reshim.studies.embedded import Embedded
from reshim.studies.lab import EVALUATION, SHOWN, on
from reshim.studies.scale import Scale
from reshim.studies.shifts import UNET, pair
from reshim.studies.study import Study
from reshim.types import Reconstructor

TITLE = "Test-time training: what closes for free"
PAPER = "Darestani, Chaudhari and Heckel, ICML 2021"

SOURCE = lab.KNEE_PD
TARGETS = (
    lab.BRAIN_T2,
    lab.KNEE_PD_15,
    lab.KNEE_PD.under(Scheme("equispaced", acceleration=2), "knee PD 3 T at 2x"),
)
OTHER_MASK = lab.BRAIN_T2.under(Scheme("random", acceleration=4), "brain T2 3 T, random mask")
PIXELS = 220 / 160
"""Pixel of the simulated brains over that of the knees."""

SOURCE_NET = UNET.of(SOURCE)
REPAIRS = ("data consistency", "rows and columns exchanged", "resolution matched")
RECONCILED = "reconciled"
WAVELET = "L1-wavelet, default weight"


def repaired(repair: str) -> str:
    """What rows call the source network with a repair."""
    return f"{SOURCE_NET}, {repair}"


def closed(repair: str, target: lab.Distribution) -> Quantity:
    """Share of a gap that a repair closes."""
    return share_of_gap(on(SOURCE_NET, target), on(repaired(repair), target), on(UNET.of(target), target))


CLAIMS = (
    *(
        Claim(
            f"{repair.split()[0]}-{number}",
            f"{repair} closes less than half of the gap on {target.label}",
            UpperBoundBelow(closed(repair, target), 0.5),
            unit="share",
        )
        for number, target in enumerate(TARGETS, 1)
        for repair in REPAIRS
    ),
    *(
        Claim(
            f"{RECONCILED}-{number}",
            f"reconciling with samples and sparsity closes more than half of the gap on {target.label}",
            LowerBoundAbove(closed(RECONCILED, target), 0.5),
            unit="share",
        )
        for number, target in enumerate(TARGETS, 1)
    ),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(SOURCE, *TARGETS, scale=scale)


def run(study: Study) -> None:
    """The source network as it is and with each repair, beside each target's own network."""
    source, _ = pair(study, UNET, SOURCE)
    seed = source.train_seed
    repairs: dict[str, Reconstructor] = {
        SOURCE_NET: source,
        repaired("data consistency"): DataConsistent(source, train_seed=seed),
        repaired(RECONCILED): Reconciled(source, train_seed=seed),
        repaired("rows and columns exchanged"): Transposed(source, train_seed=seed),
        repaired("resolution matched"): Resampled(source, PIXELS, train_seed=seed),
        WAVELET: L1Wavelet(),
    }
    for target in (*TARGETS, OTHER_MASK):
        own: dict[str, Reconstructor] = {}
        if target is not OTHER_MASK:
            own[UNET.of(target)] = network = pair(study, UNET, target)[0]
            own[f"{UNET.of(target)}, {RECONCILED}"] = Reconciled(network, train_seed=network.train_seed)
        scored = replace(EVALUATION, scheme=target.scheme)
        study.compare({**repairs, **own}, target.where, scored, test=target.label)


def page(study: Study) -> tuple[Block, ...]:
    """Claims and one matrix of repairs against shifts."""
    own = tuple(f"{UNET.of(target)}{end}" for target in TARGETS for end in ("", f", {RECONCILED}"))
    names = (SOURCE_NET, *map(repaired, (*REPAIRS, RECONCILED)), WAVELET)
    tests = (*TARGETS, OTHER_MASK)
    return (
        ClaimsBlock(),
        MatrixBlock(
            "Repairs against shifts",
            "SSIM inside the body against the MVUE reference. The last column is the first under another "
            "mask: what a change of the mask's kind costs.",
            methods=tuple(Choice(name, {"method": name}) for name in names),
            tests=tuple(test.test for test in tests),
            where=SHOWN,
        ),
        MatrixBlock(
            "The targets' own networks",
            "What the source network is measured against.",
            methods=tuple(Choice(name, {"method": name}) for name in own),
            tests=tuple(target.test for target in TARGETS),
            where=SHOWN,
        ),
        TextBlock(
            "What is not in the table",
            paragraphs=(
                "The scale of the intensities is no shift here: every network divides by a scale of its own "
                "measurement, and a test asks each for twice the image of twice the data. Seconds of every "
                "method stand in the rows, so that the L1-wavelet method can be held against adaptation.",
            ),
        ),
    )
