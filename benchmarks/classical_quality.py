"""Quality of the classical methods on real scans beside SigPy and BART, written as docs/classical.md.

    RESHIM_REAL_DATA=FOLDER python benchmarks/classical_quality.py [--times LINES.jsonl] [--out FILE.md]

Both sides get the same samples, the same maps (ours, from the acquired centre) and the same scaling. "oracle"
is the best of the values listed, chosen on the scan itself: what a method could do, not what a user gets.
"tuned on P" is the default, chosen on simulated knees (benchmarks/classical_tuning.py). LINES is the output
of benchmarks/classical.py. A peer that is not installed is left out.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from reshim.classical import METHODS
from reshim.physics.fourier import to_image
from reshim.physics.maps import default_estimator
from reshim.physics.scaling import intensity_scale
from reshim.types import Calibration, Image, Measurement

SCANS = ("brain8-full", "brain16-96")
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Ours: multiples of the weight tuned on P."""
WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Peers: of data divided by our intensity scale."""


def scan(folder: Path, name: str) -> tuple[Measurement, torch.Tensor, torch.Tensor]:
    """Columns 0::4 and 24 in the centre; reference by the folder's maps; region compared."""
    with h5py.File(folder / f"raw-{name}" / f"raw-{name}.h5") as file:
        kspace = torch.from_numpy(file["kspace"][:])
    known = np.load(folder / "coilmaps" / f"{name}.npz")
    rows, columns = kspace.shape[-2:]
    mask = torch.zeros(1, 1, 1, columns, dtype=torch.bool)
    mask[..., ::4] = True
    start = columns // 2 - 12
    mask[..., start : start + 24] = True
    block = Calibration(0, rows, start, start + 24)
    measurement = Measurement(
        torch.where(mask, kspace, 0), mask, block, torch.ones_like(mask), (rows, columns), name
    )
    reference = (torch.from_numpy(known["maps"]).conj() * to_image(kspace)).sum(-3).abs()
    return default_estimator(measurement), reference, torch.from_numpy(known["support"]).bool()


def decibel(image: Image, reference: torch.Tensor, region: torch.Tensor) -> float:
    """Signal over error in the region: -10 log10 NMSE."""
    difference = (image.abs() - reference)[..., region]
    return float(10 * torch.log10(reference[..., region].square().sum() / difference.square().sum()))


def sigpy_method(kind: str) -> Callable[[Measurement, float], Image]:
    import sigpy.mri.app as app

    def run(measurement: Measurement, weight: float) -> Image:
        assert measurement.maps is not None
        scale = float(intensity_scale(measurement)[0])
        arguments = ((measurement.kspace[0] / scale).numpy(), measurement.maps[0, 0].numpy())
        weights = measurement.mask[0].float().expand(measurement.kspace.shape[1:]).numpy()
        if kind == "sense":
            job = app.SenseRecon(*arguments, lamda=weight, weights=weights, max_iter=40, show_pbar=False)
        elif kind == "l1-wavelet":
            job = app.L1WaveletRecon(*arguments, weight, weights=weights, max_iter=100, show_pbar=False)
        else:
            job = app.TotalVariationRecon(*arguments, weight, weights=weights, max_iter=100, show_pbar=False)
        return torch.from_numpy(job.run())[None] * scale

    return run


def bart_method(kind: str) -> Callable[[Measurement, float], Image]:
    flags = {"sense": ["-l2", "-r"], "l1-wavelet": ["-l1", "-r"], "total-variation": ["-R"]}[kind]

    def run(measurement: Measurement, weight: float) -> Image:
        assert measurement.maps is not None
        scale = float(intensity_scale(measurement)[0])
        with tempfile.TemporaryDirectory() as folder:
            write_cfl(Path(folder, "k"), (measurement.kspace[0] / scale).numpy())
            write_cfl(Path(folder, "s"), measurement.maps[0, 0].numpy())
            value = f"T:3:0:{weight}" if kind == "total-variation" else str(weight)
            command = ["bart", "pics", *flags, value, "-i", "100", "-w", "1", "k", "s", "x"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            shape = measurement.kspace.shape[-2:]
            image = np.fromfile(Path(folder, "x.cfl"), np.complex64).reshape(shape, order="F")
        return torch.from_numpy(np.ascontiguousarray(image))[None] * scale

    return run


def write_cfl(path: Path, coils_first: np.ndarray) -> None:
    samples = np.moveaxis(coils_first, 0, -1)[:, :, None, :].astype(np.complex64)
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, samples.shape)) + "\n")
    samples.ravel(order="F").tofile(path.with_suffix(".cfl"))


def ours(method: str, setting: str) -> Callable[[Measurement, float], Image]:
    return lambda measurement, value: METHODS[method](**{setting: value})(measurement)


def contestants() -> Iterator[tuple[str, str, Callable[[Measurement, float], Image], Sequence[float]]]:
    """Method, whose, what runs it for a weight, weights to try."""
    for method, setting, scales in (
        ("sense", "ridge", SCALES),
        ("l1-wavelet", "weight", SCALES),
        ("total-variation", "weight", SCALES),
        ("grappa", "ridge", (1e-3, 0.01, 0.1, 0.3, 1, 3)),
    ):
        default = getattr(METHODS[method](), setting)
        yield method, "reshim", ours(method, setting), [default * scale for scale in scales]
    for method in ("sense", "l1-wavelet", "total-variation"):
        if importlib.util.find_spec("sigpy"):
            yield method, "SigPy", sigpy_method(method), WEIGHTS
        if shutil.which("bart"):
            yield method, "BART", bart_method(method), WEIGHTS


def quality_table(folder: Path) -> list[str]:
    scans = [scan(folder, name) for name in SCANS]
    lines = [
        "| method | whose | "
        + " | ".join(f"{name}: tuned on P | oracle" for name in SCANS)
        + " | s a slice |",
        "|---|---|" + "---|---|" * len(SCANS) + "---|",
    ]
    for method, whose, run, values in contestants():
        cells, seconds = [], []
        for measurement, reference, region in scans:
            tuned = METHODS[method]()(measurement) if whose == "reshim" else None
            cells.append("" if tuned is None else f"{decibel(tuned, reference, region):.2f}")
            scores = []
            for value in values:
                start = time.perf_counter()
                scores.append(decibel(run(measurement, value), reference, region))
                seconds.append(time.perf_counter() - start)
            edge = "*" if int(np.argmax(scores)) in (0, len(scores) - 1) else ""
            cells.append(f"{max(scores):.2f}{edge}")
        lines.append(f"| {method} | {whose} | " + " | ".join(cells) + f" | {np.median(seconds):.2f} |")
        print(lines[-1], flush=True)
    return lines


def times_table(path: Path) -> list[str]:
    lines = [
        "| job | peer | CPU time, peer over ours (least, most) | ours, s | peer, s | peak MiB | checks |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in map(json.loads, path.read_text().splitlines()):
        if "skipped" in line or "pairs" not in line:
            continue
        ratio, least, most = line["times_faster_cpu_s"]
        lines.append(
            f"| {line['name']} | {line['peer']} | {ratio} ({least}, {most}) | {line['ours_cpu_s']} | "
            f"{line['peer_cpu_s']} | {line['ours_peak_rss_mib']:.0f}, {line['peer_peak_rss_mib']:.0f} | "
            f"{line['ours_check']:.5f}, {line['peer_check']:.5f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/classical.md"))
    parser.add_argument("--times", type=Path)
    arguments = parser.parse_args()
    folder = os.environ.get("RESHIM_REAL_DATA")
    if not folder:
        parser.error("RESHIM_REAL_DATA names no folder of real scans")
    torch.set_num_threads(1)
    text = [
        "# Classical methods beside their peers",
        "",
        "Written by `benchmarks/classical_quality.py`; its head says how both sides were run.",
        "",
        "## Quality",
        "",
        "Columns 0::4 and 24 in the centre; signal over error in decibel (-10 log10 NMSE) in the head; more "
        "is better. A star marks an oracle at the edge of the values tried.",
        "",
        *quality_table(Path(folder)),
    ]
    if arguments.times:
        text += ["", "## Time", "", "15 coils, 320 x 320, one slice, one thread, paired runs.", ""]
        text += times_table(arguments.times)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(text) + "\n")
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
