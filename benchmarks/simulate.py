"""How many slices a second does the simulated scanner write? One JSON line.

Whole volumes through `simulate`: anatomy, signal, coils, transform, noise and file. The aim is 10 slices a
second on two cores at matrix 128.
"""

import argparse
import json
import os
import platform
import tempfile
import time

import torch

from reshim.simulation.write import simulate


def slices_per_second(protocol: str, matrix: int, slices: int, subjects: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        simulate(folder, [protocol], subjects=[1000], matrix=16, slices=1)  # imports and first calls
        start = time.perf_counter()
        simulate(folder, [protocol], subjects=subjects, matrix=matrix, slices=slices)
        return subjects * slices / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--matrix", type=int, nargs="+", default=[96, 128, 192])
    parser.add_argument("--protocol", nargs="+", default=["brain-t2-3t", "knee-pd-3t"])
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--subjects", type=int, default=4)
    arguments = parser.parse_args()
    rates = {
        protocol: {
            matrix: round(slices_per_second(protocol, matrix, arguments.slices, arguments.subjects), 2)
            for matrix in arguments.matrix
        }
        for protocol in arguments.protocol
    }
    row = {
        "benchmark": "simulate",
        "slices_per_second": rates,
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
