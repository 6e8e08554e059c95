"""How far does a network come at a new site from undersampled scans of that site alone, and from how many?

Paper   the step between none and per-scan adaptation (M. Z. Darestani, J. Liu and R. Heckel, ICML 2022) with
        the objectives of B. Yaman et al. (Magn. Reson. Med. 2020) and of the former; no published figure.
Claim   fine-tuning on all undersampled scans of the site closes more than half of the gap to a network of the
        site; more scans are better than one; at home nothing is claimed.
Data    home: knees PD at 3 T, fully sampled; the site: brains T2 at 1.5 T, whose scans are 4x undersampled
        with 16 centre lines, one mask each; of the catalog, or simulated. All are trained for the site's mask
        and tested under it; a network for home's own mask (five centre columns of 64) stands beside.
Rates   nominal: with 16 of 64 columns always sampled the site's 4x is 2.29x in effect.
Cost    about 31 minutes on one core that other work shared, some networks trained by other studies;
        --tiny: under a minute.
Run     reshim study site-adaptation
"""

from dataclasses import replace

from reshim.acquire import Scheme
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference, share_of_gap
from reshim.evaluation.rules import LowerBoundAbove
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
    TextBlock,
)
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import Part, called, compare, learning_curves
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import EVALUATION, NAMES, SHOWN, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.ssdu_vs_supervised import CENTER_LINES, EFFECTIVE, OBJECTIVE
from reshim.training.joint import Joint

TITLE = "Adapting to a site that never samples fully"
PAPER = "Yaman et al., 2020; Darestani, Liu and Heckel, 2022"
NETWORK = "unrolled-tiny"
SCHEME = Scheme("equispaced", acceleration=4, center_lines=CENTER_LINES)
"""Of the site. Where nothing is ever sampled fully, the centre lines are all that coil maps come from, and a
site acquires as many as these need (the papers have 24); the default at 4x is five of 64 columns. So 28 of 64
columns are acquired, and "4x" is 2.29x in effect; home's own mask has 19 or 20, 3.2x to 3.4x."""
HOME, SITE = (each.under(SCHEME, each.label) for each in (lab.KNEE_PD, lab.BRAIN_T2_15))
SOURCE, TARGET = called(NETWORK, Part.of(HOME)), called(NETWORK, Part.of(SITE))
OWN_MASK = f"{SOURCE}, home's own mask"
SHARES = (0.07, 0.14, 0.29, 1.0)
OBJECTIVES = {"SSDU": OBJECTIVE, "joint": Joint()}


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
    methods = {
        SOURCE: Part.of(HOME).train(study, NETWORK),
        OWN_MASK: Part.of(lab.KNEE_PD).train(study, NETWORK, label=OWN_MASK),
        TARGET: Part.of(SITE).train(study, NETWORK),
    }
    compare(study, methods, (HOME, SITE))
    seen = (lab.training(study.scale, NETWORK).epochs or 1) * study.slices(SITE.where, "train")
    for name, objective in OBJECTIVES.items():
        settings = lab.training(
            study.scale,
            NETWORK,
            objective=objective,
            epochs=None,
            samples=seen,
            schemes=(SITE.scheme,),
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
                scored = replace(EVALUATION, scheme=test.scheme)
                study.compare({adapted(name): run}, test.where, scored, test=test.label, columns=columns)


def page(study: Study) -> tuple[Block, ...]:
    """Claims, the gap, quality against the number of scans, what is lost at home, images, the table."""
    last = {name: {"method": adapted(name), "share": 1.0} for name in OBJECTIVES}
    return (
        ClaimsBlock(),
        GapBlock(
            "The gap at the site, and what closes it",
            "All undersampled scans of the site are used.",
            bars=(
                Bar("trained at home, for home's own mask", {"method": OWN_MASK}),
                Bar("trained at home, for the site's mask", {"method": SOURCE}, "source"),
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
                Choice("trained at home, own mask", {"method": OWN_MASK}),
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
        learning_curves(study),
        TableBlock(
            "The table to copy",
            rows=(
                Choice("trained at home, own mask", {"method": OWN_MASK}),
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
        TextBlock(
            "What is compared",
            paragraphs=(
                f"The site samples every fourth column and {CENTER_LINES} centre lines: of 64 columns 28, so "
                f"that its “4x” is {EFFECTIVE[4]:.2f}x in effect, and home's own mask 3.2x to 3.4x. Its mask "
                "is what all networks are trained for and tested under, at home too, so that the gap is one "
                "of anatomy, contrast and field. “Own mask” is the network of home's own training, with the "
                "default number of centre columns (five of 64): what a change of the mask costs on top.",
                "The networks from home and of the site learn from fully sampled scans, which the site never "
                "has: its network is what could be reached. The adapted ones see one mask of each of the "
                "site's scans and choose their checkpoint by their own loss. SSDU splits as it does in "
                "`ssdu-vs-supervised`: uniformly, the innermost 4 x 4 samples spared.",
            ),
        ),
    )
