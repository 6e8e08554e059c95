"""Does a network trained on knees reconstruct brains, what does training on both cost, does adapting help?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271): one model for two distributions; M. Z. Darestani,
        J. Liu and R. Heckel, ICML 2022 (arXiv:2204.07204): test-time training, anatomy shift.
Claim   one model of both is as good on each as its specialist; reconciling the image with the samples closes
        most of the gap that the knee network has on brains, with the weights fitted to each scan before or
        not, and does no harm on knees.
Data    simulated knees (P) and brains (Q) of the catalog's simulated scanners; --tiny: a few small ones.
Cost    about 18 minutes on two cores, shared with other work; --tiny: about a minute.
Run     reshim study first-look
"""

from dataclasses import replace

from reshim.acquire import Scheme
from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.reconciled import Reconciled
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.classical.sense import Sense
from reshim.classical.zero_filled import ZeroFilled
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference, Score, score, share_of_gap
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast, PointAndInterval
from reshim.evaluation.run import Evaluation
from reshim.report.blocks import (
    Bar,
    Block,
    Choice,
    ClaimsBlock,
    Curve,
    CurvesBlock,
    GapBlock,
    ImagesBlock,
    MatrixBlock,
    TableBlock,
    TextBlock,
)
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.training.joint import Joint
from reshim.training.objectives import Supervised
from reshim.training.settings import TrainingSettings

TITLE = "A first look: knees, brains and the gap between them"
PAPER = "Lin and Heckel, ICML 2024; Darestani, Liu and Heckel, ICML 2022"

KNEES, BRAINS = "anatomy = 'knee'", "anatomy = 'brain'"
NEEDS = (Need("knees", KNEES), Need("brains", BRAINS))
BOTH = "anatomy in ('knee', 'brain')"
NETWORK = "unrolled-tiny"
SCHEME = Scheme("equispaced", acceleration=4)
RIDGES = (0.2, 0.3, 0.5, 0.8, 1.3, 2.0, 3.0)
"""Multiples of the relative noise, as `Sense` counts them."""
THRESHOLDS = (0.08, 0.13, 0.2, 0.3, 0.5, 0.8)
"""Multiples of the noise, as `L1Wavelet` counts them."""
RECONCILED, ADAPTED = "knee, reconciled", "knee (joint), adapted"
METHODS = (
    "zero-filled",
    "CG-SENSE",
    "CG-SENSE, tuned on brains",
    "L1-wavelet",
    "knee",
    RECONCILED,
    "brain",
    "knee and brain",
    "knee and brain, equal updates",
    "knee (joint)",
    ADAPTED,
)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    if scale.tiny:
        return Embedded(
            ("knee-pd-3t", "brain-t2-3t"), 8, matrix=48, slices=2, shares=(0.25, 0.25, 0.5), needs=NEEDS
        )
    return Embedded(
        ("knee-pd-3t", "brain-t2-3t"), 22, matrix=96, slices=6, shares=(0.64, 0.09, 0.27), needs=NEEDS
    )


def training(scale: Scale) -> TrainingSettings:
    """How every network is trained."""
    if scale is Scale.FULL:
        return replace(lab.training(scale, NETWORK), schemes=(SCHEME,))
    return TrainingSettings(
        objective=Supervised("ssim+l1"),
        epochs=2 if scale.tiny else 9,
        learning_rate=6e-3,
        schemes=(SCHEME,),
        validation_slices=2 if scale.tiny else 8,
    )


def sense(ridge: float) -> Sense:
    """CG-SENSE with a ridge, for tuning."""
    return Sense(ridge=ridge)


def wavelet(weight: float) -> L1Wavelet:
    """The L1-wavelet method with a threshold, for tuning."""
    return L1Wavelet(weight=weight)


def on(method: str, anatomy: str) -> Score:
    """The score that claims are made on."""
    return score(method=method, test=anatomy, metric="ssim", target="mvue", region="support")


def most_closed(method: str) -> LowerBoundAbove:
    """More than half of the gap on brains is closed."""
    return LowerBoundAbove(share_of_gap(on("knee", "brain"), on(method, "brain"), on("brain", "brain")), 0.5)


def no_harm(method: str) -> LowerBoundAtLeast:
    """Nothing is lost on knees."""
    return LowerBoundAtLeast(Difference(on(method, "knee"), on("knee", "knee")), -0.001)


CLAIMS = (
    Claim(
        "specialists-believable",
        "each specialist beats CG-SENSE tuned at its home",
        AllOf(
            (
                LowerBoundAbove(Difference(on("knee", "knee"), on("CG-SENSE", "knee"))),
                LowerBoundAbove(Difference(on("brain", "brain"), on("CG-SENSE, tuned on brains", "brain"))),
            )
        ),
    ),
    Claim(
        "gap",
        "a network trained on knees loses on brains",
        PointAndInterval(Difference(on("brain", "brain"), on("knee", "brain")), at_least=0.02),
        paper="0.063 (U-net), 0.053 (VarNet), one slice each",
    ),
    Claim(
        "joint-as-good",
        "one network of both is as good on each as its specialist",
        AllOf(
            (
                LowerBoundAtLeast(Difference(on("knee and brain", "knee"), on("knee", "knee")), -0.005),
                LowerBoundAtLeast(Difference(on("knee and brain", "brain"), on("brain", "brain")), -0.005),
            )
        ),
    ),
    Claim(
        "ttt-share",
        "fitting the knee network to each brain, and reconciling, closes most of the gap",
        most_closed(ADAPTED),
        paper="1.05 (U-net), 0.96 (VarNet), one slice each",
        unit="share",
    ),
    Claim(
        "reconciled-share",
        "reconciling what the knee network makes of brains closes most of the gap, no weight moved",
        most_closed(RECONCILED),
        unit="share",
    ),
    Claim("ttt-in-distribution", "fitting and reconciling on knees does no harm", no_harm(ADAPTED)),
    Claim("reconciled-in-distribution", "reconciling on knees does no harm", no_harm(RECONCILED)),
)


def run(study: Study) -> None:
    """Train on knees, brains and both; score all on held-out knees and brains, adapted and not."""
    supervised = training(study.scale)
    joint = replace(supervised, objective=Joint(supervised=Supervised("l1")))
    seen_by_specialist = (supervised.epochs or 0) * study.slices(KNEES, "train")
    updates = replace(supervised, epochs=None, samples=seen_by_specialist)

    knee = study.train("knee", NETWORK, KNEES, supervised)
    joint_knee = study.train("knee (joint)", NETWORK, KNEES, joint, fallback="knee")
    methods = {
        "zero-filled": ZeroFilled(),
        "CG-SENSE": study.tune("CG-SENSE", sense, RIDGES, KNEES, SCHEME),
        "CG-SENSE, tuned on brains": study.tune("CG-SENSE brains", sense, RIDGES, BRAINS, SCHEME),
        "L1-wavelet": study.tune("L1-wavelet", wavelet, THRESHOLDS, KNEES, SCHEME),
        "knee": knee,
        RECONCILED: Reconciled(knee, train_seed=knee.train_seed),
        "brain": study.train("brain", NETWORK, BRAINS, supervised),
        "knee and brain": study.train("knee and brain", NETWORK, BOTH, supervised),
        "knee and brain, equal updates": study.train("equal updates", NETWORK, BOTH, updates),
        "knee (joint)": joint_knee,
        ADAPTED: Reconciled(
            AdaptedAtTestTime(
                joint_knee.network,
                knee.network,
                scope="volume",
                steps=4 if study.tiny else 40,
                batch_slices=3,
            ),
            train_seed=joint_knee.train_seed,
        ),
    }
    for anatomy, where in (("knee", KNEES), ("brain", BRAINS)):
        study.compare(methods, where, Evaluation(scheme=SCHEME), test=anatomy)


def page(study: Study) -> tuple[Block, ...]:
    """Claims first, then what a reader of the papers looks for."""
    shown = {"metric": "ssim", "target": "mvue", "region": "support"}
    tests = tuple(Choice(name, {"test": name}) for name in ("knee", "brain"))
    rows = tuple(Choice(name, {"method": name}) for name in METHODS)
    runs = ("knee", "brain", "knee and brain", "knee (joint)")
    labels = ("CG-SENSE", "L1-wavelet", "knee", RECONCILED, ADAPTED, "brain")
    return (
        ClaimsBlock(),
        MatrixBlock(
            "Who was trained on what, scored on what",
            "SSIM inside the body against the MVUE reference; the mean over subjects with its 95 % interval.",
            methods=rows,
            tests=tests,
            where=shown,
        ),
        GapBlock(
            "The gap on brains, and what closes it",
            "From the knee network to the brain network of the same size and budget.",
            bars=(
                Bar("CG-SENSE", {"method": "CG-SENSE"}, "classical"),
                Bar("L1-wavelet", {"method": "L1-wavelet"}, "classical"),
                Bar("trained on knees", {"method": "knee"}, "source"),
                Bar("… reconciled with the samples", {"method": RECONCILED}, "adapted"),
                Bar("trained on knees, joint objective", {"method": "knee (joint)"}, "other"),
                Bar("… fitted to each brain, reconciled", {"method": ADAPTED}, "adapted"),
                Bar("trained on knees and brains", {"method": "knee and brain"}, "other"),
                Bar("trained on brains", {"method": "brain"}, "target"),
            ),
            where={**shown, "test": "brain"},
        ),
        ImagesBlock(
            "What it looks like",
            "Brains: the slice with the median and with the worst score of the adapted network. "
            "Error maps on one scale.",
            examples=study.examples("brain", by=ADAPTED, labels=labels),
        ),
        CurvesBlock(
            "Training",
            "Validation SSIM in each network's own distribution, which chose its checkpoint.",
            curves=tuple(
                Curve(label, f"curves/{study.slug(label)}.jsonl", x="epoch", y="score", panel="validation")
                for label in runs
            ),
            x_label="epoch",
            y_label="validation SSIM",
        ),
        TableBlock(
            "The table to copy",
            "RSS over the whole image stands beside: there the noise floor outside the body decides.",
            rows=rows,
            columns=tuple(
                Choice(f"{test}, {target} {region}", {"test": test, "target": target, "region": region})
                for test in ("knee", "brain")
                for target, region in (("mvue", "support"), ("rss", "all"))
            ),
            where={"metric": "ssim"},
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "All networks are the same unrolled network of 50,000 weights, with the same input, "
                "target and seed. 'knee and brain' sees every slice as often as its specialist (equal "
                "epochs) and so makes twice the updates; 'equal updates' is the control that makes as "
                "many.",
                "CG-SENSE and L1-wavelet are tuned on the knees' validation subjects; CG-SENSE tuned on the "
                "brains' stands beside, for the brain network has to beat it too. Adaptation sees the "
                "measurement alone: one fold of its columns is fitted, one stops, one decides between it and "
                "the fall-back. Reconciling is one solve after the network, by which no weight is moved.",
            ),
        ),
    )
