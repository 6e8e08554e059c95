"""What bfloat16 costs in SSIM, and what it saves: trained with and without, reconstructed with and without.

    python benchmarks/precision.py [--networks unet-tiny varnet-tiny] [--matrix 192] [--subjects 20] [...]

Simulated knees (PD, 3 T), 4x. Each network is trained twice from the same seed, once with `bf16`, and both
reconstruct the test subjects in either precision: SSIM in the body (mean over subjects), its loss against
single precision throughout with a 95 % interval over subjects, processor seconds. Transforms and norms' sums
are in single precision always. Whole networks in both precisions at 320x320: `networks.py --bf16`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}

if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import torch  # noqa: E402

from reshim.acquire import Scheme, measure, reference, without_oversampling  # noqa: E402
from reshim.catalog import Catalog  # noqa: E402
from reshim.evaluation.statistics import student_quantile  # noqa: E402
from reshim.physics.masks import evaluation_seed  # noqa: E402
from reshim.scans import load  # noqa: E402
from reshim.simulation.write import simulate  # noqa: E402
from reshim.studies.engine.lab import RATES, SETTINGS  # noqa: E402
from reshim.studies.engine.study import support_ssim  # noqa: E402
from reshim.training.objectives import Supervised  # noqa: E402
from reshim.training.settings import TrainingSettings  # noqa: E402
from reshim.training.train import train  # noqa: E402
from reshim.types import Reconstructor, ScanRecord  # noqa: E402

SCHEME = Scheme("equispaced", acceleration=4)
NAMES = {False: "float32", True: "bf16"}


def scored(method: Reconstructor, records: list[ScanRecord], bf16: bool) -> tuple[torch.Tensor, float]:
    """Mean SSIM of each subject's slices, and the processor seconds of a slice."""
    scores, seconds, slices = [], 0.0, 0
    for record in records:
        acquisition = load(record)
        seed = evaluation_seed(Path(record.path).name)
        measurement = measure(without_oversampling(acquisition), SCHEME, seed)
        started = time.process_time()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            image = method(measurement).abs().float()
        seconds += time.process_time() - started
        slices += len(image)
        scores.append(support_ssim(image, reference(acquisition, "mvue")).mean())
    return torch.stack(scores), seconds / slices


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["unet-tiny", "varnet-tiny"], metavar="NETWORK")
    parser.add_argument("--matrix", type=int, default=192)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder, "scans")
        simulate(scans, ["knee-pd-3t"], arguments.subjects, arguments.matrix, slices=4)
        catalog = Catalog.index(
            [scans], Path(folder, "catalog.parquet"), shares={"train": 0.5, "val": 0.1, "test": 0.4}
        ).catalog
        splits = {split: catalog.where(f"split = '{split}'").records() for split in ("train", "val", "test")}
        for network in arguments.networks:
            settings = TrainingSettings(
                objective=Supervised("ssim+l1"),
                epochs=arguments.epochs,
                batch_size=1,
                learning_rate=RATES[network],
                schemes=(SCHEME,),
            )
            expected = None
            for trained_in, name in NAMES.items():
                started = time.process_time()
                trained = train(
                    network,
                    splits["train"],
                    splits["val"],
                    replace(settings, bf16=trained_in),
                    Path(folder, f"{network} {name}"),
                    network_settings=SETTINGS.get(network),
                )
                spent = time.process_time() - started
                for used_in, word in NAMES.items():
                    scores, seconds = scored(trained, splits["test"], used_in)
                    expected = scores if expected is None else expected
                    lost = (expected - scores).double()
                    half = student_quantile(0.975, len(lost) - 1) * lost.std().item() / len(lost) ** 0.5
                    low, high = lost.mean().item() - half, lost.mean().item() + half
                    line = {
                        "job": f"precision-{network}",
                        "trained": name,
                        "used": word,
                        "ssim": round(scores.mean().item(), 4),
                        "lost": [round(value, 5) for value in (lost.mean().item(), low, high)],
                        "training_cpu_s": round(spent, 1),
                        "slice_cpu_s": round(seconds, 4),
                    }
                    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
