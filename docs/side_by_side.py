"""Simulated slices, and where RESHIM_REAL_DATA names the folder, real ones beside them.

python docs/side_by_side.py --out build/side-by-side.png     both, to look at
python docs/side_by_side.py --simulated-only --out docs/images/simulated.png
python docs/side_by_side.py --simulated-only --protocol heart-sax-1.5t breast-t1-3t --slices 2 --out two.png
"""

import argparse
import os
import tempfile
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np

from reshim.simulation.protocols import PROTOCOLS
from reshim.simulation.write import simulate

mpl.use("Agg")
import matplotlib.pyplot as plt

REAL = {
    "raw-brain8-full": "raw-brain8-full/raw-brain8-full.h5",
    "raw-brain16-96": "raw-brain16-96/raw-brain16-96.h5",
}


def simulated(names: list[str], matrix: int, slices: int) -> dict[str, list[np.ndarray]]:
    """The middle slices of one scan of each protocol; of repetitions the last."""
    with tempfile.TemporaryDirectory() as folder:
        paths = simulate(folder, names, subjects=1, matrix=matrix, slices=slices + 2)
        return {path.stem.split("_")[0]: _rss(path, tuple(range(1, slices + 1))) for path in paths}


def real(folder: Path) -> dict[str, list[np.ndarray]]:
    shown = {name: _rss(folder / path, (0,)) for name, path in REAL.items() if (folder / path).exists()}
    knees = folder / "complex-knee" / "knee.npz"
    if knees.exists():
        with np.load(knees, allow_pickle=False) as file:
            shown["complex-knee"] = [np.abs(file[key]) for key in file.files if file[key].ndim == 2]
    return shown


def _rss(path: Path, slices: tuple[int, ...]) -> list[np.ndarray]:
    with h5py.File(path) as file:
        return [file["reconstruction_rss"][index] for index in slices]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--matrix", type=int, default=160)
    parser.add_argument("--slices", type=int, default=3)
    parser.add_argument("--protocol", nargs="+", default=list(PROTOCOLS), help="default: all")
    parser.add_argument("--simulated-only", action="store_true")
    arguments = parser.parse_args()
    rows = simulated(arguments.protocol, arguments.matrix, arguments.slices)
    folder = os.environ.get("RESHIM_REAL_DATA")
    if folder and not arguments.simulated_only:
        rows |= real(Path(folder))
    tiles = [(name, image) for name, images in rows.items() for image in images]
    columns = 6
    figure, axes = plt.subplots(
        -(-len(tiles) // columns), columns, figsize=(12, 2.15 * -(-len(tiles) // columns))
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, image) in zip(axes.flat, tiles, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.5))
        axis.set_title(name, fontsize=7)
    figure.tight_layout(pad=0.3)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=70)


if __name__ == "__main__":
    main()
