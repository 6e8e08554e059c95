"""``reshim calibrate``: teach a RUN's alarm how good its images are, to foretell those of the next scan."""

import argparse
import math
from pathlib import Path

NAME = "calibrate"
HELP = "Calibrate a RUN's predicted SSIM on fully sampled scans that its training has not seen."

EXAMPLE = """\
example:
  reshim calibrate runs/knee scans.parquet --where "anatomy = 'knee' and split = 'val2'" --acceleration 4 8

One scan of each subject is used; two fifths of the subjects fit a line, the others say how far off it is.
RUN/alarm.safetensors keeps the answer, and `reshim reconstruct --with RUN` writes `predicted_ssim` into the
card. On the same subjects it is seen whether `--adapt auto` should reconcile usual scans, too. Subjects that
were trained on are skipped; those used here must not be tested on afterwards.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a trained run")
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="catalog made by reshim index")
    parser.add_argument("--where", required=True, metavar="SQL", help="which scans")
    parser.add_argument("--mask", default="equispaced", metavar="NAME", help="default equispaced")
    parser.add_argument(
        "--acceleration",
        type=float,
        nargs="+",
        default=[4.0],
        metavar="R",
        help="of several, each scan draws one",
    )
    parser.add_argument("--center-lines", type=int, metavar="N", help="fully sampled centre columns")
    parser.add_argument(
        "--center-fraction", type=float, metavar="F", help="the same as a share of the columns"
    )


def run(arguments: argparse.Namespace) -> int:
    """Calibrate and say how wide the interval is."""
    from rich.console import Console

    from reshim.training.memory import keep_freed_memory

    keep_freed_memory()
    from reshim.acquire import Scheme
    from reshim.alarm.calibrate import FILE, calibrate_alarm, one_a_subject
    from reshim.catalog import Catalog
    from reshim.methods import checked_device
    from reshim.progress import steps
    from reshim.training.run_folder import load_run

    trained = load_run(arguments.run, device=checked_device(arguments.device))
    catalog = Catalog.read(arguments.catalog)
    records = catalog.where(arguments.where).records()
    schemes = [
        Scheme(arguments.mask, rate, arguments.center_fraction, arguments.center_lines)
        for rate in arguments.acceleration
    ]
    for reason in trained.unknown_subjects:
        print(f"{arguments.run}: who it was trained on is not all known ({reason}); none of those is skipped")
    seen = trained.training_subjects
    headers = [record for record in catalog.records() if (record.dataset, record.subject) in seen]
    with steps("calibrating", len(one_a_subject(trained, records, arguments.seed))) as tick:
        predictor = calibrate_alarm(
            trained, records, schemes=schemes, trained_on=headers, seed=arguments.seed, on_progress=tick
        )
    n_fitted, n_calibrated = (len(predictor.about[name]) for name in ("fitted", "calibrated"))
    Console(markup=False).print(
        f"{arguments.run / FILE}: fitted on {n_fitted} subjects, calibrated on {n_calibrated}; nine of ten "
        f"scans like them have 1 - SSIM within a factor of {math.exp(predictor.half_width()):.2f} of what is "
        "foretold",
        highlight=False,
    )
    return 0
