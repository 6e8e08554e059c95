"""How much of each gap closes for free, before any weight is moved?

Paper   M. Z. Darestani, A. S. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103), sample notebooks: 0.105
        SSIM on one slice by a matched resolution.
Claim   none of the simple repairs closes half of a gap by itself; one solve that reconciles the network's
        image with the samples and with sparsity does.
Data    the four shifts of ttt-anatomy, ttt-dataset, ttt-modality and ttt-acceleration (4x to 2x), of the
        catalog or simulated.
Cost    about 6 minutes on one core after the ttt-* studies, which train the same networks; --tiny: a minute.
Run     reshim study ttt-controls
"""

from dataclasses import replace

from reshim.acquire import Scheme
from reshim.adaptation.controls import DataConsistent, Resampled, Transposed
from reshim.adaptation.reconciled import Reconciled
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Quantity, share_of_gap
from reshim.evaluation.rules import LowerBoundAbove, UpperBoundBelow
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, TableBlock, TextBlock
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import EVALUATION, SHOWN, Distribution, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import UNET, pair
from reshim.studies.engine.study import Study
from reshim.studies.ttt_shares import SHIFTS
from reshim.training.run_folder import Trained
from reshim.types import Reconstructor

TITLE = "Test-time training: what closes for free"
PAPER = "Darestani, Chaudhari and Heckel, ICML 2021"

PAIRS = tuple((shift.source, shift.target) for shift in SHIFTS)
OTHER_MASK = lab.BRAIN_T2.under(Scheme("random", acceleration=4), "brain T2 3 T, random mask")
FIELD_OF_VIEW = {"knee": 160, "brain": 220}
"""Of the simulated scans, millimetres: what a pixel of one anatomy is to one of the other."""

REPAIRS = ("data consistency", "rows and columns exchanged", "resolution matched")
RECONCILED = "reconciled"
WAVELET = "L1-wavelet, default weight"


def repaired(source: Distribution, repair: str) -> str:
    """What rows call a source's network with a repair."""
    return f"{UNET.of(source)}, {repair}"


def pixels(source: Distribution, target: Distribution) -> float:
    """Pixel of the target's scans over that of the source's."""
    here, there = (FIELD_OF_VIEW[each.protocol.split("-")[0]] for each in (source, target))
    return there / here


def repairs_of(source: Distribution, target: Distribution) -> tuple[str, ...]:
    """What can be tried: where pixels are alike there is no resolution to match."""
    return tuple(
        repair for repair in REPAIRS if repair != "resolution matched" or pixels(source, target) != 1
    )


def closed(source: Distribution, repair: str, target: Distribution) -> Quantity:
    """Share of a gap that a repair closes."""
    return share_of_gap(
        on(UNET.of(source), target), on(repaired(source, repair), target), on(UNET.of(target), target)
    )


CLAIMS = (
    *(
        Claim(
            f"{repair.split()[0]}-{number}",
            f"{repair} closes less than half of the gap from {source.label} to {target.label}",
            UpperBoundBelow(closed(source, repair, target), 0.5),
            unit="share",
        )
        for number, (source, target) in enumerate(PAIRS, 1)
        for repair in repairs_of(source, target)
    ),
    *(
        Claim(
            f"{RECONCILED}-{number}",
            "reconciling with samples and sparsity closes more than half of the gap from "
            f"{source.label} to {target.label}",
            LowerBoundAbove(closed(source, RECONCILED, target), 0.5),
            unit="share",
        )
        for number, (source, target) in enumerate(PAIRS, 1)
    ),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(*dict.fromkeys(each for pair_ in PAIRS for each in pair_), scale=scale)


def run(study: Study) -> None:
    """Each source's network as it is and with each repair, beside each target's own network."""
    for source, target in PAIRS:
        network, _ = pair(study, UNET, source)
        own, _ = pair(study, UNET, target)
        methods = {
            **mended(network, source, target),
            UNET.of(target): own,
            repaired(target, RECONCILED): Reconciled(own, train_seed=own.train_seed),
        }
        scored = replace(EVALUATION, scheme=target.scheme)
        study.compare(methods, target.where, scored, test=target.label)
        if target is lab.BRAIN_T2:
            scored = replace(EVALUATION, scheme=OTHER_MASK.scheme)
            methods = mended(network, source, OTHER_MASK)
            study.compare(methods, target.where, scored, test=OTHER_MASK.label)


def mended(network: Trained, source: Distribution, target: Distribution) -> dict[str, Reconstructor]:
    """A source's network as it is and with each repair, and a classical method."""
    seed = network.train_seed
    factor = pixels(source, target)
    ways: dict[str, Reconstructor] = {
        "data consistency": DataConsistent(network, train_seed=seed),
        "rows and columns exchanged": Transposed(network, train_seed=seed),
        "resolution matched": Resampled(network, factor, train_seed=seed),
    }
    return {
        UNET.of(source): network,
        **{repaired(source, repair): ways[repair] for repair in repairs_of(source, target)},
        repaired(source, RECONCILED): Reconciled(network, train_seed=seed),
        WAVELET: L1Wavelet(),
    }


def page(study: Study) -> tuple[Block, ...]:
    """Claims, a table of repairs and images for each shift."""
    return (
        ClaimsBlock(),
        *(block for source, target in PAIRS for block in _blocks(study, source, target)),
        TextBlock(
            "What is not in the tables",
            paragraphs=(
                "The scale of the intensities is no shift here: every network divides by a scale of its own "
                "measurement, and a test asks each for twice the image of twice the data. Seconds of every "
                "method stand in the rows, so that the L1-wavelet method can be held against adaptation.",
            ),
        ),
    )


def _blocks(study: Study, source: Distribution, target: Distribution) -> tuple[Block, ...]:
    mask = (OTHER_MASK.test,) if target is lab.BRAIN_T2 else ()
    repairs = [repaired(source, repair) for repair in (*repairs_of(source, target), RECONCILED)]
    names = (UNET.of(source), *repairs, WAVELET, UNET.of(target), repaired(target, RECONCILED))
    note = "The last column is the same scans under another mask: what a change of its kind costs. "
    return (
        TableBlock(
            f"From {source.label} to {target.label}",
            f"{note if mask else ''}SSIM inside the body against the MVUE reference.",
            rows=tuple(Choice(name, {"method": name}) for name in names),
            columns=(target.test, *mask),
            where=SHOWN,
        ),
        ImagesBlock(
            f"What it looks like: {target.label}",
            "The slices with the median and the worst score of the source's network, reconciled.",
            examples=study.examples(
                target.label,
                by=repaired(source, RECONCILED),
                labels=(UNET.of(source), repaired(source, RECONCILED), UNET.of(target)),
            ),
        ),
    )
