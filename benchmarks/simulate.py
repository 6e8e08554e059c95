"""How many slices a second does the simulated scanner write? One JSON line.

Whole volumes through `simulate`: anatomy, signal, coils, transform, noise and file. The aim is 10 slices a
second on two cores at matrix 128. On a busy machine the processor time tells more than the wall time.
"""

import argparse
import json
import os
import platform
import tempfile
import time

import torch

from reshim.simulation.write import simulate


def rate_of(protocol: str, matrix: int, slices: int, subjects: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        simulate(folder, [protocol], subjects=[1000], matrix=16, slices=1)  # imports and first calls
        wall, processor = time.perf_counter(), time.process_time()
        simulate(folder, [protocol], subjects=subjects, matrix=matrix, slices=slices)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    count = subjects * slices
    return {
        "slices_per_second": round(count / wall, 2),
        "processor_seconds_per_slice": round(processor / count, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--matrix", type=int, nargs="+", default=[96, 128, 192])
    parser.add_argument("--protocol", nargs="+", default=["brain-t2-3t", "knee-pd-3t"])
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--subjects", type=int, default=4)
    arguments = parser.parse_args()
    rates = {
        f"{protocol} {matrix}": rate_of(protocol, matrix, arguments.slices, arguments.subjects)
        for protocol in arguments.protocol
        for matrix in arguments.matrix
    }
    row = {
        "benchmark": "simulate",
        "rates": rates,
        "slices": arguments.slices,
        "subjects": arguments.subjects,
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
