"""How far does a network come at a new site from undersampled scans of that site alone, and from how many?

Paper   the step between none and per-scan adaptation (M. Z. Darestani, J. Liu and R. Heckel, ICML 2022) with
        the objectives of B. Yaman et al. (Magn. Reson. Med. 2020) and of the former; no published figure.
Claim   fine-tuning on all undersampled scans of the site closes more than half of the gap to a network of the
        site; more scans are better than one; at home nothing is claimed.
Data    home: knees PD at 3 T; the site: brains T2 at 1.5 T, 4x undersampled; of the catalog, or simulated.
Cost    about 17 minutes on one core, some networks trained by other studies; --tiny: under a minute.
Run     reshim study site-adaptation
"""

from reshim.evaluation.claims import Claim, LowerBoundAbove
from reshim.evaluation.quantities import Difference, share_of_gap
from reshim.report.blocks import (
    Bar,
    Block,
    Choice,
    ClaimsBlock,
    DosesBlock,
    GapBlock,
    ImagesBlock,
    MatrixBlock,
    TableBlock,
)
from reshim.studies import lab
from reshim.studies.diverse import Part, called, compare, learning_curves
from reshim.studies.embedded import Embedded
from reshim.studies.lab import EVALUATION, NAMES, SHOWN, on
from reshim.studies.scale import Scale
from reshim.studies.study import Study
from reshim.training.joint import Joint
from reshim.training.ssdu import SSDU

TITLE = "Adapting to a site that never samples fully"
PAPER = "Yaman et al., 2020; Darestani, Liu and Heckel, 2022"
NETWORK = "unrolled-tiny"
HOME, SITE = lab.KNEE_PD, lab.BRAIN_T2_15
SOURCE, TARGET = called(NETWORK, Part.of(HOME)), called(NETWORK, Part.of(SITE))
SHARES = (0.07, 0.14, 0.29, 1.0)
OBJECTIVES = {"SSDU": SSDU(protect_calibration=True), "joint": Joint()}


def adapted(objective: str) -> str:
    """What rows call the source fine-tuned at the site; their column `share` says on how much."""
    return f"{NAMES[NETWORK]}: adapted by {objective}"


def _closed(objective: str) -> LowerBoundAbove:
    after = on(adapted(objective), SITE, share=1.0)
    return LowerBoundAbove(share_of_gap(on(SOURCE, SITE), after, on(TARGET, SITE)), 0.5)


def _more(objective: str) -> LowerBoundAbove:
    name = adapted(objective)
    return LowerBoundAbove(Difference(on(name, SITE, share=1.0), on(name, SITE, share=SHARES[0])))


CLAIMS = (
    Claim(
        "gap",
        "the network from home loses at the site",
        LowerBoundAbove(Difference(on(TARGET, SITE), on(SOURCE, SITE))),
    ),
    *(
        Claim(
            f"{name.lower()}-closes-half",
            f"{name} on all undersampled scans of the site closes more than half of the gap",
            _closed(name),
            unit="share",
        )
        for name in OBJECTIVES
    ),
    *(
        Claim(f"{name.lower()}-more-is-better", f"{name}: all scans are better than one", _more(name))
        for name in OBJECTIVES
    ),
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, SITE, scale=scale)


def run(study: Study) -> None:
    """Train at home and at the site; fine-tune the former on 1, 2, 4 and all of the site, undersampled."""
    source = Part.of(HOME).train(study, NETWORK)
    methods = {SOURCE: source, TARGET: Part.of(SITE).train(study, NETWORK)}
    compare(study, methods, (HOME, SITE))
    seen = (lab.training(study.scale, NETWORK).epochs or 1) * study.slices(SITE.where, "train")
    for name, objective in OBJECTIVES.items():
        settings = lab.training(
            study.scale,
            NETWORK,
            objective=objective,
            epochs=None,
            samples=seen,
            learning_rate=lab.RATES[NETWORK] / 3,
        )
        for share in SHARES:
            run = study.train(
                f"{adapted(name)}, {share:.2f}",
                NETWORK,
                SITE.where,
                settings,
                start=SOURCE,
                share=share,
                undersampled=SITE.scheme,
            )
            for test in (HOME, SITE):
                columns = {"share": share}
                study.compare({adapted(name): run}, test.where, EVALUATION, test=test.label, columns=columns)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, the gap, quality against the number of scans, what is lost at home, images, the table."""
    last = {name: {"method": adapted(name), "share": 1.0} for name in OBJECTIVES}
    return (
        ClaimsBlock(),
        GapBlock(
            "The gap at the site, and what closes it",
            "All undersampled scans of the site are used.",
            bars=(
                Bar("trained at home", {"method": SOURCE}, "source"),
                *(Bar(f"… adapted by {name}", where, "adapted") for name, where in last.items()),
                Bar("trained at the site, fully sampled", {"method": TARGET}, "target"),
            ),
            where={**SHOWN, "test": SITE.label},
        ),
        DosesBlock(
            "Quality against the share of the site's scans",
            "Every fine-tuning makes the same number of updates; the smallest share is one subject of 14.",
            dose="share",
            lines=tuple(Choice(name, {"method": adapted(name)}) for name in OBJECTIVES),
            where={**SHOWN, "test": SITE.label},
            x_label="share of the site's training subjects",
            log_x=True,
        ),
        MatrixBlock(
            "At home and at the site",
            methods=(
                Choice("trained at home", {"method": SOURCE}),
                *(Choice(f"adapted by {name}", where) for name, where in last.items()),
                Choice("trained at the site", {"method": TARGET}),
            ),
            tests=(HOME.test, SITE.test),
            where=SHOWN,
        ),
        ImagesBlock(
            f"What it looks like: {SITE.label}",
            "The slices with the median and the worst score of the network from home; adapted on all scans.",
            examples=study.examples(
                SITE.label, SOURCE, (SOURCE, *map(adapted, OBJECTIVES), TARGET), {"share": 1.0}
            ),
        ),
        learning_curves(study, list(study.runs)),
        TableBlock(
            "The table to copy",
            rows=(
                Choice("trained at home", {"method": SOURCE}),
                *(
                    Choice(f"adapted by {name}, {share:.0%}", {"method": adapted(name), "share": share})
                    for name in OBJECTIVES
                    for share in SHARES
                ),
                Choice("trained at the site", {"method": TARGET}),
            ),
            columns=(HOME.test, SITE.test),
            where=SHOWN,
            compare_to="trained at home",
        ),
    )
