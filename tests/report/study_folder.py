"""A small study folder with planted effects, for the tests of the page."""

from pathlib import Path

import numpy as np

from reshim.evaluation.claims import Claim, judge, write_summary
from reshim.evaluation.quantities import Difference, score
from reshim.evaluation.rules import LowerBoundAbove, LowerBoundAtLeast
from reshim.report.blocks import (
    Bar,
    Choice,
    ClaimsBlock,
    Curve,
    CurvesBlock,
    DosesBlock,
    GapBlock,
    ImagesBlock,
    MatrixBlock,
    Page,
    Point,
    ScatterBlock,
    TableBlock,
    TextBlock,
)
from reshim.report.made import made
from reshim.report.page_file import write_page
from reshim.report.pictures import save_example
from reshim.rows import read_rows, write_rows

LEVELS = {"sense": (0.84, 0.83), "f_P": (0.91, 0.84), "adapted": (0.91, 0.88), "f_Q": (0.83, 0.93)}
SCORE = {"metric": "ssim", "target": "mvue", "region": "support"}
AT_4 = SCORE | {"acceleration": 4.0}


def make_rows(**more):
    generator = np.random.default_rng(0)
    rows = []
    for place, anatomy in enumerate(("knee", "brain")):
        for subject in range(6):
            base = generator.normal(0, 0.01)
            for method, levels in LEVELS.items():
                for rate in (2.0, 4.0, 8.0):
                    value = levels[place] - 0.02 * (rate - 4) + base + generator.normal(0, 0.002)
                    name = f"{anatomy}{subject}"
                    row = {
                        "scan_id": name,
                        "subject": name,
                        "dataset": f"sim-{anatomy}",
                        "data_kind": "simulated",
                    }
                    row |= {
                        "anatomy": anatomy,
                        "contrast": "PD",
                        "method": method,
                        "value": value,
                        "slice": 0,
                    }
                    row |= {"acceleration": rate, "effective_acceleration": 0.9 * rate, "mask": "equispaced"}
                    rows.append(row | {"mask_sha256": f"{subject:064x}", "center_lines": 8} | SCORE | more)
    return rows


def on(method, anatomy):
    return score(method=method, anatomy=anatomy, **AT_4)


def brain_gain(over):
    return Difference(on("adapted", "brain"), on(over, "brain"))


def make_page(**changes):
    methods = tuple(Choice(name, {"method": name}) for name in LEVELS)
    tests = tuple(Choice(name, {"anatomy": name}) for name in ("knee", "brain"))
    roles = {"sense": "classical", "f_P": "source", "adapted": "adapted", "f_Q": "target"}
    bars = tuple(Bar(name, {"method": name}, roles[name]) for name in LEVELS)
    points = tuple(
        Point(
            name,
            *({"method": name, "anatomy": anatomy} for anatomy in ("knee", "brain")),
            in_fit=name != "f_Q",
        )
        for name in LEVELS
    )
    blocks = (
        ClaimsBlock(),
        MatrixBlock("The matrix", "", methods, tests, AT_4),
        GapBlock("The gap", "", bars, AT_4 | {"anatomy": "brain"}),
        ImagesBlock("The images", "", ("median",)),
        CurvesBlock("The curves", "", (Curve("f_P", "curves/f_P.jsonl"),)),
        DosesBlock("The doses", lines=methods, where=SCORE | {"anatomy": "brain"}),
        ScatterBlock("The scatter", "", points, AT_4),
        TableBlock("The table", "", methods, tests, AT_4, compare_to="sense"),
        TextBlock("The words", "", ("One paragraph.",)),
        made("reshim study made-up", {"steps": 10}),
    )
    return Page("made-up", "A made-up study", "Does it draw?", "Nobody, 2024", blocks, **changes)


def make_study(folder: Path, **more) -> Path:
    write_rows(folder / "rows.parquet", make_rows(**more))
    claims = [
        Claim("gain", "Adapting gains on brains.", LowerBoundAbove(brain_gain("f_P"))),
        Claim("all", "Adapting reaches f_Q.", LowerBoundAtLeast(brain_gain("f_Q"), 0.0)),
        Claim("absent", "A third place.", LowerBoundAbove(on("f_P", "heart")), paper=0.5),
    ]
    judged = judge(read_rows(folder / "rows.parquet"), claims, resamples=500)
    write_summary(folder, "made-up", 12.0, {"data_kind": "simulated"}, judged)
    reference = np.random.default_rng(1).random((20, 16))
    images = {"sense": reference + 0.1, "f_P": reference}
    save_example(folder, "median", reference, images, {"sense": "SSIM 0.9"}, "median slice", (2, 2, 9, 9))
    (folder / "curves").mkdir()
    lines = [
        '{"step": 1, "loss": 0.5}',
        '{"step": 2, "loss": NaN}',
        '{"step": 3, "loss": 0.25}',
        '{"step": 4, "',
    ]
    (folder / "curves" / "f_P.jsonl").write_text("\n".join(lines))
    write_page(folder, make_page())
    return folder
