"""Does a network do better on a test set that resembles its training images?

Paper   K. Lin and R. Heckel, ICML 2024 (arXiv:2312.10271), section 4: CLIP similarity to the nearest training
        images against performance (correlations not to be had).
Claim   over pairs of a single-protocol network and a protocol that no network saw, similarity and score, each
        taken relative to the mean of the networks on that protocol, rank alike.
Data    the networks of diverse-large that saw all training scans, of one protocol or of all, and its held-out
        protocols; of the catalog, or simulated.
Cost    about 2 minutes of one core after diverse-large, which trains the same networks; --tiny: minutes.
Run     reshim study similarity; with RESHIM_CLIP_WEIGHTS=FILE the features of CLIP, too
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from reshim.acquire import reference
from reshim.digest import digest
from reshim.errors import UserError
from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, Quantity, RankCorrelation
from reshim.evaluation.rules import LowerBoundAbove
from reshim.evaluation.similarity import Clip, EfficientNet, Similarity
from reshim.physics.fourier import center_crop, center_pad
from reshim.report.blocks import (
    Block,
    Choice,
    ClaimsBlock,
    ImagesBlock,
    MatrixBlock,
    Point,
    ScatterBlock,
    TableBlock,
    TextBlock,
)
from reshim.scans import load
from reshim.studies.diverse_large import LARGE
from reshim.studies.engine import lab
from reshim.studies.engine.crowd import evenly
from reshim.studies.engine.diverse import Part, called, compare
from reshim.studies.engine.embedded import Embedded
from reshim.studies.engine.lab import NAMES, SHOWN, Distribution, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.types import ScanRecord

TITLE = "Alike images, better reconstructions"
PAPER = "Lin and Heckel, ICML 2024"
NETWORKS = LARGE.networks
MOST_TRAINING_SCANS = 32
"""Of each protocol, spread evenly over its training scans; their images are in memory all at once."""
SINGLES = tuple(Part.of(each) for each in LARGE.singles)
UNION = LARGE.union

Features = dict[str, tuple[str, Similarity]]


@dataclass(frozen=True)
class Options:
    """`reshim study similarity --option KEY=VALUE ...`; see `reshim.evaluation.similarity.Similarity`."""

    embedding: Literal["all", "spectrum", "efficientnet", "clip"] = "all"
    neighbours: int = 1
    patch: int | None = None
    aggregate: Literal["mean", "least"] = "mean"

    def __post_init__(self) -> None:
        for name in ("neighbours", "patch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--option {name}={value}: {name} is at least 1")


OPTIONS = Options()


def features(clip: Clip | None) -> Features:
    """Metric of the rows: the features, in words, and what measures it; CLIP's cosine is the paper's."""
    found = {
        "similarity": ("spectrum and gradients", Similarity()),
        "similarity-efficientnet": ("EfficientNet", Similarity(EfficientNet())),
    }
    return (
        found if clip is None else found | {"similarity-clip": ("CLIP", Similarity(clip, standardise=False))}
    )


FEATURES = features(Clip.of_environment())


def relative(network: str, part: Part, test: Distribution, metric: str) -> Quantity:
    """A score, or the similarity, less the mean of all networks on that test: tests differ in difficulty."""
    everyone = tuple(on(called(network, each), test, metric=metric) for each in SINGLES)
    return Difference(on(called(network, part), test, metric=metric), Average(everyone))


def correlation(network: str, metric: str) -> RankCorrelation:
    """Of similarity and score over pairs of network and held-out protocol."""
    pairs = [(part, test) for part in SINGLES for test in LARGE.held_out]
    alike, scores = (tuple(relative(network, *pair, each) for pair in pairs) for each in (metric, "ssim"))
    label = f"rank correlation of {metric} and SSIM, relative, over {len(pairs)} pairs"
    return RankCorrelation(alike, scores, label)


def claims(asked: Features) -> tuple[Claim, ...]:
    """For every network and every kind of features."""
    return tuple(
        Claim(
            f"{network.removesuffix('-tiny')}-ranks-alike{metric.removeprefix('similarity')}",
            f"{NAMES[network]}: where test images resemble the training images more ({words}), "
            "the score is better",
            LowerBoundAbove(correlation(network, metric)),
            paper="positive (no figure known)",
            unit="rank correlation",
        )
        for metric, (words, _) in asked.items()
        for network in NETWORKS
    )


CLAIMS = claims(FEATURES)


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    trained = tuple(single.need("train", "val") for single in LARGE.singles)
    needs = (*trained, *(test.need("test") for test in LARGE.held_out))
    return lab.embedded(*LARGE.singles, *LARGE.held_out, scale=scale, needs=needs)


def run(study: Study) -> None:
    """Train on each protocol and on all, score on those held out, and look how alike the images are."""
    looked_at = asked_for(study)
    for network in NETWORKS:
        methods = {called(network, part): part.train(study, network) for part in (*SINGLES, UNION)}
        compare(study, methods, LARGE.held_out)
    tests = {test.label: study.scans(test.where, "test") for test in LARGE.held_out}
    trained = {part.label: evenly(study.scans(part.where, "train"), MOST_TRAINING_SCANS) for part in SINGLES}
    for metric, (_, similarity) in looked_at.items():
        measure(study, trained, tests, metric, similarity)


def installed() -> Features:
    """The features whose packages are there; claims of the others are not answered.

    Raises
    ------
    UserError
        If weights of CLIP are named and its package or the file is not there.
    """
    for _, similarity in FEATURES.values():
        if isinstance(similarity.embed, Clip):
            similarity.embed.check()
    return {
        metric: (words, similarity)
        for metric, (words, similarity) in FEATURES.items()
        if not isinstance(similarity.embed, EfficientNet) or similarity.embed.installed
    }


def asked_for(study: Study) -> Features:
    """The installed features that the options leave, compared as they say.

    Raises
    ------
    UserError
        If none is left.
    """
    options = study.options or OPTIONS
    only = {"spectrum": "similarity"}.get(options.embedding, f"similarity-{options.embedding}")
    found = {
        metric: (
            words,
            replace(each, neighbours=options.neighbours, patch=options.patch, aggregate=options.aggregate),
        )
        for metric, (words, each) in installed().items()
        if options.embedding == "all" or metric == only
    }
    if not found:
        raise UserError(
            f"--option embedding={options.embedding}: there are no such features here; install "
            "'reshim[features]', or name weights of CLIP in RESHIM_CLIP_WEIGHTS"
        )
    return found


def measure(
    study: Study,
    trained: dict[str, list[ScanRecord]],
    tests: dict[str, list[ScanRecord]],
    metric: str,
    similarity: Similarity,
) -> None:
    """Put into the store how much each test image resembles each training set, and all of them together."""
    scans = {**trained, UNION.label: [record for some in trained.values() for record in some]}
    keys = {
        (of, on_): digest(similarity, [r.fingerprint for r in scans[of]], [r.fingerprint for r in tests[on_]])
        for of in scans
        for on_ in tests
    }
    if not all(study.store.has(key) for key in keys.values()):
        side = max(max(r.recon_rows, r.recon_columns) for some in tests.values() for r in some)
        found = similarity(
            {name: torch.cat([images(r, side) for r in some]) for name, some in trained.items()},
            {name: torch.cat([images(r, side) for r in some]) for name, some in tests.items()},
            {UNION.label: list(trained)},
        )
        for pair, values in found.items():
            study.store.put(keys[pair], list(rows(tests[pair[1]], values, metric, keys[pair])))
    for (of, test), key in keys.items():
        part = next(each for each in (*SINGLES, UNION) if each.label == of)
        study.finished += [(key, {"method": called(network, part), "test": test}) for network in NETWORKS]


def images(record: ScanRecord, side: int) -> Tensor:
    """The references of a scan over their maximum, on a square that is the same for all scans."""
    found = reference(load(record), "mvue")
    size = (side, side)
    return center_pad(
        center_crop(found / found.max(), (min(side, found.shape[-2]), min(side, found.shape[-1]))), size
    )


def rows(records: list[ScanRecord], values: Tensor, metric: str, key: str) -> list[dict]:
    """One row a slice, as scores have them."""
    slices = [(record, number) for record in records for number in range(record.n_slices)]
    return [
        {
            "scan_id": record.scan_id,
            "dataset": record.dataset,
            "data_kind": record.data_kind,
            "subject": record.subject,
            "split": record.split,
            "anatomy": record.anatomy,
            "contrast": record.contrast,
            "slice": number,
            "target": SHOWN["target"],
            "region": SHOWN["region"],
            "metric": metric,
            "value": float(value),
            "key": key,
        }
        for (record, number), value in zip(slices, values, strict=True)
    ]


def page(study: Study) -> tuple[Block, ...]:
    """Claims, similarity and scores side by side, one against the other, images, the table to copy."""
    looked_at = asked_for(study)
    options = study.options or OPTIONS
    tests = tuple(test.test for test in LARGE.held_out)
    methods = {
        network: tuple(Choice(part.label, {"method": called(network, part)}) for part in (*SINGLES, UNION))
        for network in NETWORKS
    }
    first, away = NETWORKS[0], LARGE.held_out[0].label
    shown = [called(first, part) for part in (*SINGLES, UNION)]
    blocks: list[Block] = [ClaimsBlock()]
    for network in NETWORKS:
        blocks.append(MatrixBlock(f"{NAMES[network]}: scores", "", methods[network], tests, SHOWN))
        blocks += [scores_against(network, metric, words) for metric, (words, _) in looked_at.items()]
    return (
        *blocks,
        *(
            MatrixBlock(
                f"Similarity: {words}",
                "Rows: trained on.",
                methods[NETWORKS[0]],
                tests,
                {**SHOWN, "metric": metric},
            )
            for metric, (words, _) in looked_at.items()
        ),
        ImagesBlock(
            f"What it looks like: {away}",
            f"The slice with the median and the one with the worst score of the {NAMES[first]} of all.",
            examples=study.examples(away, shown[-1], shown),
        ),
        TableBlock(
            "The table to copy",
            rows=tuple(choice for network in NETWORKS for choice in by_method(network)),
            columns=tests,
            where=SHOWN,
        ),
        TextBlock(
            "How similarity is measured",
            paragraphs=(
                "Features of the reference images (log power in rings and sectors of the spectrum with "
                "quantiles of intensities and gradients at three scales; or the last convolution of an "
                "EfficientNet trained on photographs), standardised over all training images; the cosine to "
                "the nearest training image, averaged over slices. Where RESHIM_CLIP_WEIGHTS names weights "
                "of CLIP, its features too, as they are: the paper takes their cosine. Here: "
                f"{told(options)}; `--option` changes it.",
                f"The training images are those of at most {MOST_TRAINING_SCANS} scans of a protocol, spread "
                "evenly over its training scans; where there are more, the nearest image of all is not "
                "always among them.",
                "The network of all protocols has the nearest images of any of them, so its similarity is "
                "the highest by construction; what can be seen is whether its score is, too. It stands in no "
                "claim here and in no line: diverse-large judges it.",
            ),
        ),
    )


def told(options: Options) -> str:
    """The options in words."""
    whole = "whole images" if options.patch is None else f"patches of {options.patch} pixels a side"
    near = "the nearest one" if options.neighbours == 1 else f"the mean of the {options.neighbours} nearest"
    least = "" if options.patch is None else f", of an image's patches the {options.aggregate}"
    return f"{whole}, {near}{least}"


def by_method(network: str) -> tuple[Choice, ...]:
    """The networks of one kind under their full names."""
    names = (called(network, part) for part in (*SINGLES, UNION))
    return tuple(Choice(name, {"method": name}) for name in names)


def scores_against(network: str, metric: str, words: str) -> ScatterBlock:
    """Each network on each held-out protocol: its score over the similarity."""
    return ScatterBlock(
        f"{NAMES[network]}: score against similarity ({words})",
        "Each mark is a network on one held-out protocol, a colour a protocol; of each colour, the mark "
        "furthest to the right is the network of all. The line is fitted through the others.",
        points=tuple(
            Point(
                f"{part.label} on {test.label}",
                {"method": called(network, part), "test": test.label, "metric": metric},
                {"method": called(network, part), "test": test.label},
                group=test.label,
                in_fit=part != UNION,
            )
            for part in (*SINGLES, UNION)
            for test in LARGE.held_out
        ),
        where=SHOWN,
        x_label="cosine similarity to the nearest training images",
        y_label="SSIM",
        diagonal=False,
    )
