"""How should idle threads wait: what do OpenMP's ways cost alone, and beside other work on the same cores?

A thread that is done with its share of a loop spins for the others before it sleeps. Alone that saves the
time of waking; beside other work it burns the core that the others need. Each way of waiting is a process
of its own, for it is read when torch is loaded; processes take turns, and the medians of their medians are
compared. A ratio is the library's own way over this one: 2 is twice as fast.

    python benchmarks/waiting.py [JOB ...] [--beside 0 2] [--turns 3] [--threads N]

One JSON line a job and number of busy processes beside.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

WAYS = {
    "as it comes": {},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
BUSY = "import torch\ntorch.set_num_threads(1)\na = torch.randn(300, 300)\nwhile True: a @ a"
ENOUGH_SECONDS = 4.0


def jobs() -> dict[str, Callable[[], Callable[[], Any]]]:
    """What is timed, made when it is asked for."""
    import torch

    from reshim.acquire import Scheme, measure, without_oversampling
    from reshim.classical.l1_wavelet import L1Wavelet
    from reshim.networks import build
    from reshim.physics.maps import default_estimator
    from reshim.scans import open_scan
    from reshim.simulation.write import simulate

    def measurement(matrix: int) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            (path,) = simulate(folder, ["brain-t2-3t"], subjects=1, matrix=matrix, slices=1)
            scan = open_scan(path).load(None)
        return measure(without_oversampling(scan), Scheme("equispaced", 4), 1)

    def maps() -> Callable[[], Any]:
        scan = measurement(128)
        return lambda: default_estimator(scan)

    def wavelet() -> Callable[[], Any]:
        scan, method = default_estimator(measurement(128)), L1Wavelet()
        return lambda: method(scan)

    def step(name: str, matrix: int) -> Callable[[], Any]:
        scan, network = default_estimator(measurement(matrix)), build(name)
        optimiser = torch.optim.Adam(network.parameters())

        def run() -> None:
            optimiser.zero_grad()
            network(scan).abs().mean().backward()
            optimiser.step()

        return run

    return {
        "coil maps, 128": maps,
        "L1-wavelet, 128": wavelet,
        "training step, unrolled-tiny, 64": lambda: step("unrolled-tiny", 64),
        "training step, varnet-tiny, 128": lambda: step("varnet-tiny", 128),
    }


def time_here(job: str) -> float:
    """Median seconds of a job in this process."""
    run = jobs()[job]()
    run()
    seconds: list[float] = []
    while sum(seconds) < ENOUGH_SECONDS or len(seconds) < 3:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that keep a core busy each."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        time.sleep(3 if others else 0)
        yield
    finally:
        for other in others:
            other.kill()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(jobs())}")
    parser.add_argument(
        "--beside", nargs="+", type=int, default=[0, 2], help="busy processes (default 0 and 2)"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="of the job (default: all cores)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(time_here(options.jobs[0]))
        return
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    if options.threads is not None:
        plain["OMP_NUM_THREADS"] = str(options.threads)
    for job in options.jobs or jobs():
        for count in options.beside:
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            with busy(count):
                for _ in range(options.turns):
                    for way, settings in WAYS.items():
                        command = [sys.executable, __file__, job, "--here"]
                        done = subprocess.run(
                            command, env=plain | settings, check=True, capture_output=True, text=True
                        )
                        seconds[way].append(float(done.stdout.split()[-1]))
            middle = {way: statistics.median(some) for way, some in seconds.items()}
            ratios = {way: round(middle["as it comes"] / value, 2) for way, value in middle.items()}
            line = {"job": job, "beside": count, "seconds": middle["as it comes"], "ratio": ratios}
            print(json.dumps(line | {"seconds": float(f"{line['seconds']:.3g}")}), flush=True)


if __name__ == "__main__":
    main()
