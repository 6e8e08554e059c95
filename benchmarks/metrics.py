"""SSIM of a volume, ours against scikit-image's: seconds, ratio, difference.

Both score the same 30 slices of 320x320 with a 7x7 uniform window; scikit-image slice by slice, as fastMRI
calls it. Pairs are timed in turn, with the C library told to keep freed memory. The aim is a ratio of 10 and
a difference below 1e-6. On a busy machine read `cpu_ratio`, with `--threads 1`.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}

if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import torch  # noqa: E402
from skimage.metrics import structural_similarity  # noqa: E402

from reshim.metrics import ssim  # noqa: E402


def timed(run: Callable[[], float]) -> tuple[float, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    value = run()
    return time.perf_counter() - wall, time.process_time() - cpu, value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=30)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(arguments.slices, arguments.size, arguments.size, generator=generator)
    image = reference + 0.1 * torch.randn(reference.shape, generator=generator)
    top = reference.max()
    pairs = list(zip(reference.numpy(), image.numpy(), strict=True))

    def theirs() -> float:
        return statistics.fmean(
            structural_similarity(first, second, data_range=top.item()) for first, second in pairs
        )

    def ours() -> float:
        return ssim(image, reference, top.expand(len(image))).mean().item()

    timed(theirs), timed(ours)
    times = [(timed(theirs), timed(ours)) for _ in range(arguments.pairs)]
    print(
        json.dumps(
            {
                "job": "ssim-volume",
                "slices": arguments.slices,
                "size": arguments.size,
                "threads": arguments.threads,
                "ratio": round(statistics.median(a[0] / b[0] for a, b in times), 2),
                "cpu_ratio": round(statistics.median(a[1] / b[1] for a, b in times), 2),
                "skimage_s": round(statistics.median(a[0] for a, _ in times), 4),
                "ours_s": round(statistics.median(b[0] for _, b in times), 4),
                "difference": abs(times[0][0][2] - times[0][1][2]),
            }
        )
    )


if __name__ == "__main__":
    main()
