"""Time the classical jobs (15 coils, 320 x 320, one slice) as ratios to their peers, one JSON line each.

    python benchmarks/classical.py                              # ours alone
    python benchmarks/classical.py --peers ENVS --scripts FOLDER --pairs 5 [--job espirit ...]
    python benchmarks/classical.py --volume 20 [--job ...]      # a volume's seconds a slice and its memory

    RESHIM_PEERS=ENVS RESHIM_PEER_SCRIPTS=FOLDER make bench     # the ratios among all benchmarks

ENVS holds the peers' environments and FOLDER the scripts that time them (one JSON line each, with `median_s`,
`cpu_s`, `peak_rss_mib`, `check`, and a module `_common` that makes the inputs). Both sides run in turn,
A B B A ..., each in a process of its own, and the ratio is that of each pair: the machine's speed cancels.
A peer that is not installed gets a line that says so. Memory is a process's peak while it works; beside it
stands what the interpreter with PyTorch holds before any data (`baseline_rss_mib`), subtracted from nothing.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reshim.classical.grappa import Grappa
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.classical.raki import Raki, initial_weights, to_real
from reshim.classical.sense import Sense
from reshim.physics.espirit import Espirit, calibration_block
from reshim.physics.fourier import to_image, to_kspace
from reshim.physics.scaling import intensity_scale
from reshim.types import Calibration, Measurement

SIZE, COILS, CENTER, NOISE = 320, 15, 24, 0.002
RAKI_STEPS = 10
"""Of Adam, on both sides: the ratio does not depend on their number."""
PEERS = {
    "espirit": [
        ("bart", "classic", "espirit_bart.py --coils 15"),
        ("sigpy", "classic", "espirit_sigpy.py --coils 15"),
    ],
    "sense": [
        ("bart", "classic", "sense_bart.py"),
        ("sigpy", "classic", "sense_sigpy.py"),
        ("mrpro", "mrpro", "sense_mrpro.py"),
        ("deepinv", "deepinv", "sense_deepinv.py"),
    ],
    "l1-wavelet-shifts": [("bart", "classic", "l1wav_bart.py")],
    "l1-wavelet": [
        ("sigpy", "classic", "l1wav_sigpy.py"),
        ("mrpro", "mrpro", "l1wav_mrpro.py"),
        ("deepinv", "deepinv", "l1wav_deepinv.py"),
    ],
    "grappa": [
        ("pygrappa (compiled)", "classic", "grappa_pygrappa.py --impl cgrappa"),
        ("pygrappa (Python)", "classic", "grappa_pygrappa.py --impl grappa"),
    ],
    "raki": [("serial definition", "", "")],
}
VOLUME_JOBS = ("espirit", "sense", "l1-wavelet-shifts", "grappa")


def folder_of(variable: str) -> Path | None:
    return Path(os.environ[variable]) if os.environ.get(variable) else None


def case(scripts: Path | None, kind: str) -> dict[str, torch.Tensor]:
    """Image, maps, full k-space and mask: the peers' own inputs where their scripts are at hand."""
    if scripts is not None:
        sys.path.insert(0, str(scripts))
        common = __import__("_common")
        made = common.make_case(COILS, SIZE, SIZE, 4, CENTER, kind=kind)
        names = ("img", "maps", "kspace_full", "mask")
        return {name: torch.from_numpy(made[name]) for name in names}
    line = torch.linspace(-1, 1, SIZE)
    y, x = torch.meshgrid(line, line, indexing="ij")
    image = torch.polar(
        ((x / 0.7) ** 2 + (y / 0.9) ** 2 < 1).float() * (0.6 + 0.4 * torch.cos(9 * x * y)), x + y
    )
    angle = torch.arange(COILS) * (2 * math.pi / COILS)
    distance = (x - 1.1 * angle.cos()[:, None, None]) ** 2 + (y - 1.1 * angle.sin()[:, None, None]) ** 2
    maps = torch.polar(1 / (1 + distance / 0.36), angle[:, None, None] + 0.7 * x)
    maps = maps / maps.abs().square().sum(0).sqrt()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(COILS, SIZE, SIZE, dtype=torch.complex64, generator=generator) * NOISE * 2**0.5
    mask = torch.zeros(SIZE)
    mask[:: 4 if kind == "equispaced" else 1] = 1
    if kind == "random":
        mask = (torch.rand(SIZE, generator=generator) < 0.2).float()
    mask[SIZE // 2 - CENTER // 2 : SIZE // 2 + CENTER // 2] = 1
    return {"img": image, "maps": maps, "kspace_full": to_kspace(maps * image) + noise, "mask": mask}


def measurement_of(made: dict[str, torch.Tensor], with_maps: bool, n_slices: int = 1) -> Measurement:
    mask = made["mask"].bool()[None, None, None]
    start = SIZE // 2 - CENTER // 2
    kspace = torch.where(mask, made["kspace_full"][None], 0)
    return Measurement(
        kspace=kspace.repeat(n_slices, 1, 1, 1),
        mask=mask,
        calibration=Calibration(0, SIZE, start, start + CENTER),
        acquirable=torch.ones_like(mask),
        crop=(SIZE, SIZE),
        name="benchmark",
        maps=made["maps"][None, None] if with_maps else None,
    )


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float((image - truth).norm() / truth.norm())


def job(name: str, scripts: Path | None, n_slices: int) -> tuple[Callable[[], Any], Callable[[Any], float]]:
    """What is timed, and the check that shows it did the work (that of the peers' scripts)."""
    sparse = name.startswith("l1-wavelet")
    made = case(scripts, "random" if sparse else "equispaced")
    measurement = measurement_of(made, sparse or name == "sense", n_slices)
    truth, support = made["img"], made["img"].abs() > 0
    if name == "espirit":
        estimate = Espirit.bart(crop_kind="none")

        def agreement(found: Measurement) -> float:
            assert found.maps is not None
            along = (found.maps[0, 0].conj() * made["maps"]).sum(0).abs()
            return float(along[support].mean())

        return lambda: estimate(measurement), agreement
    if name == "sense":
        solve = Sense(ridge=1e-3, times_noise=False, iterations=30, tolerance=0)
        return lambda: solve(measurement), lambda image: error(image[0], truth)
    if sparse:
        weight = 2e-3 / float(intensity_scale(measurement)[0])
        shrink = L1Wavelet(weight=weight, times_noise=False, iterations=50)
        if name == "l1-wavelet":  # the peers' own objective, without shifts
            shrink = replace(shrink, start=0, shifts=False, shrink_coarsest=True)
        else:  # BART shifts at random and takes Daubechies' wavelet of two moments
            shrink = replace(shrink, order=2, start=0)
        return lambda: shrink(measurement), lambda image: error(image[0], truth)
    full = to_image(made["kspace_full"]).abs().square().sum(0).sqrt()
    if name == "grappa":
        fill = Grappa(taps=4, ridge=1e-4, falloff=0, times_noise=False, combine="rss")
        return lambda: fill(measurement), lambda image: error(image[0].abs(), full)
    train = Raki(iterations=RAKI_STEPS)
    block = calibration_block(measurement)[0]
    block = block * train.peak / block.abs().max()
    return lambda: train.train(block, 4), lambda weights: float(weights["first"].norm())


def resident_mib(field: str) -> float:
    """``VmHWM``, the peak of this process, or ``VmRSS``, what it holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return math.nan


def train_serially(block: torch.Tensor, step: int, iterations: int, learning_rate: float) -> torch.Tensor:
    """RAKI as it is defined: one network after the other, each by convolutions; the first layers it found."""
    n_channels = 2 * block.shape[0]
    inputs = to_real(block)[None]
    n_gaps = block.shape[-1] - 2 * step
    trained = []
    for channel in range(n_channels):
        drawn = initial_weights(n_channels, step, False, slice(channel, channel + 1), block)
        shapes = {"first": (5, 2, n_channels, 32), "second": (1, 1, 32, 8), "third": (3, 2, 8, step - 1)}
        first, second, third = (
            drawn[name][0].reshape(shape).permute(3, 2, 0, 1).clone().requires_grad_()
            for name, shape in shapes.items()
        )
        optimizer = torch.optim.Adam((first, second, third), lr=learning_rate)
        target = torch.stack([inputs[0, channel, 3:-3, r : r + n_gaps] for r in range(1, step)])
        for _ in range(iterations):
            optimizer.zero_grad()
            hidden = torch.relu(torch.nn.functional.conv2d(inputs, first, dilation=(1, step)))
            hidden = torch.relu(torch.nn.functional.conv2d(hidden, second))
            deep = torch.nn.functional.conv2d(hidden, third, dilation=(1, step))[0]
            (target - deep).norm().backward()
            optimizer.step()
        trained.append(first.detach().permute(2, 3, 1, 0).reshape(-1, 32))
    return torch.stack(trained)


def time_serial_raki(scripts: Path | None, threads: int, pairs: int) -> None:
    """Both forms of RAKI's training by turns in this process, for both are ours."""
    torch.set_num_threads(threads)
    made = case(scripts, "equispaced")
    block = calibration_block(measurement_of(made, False))[0]
    settings = Raki(iterations=RAKI_STEPS)
    block = block * settings.peak / block.abs().max()
    sides = (
        lambda: settings.train(block, 4)["first"],
        lambda: train_serially(block, 4, RAKI_STEPS, settings.learning_rate),
    )
    first, again = sides[0](), sides[1]()
    # Single precision: where a gradient is all rounding, Adam steps either way. In double they are the same.
    apart = float((first - again).norm() / first.norm())
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for side, kept in zip(sides, seconds, strict=True):
            start = time.process_time()
            side()
            kept.append(time.process_time() - start)
    ratios = [b / a for a, b in zip(*seconds, strict=True)]
    found = [round(f(ratios), 2) for f in (statistics.median, min, max)]
    ours, peer = (round(statistics.median(each), 4) for each in seconds)
    line = {"name": "raki", "peer": "serial definition", "pairs": pairs, "threads": threads}
    line |= {"times_faster_cpu_s": found, "ours_cpu_s": ours, "peer_cpu_s": peer, "steps": RAKI_STEPS}
    print(json.dumps(line | {"ours_check": apart, "peer_check": 0.0}), flush=True)


def compare_volume(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """A volume's seconds a slice over a single slice's, and the memory of both, each in its own process."""
    shared = ["--threads", str(arguments.threads), "--reps", str(arguments.reps)]
    shared += [] if arguments.scripts is None else ["--scripts", str(arguments.scripts)]
    command = [sys.executable, str(Path(__file__).resolve()), "--only", name, *shared]
    one, many = [], []
    for _ in range(arguments.pairs):
        one.append(last_line([*command, "--slices", "1"], None, arguments.threads))
        many.append(last_line([*command, "--slices", str(arguments.volume)], None, arguments.threads))
    if any("error" in each for each in one + many):
        return {"name": name, "volume": arguments.volume, "skipped": [e.get("error") for e in one + many]}
    ratios = [b["cpu_s"] / a["cpu_s"] for a, b in zip(one, many, strict=True)]
    line: dict[str, Any] = {"name": name, "volume": arguments.volume, "threads": arguments.threads}
    line["cpu_s_a_slice_over_one_slice"] = [round(f(ratios), 3) for f in (statistics.median, min, max)]
    line["baseline_rss_mib"] = round(statistics.median(each["baseline_rss_mib"] for each in one))
    line["data_mib"] = many[-1]["data_mib"]
    line["one_slice_peak_rss_mib"], line["volume_peak_rss_mib"] = (
        round(max(each["peak_rss_mib"] for each in side)) for side in (one, many)
    )
    bart = [peer for peer in PEERS[name] if peer[0] == "bart"]
    if bart and arguments.peers is not None and (arguments.peers / bart[0][1] / "bin" / "python").exists():
        python = str(arguments.peers / bart[0][1] / "bin" / "python")
        found = last_line([python, *bart[0][2].split(), "--reps", "1"], arguments.scripts, arguments.threads)
        line["bart_one_slice_peak_rss_mib"] = found.get("peak_rss_mib", found.get("error"))
    return line


def time_ours(name: str, scripts: Path | None, threads: int, reps: int, n_slices: int) -> None:
    torch.set_num_threads(threads)
    baseline = resident_mib("VmRSS")
    run, check = job(name, scripts, n_slices)
    result = run()
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")
    wall, cpu = [], []
    for _ in range(reps):
        t, c = time.perf_counter(), time.process_time()
        run()
        wall.append((time.perf_counter() - t) / n_slices)
        cpu.append((time.process_time() - c) / n_slices)
    line = {"name": name, "peer": "reshim", "median_s": statistics.median(wall), "min_s": min(wall)}
    line |= {"cpu_s": statistics.median(cpu), "peak_rss_mib": round(resident_mib("VmHWM"), 1)}
    line |= {"baseline_rss_mib": round(baseline, 1), "data_mib": n_slices * COILS * SIZE**2 * 8 >> 20}
    line |= {"check": check(result)}
    print(json.dumps(line | {"threads": threads, "slices": n_slices}), flush=True)


def last_line(command: list[str], folder: Path | None, threads: int) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": done.stderr.strip().splitlines()[-1:] or ["no result"]}
    return json.loads(lines[-1])


def compare(name: str, peer: tuple[str, str, str], arguments: argparse.Namespace) -> dict[str, Any]:
    title, environment, script = peer
    python = arguments.peers / environment / "bin" / "python"
    if not python.exists():
        return {"name": name, "peer": title, "skipped": f"peer not installed: no environment {environment!r}"}
    shared = ["--threads", str(arguments.threads), "--reps", str(arguments.reps)]
    ours = [sys.executable, str(Path(__file__).resolve()), "--only", name, *shared]
    ours += ["--scripts", str(arguments.scripts)]
    theirs = [str(python), *script.split(), *shared]
    pairs = []
    for index in range(arguments.pairs):
        order = (ours, theirs) if index % 2 == 0 else (theirs, ours)
        folders = {id(ours): None, id(theirs): arguments.scripts}
        found = [last_line(command, folders[id(command)], arguments.threads) for command in order]
        if any("error" in one for one in found):
            return {"name": name, "peer": title, "skipped": [one.get("error") for one in found]}
        pairs.append(found if index % 2 == 0 else found[::-1])
    line: dict[str, Any] = {"name": name, "peer": title, "pairs": len(pairs), "threads": arguments.threads}
    for key in ("median_s", "min_s", "cpu_s", "peak_rss_mib"):
        ratios = [b[key] / a[key] for a, b in pairs if a.get(key) and b.get(key)]
        if ratios:
            line[f"times_faster_{key}"] = [round(f(ratios), 2) for f in (statistics.median, min, max)]
        line[f"ours_{key}"], line[f"peer_{key}"] = (
            round(statistics.median(side[i][key] for side in pairs), 4) for i in (0, 1)
        )
    return line | {"ours_check": pairs[-1][0]["check"], "peer_check": pairs[-1][1]["check"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--job", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--only", choices=list(PEERS), help="time ours in this process and end")
    parser.add_argument("--peers", type=Path, default=folder_of("RESHIM_PEERS"))
    parser.add_argument("--scripts", type=Path, default=folder_of("RESHIM_PEER_SCRIPTS"))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--volume", type=int, help="compare a volume of so many slices with one slice")
    arguments = parser.parse_args()
    if arguments.only:
        time_ours(arguments.only, arguments.scripts, arguments.threads, arguments.reps, arguments.slices)
        return
    for name in arguments.job:
        if arguments.volume:
            if name in VOLUME_JOBS:
                print(json.dumps(compare_volume(name, arguments)), flush=True)
            continue
        if name == "raki":
            time_serial_raki(arguments.scripts, arguments.threads, arguments.pairs)
            continue
        if arguments.peers is None or arguments.scripts is None or not PEERS[name]:
            time_ours(name, arguments.scripts, arguments.threads, arguments.reps, arguments.slices)
            continue
        for peer in PEERS[name]:
            print(json.dumps(compare(name, peer, arguments)), flush=True)


if __name__ == "__main__":
    main()
