"""How real are the simulated scans? One JSON line: statistics within bounds or not, AUROC of a classifier.

RESHIM_REAL_DATA names the folder of real scans (raw brains, a raw phantom, complex brains, knees and chests).
The bounds are the range of the real scans widened by its own width, see `reshim.simulation.realism`; the
simulated scans play no part in them. Without the folder it says so and ends.

python benchmarks/realism.py --matrix 160
"""

import argparse
import datetime
import json
import os
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from reshim.simulation import realism
from reshim.simulation.write import SIMULATION_VERSION, simulate

SIMULATED = {
    "brain": ("brain-t1-3t", "brain-t1-1.5t", "brain-t2-3t", "brain-t2-1.5t", "brain-3d-coronal-3t"),
    "knee": ("knee-pd-3t", "knee-3d-axial-3t", "knee-pd-1.5t"),
    "chest": ("heart-sax-1.5t", "heart-4ch-1.5t"),
}
RAW = {"brain": ("raw-brain8-full", "raw-brain16-96"), "phantom": ("raw-phantom8",)}


def real_kspace(folder: Path) -> dict[str, list[np.ndarray]]:
    """Slices (coil, row, column) of each raw scan."""
    return {name: _slices(folder / name / f"{name}.h5") for names in RAW.values() for name in names}


def real_images(folder: Path) -> dict[str, dict[str, list[np.ndarray]]]:
    """Magnitude images of each scan, by what they show."""
    brain = {name: [_root(k) for k in _slices(folder / name / f"{name}.h5")] for name in RAW["brain"]}
    with np.load(folder / "complex-siat" / "siat24.npz") as file:
        images, ways = np.abs(file["img"]), file["orientation"]
        brain |= {f"siat-{way}": list(images[ways == way]) for way in np.unique(ways)}
    with np.load(folder / "complex-knee" / "knee.npz") as file:
        knee = {key: [np.abs(file[key])] for key in ("axial_l1", "axial_cs")}
    chest = {}
    for path in sorted((folder / "complex-body").glob("*.npz")):
        with np.load(path) as file:
            chest[path.stem] = [np.abs(file["img"][0])]
    return {"brain": brain, "knee": knee, "chest": chest}


def simulated(matrix: int, slices: int) -> tuple[dict, dict]:
    """K-space and images of the simulated scans, (kind, protocol)."""
    kspace, images = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, names in SIMULATED.items():
            paths = simulate(folder, names, subjects=1, matrix=matrix, slices=slices, seed=7)
            kspace[kind] = {name: _slices(path) for name, path in zip(names, paths, strict=True)}
            images[kind] = {}
            for name, path in zip(names, paths, strict=True):
                with h5py.File(path) as file:
                    images[kind][name] = list(file["reconstruction_rss"][()].astype(float))
    return kspace, images


def _slices(path: Path) -> list[np.ndarray]:
    with h5py.File(path) as file:
        return list(file["kspace"][()].astype(np.complex128))


def _root(kspace: np.ndarray) -> np.ndarray:
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(1, 2))), axes=(1, 2))
    return np.sqrt((np.abs(images) ** 2).sum(0))


def means(statistic, scans: dict[str, list[np.ndarray]]) -> dict[str, dict[str, float]]:
    """Each scan's statistics, means over its slices."""
    rows = {name: [statistic(one) for one in ones] for name, ones in scans.items()}
    return {
        name: {key: float(np.mean([row[key] for row in found])) for key in found[0]}
        for name, found in rows.items()
    }


def compared(real: dict, fake: dict) -> dict:
    """Every statistic: the bounds, the real scans, the simulated ones and how many lie within."""
    found = {}
    for key in next(iter(real.values())):
        low, high = realism.bounds([row[key] for row in real.values()])
        values = {name: round(row[key], 4) for name, row in fake.items()}
        found[key] = {
            "bounds": [round(low, 4), round(high, 4)],
            "real": {name: round(row[key], 4) for name, row in real.items()},
            "simulated": values,
            "within": sum(low <= row[key] <= high for row in fake.values()),
            "of": len(fake),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--matrix", type=int, default=160)
    parser.add_argument("--slices", type=int, default=6)
    arguments = parser.parse_args()
    name = os.environ.get("RESHIM_REAL_DATA")
    if not name:
        print("RESHIM_REAL_DATA is not set: there is nothing to compare with", file=sys.stderr)
        return 2
    pictures, raw = real_images(Path(name)), real_kspace(Path(name))
    fake_kspace, fake_images = simulated(arguments.matrix, arguments.slices)
    patches = {
        kind: [
            [np.concatenate([realism.features(one) for one in ones]) for ones in scans.values()]
            for scans in (pictures[kind], fake_images[kind])
        ]
        for kind in SIMULATED
    }
    row = {
        "benchmark": "realism",
        "date": datetime.date.today().isoformat(),
        "simulation_version": SIMULATION_VERSION,
        "matrix": arguments.matrix,
        "slices": arguments.slices,
        "images": {
            kind: compared(
                means(realism.of_image, pictures[kind]), means(realism.of_image, fake_images[kind])
            )
            for kind in SIMULATED
        },
        # Coils are not those of one anatomy: all raw scans against all simulated ones.
        "coils": compared(
            means(realism.of_coils, raw),
            means(realism.of_coils, {k: v for kind in fake_kspace.values() for k, v in kind.items()}),
        ),
        "patch_auroc": {kind: round(realism.told_apart(*patches[kind]), 3) for kind in SIMULATED},
        "patches": {kind: [sum(map(len, side)) for side in patches[kind]] for kind in SIMULATED},
    }
    print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
