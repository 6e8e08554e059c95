"""``reshim train``: a trained model from the scans of a catalog."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reshim.cli.training_plan import add_plan, bounds_of, network_of, scans_of, settings_of

if TYPE_CHECKING:
    from reshim.training.pool import Pool
    from reshim.training.run_folder import Trained
    from reshim.training.settings import TrainingSettings

NAME = "train"
HELP = "Train a network on the scans of a filter; its validation split chooses the checkpoint."

EXAMPLE = """\
examples:
  reshim train scans.parquet --where "anatomy = 'knee'" --network unet-tiny --input complex --out runs/knee
  reshim train scans.parquet --where "anatomy = 'knee'" --where "anatomy = 'brain'" --weight 10 --weight 1 \\
      --network unet-tiny --out runs/ten-to-one
  reshim train site.parquet --where "fully_sampled = false" --from runs/knee --objective ssdu --out runs/site
  reshim train scans.parquet --where "anatomy = 'knee'" --where "anatomy = 'brain'" --subset 1 \\
      --subset 1/16 --network unet-tiny --out runs/all-of-one
  torchrun --nproc-per-node 8 -m reshim train scans.parquet --where true --network vit-l --fsdp \\
      --device cuda --out runs/vit
  torchrun --nproc-per-node 4 -m reshim train scans.parquet --where true --network varnet-s \\
      --device cuda --out runs/all
  reshim train scans.parquet --where true --network unet-s --network-option channels=64 \\
      --objective joint-released --target rss --fixed-mask --schedule constant --learning-rate 1e-5 \\
      --batch 1 --epochs 300 --training-option clip=none --out runs/as-released

Scans with split 'train' are trained on, those with 'val' choose the checkpoint. The same command again goes
on where it stopped; a folder that holds a run with other settings is refused (exit 2). Under torchrun --batch
is the batch of all processes together, and with --device cuda each takes the GPU of its number.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="catalog made by reshim index")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    add_plan(parser, needs_data=True)


def run(arguments: argparse.Namespace) -> int:
    """Train; 3 where scans were left out."""
    from reshim.catalog import Catalog
    from reshim.methods import checked_device
    from reshim.training.cache import Cache
    from reshim.training.display import RichDisplay
    from reshim.training.run_folder import RunFolder
    from reshim.training.train import train

    device = checked_device(arguments.device)
    settings = settings_of(arguments)
    pool = _pool(arguments, settings)
    network, network_settings = network_of(arguments, settings.objective)
    catalog = Catalog.read(arguments.catalog)
    groups, validation = scans_of(catalog, arguments)
    with RichDisplay(f"training {network}") as display, _saying_how_to_go_on():
        trained = train(
            network,
            groups,
            validation,
            settings,
            arguments.out,
            network_settings=network_settings,
            start=arguments.start,
            fallback=arguments.fallback,
            watch={where: catalog.where(where).part("val").records() for where in arguments.watch or ()},
            pool=pool,
            device=device,
            display=display,
            sharded=arguments.fsdp,
            compiled=arguments.compile,
            tensorboard=arguments.tensorboard,
            about={"catalog": str(arguments.catalog), "where": arguments.where, "subset": _said(arguments)},
        )
    Cache(RunFolder(arguments.out).prepared, 0).remove()
    return _finished(trained, arguments.out)


@contextmanager
def _saying_how_to_go_on() -> Iterator[None]:
    try:
        yield
    except SystemExit as left:
        if left.code == 128 + signal.SIGTERM and os.environ.get("RANK", "0") == "0":
            print("reshim train: asked to end, state saved; run it again to go on", file=sys.stderr)
        raise


def _pool(arguments: argparse.Namespace, settings: "TrainingSettings") -> "Pool":
    from reshim.training.cache import Cache
    from reshim.training.pool import Pool
    from reshim.training.run_folder import RunFolder

    in_memory, on_disk = bounds_of(arguments)
    # Each process of torchrun writes its share.
    on_disk //= int(os.environ.get("WORLD_SIZE", "1"))
    cache = Cache(RunFolder(arguments.out).prepared, on_disk) if on_disk else None
    return Pool(remove_oversampling=settings.remove_oversampling, max_bytes=in_memory, cache=cache)


def _finished(trained: "Trained", out: Path) -> int:
    from reshim.report.run_page import draw_run

    finished = trained.settings["finished"]
    if os.environ.get("RANK", "0") != "0":
        return 3 if finished["left_out"] else 0
    draw_run(out)
    score = (
        ""
        if finished["score"] is None
        else f", epoch {finished['best_epoch']} is best at {finished['score']:.4f}"
    )
    print(f"{finished['samples']} slices in {finished['steps']} steps{score}; the run lies in {out}")
    for scan_id, reason in finished["left_out"].items():
        print(f"left out {scan_id}: {reason}")
    return 3 if finished["left_out"] else 0


def _said(arguments: argparse.Namespace) -> Any:
    """What --subset was, as settings.json tells it: one word for all, or one a filter."""
    subset = arguments.subset
    return subset[0] if subset is not None and len(subset) == 1 else subset
