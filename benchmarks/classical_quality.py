"""Quality, time and memory of the classical methods beside SigPy, BART and pygrappa: docs/classical.md.

    RESHIM_REAL_DATA=FOLDER python benchmarks/classical_quality.py [--peers ENVS] [--scripts SCRIPTS]
        [--times LINES.jsonl] [--out FILE.md]

Both sides get the same samples, the same maps (ours, from the acquired centre) and the same scaling, and both
are tuned the same two ways. "tuned on P": ours are the defaults, chosen on simulated knees by
benchmarks/classical_tuning.py; a peer's weight is chosen here on the middle slices of the same knees under
24 centre columns. "oracle": the best of the values listed, chosen on the scan itself, which is what a method
could do, not what a user gets. ENVS holds the environment `classic` with pygrappa; with SCRIPTS the times are
taken as well, by benchmarks/classical.py, whose head says what both hold; LINES is its output from before. A
peer that is not installed is left out.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from reshim.acquire import Scheme
from reshim.acquire import reference as reference_of
from reshim.classical import METHODS
from reshim.metrics import support
from reshim.physics.fourier import center_crop, to_image
from reshim.physics.maps import default_estimator
from reshim.physics.scaling import intensity_scale
from reshim.reconstruction import Request, reconstruct_file
from reshim.types import Acquisition, Calibration, Image, Measurement

SCANS = ("brain8-full", "brain16-96", "phantom8")
RECONSTRUCTORS = ("zero-filled", "sense", "l1-wavelet", "total-variation", "grappa", "raki", "rraki")
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Ours: multiples of the weight tuned on P."""
WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Peers: of data divided by our intensity scale."""


def scan(folder: Path, name: str) -> tuple[Measurement, torch.Tensor, torch.Tensor]:
    """Columns 0::4 and 24 in the centre; reference by the folder's maps or ours of all samples; region."""
    with h5py.File(folder / f"raw-{name}" / f"raw-{name}.h5") as file:
        kspace = torch.from_numpy(file["kspace"][:])
    rows, columns = kspace.shape[-2:]
    mask = torch.zeros(1, 1, 1, columns, dtype=torch.bool)
    mask[..., ::4] = True
    start = columns // 2 - 12
    mask[..., start : start + 24] = True
    block = Calibration(0, rows, start, start + 24)
    measurement = Measurement(
        torch.where(mask, kspace, 0), mask, block, torch.ones_like(mask), (rows, columns), name
    )
    path = folder / "coilmaps" / f"{name}.npz"
    if path.exists():
        known = np.load(path)
        truth = (torch.from_numpy(known["maps"]).conj() * to_image(kspace)).sum(-3).abs()
        region = torch.from_numpy(known["support"]).bool()
    else:
        whole = Acquisition(kspace, name, (0,), (rows, columns), torch.ones_like(mask))
        truth = reference_of(whole, "mvue").abs()
        region = support(truth, truth.amax().expand(1))[0]
    return default_estimator(measurement), truth, region


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


PYGRAPPA = """
import sys, numpy, pygrappa
folder, weight, start, stop = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
kspace = numpy.moveaxis(numpy.load(folder + "/k.npy"), 0, -1).astype(numpy.complex128)
block = kspace[:, start:stop].copy()
filled = pygrappa.cgrappa(kspace, block, kernel_size=(5, 5), coil_axis=-1, lamda=weight)
numpy.save(folder + "/filled.npy", numpy.moveaxis(filled, -1, 0).astype(numpy.complex64))
"""


def pygrappa_method(python: Path) -> Callable[[Measurement, float], Image]:
    """The compiled form with its own kernel, coils combined by the same maps as ours."""

    def run(measurement: Measurement, weight: float) -> Image:
        assert measurement.maps is not None
        scale = float(intensity_scale(measurement)[0])
        block = measurement.calibration
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, "k.npy"), (measurement.kspace[0] / scale).numpy())
            place = [str(block.column_start), str(block.column_stop)]
            command = [str(python), "-c", PYGRAPPA, folder, str(weight), *place]
            subprocess.run(command, check=True, capture_output=True)
            filled = torch.from_numpy(np.load(Path(folder, "filled.npy"))) * scale
        return (measurement.maps[:, 0].conj() * to_image(filled[None])).sum(-3)

    return run


def write_cfl(path: Path, coils_first: np.ndarray) -> None:
    samples = np.moveaxis(coils_first, 0, -1)[:, :, None, :].astype(np.complex64)
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, samples.shape)) + "\n")
    samples.ravel(order="F").tofile(path.with_suffix(".cfl"))


def ours(method: str, setting: str) -> Callable[[Measurement, float], Image]:
    return lambda measurement, value: METHODS[method](**{setting: value})(measurement)


def contestants(
    peers: Path | None,
) -> Iterator[tuple[str, str, Callable[[Measurement, float], Image], Sequence[float]]]:
    """Method, whose, what runs it for a weight, weights to try."""
    for method, setting, scales in (
        ("sense", "ridge", SCALES),
        ("l1-wavelet", "weight", SCALES),
        ("total-variation", "weight", SCALES),
        ("grappa", "ridge", (1e-3, 0.01, 0.1, 0.3, 1, 3, 10)),
    ):
        default = getattr(METHODS[method](), setting)
        yield method, "reshim", ours(method, setting), [default * scale for scale in scales]
    for method in ("sense", "l1-wavelet", "total-variation"):
        if importlib.util.find_spec("sigpy"):
            yield method, "SigPy", sigpy_method(method), WEIGHTS
        if shutil.which("bart"):
            yield method, "BART", bart_method(method), WEIGHTS
    python = None if peers is None else peers / "classic" / "bin" / "python"
    if python is not None and python.exists():
        yield "grappa", "pygrappa", pygrappa_method(python), (1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1)


def knees(folder: Path) -> list[tuple[Measurement, torch.Tensor, torch.Tensor]]:
    """Middle slices of the simulated knees that ours are tuned on, under the scans' own 24 centre columns."""
    from classical_tuning import measurements

    found = []
    for measurement, reference in measurements(folder):
        columns = measurement.mask.flatten().nonzero().flatten()
        if measurement.calibration.shape[1] == 24 and len(columns) > 24:
            middle, truth = measurement.item(1), reference[1:2]
            found.append((middle, truth, support(truth, truth.amax().expand(1))[0]))
    return found


def tuned_on_p(
    run: Callable[[Measurement, float], Image],
    values: Sequence[float],
    pairs: Sequence[tuple[Measurement, torch.Tensor, torch.Tensor]],
) -> float:
    """The value with the best mean decibels over the simulated knees."""
    means = []
    for value in values:
        images = [center_crop(run(measurement, value), measurement.crop) for measurement, _, _ in pairs]
        scores = [decibel(i, r, where) for i, (_, r, where) in zip(images, pairs, strict=True)]
        means.append(sum(scores) / len(scores))
    return values[int(np.argmax(means))]


def quality_table(folder: Path, peers: Path | None, knees_folder: Path) -> list[str]:
    pairs = knees(knees_folder)
    scans = [scan(folder, name) for name in SCANS]
    lines = [
        "| method | whose | "
        + " | ".join(f"{name}: tuned on P | oracle" for name in SCANS)
        + " | s a slice |",
        "|---|---|" + "---|---|" * len(SCANS) + "---|",
    ]
    for method, whose, run, values in contestants(peers):
        cells, seconds = [], []
        chosen = None if whose == "reshim" else tuned_on_p(run, values, pairs)
        for measurement, reference, region in scans:
            tuned = METHODS[method]()(measurement) if chosen is None else run(measurement, chosen)
            cells.append(f"{decibel(tuned, reference, region):.2f}")
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


def volume_table(path: Path) -> list[str]:
    lines = [
        "Peak memory of a process each. The baseline is the interpreter with PyTorch before any data, part "
        "of both peaks; the data are the k-space of the volume.",
        "",
        "| job | slices | CPU time a slice over a single slice's (least, most) | baseline, MiB | data, MiB | "
        "peak of one slice, MiB | peak of the volume, MiB | BART, one slice, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in map(json.loads, path.read_text().splitlines()):
        if "volume_peak_rss_mib" in line:
            ratio, least, most = line["cpu_s_a_slice_over_one_slice"]
            memory = [line[k] for k in ("baseline_rss_mib", "data_mib", "one_slice_peak_rss_mib")]
            memory += [line["volume_peak_rss_mib"], line.get("bart_one_slice_peak_rss_mib", "")]
            cells = [line["name"], line["volume"], f"{ratio} ({least}, {most})", *memory]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
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
            f"{line['peer_cpu_s']} | {memory_of(line)} | "
            f"{line['ours_check']:.5f}, {line['peer_check']:.5f} |"
        )
    return lines


def take_times(path: Path, peers: Path | None, scripts: Path) -> None:
    """Both halves of benchmarks/classical.py, one thread."""
    command = [sys.executable, str(Path(__file__).with_name("classical.py")), "--scripts", str(scripts)]
    command += ["--threads", "1"] + (["--peers", str(peers)] if peers else [])
    with path.open("w") as lines:
        for more in (["--pairs", "3"], ["--volume", "20", "--pairs", "1"]):
            subprocess.run([*command, *more], stdout=lines, check=True)


def files_table(folder: Path, scratch: Path) -> list[str]:
    """What ``reshim reconstruct`` makes of each file with k-space, at its defaults."""
    lines = [
        "`reshim reconstruct FILE --with METHOD --accelerate 4 --center-lines 24`, SSIM (`mvue`, `support`); "
        "a file that is undersampled already has no reference and gives an *image*. In brackets the method "
        "that took another's place, with a warning, because the mask does not suit it.",
        "",
        "| file | " + " | ".join(RECONSTRUCTORS) + " |",
        "|---|" + "---|" * len(RECONSTRUCTORS),
    ]
    for path in sorted(folder.glob("raw-*/*.h5")):
        with h5py.File(path) as file:
            whole = bool(file.attrs["fully_sampled"])
        cells = []
        for name in RECONSTRUCTORS:
            scheme = Scheme(acceleration=4, center_lines=24) if whole else None
            out = scratch / f"{path.stem}-{name}"
            card = reconstruct_file(path, Request(method=name, scheme=scheme), out)
            instead = [w.rpartition("; ")[2].split()[0] for w in card.warnings if "is used instead" in w]
            shown = f"{card.scores['ssim']:.3f}" if card.scores else "image"
            cells.append(shown + (f" ({instead[-1]})" if instead else ""))
        lines.append(f"| {path.stem} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return lines


def memory_of(line: dict[str, float]) -> str:
    sides = [line.get(f"{side}_peak_rss_mib") for side in ("ours", "peer")]
    return ", ".join(f"{size:.0f}" for size in sides if size is not None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/classical.md"))
    parser.add_argument("--times", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--scripts", type=Path)
    arguments = parser.parse_args()
    folder = os.environ.get("RESHIM_REAL_DATA")
    if not folder:
        parser.error("RESHIM_REAL_DATA names no folder of real scans")
    torch.set_num_threads(1)
    text = [
        "# Classical methods beside their peers",
        "",
        "Written by one command; the head of `benchmarks/classical_quality.py` says how both sides were run:",
        "",
        "```",
        "RESHIM_REAL_DATA=SCANS python benchmarks/classical_quality.py --peers ENVS --scripts FOLDER",
        "```",
        "",
        "ENVS holds a virtual environment for each peer (`classic`: sigpy, pygrappa; `mrpro`; `deepinv`), "
        "FOLDER the scripts that time them; the head of `benchmarks/classical.py` says what they print. "
        "Weights tuned on P: `benchmarks/classical_tuning.py`, written to `benchmarks/classical_tuned.json`.",
        "",
        "The form of GRAPPA's ridge and its number of lines were chosen with the two brains in view and "
        "only the ridge's factor on P: their columns tuned on P flatter it; the phantom had no say "
        "(LOG.md).",
        "",
        "## Quality",
        "",
        "Columns 0::4 and 24 in the centre; signal over error in decibel (-10 log10 NMSE) in the object; "
        "more is better. A star marks an oracle at the edge of the values tried.",
        "",
    ]
    with tempfile.TemporaryDirectory() as knees_folder:
        text += quality_table(Path(folder), arguments.peers, Path(knees_folder))
        times = arguments.times
        if arguments.scripts and times is None:
            times = Path(knees_folder) / "times.jsonl"
            take_times(times, arguments.peers, arguments.scripts)
        if times:
            text += ["", "## Time", "", "15 coils, 320 x 320, one slice, one thread, paired runs.", ""]
            text += times_table(times)
            text += ["", "## A volume", "", *volume_table(times)]
        text += ["", "## Every raw file", "", *files_table(Path(folder), Path(knees_folder))]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(text) + "\n")
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
