"""Which methods does a small perturbation of the samples break: trained ones alone, or sparse ones too?

Paper   M. Z. Darestani, A. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103).
Claim   trained and untrained methods are both sensitive to small worst-case perturbations, while noise of
        the same norm does little to any; at the published dose each loses half of the published decibels
        or more.
Data    knees (PD, 3 T), the two central slices of each test subject; --tiny: small ones.
Cost    about 62 minutes on one core; --tiny: about a minute.
Run     reshim study adversarial
"""

from dataclasses import replace
from itertools import pairwise

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, Score
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast, UpperBoundBelow
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    DosesBlock,
    ImagesBlock,
    MatrixBlock,
    TableBlock,
    TextBlock,
)
from reshim.robustness.attack import Attack, GradientAttack, RandomNoise, RandomSearch, Transfer
from reshim.robustness.joint_attack import JointAttack
from reshim.robustness.through import has_gradient
from reshim.studies.engine import families, lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.types import Reconstructor

TITLE = "Worst-case perturbations, for every method that has a gradient and for one that has none"
PAPER = "Darestani, Chaudhari and Heckel, ICML 2021"

HOME = lab.KNEE_PD
BUDGETS = (0.01, 0.02, 0.04)
MIDDLE = 0.02
"""The budget at which gradients are checked: restarts, random search, transfer."""

DOSE = 0.08
"""The published budget, there of the full k-space; the acquired samples of four simulated knees have 0.88 to
0.92 of its norm, so that here it is about a tenth less."""

PUBLISHED = {"VarNet": 9.1, "U-net": 10.7, "L1-wavelet": 10.5, "ConvDecoder": 1.4}
"""What it took there, in decibels of PSNR: one slice each, the whole image, a random mask at 4x."""

SENSITIVE = 0.02
"""A loss of SSIM that counts as being sensitive."""

FOLLOWED = (*families.NETWORKS, *families.SPARSE, "CG-SENSE")
"""Methods with a gradient from image to samples; GRAPPA meets random search and the others' attacks."""

UNTRAINED = families.UNTRAINED[0]
"""Fitted to each slice; attacked jointly with its fit, because nobody walks back through all of its steps."""

TAKES_METHODS = True
"""`reshim study adversarial --with METHOD ...`: attacked as the others are, in no claim."""

SOURCES = ("unrolled", "L1-wavelet")
"""Whose attacks the others meet."""


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, scale=scale)


def under(method: str, attack: str, budget: float = MIDDLE) -> Score:
    """The score of a method under an attack."""
    return lab.on(method, HOME, attack=attack, budget=budget)


def clean(method: str) -> Score:
    """The score of a method on clean samples of the same slices."""
    return under(method, "none", 0.0)


def loss(method: str, attack: str = "gradient", budget: float = MIDDLE) -> Difference:
    """What an attack takes."""
    return Difference(clean(method), under(method, attack, budget))


def decibels(method: str, attack: str) -> Difference:
    """The PSNR that an attack of the published dose takes."""
    return Difference(
        lab.on(method, HOME, attack="none", budget=0.0, metric="psnr"),
        lab.on(method, HOME, attack=attack, budget=DOSE, metric="psnr"),
    )


def checks(method: str) -> tuple[str, ...]:
    """The attacks that would do more than the gradient's where the gradient is masked."""
    lent = (f"transfer from {source}" for source in SOURCES if source != method)
    return ("search", *lent)


CLAIMS = (
    Claim(
        "trained-sensitive",
        f"every network loses more than {SENSITIVE} to a perturbation of {MIDDLE:.0%} of the samples' norm",
        AllOf(tuple(LowerBoundAbove(loss(name), SENSITIVE) for name in families.NETWORKS)),
        paper="9.1 dB (VarNet), 10.7 dB (U-net) at 8 % of the full k-space, one slice",
    ),
    Claim(
        "sparse-sensitive",
        f"every sparse method loses more than {SENSITIVE} to a perturbation of {MIDDLE:.0%}",
        AllOf(tuple(LowerBoundAbove(loss(name), SENSITIVE) for name in families.SPARSE)),
        paper="10.5 dB (L1-wavelet) at 8 % of the full k-space, one slice",
    ),
    Claim(
        "untrained-sensitive",
        f"the {UNTRAINED} loses more than {SENSITIVE} to {MIDDLE:.0%}, made jointly with its fit",
        LowerBoundAbove(loss(UNTRAINED, "joint"), SENSITIVE),
        paper="1.4 dB (ConvDecoder) at 8 % of the full k-space, one slice",
    ),
    Claim(
        "joint-not-noise",
        f"that perturbation takes more from the {UNTRAINED} than noise of the same norm",
        LowerBoundAbove(Difference(under(UNTRAINED, "noise"), under(UNTRAINED, "joint"))),
    ),
    Claim(
        "not-noise",
        "an attack takes more than noise of the same norm, from every method",
        AllOf(tuple(LowerBoundAbove(Difference(under(n, "noise"), under(n, "gradient"))) for n in FOLLOWED)),
    ),
    Claim(
        "dose",
        "twice the budget takes more, from every method",
        AllOf(
            tuple(
                LowerBoundAbove(Difference(under(name, "gradient", low), under(name, "gradient", high)))
                for name in FOLLOWED
                for low, high in pairwise(BUDGETS)
            )
        ),
    ),
    Claim(
        "not-masked",
        "neither random search nor another method's attack takes 0.005 more than the method's own gradient",
        AllOf(
            tuple(
                LowerBoundAtLeast(Difference(under(name, check), under(name, "gradient")), -0.005)
                for name in FOLLOWED
                for check in checks(name)
            )
        ),
    ),
    Claim(
        "restarts-agree",
        "a second random start takes less than 0.01 more, on average over methods",
        UpperBoundBelow(
            Average(tuple(Difference(under(n, "gradient"), under(n, "two starts")) for n in FOLLOWED)), 0.01
        ),
    ),
    *(
        Claim(
            f"published-dose-{name.lower()}",
            f"at {DOSE:.0%} of the samples' norm, the {name} loses half of the published PSNR or more",
            LowerBoundAtLeast(decibels(name, "joint" if name == UNTRAINED else "gradient"), lost / 2),
            paper=f"{lost:g} dB at {DOSE:.0%} of the full k-space, one slice".replace("%", " %"),
            unit="dB",
        )
        for name, lost in PUBLISHED.items()
    ),
)


def run(study: Study) -> None:
    """Attack every method by its gradient at every budget, and check the gradients at the middle one."""
    methods = families.all_of(study, HOME) | families.asked(study, (*families.EVERY, UNTRAINED))
    with_gradient = {name: methods[name] for name in followed_by(study)}
    steps, queries = (2, 3) if study.tiny else (10, 40)
    _score(study, methods, "none", 0.0, None)
    for budget in BUDGETS:
        _score(study, methods, "noise", budget, RandomNoise(budget))
        _score(study, with_gradient, "gradient", budget, GradientAttack(budget, steps=steps))
    _score(study, with_gradient, "gradient", DOSE, GradientAttack(DOSE, steps=steps))
    own = GradientAttack(MIDDLE, steps=steps)
    _score(study, with_gradient, "two starts", MIDDLE, replace(own, restarts=2))
    _score(study, with_gradient, "gradient, from the reference", MIDDLE, replace(own, towards="reference"))
    _score(study, methods, "search", MIDDLE, RandomSearch(MIDDLE, queries=queries))
    for source in SOURCES:
        others = {name: method for name, method in methods.items() if name != source}
        lent = Transfer(MIDDLE, attack=own, source=methods[source])
        _score(study, others, f"transfer from {source}", MIDDLE, lent)
    untrained = families.tuned(study, HOME, families.UNTRAINED)
    _score(study, untrained, "none", 0.0, None)
    _score(study, untrained, "noise", MIDDLE, RandomNoise(MIDDLE))
    joint = JointAttack(MIDDLE, iterations=4, begin=2) if study.tiny else JointAttack(MIDDLE)
    for budget in (MIDDLE, DOSE):
        _score(study, untrained, "joint", budget, replace(joint, budget=budget))


def followed_by(study: Study) -> tuple[str, ...]:
    """Methods with a gradient, a user's own among them."""
    return (*FOLLOWED, *(name for name, method in study.methods.items() if has_gradient(method)))


def _score(
    study: Study, methods: dict[str, Reconstructor], name: str, budget: float, attack: Attack | None
) -> None:
    evaluation = replace(lab.EVALUATION, slices=(0, 1) if study.tiny else (1, 2))
    study.compare(
        methods,
        HOME.where,
        evaluation,
        test=HOME.label,
        columns={"attack": name, "budget": budget},
        keep_images=name == "gradient" and budget == MIDDLE,
        disturbance=attack,
    )


def page(study: Study) -> tuple[Block, ...]:
    """Damage against budget, the checks on gradients, images."""
    gradient = {**lab.SHOWN, "attack": ("none", "gradient")}
    noise = {**lab.SHOWN, "attack": ("none", "noise")}
    methods, with_gradient = (*families.EVERY, *study.methods), followed_by(study)
    own = ("none", "noise", "gradient", "two starts", "gradient, from the reference", "search")
    kinds = (*own, *(f"transfer from {source}" for source in SOURCES))
    middle = tuple(
        Choice(kind, {"attack": kind, "budget": 0.0 if kind == "none" else MIDDLE}) for kind in kinds
    )
    return (
        ClaimsBlock(),
        DosesBlock(
            "Score under attack",
            "Budget 0 is the clean scan; the budget is a share of the acquired samples' norm.",
            dose="budget",
            lines=tuple(Choice(name, {"method": name}) for name in with_gradient),
            where=gradient,
            x_label="norm of the perturbation over that of the samples",
        ),
        DosesBlock(
            "Score under noise of the same norm",
            dose="budget",
            lines=tuple(Choice(name, {"method": name}) for name in methods),
            where=noise,
            x_label="norm of the noise over that of the samples",
        ),
        MatrixBlock(
            f"Every attack at {MIDDLE:.0%}",
            "Lower is worse for the method. A column beside 'gradient' that lies below it would say that the "
            "method's gradient is masked. GRAPPA has no gradient.",
            methods=tuple(
                Choice(name, {"method": name}) for name in dict.fromkeys((*with_gradient, *study.methods))
            ),
            tests=middle,
            where=lab.SHOWN,
        ),
        MatrixBlock(
            f"The {UNTRAINED} at {MIDDLE:.0%}, and at the published dose",
            "Weights and perturbation are optimised together; the network is then fitted to the attacked "
            "samples from its first weights.",
            methods=(Choice(UNTRAINED, {"method": UNTRAINED}),),
            tests=(
                *(
                    Choice(kind, {"attack": kind, "budget": 0.0 if kind == "none" else MIDDLE})
                    for kind in ("none", "noise", "joint")
                ),
                Choice(f"joint, {DOSE:.0%}", {"attack": "joint", "budget": DOSE}),
            ),
            where=lab.SHOWN,
        ),
        *(
            TableBlock(
                f"The table to copy: {words}",
                families.COMPARED,
                rows=tuple(Choice(name, {"method": name}) for name in methods),
                columns=(
                    Choice("clean", {"attack": "none"}),
                    Choice("noise", {"attack": "noise", "budget": MIDDLE}),
                    Choice("search", {"attack": "search"}),
                    Choice(f"gradient, {MIDDLE:.0%}", {"attack": "gradient", "budget": MIDDLE}),
                    Choice(f"gradient, {DOSE:.0%}", {"attack": "gradient", "budget": DOSE}),
                ),
                where={"target": "mvue", "region": "support", "metric": metric},
                compare_to=families.BASELINE,
            )
            for metric, words in (("ssim", "SSIM"), ("psnr", "PSNR"))
        ),
        ImagesBlock(
            "What it looks like",
            f"Each method under its own attack at {MIDDLE:.0%}: the slices with the median and the worst "
            "score of the unrolled network.",
            examples=study.examples(
                HOME.label, "unrolled", with_gradient, columns={"attack": "gradient", "budget": MIDDLE}
            ),
        ),
        TextBlock(
            "How methods are attacked",
            paragraphs=(
                "Projected gradient ascent away from the method's own clean image (and, in a column of its "
                "own, away from the reference). Networks are followed through their layers, unrolled ones "
                "through their solves, L1-wavelet, total variation and CG-SENSE through their fixed number "
                "of iterations. Coil maps and weights are constants of the attack; maps are then estimated "
                "from the attacked samples, as after a scan.",
                "Random search proposes ripples in windows of the image, as every coil would see them, and "
                "needs images alone. Norms are of the acquired samples, slice by slice; the paper's "
                "8 % are of the full k-space, about a tenth more. Its decibels are of one slice's "
                "whole image under a random mask, ours of the body under an equispaced one.",
            ),
        ),
    )
