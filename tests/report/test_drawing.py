"""Small parts of the page against answers known beforehand."""

import base64
import io
import math

import numpy as np
import pyarrow as pa
import pytest
from skimage import io as skio

from reshim.errors import UserError
from reshim.evaluation.quantities import Rows
from reshim.evaluation.statistics import Interval
from reshim.report.blocks import Bar, Choice, Curve, CurvesBlock, GapBlock, MatrixBlock, TableBlock
from reshim.report.claims_section import claim_line, forest, verdict_line
from reshim.report.comparisons import gap, matrix, table
from reshim.report.context import Context
from reshim.report.curves import curves, read_curve
from reshim.report.numbers import duration, fixed, gathered, span
from reshim.report.pictures import heat, load_example, png, save_example
from reshim.report.relations import fit_line
from reshim.report.svg import Plot, Scale, linear_ticks, log_ticks, tag
from reshim.report.tables import Table
from reshim.rows import SCHEMA

from .study_folder import AT_4, LEVELS, make_rows


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, Rows(pa.Table.from_pylist(make_rows(), schema=SCHEMA), resamples=500), {})


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_reads_back_as_it_was(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(skio.imread(io.BytesIO(png(pixels))), pixels)


def test_the_error_colours_get_lighter_all_the_way():
    data = heat(np.linspace(0, 1, 64)[None])
    colours = skio.imread(io.BytesIO(base64.b64decode(data.split(",")[1])))[0].astype(float)
    lightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()


def test_an_example_comes_back_in_parts_of_the_reference(tmp_path):
    reference = np.array([[0.0, 4.0], [2.0, 1.0]]) * np.exp(1j)
    images = {"a": 2 * reference, "b": 0 * reference}
    save_example(tmp_path, "worst", reference, images, {"b": "SSIM 0"}, "why", (0, 0, 1, 1))
    example = load_example(tmp_path, "worst")
    assert example.reference.tolist() == [[0.0, 1.0], [0.5, 0.25]]
    assert example.images[0].max() == 2.0
    assert (example.labels, example.scores, example.caption) == (("a", "b"), ("", "SSIM 0"), "why")
    assert example.zoom == (0, 0, 1, 1)
    with pytest.raises(ValueError, match=r"scores of \['c'\]"):
        save_example(tmp_path, "x", reference, {"a": reference}, {"c": "1"}, "")


def test_nothing_outside_the_study_folder_is_read(tmp_path):
    (tmp_path / "secret.jsonl").write_text('{"step": 1, "loss": 2}')
    inside = tmp_path / "study"
    inside.mkdir()
    with pytest.raises(UserError, match="lies outside"):
        read_curve(inside, Curve("a", "../secret.jsonl"))
    with pytest.raises(UserError, match="lies outside"):
        load_example(inside, "../../secret")


def test_a_curve_keeps_its_gaps_and_drops_a_line_cut_short(tmp_path):
    lines = ['{"step": 1, "loss": 2}', '{"step": 2, "loss": NaN}', '{"other": 1}', '{"step": 3, "lo']
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    points = read_curve(tmp_path, Curve("a", "log.jsonl"))
    assert points[0] == (1.0, 2.0)
    assert math.isnan(points[1][1])
    assert len(points) == 2


def test_a_gap_in_a_curve_starts_a_new_stroke():
    plot = Plot.around([0, 2], [0, 1], "x", "y")
    plot.line([(0, 0), (1, math.nan), (2, 1)], "c0")
    assert plot.parts[-1].count("M") == 2


def test_the_matrix_marks_the_best_and_what_equals_it(context):
    block = MatrixBlock(
        methods=tuple(Choice(name, {"method": name}) for name in LEVELS),
        tests=(Choice("knee", {"anatomy": "knee"}), Choice("brain", {"anatomy": "brain"})),
        where=AT_4,
    )
    marks = {
        line["label"]: [cell["mark"] for cell in line["cells"]] for line in matrix(block, context)["lines"]
    }
    assert marks["f_Q"] == ["", "best"]
    assert marks["sense"] == ["", ""]
    assert sorted((marks["f_P"][0], marks["adapted"][0])) == ["best", "tied"]


def test_the_gap_runs_from_source_to_target_and_shares_are_of_it(context):
    roles = {"sense": "classical", "f_P": "source", "adapted": "adapted", "f_Q": "target"}
    bars = tuple(Bar(name, {"method": name}, roles[name]) for name in LEVELS)
    drawn = gap(GapBlock(bars=bars, where=AT_4 | {"anatomy": "brain"}), context)
    lines = {line["label"]: line for line in drawn["lines"]}
    assert drawn["gap"]["start"] == lines["f_P"]["drawn"]["at"]
    assert drawn["gap"]["start"] + drawn["gap"]["width"] == pytest.approx(lines["f_Q"]["drawn"]["at"])
    assert lines["f_P"]["drawn"]["change"] == 0
    closed = int(lines["adapted"]["share"].split(" ")[0])
    assert 40 <= closed <= 49  # 0.04 of 0.09
    assert lines["sense"]["share"] == "below the start"


def test_a_share_of_no_gap_is_called_undefined(context):
    roles = {"f_Q": "source", "f_P": "target", "sense": "other"}
    bars = tuple(Bar(name, {"method": name}, role) for name, role in roles.items())
    lines = gap(GapBlock(bars=bars, where=AT_4 | {"anatomy": "brain"}), context)["lines"]
    assert lines[2]["share"] == "undefined"
    assert "does not lie above 0" in lines[2]["note"]


def test_a_table_survives_signs_that_its_forms_give_a_meaning():
    table = Table(["method", "a|b"], [["f_P & 5%", "−0.1"]])
    assert table.markdown().splitlines() == ["| method | a\\|b |", "| --- | ---: |", "| f_P & 5% | −0.1 |"]
    assert r"f\_P \& 5\% & $-$0.1 \\" in table.latex()
    assert table.csv() == "method,a|b\nf_P & 5%,-0.1\n"


def test_numbers_have_the_digits_of_their_metric():
    assert fixed(0.91237, "ssim") == "0.912"
    assert fixed(-0.0123, "ssim", signed=True, extra=1) == "−0.0123"
    assert fixed(-0.00001, "ssim", signed=True) == "0.000"
    assert fixed(31.456, "psnr") == "31.46"
    assert fixed(None, "ssim") == "—"
    assert fixed(math.inf, "share") == "∞"
    assert span(Interval(0.5, None, None), "ssim") == "no interval"
    assert (duration(30), duration(600), duration(7200)) == ("30 s", "10 min", "2.0 h")


def test_a_note_is_said_once_with_all_whom_it_concerns():
    assert gathered([("a", "few"), ("b", ""), ("c", "few"), ("a", "few")]) == ["a; c: few"]
    assert gathered([("a", "few"), ("b", "few")]) == ["few"]
    assert gathered([("a", "few")]) == ["a: few"]


def test_ticks_are_round_and_inside():
    assert linear_ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert linear_ticks(-0.013, 0.021) == pytest.approx([-0.01, 0, 0.01, 0.02])
    assert log_ticks(1, 1000) == [1, 10, 100, 1000]
    assert log_ticks(1, 16) == [1, 2, 5, 10]
    assert Scale(1, 100, 0, 200, log=True)(10) == pytest.approx(100)


def test_a_fitted_line_is_the_one_the_points_lie_on():
    assert fit_line([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx((1.0, 2.0))
    assert fit_line([(1.0, 1.0), (1.0, 2.0)]) is None


def test_an_element_escapes_what_it_is_given():
    assert tag("text", "<b>", aria_label='"') == '<text aria-label="&#34;">&lt;b&gt;</text>'


def test_a_claim_without_an_interval_is_printed_without_one():
    line = claim_line({"id": "a", "claim": "A", "rule": "r", "holds": False, "value": None, "low": None})
    assert (line["value"], line["span"], line["forest"]) == ("—", "", None)
    assert verdict_line([{"verdict": "holds"}]) == "1 of 1 claim holds"


def test_a_claim_says_what_it_rests_on():
    claim = {"id": "x", "verdict": "holds", "value": 0.1, "n_subjects": 8, "n_seeds": 1}
    assert claim_line(claim)["basis"] == "8 subjects, 1 training seed"
    parts = [{}, {}, {}]
    assert claim_line(claim | {"parts": parts})["basis"].endswith("; the weakest of 3 conditions")
    conditional = claim | {"parts": parts, "conditional": True}
    assert claim_line(conditional)["basis"].endswith("; given 2 conditions")
    assert claim_line(conditional | {"parts": parts[:2]})["basis"].endswith("; given 1 condition")


def test_the_small_axis_holds_interval_and_bounds():
    drawn = forest(Interval(0.5, 0.4, 0.6), [0.0], "SSIM")
    assert 0 < drawn["bounds"][0]["at"] < drawn["start"] < drawn["at"] < drawn["start"] + drawn["width"] < 100


def test_the_mean_and_the_worst_of_the_test_sets_stand_beside_them(context):
    block = MatrixBlock(
        methods=tuple(Choice(name, {"method": name}) for name in LEVELS),
        tests=(Choice("knee", {"anatomy": "knee"}), Choice("brain", {"anatomy": "brain"})),
        where=AT_4,
        with_worst=True,
    )
    drawn = matrix(block, context)
    assert [test["label"] for test in drawn["tests"]] == ["knee", "brain", "mean of tests", "worst test"]
    cells = {line["label"]: [float(cell["value"]) for cell in line["cells"]] for line in drawn["lines"]}
    for knee, brain, mean, worst in cells.values():
        assert mean == pytest.approx((knee + brain) / 2, abs=2e-3)
        assert worst == min(knee, brain)


def test_a_point_of_several_test_sets_is_the_mean_of_their_means(context):
    apart = [context.interval("f_P", AT_4, {"method": "f_P", "anatomy": name}) for name in ("knee", "brain")]
    both = context.averaged("f_P", "anatomy", AT_4, {"method": "f_P", "anatomy": ["knee", "brain"]})
    assert context.rows.interval(both).value == pytest.approx(sum(each.value for each in apart) / 2)
    one = context.averaged("f_P", "", AT_4, {"method": "f_P", "anatomy": "knee"})
    assert context.rows.interval(one).value == apart[0].value


def test_a_curve_of_one_point_is_drawn_as_a_mark(context, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"seconds": 0.2, "ssim": 0.9}\n')
    lines = [f'{{"seconds": {n}, "ssim": 0.{n}}}\n' for n in (1, 2, 3)]
    (tmp_path / "many.jsonl").write_text("".join(lines))
    each = (Curve("at once", "one.jsonl", "seconds", "ssim"), Curve("fit", "many.jsonl", "seconds", "ssim"))
    (plot,) = curves(CurvesBlock("Quality", curves=each, x_label="s"), context)["plots"]
    assert plot["svg"].count('class="mark ') == 1
    assert plot["svg"].count('class="line ') == 1
    assert "at once" in plot["svg"]


def test_a_table_of_many_says_which_differ_from_0_after_holms_correction(tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for number in range(20):
        values = generator.normal(0, 1, 12)
        values += 3 if number == 0 else 0.5 if number == 1 else 0
        about = {
            "metric": "gain",
            "target": "mvue",
            "region": "all",
            "method": str(number),
            "dataset": "made",
        }
        rows += [
            about | {"value": value, "subject": str(i), "scan_id": str(i), "slice": 0}
            for i, value in enumerate(values)
        ]
    context = Context(tmp_path, Rows(pa.Table.from_pylist(rows, schema=SCHEMA), resamples=4000), {})
    choices = tuple(Choice(str(number), {"method": str(number)}) for number in range(21))
    block = TableBlock("", rows=choices, columns=(Choice("gain", {}),), against_zero=True)
    drawn = table(block, context)
    assert drawn["surviving"] == "Not 0 at 5 % after Holm's correction for all 20 values: 0 (gain)."
    assert drawn["table"].head == ["method", "gain", "95 % interval", "p (Holm)"]
    cells = [line[3] for line in drawn["table"].lines]
    # One that is not there has none.
    assert (cells[0], cells[20]) == ("0.010", "")
    assert min(map(float, cells[1:20])) > 0.05
    assert table(TableBlock("", rows=choices, columns=(Choice("gain", {}),)), context)["surviving"] == ""
