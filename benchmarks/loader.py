"""Samples a second against `fastmri`'s SliceDataset with its transform, on the same file, at equal content.

    python benchmarks/loader.py [--slices 8] [--coils 15] [--rows 640] [--columns 368] [--pairs 3]

VarNet-type: masked k-space, mask, target. U-net-type: normalised magnitude of the zero-filled crop, target.
Both sides run in this process in turn, on as many threads; one JSON line a type, with ours over theirs of
the median rates: `ratio` reads the file each time, `ratio_cached` keeps what fits in memory, and those of
processor time (`cpu_…`) say how much less work it is. Contents are compared first: masked k-space and target
are equal, the magnitude to 1e-5.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from fastmri.data.mri_data import SliceDataset
from fastmri.data.subsample import EquispacedMaskFractionFunc
from fastmri.data.transforms import UnetDataTransform, VarNetDataTransform

from reshim.acquire import Scheme
from reshim.catalog import Catalog
from reshim.loader import Batch, Loader

SCHEME = Scheme(mask="equispaced-fraction", acceleration=4, center_fraction=0.08)
CROP = 320
HEADER = (
    '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><encodedSpace><matrixSize><x>{rows}</x>'
    "<y>{columns}</y><z>1</z></matrixSize></encodedSpace><reconSpace><matrixSize><x>{crop}</x><y>{crop}</y><z>1</z>"
    "</matrixSize></reconSpace><encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum>"
    "<center>{center}</center></kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"
)


def write_volume(path: Path, slices: int, coils: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    crop = min(CROP, columns)
    with h5py.File(path, "w") as file:
        kspace = file.create_dataset("kspace", (slices, coils, rows, columns), np.complex64)
        for index in range(slices):
            values = rng.standard_normal((coils, rows, columns, 2), np.float32)
            kspace[index] = values.view(np.complex64)[..., 0]
        file["reconstruction_rss"] = rng.random((slices, crop, crop), np.float32)
        file["ismrmrd_header"] = HEADER.format(
            rows=rows, columns=columns, crop=crop, last=columns - 1, center=columns // 2
        )
        file.attrs.update({"max": 1.0, "norm": 1.0, "acquisition": "CORPD_FBK", "patient_id": "benchmark"})


def varnet(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return batch.measurement.kspace, batch.measurement.mask, batch.references["rss"]


def unet(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    image, target = batch.magnitude, batch.references["rss"]
    deviation, mean = torch.std_mean(image, (-2, -1), keepdim=True)
    return (image - mean) / (deviation + 1e-11), (target - mean) / (deviation + 1e-11)


def rates_of(samples, count: int) -> tuple[float, float]:
    """Samples a second of the clock, and of the processor."""
    started, worked = time.perf_counter(), time.process_time()
    for _ in samples:
        pass
    return count / (time.perf_counter() - started), count / (time.process_time() - worked)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("slices", 8),
        ("coils", 15),
        ("rows", 640),
        ("columns", 368),
        ("pairs", 3),
        ("workers", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "scans"
        folder.mkdir()
        write_volume(
            folder / "file1.h5", arguments.slices, arguments.coils, arguments.rows, arguments.columns
        )
        records = Catalog.index([folder], Path(temporary) / "c.parquet").catalog.records()
        mask = EquispacedMaskFractionFunc([0.08], [4])
        for kind, transform, ours in (
            ("varnet", VarNetDataTransform(mask_func=mask, use_seed=True), varnet),
            ("unet", UnetDataTransform("multicoil", mask_func=mask, use_seed=True), unet),
        ):
            theirs = SliceDataset(root=folder, challenge="multicoil", transform=transform)
            plain, cached = (
                Loader(
                    records,
                    shuffle=False,
                    workers=arguments.workers,
                    cache_bytes=n,
                    scheme=SCHEME,
                    new_masks=False,
                    magnitude=kind == "unet",
                )
                for n in (0, 16 << 30)
            )
            difference = difference_of(kind, theirs[0], ours(next(iter(plain))))
            rates: dict[str, list[tuple[float, float]]] = {"theirs": [], "ours": [], "ours_cached": []}
            list(plain), list(cached)
            for _ in range(arguments.pairs):
                count = arguments.slices
                rates["theirs"].append(rates_of((theirs[n] for n in range(len(theirs))), count))
                rates["ours"].append(rates_of(map(ours, plain), count))
                rates["ours_cached"].append(rates_of(map(ours, cached), count))
            median, worked = (
                {name: statistics.median(value[n] for value in values) for name, values in rates.items()}
                for n in (0, 1)
            )
            line = {
                "benchmark": "loader",
                "kind": kind,
                "coils": arguments.coils,
                "matrix": [arguments.rows, arguments.columns],
                **{f"{name}_per_second": value for name, value in median.items()},
                "ratio": median["ours"] / median["theirs"],
                "ratio_cached": median["ours_cached"] / median["theirs"],
                "cpu_ratio": worked["ours"] / worked["theirs"],
                "cpu_ratio_cached": worked["ours_cached"] / worked["theirs"],
                "largest_difference": difference,
            }
            print(json.dumps(line), flush=True)


def difference_of(kind: str, theirs, ours) -> float:
    if kind == "varnet":
        kspace = torch.view_as_complex(theirs.masked_kspace.contiguous())
        return float(max((kspace - ours[0][0]).abs().max(), (theirs.target - ours[2][0]).abs().max()))
    # Theirs clamps the outliers of an image that stands for an anatomy; random k-space has none to speak of.
    return float((theirs.image - ours[0][0].clamp(-6, 6)).abs().max())


if __name__ == "__main__":
    main()
