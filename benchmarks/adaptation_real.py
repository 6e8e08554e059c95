"""What `--adapt` makes of real scans: each mode on each RUN, beside L1-wavelet tuned on simulated knees.

    RESHIM_REAL_DATA=FOLDER python benchmarks/adaptation_real.py [NAME=]RUN ... [--modes MODE ...]

Fully sampled scans are undersampled and scored against their own MVUE reference in the head: SSIM, PSNR in
decibels.
"As it is" is what a RUN hands out un-adapted, its fall-back where it has one. Prints the table of
docs/adaptation.md; what was done to a slice stands behind its scores where the mode had a choice.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

from reshim.acquire import Scheme
from reshim.adaptation.at_test_time import InBatches
from reshim.methods import method_of
from reshim.reconstruction import Card, Request, reconstruct_acquisition
from reshim.scans import open_scan
from reshim.training.run_folder import load_run
from reshim.types import Reconstructor

SCANS = ("raw-brain8-full", "raw-brain16-96")
ADAPTED = ("reconcile", "volume", "auto")
CHOOSES = ("volume", "auto")


def as_it_is(run: str) -> Reconstructor:
    trained = load_run(run)
    return trained if trained.fallback is None else InBatches(trained.fallback)


def card_of(path: Path, method: Reconstructor, request: Request) -> Card:
    scan = open_scan(path)
    return reconstruct_acquisition(scan.load(None), method, request, path.name, scan.record)[1]


def cell(card: Card) -> str:
    assert card.scores is not None
    shown = f"{card.scores['ssim']:.3f}, {card.scores['psnr']:.1f}"
    if card.adapt["asked"] not in CHOOSES:
        return shown
    return f"{shown} ({', '.join(sorted(set(card.adapt['action'])))})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN")
    parser.add_argument("--modes", nargs="+", default=ADAPTED, choices=ADAPTED)
    parser.add_argument("--accelerate", type=float, default=4.0, metavar="R")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="of every adapted scan")
    arguments = parser.parse_args()
    folder = os.environ.get("RESHIM_REAL_DATA")
    if not folder:
        parser.error("RESHIM_REAL_DATA names no folder of real scans")
    paths = [Path(folder) / name / f"{name}.h5" for name in SCANS]
    scheme = Scheme(acceleration=arguments.accelerate)
    print("| network | scan | as it is | " + " | ".join(f"`{mode}`" for mode in arguments.modes) + " |")
    print("|---" * (3 + len(arguments.modes)) + "|")
    for given in arguments.runs:
        name, _, run = given.rpartition("=")
        for path in paths:
            cards = [card_of(path, as_it_is(run), Request(run, "none", scheme=scheme))]
            for mode in arguments.modes:
                request = Request(run, mode, budget_seconds=arguments.budget, scheme=scheme)
                cards.append(card_of(path, method_of(run, mode, arguments.budget), request))
                why = "; ".join(cards[-1].adapt["why"])
                print(f"{name or run} {path.stem} {mode} {cards[-1].seconds:.1f} s: {why}", file=sys.stderr)
            print(
                f"| {name or Path(run).name} | {path.stem} | " + " | ".join(map(cell, cards)) + " |",
                flush=True,
            )
    for path in paths:
        card = card_of(path, method_of("l1-wavelet"), Request("l1-wavelet", scheme=scheme))
        print(f"| none: L1-wavelet | {path.stem} | {cell(card)} |" + " |" * len(arguments.modes))


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
