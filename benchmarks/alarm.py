"""Does the shift score tell close protocols apart? AUROC of pairs that `shift-alarm` does not ask about.

What the alarm looks at was chosen on these pairs, so that the claims of that study stay of pairs that nothing
was chosen on. Each line: a network's home, the protocol it meets, and how often a scan of that has a higher
score than a usual one (ties count half), of whole volumes and of their middle slices; and the share of either
volumes whose score is above 1, which `--adapt auto` calls unusual. Every scan has a mask of its own, as in
training and in evaluation. Noise and coils of the met protocol are those of home: they would give it away.
All scans are simulated.

    python benchmarks/alarm.py [PAIR ...] [--training 14] [--scans 24] [--matrix 64] [--slices 4]
    python benchmarks/alarm.py --held-out --training 24

A PAIR is HOME:AWAY, two of the simulated protocols; `--held-out` asks the pairs of protocols of which none
was looked at before the score was settled, with subjects of their own. One JSON line a pair, and one of the
means.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reshim.acquire import Scheme, measure, without_oversampling
from reshim.progress import steps
from reshim.scans import open_scan
from reshim.simulation.protocols import Protocol, protocol_of
from reshim.simulation.write import simulate
from reshim.training.features import Features, features
from reshim.training.statistics import Statistics

PAIRS = (
    ("brain-t1-3t", "brain-flair-3t"),
    ("brain-t2-3t", "brain-flair-3t"),
    ("brain-t2-1.5t", "brain-t1-1.5t"),
    ("brain-flair-3t", "brain-t1-post-3t"),
    ("brain-flair-1.5t", "brain-t2-1.5t"),
    ("brain-t1-1.5t", "brain-t2-1.5t"),
    ("knee-pd-fs-1.5t", "knee-pd-1.5t"),
    ("knee-pd-fs-3t", "knee-pd-3t"),
    ("knee-pd-1.5t", "knee-pd-fs-1.5t"),
    ("knee-pd-3t-b", "knee-pd-fs-3t-b"),
    ("knee-pd-3t", "knee-pd-fs-3t"),
)
HELD_OUT = (
    ("brain-t2-0.3t", "brain-t1-0.3t"),
    ("brain-t1-0.3t", "brain-flair-0.3t"),
    ("brain-flair-0.3t", "brain-t2-0.3t"),
    ("knee-pd-1.5t-b", "knee-pd-fs-1.5t-b"),
    ("abdomen-t2-3t", "abdomen-t1-1.5t"),
    ("prostate-t2-3t", "pelvis-t2-3t"),
    ("heart-sax-1.5t", "heart-4ch-1.5t"),
)
"""Within an anatomy, of protocols in neither `PAIRS` nor `shift-alarm`; what they cost is not known."""

SCHEME = Scheme("equispaced", 4)
MASK_SEED = 1
"""And the number of the subject."""

FIRST = {"chosen on": (0, 3000, 4000), "held out": (5000, 6000, 7000)}
"""Where subjects begin: of training, of usual and of shifted scans."""


def scans(folder: Path, card: Protocol, subjects: range, matrix: int, slices: int) -> list[Features]:
    """The features of every slice of each subject's scan, of its first where a protocol repeats it."""
    paths = simulate(folder, [card], list(subjects), matrix, slices)
    first = paths[:: len(paths) // len(subjects)]
    return [
        features(measure(without_oversampling(open_scan(path).load(None)), SCHEME, MASK_SEED + number))
        for number, path in zip(subjects, first, strict=True)
    ]


def auroc(usual: Sequence[float], shifted: Sequence[float]) -> float:
    """How often a shifted score is above a usual one; ties count half."""
    apart = torch.tensor(shifted)[:, None] - torch.tensor(usual)
    return float((apart > 0).double().mean() + (apart == 0).double().mean() / 2)


def ask(home: str, away: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The AUROC of one pair."""
    own, met = protocol_of(home), protocol_of(away)
    matched = replace(met, name=f"{away}-as-{home}", snr=own.snr, coils=own.coils)

    def seen(card: Protocol, start: int, count: int) -> list[Features]:
        return scans(folder, card, range(start, start + count), options.matrix, options.slices)

    first = FIRST["held out" if options.held_out else "chosen on"]
    training = seen(own, first[0], options.training)
    names = [(str(index), str(index)) for index, rows in enumerate(training) for _ in rows]
    known = Statistics.of(torch.cat(training), names)
    usual, shifted = seen(own, first[1], options.scans), seen(matched, first[2], options.scans)
    middle = slice(options.slices // 2, options.slices // 2 + 1)
    found: dict[str, float] = {}
    for what, part in (("volumes", slice(None)), ("middle slices", middle)):
        scores = [[known.unlikeness(rows[part]) for rows in some] for some in (usual, shifted)]
        found[what] = auroc(*scores)
        if what == "volumes":
            called = [sum(score > 1 for score in some) / len(some) for some in scores]
            found |= dict(zip(("usual called unusual", "shifted called unusual"), called, strict=True))
    return {"home": home, "away": away, **{what: round(value, 4) for what, value in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="*", metavar="HOME:AWAY", help="default: all that were chosen on")
    parser.add_argument("--held-out", action="store_true", help="pairs that nothing was chosen on")
    parser.add_argument("--training", type=int, default=14, help="subjects that the statistics are of")
    parser.add_argument("--scans", type=int, default=24, help="usual and shifted scans, of a subject each")
    parser.add_argument("--matrix", type=int, default=64)
    parser.add_argument("--slices", type=int, default=4)
    options = parser.parse_args()
    pairs = [tuple(pair.split(":")) for pair in options.pairs] or list(
        HELD_OUT if options.held_out else PAIRS
    )
    if strange := [pair for pair in pairs if len(pair) != 2]:
        parser.error(f"{':'.join(strange[0])!r} is no pair; write HOME:AWAY, e.g. brain-t1-3t:brain-flair-3t")
    lines = []
    with tempfile.TemporaryDirectory() as folder, steps("pairs", len(pairs)) as tick:
        for home, away in pairs:
            lines.append(ask(home, away, options, Path(folder)))
            print(json.dumps(lines[-1]), flush=True)
            tick(f"{home}, {away}")
    numbers = [what for what in lines[0] if what not in ("home", "away")]
    means = {what: round(sum(line[what] for line in lines) / len(lines), 4) for what in numbers}
    print(json.dumps({"mean of pairs": len(lines), **means}))


if __name__ == "__main__":
    main()
