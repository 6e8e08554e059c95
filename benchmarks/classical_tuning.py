"""Choose the classical methods' weights on simulated knees (P) and write what was chosen.

    python benchmarks/classical_tuning.py --out tuned.json [--with sense l1-wavelet ...]

The numbers in the methods' defaults come from this script; benchmarks/classical_tuned.json is its output.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import torch

from reshim.acquire import Scheme, measure, reference, without_oversampling
from reshim.classical import METHODS
from reshim.classical.tune import tune
from reshim.metrics import nmse, support
from reshim.physics.maps import default_estimator
from reshim.simulation.write import simulate
from reshim.types import Acquisition, Measurement

PROTOCOLS = ("knee-pd-3t", "knee-pd-fs-3t", "knee-pd-1.5t", "knee-pd-fs-1.5t")
SUBJECTS = (100,)
"""Of the simulator; no study trains or tests on numbers this high."""
SCHEMES = (
    Scheme(acceleration=4),
    Scheme(acceleration=4, center_lines=24),
    Scheme(mask="random", acceleration=4),
)
WEIGHTS: dict[str, tuple[str, Sequence[float]]] = {
    "sense": ("ridge", (0.3, 0.5, 0.7, 1.0, 1.3, 1.7, 2.2, 3.0)),
    "l1-wavelet": ("weight", (0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)),
    "total-variation": ("weight", (0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)),
    "grappa": ("ridge", (5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)),
}


def nmse_in_support(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    region = support(truth, truth.amax().expand(truth.shape[0]))
    return nmse(image, truth, truth.amax(), region)


def decibel_in_support(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Signal over error; unlike NMSE, noisy scans do not outweigh clean ones in the mean."""
    return -10 * nmse_in_support(image, truth).log10()


def measurements(folder: Path) -> Iterator[tuple[Measurement, torch.Tensor]]:
    """Every simulated knee under every scheme, with its reference; maps are estimated once."""
    for path in simulate(folder, PROTOCOLS, SUBJECTS, matrix=160, slices=3):
        with h5py.File(path) as file:
            kspace = torch.from_numpy(file["kspace"][:])
            crop = file["reconstruction_rss"].shape[-2:]
        everything = torch.ones(1, 1, 1, kspace.shape[-1], dtype=torch.bool)
        scan = Acquisition(kspace, path.stem, tuple(range(len(kspace))), crop, everything)
        scan = without_oversampling(scan)
        for scheme in SCHEMES:
            measurement = measure(scan, scheme, tuple(map(ord, path.name)))
            yield default_estimator(measurement), reference(scan, "mvue")


def maker(name: str, setting: str) -> Callable:
    return lambda value: METHODS[name](**{setting: value})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/classical_tuned.json"))
    parser.add_argument("--with", dest="methods", nargs="+", default=list(WEIGHTS), choices=list(WEIGHTS))
    parser.add_argument(
        "--data", type=Path, help="folder for the simulated knees; a temporary one by default"
    )
    arguments = parser.parse_args()
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        pairs = list(measurements(arguments.data or Path(temporary)))
    for name in arguments.methods:
        setting, values = WEIGHTS[name]
        tuned = tune(maker(name, setting), values, pairs, decibel_in_support, larger_is_better=True)
        found[name] = {"setting": setting, **asdict(tuned)}
        print(
            json.dumps({"method": name, "setting": setting, "chosen": tuned.chosen, "scores": tuned.scores})
        )
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
