"""Is a chosen half of the training scans worth more than all of them, at equal samples seen?

Paper   K. Lin, A. Krainovic, K. Wang and R. Heckel, arXiv:2508.13822: filters on 1.1 M slices, 48 test sets
        (`reshim evaluate --slice-list` takes them). Ours differs: whole scans are chosen, not slices; the
        features of retrieval are those of `reshim.evaluation.similarity`, not DreamSim's.
Claim   half of the pool chosen by retrieval is, on the protocols that it was retrieved for, better than a
        random half, and than the whole pool; filters by energy and edges are better than a random half: the
        mean of three of them, drawn anew.
Data    a pool of six protocols at 3 T; for two protocols at 1.5 T, whose validation subjects are the
        reference of retrieval and whose test subjects are scored; of the catalog, or simulated.
Cost    about 29 minutes on one core that other work shared; --tiny: under a minute.
Run     reshim study data-filtering
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  the name the field uses
from torch import Tensor

from reshim.evaluation.claims import Claim
from reshim.evaluation.quantities import Average, Difference, Quantity
from reshim.evaluation.rules import LowerBoundAbove
from reshim.evaluation.similarity import Spectrum
from reshim.report.blocks import Block, Choice, ClaimsBlock, ImagesBlock, MatrixBlock, TableBlock
from reshim.seeds import generator_of
from reshim.studies.engine import lab
from reshim.studies.engine.diverse import compare, learning_curves
from reshim.studies.engine.embedded import Embedded, Need
from reshim.studies.engine.lab import NAMES, SHOWN, Distribution, on
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study
from reshim.studies.similarity import images
from reshim.types import ScanRecord

TITLE = "Choosing training scans"
PAPER = "Lin et al., arXiv:2508.13822"
NETWORK = "unet-tiny"
POOL = (lab.KNEE_PD, lab.KNEE_PDFS, lab.BRAIN_T1, lab.BRAIN_T1_POST, lab.BRAIN_T2, lab.BRAIN_FLAIR)
TARGETS = (lab.BRAIN_T2_15, lab.BRAIN_FLAIR_15)
SHARE = 0.5
"""Of the pool's scans that a filter keeps."""

ALIKE = 0.98
"""Cosine similarity from which a scan repeats one that was kept."""

RANDOM = "random half"
DRAWS = (1, 2, 3)
"""Random halves: a single one is better or worse than another by luck."""

FILTERS = ("all", RANDOM, "energy", "edges", "retrieval", "retrieval, weighted")


def called(kept: str) -> str:
    """What rows call the network trained on what a filter kept; their column `draw` tells random halves."""
    return f"{NAMES[NETWORK]}: {kept}"


def half(draw: int) -> dict[str, str]:
    """The column by which rows tell one random half from another."""
    return {"draw": f"draw {draw}"}


def scored(kept: str, test: Distribution) -> Quantity:
    """The score of a filter on a target; of random halves, the mean."""
    if kept != RANDOM:
        return on(called(kept), test)
    return Average(tuple(on(called(RANDOM), test, **half(draw)) for draw in DRAWS))


def _gain(first: str, second: str) -> LowerBoundAbove:
    differences = (Difference(scored(first, test), scored(second, test)) for test in TARGETS)
    return LowerBoundAbove(Average(tuple(differences)))


CLAIMS = (
    Claim("retrieval-random", "retrieval beats a random half", _gain("retrieval", RANDOM)),
    Claim(
        "retrieval-all",
        "retrieval with weights beats the whole pool at equal samples seen",
        _gain("retrieval, weighted", "all"),
        paper="+0.0032 (VarNet, pool with 1 % in distribution, 48 test sets)",
    ),
    Claim("energy-random", "the filter by energy beats a random half", _gain("energy", RANDOM)),
    Claim("edges-random", "the filter by edges beats a random half", _gain("edges", RANDOM)),
)


def energy(volume: Tensor) -> float:
    """Mean over slices of the largest value, of the volume's: low where slices are mostly empty."""
    return float(volume.amax((-2, -1)).mean() / volume.max())


def edges(volume: Tensor) -> float:
    """Share of pixels whose gradient is above a tenth of the volume's maximum."""
    down, right = volume.diff(dim=-2)[..., :-1], volume.diff(dim=-1)[..., :-1, :]
    return float(((down.square() + right.square()).sqrt() > 0.1 * volume.max()).float().mean())


def retrieved(
    pool: Mapping[str, Tensor], wanted: Mapping[str, Tensor], count: int, alike: float = ALIKE
) -> Counter[str]:
    """The scans of the pool that are nearest to the wanted ones, and how often each was asked for.

    A scan that repeats one before it (cosine of `alike` or more) comes only when no others are left. The
    number of neighbours of each wanted scan grows until `count` scans are found.
    """
    embed = Spectrum()
    names = list(pool)
    known = torch.stack([embed(pool[name]).mean(0) for name in names])
    asked = torch.stack([embed(volume).mean(0) for volume in wanted.values()])
    mean, deviation = known.mean(0), known.std(0).clamp_min(1e-8)
    known, asked = (F.normalize((lines - mean) / deviation, dim=-1) for lines in (known, asked))
    original = [index for index in range(len(names)) if not (known[:index] @ known[index] >= alike).any()]
    if len(original) < count:
        original += [index for index in range(len(names)) if index not in original][: count - len(original)]
    nearest = (asked @ known[original].T).argsort(dim=1, descending=True)
    for neighbours in range(1, len(original) + 1):
        found = Counter(names[original[place]] for place in nearest[:, :neighbours].flatten().tolist())
        if len(found) >= count:
            break
    return Counter(dict(found.most_common(count)))


def embedded(scale: Scale) -> Embedded:
    """Which scans are simulated where no catalog is given."""
    pool, wanted = ([each.need() for each in some] for some in (POOL, TARGETS))
    needs = (
        Need.any_of(pool, "train", "val"),
        Need.any_of(wanted, "val"),
        *(target.need("test") for target in TARGETS),
    )
    return lab.embedded(*POOL, *TARGETS, scale=scale, needs=needs)


def run(study: Study) -> None:
    """Choose half of the pool in each way, train on it for as many samples, score on the targets."""
    records = {record.scan_id: record for record in study.scans(lab.any_of(POOL), "train")}
    wanted = {record.scan_id: record for record in study.scans(lab.any_of(TARGETS), "val")}
    epochs = lab.training(study.scale, NETWORK).epochs or 1
    seen = epochs * round(SHARE * sum(record.n_slices for record in records.values()))
    settings = lab.training(study.scale, NETWORK, epochs=None, samples=seen)
    methods = {
        called(name): study.train(called(name), NETWORK, where, settings)
        for name, where in chosen(records, wanted).items()
    }
    compare(study, methods, TARGETS)
    for draw, where in random_halves(records, study.seed).items():
        run = study.train(f"{called(RANDOM)} {draw}", NETWORK, where, settings)
        compare(study, {called(RANDOM): run}, TARGETS, half(draw))


def chosen(
    records: Mapping[str, ScanRecord], wanted: Mapping[str, ScanRecord]
) -> dict[str, str | dict[str, float | None]]:
    """The filter over the catalog of each way to choose that draws nothing."""
    side = max(
        max(record.recon_rows, record.recon_columns) for record in [*records.values(), *wanted.values()]
    )
    pool, reference = (
        {name: images(record, side) for name, record in some.items()} for some in (records, wanted)
    )
    count, names = round(SHARE * len(pool)), sorted(pool)
    times = retrieved(pool, reference, count)
    weighted: dict[str, float | None] = {
        _among([name for name in times if times[name] == level]): sum(
            level**0.5 * records[name].n_slices for name in times if times[name] == level
        )
        for level in sorted(set(times.values()))
    }
    return {
        "all": _among(names),
        "energy": _among(sorted(names, key=lambda name: -energy(pool[name]))[:count]),
        "edges": _among(sorted(names, key=lambda name: -edges(pool[name]))[:count]),
        "retrieval": _among(list(times)),
        "retrieval, weighted": weighted,
    }


def random_halves(names: Iterable[str], seed: int) -> dict[int, str]:
    """The filter over the catalog of each random half, by its number."""
    there, generator = sorted(names), generator_of(RANDOM, seed)
    orders = {draw: torch.randperm(len(there), generator=generator).tolist() for draw in DRAWS}
    count = round(SHARE * len(there))
    return {draw: _among([there[index] for index in order[:count]]) for draw, order in orders.items()}


def _among(names: Sequence[str]) -> str:
    """Scans by name; the validation scans of the pool choose the checkpoint, whatever was chosen."""
    quoted = ", ".join(f"'{name}'" for name in sorted(names))
    return f"scan_id IN ({quoted}) OR (split = 'val' AND ({lab.any_of(POOL)}))"


def page(study: Study) -> tuple[Block, ...]:
    """Claims, scores of each way to choose, images, training, the table to copy."""
    rows = tuple(Choice(name, {"method": called(name)}) for name in FILTERS)
    halves = tuple(Choice(f"{RANDOM} {draw}", {"method": called(RANDOM), **half(draw)}) for draw in DRAWS)
    tests = tuple(test.test for test in TARGETS)
    away, followed = TARGETS[0].label, called("retrieval")
    note = (
        "Every network saw as many samples; every filter keeps half of the pool's scans. “Random half” is "
        f"the mean of the {len(DRAWS)} at the end."
    )
    return (
        ClaimsBlock(),
        MatrixBlock(
            "What was kept, and the score on the targets", note, (*rows, *halves), tests, SHOWN, True
        ),
        ImagesBlock(
            f"What it looks like: {away}",
            "The slice with the median and the one with the worst score of the half chosen by retrieval. Of "
            "random halves, the first is shown.",
            examples=study.examples(away, followed, [called(name) for name in FILTERS], half(DRAWS[0])),
        ),
        learning_curves(study),
        TableBlock("The table to copy", rows=rows, columns=tests, where=SHOWN, compare_to=RANDOM),
    )
