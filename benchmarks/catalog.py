"""A catalog of the size of the largest public training list: 10,025 volumes, 429,667 slices.

    python benchmarks/catalog.py [--share 1.0] [--keep FOLDER]

Writes a synthetic tree of fastMRI-style files (real headers, k-space of 8 x 8), indexes it, indexes it again,
filters and splits it; one JSON line.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from reshim.catalog import Catalog

# Name, volumes, slices, acquisition: the public list of mri_data_diversity.
DISTRIBUTIONS = (
    ("fastmri_brain", 5847, 92_590, "AXT2"),
    ("fastmri_knee", 973, 34_742, "CORPD_FBK"),
    ("fastmri_prostate_T2", 266, 8_109, "AX_T2_prostate"),
    ("7T_ax", 345, 52_440, "AX_MP2RAGE_brain"),
    ("7T_cor", 345, 79_350, "COR_MP2RAGE_brain"),
    ("7T_sag", 345, 60_030, "SAG_MP2RAGE_brain"),
    ("m4raw", 1024, 18_432, "AX_T1_brain"),
    ("m4raw_gre", 306, 5_508, "AX_GRE_brain"),
    ("skm-tea", 238, 38_080, "SAG_DESS_knee"),
    ("cc-359_ax", 47, 9_682, "AX_T1_brain"),
    ("cc-359_cor", 47, 8_366, "COR_T1_brain"),
    ("cc-359_sag", 47, 6_650, "SAG_T1_brain"),
    ("stanford_3d_ax", 15, 4_650, "AX_PD_knee"),
    ("stanford_3d_cor", 15, 3_600, "COR_PD_knee"),
    ("stanford_3d_sag", 15, 2_940, "SAG_PD_knee"),
    ("stanford_2d", 72, 1_699, "FSE"),
    ("nyu", 78, 2_799, "COR_PD_knee"),
)
HEADER = (
    '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><acquisitionSystemInformation><systemVendor>SIEMENS'
    "</systemVendor><systemModel>{model}</systemModel><systemFieldStrength_T>{field}</systemFieldStrength_T>"
    "</acquisitionSystemInformation><encoding><encodedSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>"
    "</encodedSpace><reconSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize></reconSpace><encodingLimits>"
    "<kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum><center>4</center></kspace_encoding_step_1>"
    "</encodingLimits></encoding></ismrmrdHeader>"
)


def write_tree(folder: Path, share: float) -> None:
    for name, volumes, slices, acquisition in DISTRIBUTIONS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        count = max(round(volumes * share), 1)
        counts = np.diff(np.linspace(0, round(slices * share), count + 1).astype(int))
        for number, n_slices in enumerate(counts):
            path = folder / name / f"{name}_{number:05d}.h5"
            if path.exists():
                continue
            with h5py.File(path, "w", libver="latest") as file:
                file["kspace"] = np.ones((max(n_slices, 1), 1, 8, 8), np.complex64)
                field = 2.8936 if number % 3 else 1.494
                file["ismrmrd_header"] = HEADER.format(model="Skyra" if number % 2 else "Aera", field=field)
                file.attrs["acquisition"] = acquisition
                file.attrs["dataset"] = name
                file.attrs["patient_id"] = f"{name.split('_')[0]}-{number}"


def timed(call):
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of the volumes to write")
    parser.add_argument("--keep", type=Path, help="folder of the tree, kept for the next run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary) / "tree"
        write_tree(folder, arguments.share)
        out = Path(temporary) / "scans.parquet"
        indexed, index_seconds = timed(lambda: Catalog.index([folder], out))
        again, again_seconds = timed(lambda: Catalog.index([folder], out))
        catalog, read_seconds = timed(lambda: Catalog.read(out))
        condition = "anatomy = 'knee' AND contrast = 'PD' AND field_tesla = 3 AND model != 'Skyra'"
        _, first = timed(lambda: catalog.where(condition))
        filters = [timed(lambda: catalog.where(condition))[1] for _ in range(20)]
        _, split_seconds = timed(lambda: catalog.split(keep=False, by=("anatomy", "vendor")))
        line = {
            "benchmark": "catalog",
            "volumes": len(catalog),
            "slices": catalog.by()[0]["slices"],
            "left_out": len(indexed.left_out),
            "index_seconds": index_seconds,
            "index_again_seconds": again_seconds,
            "read_again": again.n_read,
            "read_seconds": read_seconds,
            "first_filter_seconds": first,
            "filter_seconds": statistics.median(filters),
            "split_seconds": split_seconds,
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
