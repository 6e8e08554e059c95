"""Our U-net and E2E-VarNet against the `fastmri` package's, at equal weights and equal output.

    python benchmarks/networks.py [JOB ...] [--pairs 5] [--threads 2] [--size 320] [--coils 15]
                                  [--memory] [--bf16] [--compile]

One JSON line a job: the median of the ratios of pairs measured in turn in this one process (theirs over ours:
2 is twice as fast), of wall and of processor time, and the largest difference of the outputs over their
maximum. With `--memory` instead, the most memory that each side holds, in a process of its own. With `--bf16`
our side is in bfloat16, theirs in float32; what that costs is the question of `precision.py`. With
`--compile` our side as it is against our side with compiled cores, as `reshim train --compile` has them (2 is
twice as fast compiled), and apart from it the seconds that the first call takes longer.

Beside each job stands its roof: the seconds that its convolutions and products would take at the rate of one
large product of matrices in float32, the best of a few in the same process; Fourier transforms, norms and
whatever moves data are not in it. `roof_share` is the roof over our seconds.

Both sides run with the C library told to keep freed memory, which by itself is worth 1.5 times at batch 4. On
a busy machine read `cpu_ratio`, with `--threads 1`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}

if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import torch  # noqa: E402
from fastmri.losses import SSIMLoss  # noqa: E402
from fastmri.models import Unet  # noqa: E402
from fastmri.models import VarNet as FastmriVarNet  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from reshim.networks.unet import UNetCore  # noqa: E402
from reshim.networks.varnet import VarNet  # noqa: E402
from reshim.training.compiling import compile_cores  # noqa: E402
from reshim.types import Calibration, Measurement  # noqa: E402

Side = tuple[nn.Module, Callable[[], Tensor]]
ACCELERATION, CENTER_LINES = 4, 24


def unet_sides(batch: int, size: int) -> tuple[Side, Side]:
    torch.manual_seed(0)
    theirs, ours = Unet(1, 1, chans=32, num_pool_layers=4), UNetCore(1, 1, 32, 4)
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(batch, 1, size, size)
    return (theirs, lambda: theirs(image)), (ours, lambda: ours(image))


def varnet_sides(size: int, coils: int, low_memory: bool = False) -> tuple[Side, Side]:
    torch.manual_seed(0)
    theirs = FastmriVarNet(num_cascades=8, sens_chans=8, sens_pools=4, chans=18, pools=4)
    ours = VarNet(cascades=8, low_memory=low_memory)
    ours.core.load_state_dict(theirs.state_dict())
    start = (size - CENTER_LINES + 1) // 2
    mask = torch.zeros(1, 1, 1, size, dtype=torch.bool)
    mask[..., ::ACCELERATION] = True
    mask[..., start : start + CENTER_LINES] = True
    kspace = torch.where(mask, torch.randn(1, coils, size, size, dtype=torch.complex64), 0)
    measurement = Measurement(
        kspace=kspace,
        mask=mask,
        calibration=Calibration(0, size, start, start + CENTER_LINES),
        acquirable=torch.ones_like(mask),
        crop=(size, size),
        name="benchmark",
    )
    pairs, broad = torch.view_as_real(kspace), mask.unsqueeze(-1)
    return (theirs, lambda: theirs(pairs, broad, CENTER_LINES)), (ours, lambda: ours(measurement).real)


def inference(side: Side) -> Callable[[], Tensor]:
    network, call = side
    network.eval()

    def run() -> Tensor:
        with torch.inference_mode():
            return call()

    return run


def training_step(side: Side) -> Callable[[], Tensor]:
    network, call = side
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-6)
    loss_of = SSIMLoss()

    def run() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        output = call()
        images = output.reshape(-1, 1, *output.shape[-2:])
        target = images.detach().roll(1, -1)
        loss_of(images, target, data_range=target.amax((1, 2, 3))).backward()
        optimiser.step()
        return output.detach()

    return run


def in_bf16(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def under_autocast() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run()

    return under_autocast


def timed(run: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    wall, cpu = time.perf_counter(), time.process_time()
    output = run()
    return time.perf_counter() - wall, time.process_time() - cpu, output


def compare(theirs: Callable[[], Tensor], ours: Callable[[], Tensor], pairs: int) -> dict[str, float]:
    """Pairs in turn, the first of each alternating; one of each beforehand to warm up and to compare."""
    expected, got = timed(theirs)[2], timed(ours)[2]
    times = []
    for pair in range(pairs):
        measured = {side: timed(side)[:2] for side in ((theirs, ours) if pair % 2 else (ours, theirs))}
        times.append((*measured[theirs], *measured[ours]))
    wall, cpu, our_wall, our_cpu = zip(*times, strict=True)
    return {
        "ratio": round(statistics.median(a / b for a, b in zip(wall, our_wall, strict=True)), 3),
        "cpu_ratio": round(statistics.median(a / b for a, b in zip(cpu, our_cpu, strict=True)), 3),
        "fastmri_s": round(statistics.median(wall), 4),
        "ours_s": round(statistics.median(our_wall), 4),
        "difference": float(f"{((got - expected).abs().max() / expected.abs().max()).item():.1e}"),
    }


def product_rate(size: int = 2048, times: int = 5) -> float:
    """Operations a second of a large product of matrices in single precision, at best."""
    left, right = torch.randn(2, size, size).unbind()
    return 2 * size**3 / min(timed(lambda: left @ right)[0] for _ in range(times + 1))


def roof_of(run: Callable[[], Tensor], rate: float, seconds: float) -> dict[str, float]:
    """Seconds of a job's convolutions and products at a rate, and their share of what it took."""
    with FlopCounterMode(display=False) as counter:
        run()
    roof = counter.get_total_flops() / rate
    return {"roof_s": round(roof, 4), "roof_share": round(roof / seconds, 3)}


def compiled(
    make: Callable[[], tuple[Side, Side]],
    as_job: Callable[[Side], Callable[[], Tensor]],
    pairs: int,
    wrap: Callable[[Callable[[], Tensor]], Callable[[], Tensor]],
) -> dict[str, float]:
    """Our side as it is over our side compiled, at equal weights; compiling is timed apart."""
    eager, fast = make()[1], make()[1]
    if not compile_cores(fast[0]):
        raise SystemExit("torch.compile does not work here")
    as_is, quick = wrap(as_job(eager)), wrap(as_job(fast))
    seconds = timed(quick)[0] - timed(as_is)[0]
    found = compare(as_is, quick, pairs)
    names = {"fastmri_s": "eager_s", "ours_s": "compiled_s"}
    return {**{names.get(name, name): value for name, value in found.items()}, "compile_s": round(seconds, 1)}


def peaks(job: str, arguments: argparse.Namespace) -> dict[str, float]:
    """MiB that each side of a job takes, with the interpreter, each in a fresh process."""
    command = [sys.executable, __file__, job, "--threads", str(arguments.threads)]
    command += ["--size", str(arguments.size), "--coils", str(arguments.coils), "--only"]
    found = {}
    for side in ("fastmri", "ours"):
        done = subprocess.run([*command, side], check=True, stdout=subprocess.PIPE, text=True)
        found[f"{side}_mib"] = round(float(done.stdout))
    return {**found, "share": round(found["ours_mib"] / found["fastmri_mib"], 3)}


def jobs(size: int, coils: int) -> dict[str, tuple[Callable[[], tuple[Side, Side]], Callable]]:
    return {
        "unet-inference-b1": (lambda: unet_sides(1, size), inference),
        "unet-inference-b4": (lambda: unet_sides(4, size), inference),
        "unet-training-b1": (lambda: unet_sides(1, size), training_step),
        "unet-training-b4": (lambda: unet_sides(4, size), training_step),
        "varnet-inference": (lambda: varnet_sides(size, coils), inference),
        "varnet-training": (lambda: varnet_sides(size, coils), training_step),
        "varnet-training-low-memory": (lambda: varnet_sides(size, coils, low_memory=True), training_step),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--coils", type=int, default=15)
    parser.add_argument("--memory", action="store_true", help="peak memory in place of times")
    parser.add_argument("--bf16", action="store_true", help="our side in bfloat16")
    parser.add_argument("--compile", action="store_true", help="our side compiled, beside itself as it is")
    parser.add_argument("--only", choices=("fastmri", "ours"), help="run one side, print its peak in MiB")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    known = jobs(arguments.size, arguments.coils)
    for name in arguments.jobs or known:
        if name not in known:
            parser.error(f"there is no job {name!r}; there are {', '.join(known)}")
        make, as_job = known[name]
        if arguments.only:
            run = as_job(make()[arguments.only == "ours"])
            for _ in range(2):
                run()
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            continue
        wrap = in_bf16 if arguments.bf16 else lambda run: run
        if arguments.memory:
            result = peaks(name, arguments)
        elif arguments.compile:
            result = compiled(make, as_job, arguments.pairs, wrap)
        else:
            theirs, ours = (as_job(side) for side in make())
            rates = [product_rate()]
            result = compare(theirs, wrap(ours), arguments.pairs)
            rates.append(product_rate())
            result |= roof_of(ours, max(rates), result["ours_s"])
        precision = "bf16" if arguments.bf16 else "float32"
        shape = {
            "precision": precision,
            "size": arguments.size,
            "coils": arguments.coils,
            "threads": arguments.threads,
        }
        print(json.dumps({"job": name, **shape, **result}), flush=True)


if __name__ == "__main__":
    main()
