"""Over four natural shifts together, how much of what a network lacks does adapting give back?

Paper   M. Z. Darestani, J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204).
Claim   90 % in the mean of anatomy, collection, contrast and acceleration (103 % of the U-net's four slices,
        73 % of the VarNet's).
Data    the shifts of ttt-anatomy, ttt-dataset, ttt-modality and ttt-acceleration (4x to 2x), and their rows.
Cost    a minute after those studies, an hour and a half on one core without; --tiny: minutes.
Run     reshim study ttt-shares
"""

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Best, Difference, Quantity, Ratio
from reshim.evaluation.rules import Given, LowerBoundAtLeast, MeanOfDefined
from reshim.report.blocks import Block, Choice, ClaimsBlock, TableBlock, TextBlock
from reshim.studies import ttt_acceleration, ttt_anatomy, ttt_dataset, ttt_modality
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import SHOWN, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import ADAPTED, KINDS, MANY, RECONCILED, Kind, Shift
from reshim.studies.engine.study import Study

TITLE = "Test-time training: the shares of four shifts together"
PAPER = "Darestani, Liu and Heckel, ICML 2022"

SHIFTS: tuple[Shift, ...] = (
    ttt_anatomy.SHIFT,
    ttt_dataset.SHIFT,
    ttt_modality.SHIFT,
    ttt_acceleration.PUBLISHED,
)
CLOSED = 0.9
PAPER_FIGURES = {"U-net": "103 %, four slices", "VarNet": "73 %, four slices"}


def gained(kind: Kind, shift: Shift, ending: str) -> Difference:
    """What an ending of the source's network is above the source's network."""
    return Difference(
        on(kind.of(shift.source, ending), shift.target), on(kind.of(shift.source), shift.target)
    )


def share(kind: Kind, ending: str, against: tuple[str, ...] = ("",)) -> Ratio:
    """What is gained on all shifts by what was lost on them, against the best of the target's networks."""

    def lost(shift: Shift) -> Quantity:
        targets = tuple(on(kind.of(shift.target, end), shift.target) for end in against)
        best = targets[0] if len(targets) == 1 else Best(targets)
        return Difference(best, on(kind.of(shift.source), shift.target))

    return Ratio(
        Average(tuple(gained(kind, shift, ending) for shift in SHIFTS)),
        Average(tuple(lost(shift) for shift in SHIFTS)),
    )


def defined_shares(kind: Kind) -> MeanOfDefined:
    """The shares as the studies of the single shifts define them: with a gap, and good networks at home."""
    wanted = f"share-{kind.name.lower().replace('-', '')}"
    rules = (claim.rule for shift in SHIFTS for claim in shift.claims() if claim.id == wanted)
    return MeanOfDefined(tuple(rule for rule in rules if isinstance(rule, Given)), CLOSED)


def left(kind: Kind, shift: Shift) -> Difference:
    """What the adapted network of many protocols lacks of the target's, which is reconciled too."""
    return Difference(
        on(kind.of(MANY, ADAPTED), shift.target), on(kind.of(shift.target, RECONCILED), shift.target)
    )


def _claims(kind: Kind) -> tuple[Claim, ...]:
    name = kind.name.lower().replace("-", "")
    return (
        Claim(
            f"mean-defined-share-{name}",
            f"fitting and reconciling the {kind.name} closes 90 % of the gap, in the mean of the shifts on "
            "which its share is defined",
            defined_shares(kind),
            unit="share",
        ),
        Claim(
            f"mean-share-{name}",
            f"fitting and reconciling the {kind.name} closes 90 % of the four gaps together",
            LowerBoundAtLeast(share(kind, ADAPTED), CLOSED),
            paper=PAPER_FIGURES[kind.name],
            unit="share",
        ),
        Claim(
            f"mean-share-c-{name}",
            f"the same of the {kind.name}, against the better of target as it is and adapted",
            LowerBoundAtLeast(share(kind, ADAPTED, ("", ADAPTED)), CLOSED),
            unit="share",
        ),
        Claim(
            f"mean-reconciled-{name}",
            f"reconciling the {kind.name}, no weight moved, closes 90 % of the four gaps together",
            LowerBoundAtLeast(share(kind, RECONCILED), CLOSED),
            unit="share",
        ),
        Claim(
            f"left-many-{name}",
            f"in the mean of the shifts the {kind.name} of {MANY.label}, adapted, is within 0.01 of the "
            "targets' own",
            LowerBoundAtLeast(Average(tuple(left(kind, shift) for shift in SHIFTS)), -0.01),
        ),
    )


CLAIMS = tuple(claim for kind in KINDS for claim in _claims(kind))


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    wanted = (each for shift in SHIFTS for each in shift.distributions)
    return lab.embedded(*dict.fromkeys(wanted), scale=scale)


def run(study: Study) -> None:
    """All four shifts, each as its own study has it."""
    for shift in SHIFTS:
        shift.run(study)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, and what each network has on each shift's target."""
    endings = (("as it is", ""), ("reconciled", RECONCILED), ("adapted", ADAPTED))
    tables = tuple(
        TableBlock(
            f"{kind.name}: {shift.source.label} met with {shift.target.label}",
            "SSIM inside the body against the MVUE reference.",
            rows=tuple(
                Choice(f"of {part.label}, {words}", {"method": kind.of(part, ending)})
                for part in shift.parts
                for words, ending in endings
            ),
            columns=(shift.target.test,),
            where=SHOWN,
        )
        for kind in KINDS
        for shift in SHIFTS
    )
    told = TextBlock(
        "What is compared",
        paragraphs=(
            "A share is defined where the gap is at least 0.02, with its interval above 0, and both networks "
            "beat a tuned L1-wavelet method at home; the first claim of each network is of the mean of such "
            "shares. The share elsewhere is the mean gain over the four shifts by their mean gap: a shift "
            "counts by the size of its gap, and one without a gap cannot make the share infinite. The "
            "published figure is the same reckoning of the notebooks' slices, one a shift. The studies of "
            "the single shifts have intervals of every one.",
        ),
    )
    return (ClaimsBlock(), told, *tables)
