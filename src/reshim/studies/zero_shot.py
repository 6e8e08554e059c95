"""With nothing but the scan itself: what do untrained methods reach, and what does a trained start buy?

Paper   B. Yaman, S. A. H. Hosseini and M. Akcakaya, ICLR 2022 (arXiv:2102.07737), with and without transfer
        learning; M. Z. Darestani and R. Heckel, IEEE TCI 2021 (arXiv:2007.02471), cold and warm;
        test-time training as in Darestani, Liu and Heckel, ICML 2022.
Claim   a trained start makes zero-shot learning better in the same time; a warm ConvDecoder reaches the cold
        one in a tenth of the steps. Ours: reconciling the trained start with the samples, no weight moved,
        as `reshim reconstruct --adapt reconcile` does, is no worse and takes a twentieth of the time.
Data    knees PD at 3 T (training, tuning, warm start) and brains T2 at 3 T (test), simulated or real.
Cost    about 38 minutes on one core, some networks trained by other studies; --tiny: about a minute.
Run     reshim study zero-shot
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from reshim.acquire import measure, without_oversampling
from reshim.adaptation.at_test_time import MEASURED
from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.zero_shot import ZeroShot
from reshim.digest import digest
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Difference, Ratio, Score, score
from reshim.evaluation.rules import AllOf, LowerBoundAbove, LowerBoundAtLeast
from reshim.networks.conv_decoder import ConvDecoder
from reshim.networks.weights import load_weights, save_weights
from reshim.physics.maps import default_estimator
from reshim.physics.masks import evaluation_seed
from reshim.report.blocks import Bar, Block, Choice, ClaimsBlock, GapBlock, ImagesBlock, TableBlock, TextBlock
from reshim.scans import load
from reshim.studies.engine import lab
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.guarded import rows_of
from reshim.studies.engine.lab import on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.shifts import fitted
from reshim.studies.engine.study import Study
from reshim.training.joint import Joint
from reshim.training.objectives import Supervised

TITLE = "From the scan alone: zero-shot learning and untrained networks"
PAPER = "Yaman, Hosseini and Akcakaya, ICLR 2022; Darestani and Heckel, IEEE TCI 2021"

HOME, AWAY = lab.KNEE_PD, lab.BRAIN_T2
NETWORK = "unrolled-tiny"
COLD, STARTED = "zero-shot", "zero-shot, trained start"
DECODER, WARM = "ConvDecoder, cold", "ConvDecoder, warm"
ADAPTED = "knees (joint), fitted to the scan"
RECONCILED = "knees, reconciled"
SECONDS = "seconds a slice"
ABOUT = (
    "scan_id",
    "dataset",
    "data_kind",
    "subject",
    "split",
    "slice",
    "anatomy",
    "contrast",
    "train_seed",
    "method_sha256",
)
"""Columns of a slice's scores that its seconds have, too."""
WAVELET, LONG = "L1-wavelet", "L1-wavelet, ten times the steps"
EPOCHS, PATIENCE = 12, 3
"""Of zero-shot learning: a twenty-fifth of what the release allows."""

METHODS = ("knees", WAVELET, LONG, COLD, STARTED, RECONCILED, DECODER, WARM, ADAPTED, "brains")


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    return lab.embedded(HOME, AWAY, scale=scale)


def seconds(method: str) -> Score:
    """Wall time of one slice."""
    return score(f"{SECONDS} of {method}", method=method, test=AWAY.label, metric=SECONDS)


CLAIMS = (
    Claim(
        "trained-start",
        "zero-shot learning from a network trained on knees beats zero-shot learning from nothing, on brains",
        LowerBoundAbove(Difference(on(STARTED, AWAY), on(COLD, AWAY))),
        paper="faster, with similar quality",
    ),
    Claim(
        "repairs",
        "zero-shot learning from the knee network is better than the knee network as it is",
        LowerBoundAbove(Difference(on(STARTED, AWAY), on("knees", AWAY))),
    ),
    Claim(
        "reconciling-as-good",
        "reconciling the knee network with the samples is no worse than zero-shot learning from it",
        LowerBoundAtLeast(Difference(on(RECONCILED, AWAY), on(STARTED, AWAY)), -0.001),
    ),
    Claim(
        "reconciling-sooner",
        "reconciling the knee network takes a twentieth of the time of zero-shot learning from it",
        LowerBoundAtLeast(Ratio(seconds(STARTED), seconds(RECONCILED)), 20),
        unit="times",
    ),
    Claim(
        "warm-decoder",
        "a ConvDecoder that starts from a knee slice is within 0.01 of the cold one in a tenth of the steps",
        LowerBoundAtLeast(Difference(on(WARM, AWAY), on(DECODER, AWAY)), -0.01),
        paper="ten times faster, no accuracy gained",
    ),
    Claim(
        "more-than-sparse",
        "what trains on the scan beats L1-wavelet, with ten times its usual steps too",
        AllOf(
            tuple(
                LowerBoundAbove(Difference(on(method, AWAY), on(LONG, AWAY))) for method in (STARTED, ADAPTED)
            )
        ),
    ),
)


def run(study: Study) -> None:
    """Train on knees and brains; reconstruct brains with what learned from the scan alone, and with those."""
    settings = lab.training(study.scale, NETWORK)
    joint = replace(settings, objective=Joint(supervised=Supervised("l1")))
    knees = study.train("knees", NETWORK, HOME.where, settings)
    brains = study.train("brains", NETWORK, AWAY.where, settings)
    joint_knees = study.train("knees (joint)", NETWORK, HOME.where, joint, fallback="knees")
    wavelet = study.tune(WAVELET, lab.wavelet, lab.THRESHOLDS, HOME.where, lab.SCHEME)
    epochs, n_splits = (1, 2) if study.tiny else (EPOCHS, ZeroShot.n_splits)
    zero_shot = ZeroShot(epochs=epochs, patience=PATIENCE, n_splits=n_splits, unit="column")
    decoder = FittedDecoder(iterations=5 if study.tiny else 1200, channels=16 if study.tiny else 64)
    methods = {
        "knees": knees,
        WAVELET: wavelet,
        LONG: replace(wavelet, iterations=10 * wavelet.iterations),  # type: ignore[type-var,attr-defined]
        COLD: zero_shot,
        STARTED: replace(zero_shot, start=knees.network, train_seed=knees.train_seed),
        RECONCILED: Reconciled(knees, train_seed=knees.train_seed),
        DECODER: decoder,
        WARM: replace(decoder, start=warm_start(study, decoder)),
        ADAPTED: fitted(joint_knees, knees, study.tiny),
        "brains": brains,
    }
    # Every slice is a training of its own here; the middle ones of each volume stand for it.
    evaluation = replace(lab.EVALUATION, slices=(0,) if study.tiny else (1, 2))
    study.compare(methods, AWAY.where, evaluation, test=AWAY.label)
    for name in methods:
        keep_seconds(study, name)


def keep_seconds(study: Study, method: str) -> None:
    """Take the time of each slice, an equal part of its volume's, into the study's rows.

    The time is what was noted when the rows were made; a run that finds them made keeps it.
    """
    slices = {(row["scan_id"], row["slice"]): row for row in rows_of(study, method, AWAY.label).values()}
    in_all = Counter(scan for scan, _ in slices)
    study.keep(
        [
            {name: row[name] for name in ABOUT} | {"metric": SECONDS, "value": row["seconds"] / in_all[scan]}
            for (scan, _), row in slices.items()
        ],
        method=method,
        test=AWAY.label,
    )


def warm_start(study: Study, decoder: FittedDecoder) -> ConvDecoder:
    """The decoder fitted to the first slice of the first validation knee; fitted once and kept."""
    record = study.scans(HOME.where, "val")[0]
    path = study.shared / "decoders" / f"{digest(decoder, record.fingerprint)[:16]}.safetensors"
    if not path.exists():
        reduced = without_oversampling(load(record, (0,)))
        measurement = measure(reduced, lab.SCHEME, evaluation_seed(Path(record.path).name))
        save_weights(path, decoder.fit(default_estimator(measurement)))
    # The ladder of sizes is no part of the weights, so any shape will do.
    network = ConvDecoder((64, 64), 2, decoder.channels, decoder.layers, decoder.seed_shape, decoder.seed)
    load_weights(path, network)
    return network


def page(study: Study) -> tuple[Block, ...]:
    """Claims, the order of methods, images, the table."""
    bars = (
        Bar(WAVELET, {"method": WAVELET}, "classical"),
        Bar("trained on knees", {"method": "knees"}, "source"),
        *(Bar(name, {"method": name}, "other") for name in (DECODER, WARM, COLD)),
        *(Bar(name, {"method": name}, "adapted") for name in (STARTED, ADAPTED, RECONCILED)),
        Bar("trained on brains", {"method": "brains"}, "target"),
    )
    rows = tuple(Choice(name, {"method": name}) for name in METHODS)
    return (
        ClaimsBlock(),
        GapBlock(
            f"On {AWAY.label}, from the scan alone and with a start from knees",
            "SSIM inside the body against the MVUE reference.",
            bars=bars,
            where={**lab.SHOWN, "test": AWAY.label},
        ),
        ImagesBlock(
            "What it looks like",
            "The slice with the median and with the worst score of zero-shot learning from a trained start.",
            examples=study.examples(
                AWAY.label, by=STARTED, labels=("knees", COLD, STARTED, RECONCILED, DECODER)
            ),
        ),
        TableBlock(
            "The table to copy",
            "RSS over the whole image and seconds of one slice stand beside.",
            rows=rows,
            columns=(
                *(
                    Choice(f"{target} {region}", {"metric": "ssim", "target": target, "region": region})
                    for target, region in (("mvue", "support"), ("rss", "all"))
                ),
                Choice(SECONDS, {"metric": SECONDS}),
            ),
            where={"test": AWAY.label},
        ),
        TextBlock(
            "What is compared",
            paragraphs=(
                "Zero-shot learning trains an unrolled network on the acquired samples of one slice: some "
                "columns feed the data consistency, some the loss, some stop it. Its code was written from "
                "the paper's description; the method is covered by a patent application of its authors "
                "(US 17/075,411).",
                f"Here it may take {EPOCHS} epochs of {ZeroShot.n_splits} splits and ends after {PATIENCE} "
                f"without a lower validation error, and whole columns are held out; the released code allows "
                f"{ZeroShot.epochs} epochs with a patience of {ZeroShot.patience} and holds out single "
                "points, whose neighbours along the readout give them away. With the release's patience and "
                "time it may reach more than is shown here.",
                f"The network that is fitted to the scan has the settings of `--adapt volume` (at most "
                f"{MEASURED['steps']} steps of {MEASURED['batch_slices']} slices at "
                f"{MEASURED['learning_rate']:g}, one set of weights for a volume, the supervised "
                "network where the judging fold shows no gain), but is not reconciled, so that what fitting "
                "does stands by itself.",
                "The ConvDecoder's number of steps is its regularisation and was not tuned on brains, nor "
                "was any other setting.",
                "Reconciling moves no weight: one solve brings the network's image, the acquired samples and "
                "sparsity in wavelets together. Seconds are the wall time of a call over its slices, the "
                "network's own part counted; they depend on what else the machine did.",
            ),
        ),
    )
