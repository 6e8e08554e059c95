"""The judge sees effects that were planted, sees none where there is none, and admits what it cannot see."""

import json

import numpy as np
import pyarrow as pa
import pytest

from reshim.evaluation.claims import Claim, judge, write_summary
from reshim.evaluation.quantities import (
    AboveLine,
    Average,
    Best,
    Difference,
    RankCorrelation,
    Ratio,
    Rows,
    Worst,
    score,
    share_of_gap,
)
from reshim.evaluation.rules import (
    AllOf,
    Given,
    LowerBoundAbove,
    LowerBoundAtLeast,
    MeanOfDefined,
    NoneOf,
    NotSignificantlyBelow,
    PointAndInterval,
    UpperBoundBelow,
    Within,
)
from reshim.rows import SCHEMA

COMMON = {"metric": "ssim", "target": "mvue", "region": "support"}


def made_rows(
    methods, n_subjects=12, anatomy="brain", seed=0, spread=0.03, n_slices=3, train_seed=None, **more
):
    """Methods with these mean scores; subjects differ by `spread`, a method on a subject by a tenth of it."""
    generator = np.random.default_rng(seed)
    base = generator.normal(0, spread, n_subjects)
    rows = [
        {
            "scan_id": f"{anatomy}{i}",
            "dataset": "made",
            "subject": f"{anatomy}{i}",
            "slice": z,
            "anatomy": anatomy,
        }
        | {
            "method": method,
            "value": level + base[i] + generator.normal(0, spread / 10),
            "train_seed": train_seed,
        }
        | COMMON
        | more
        for method, level in methods.items()
        for i in range(n_subjects)
        for z in range(n_slices)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def on(method, anatomy="brain", **more):
    return score(method=method, anatomy=anatomy, **(COMMON | more))


GAIN = Difference(on("ours"), on("theirs"))


def test_a_planted_gain_holds_and_its_interval_surrounds_it():
    (judged,) = judge(
        made_rows({"ours": 0.85, "theirs": 0.82}), [Claim("gain", "ours gains", LowerBoundAbove(GAIN))]
    )
    assert judged["holds"] is True
    assert judged["low"] < 0.03 < judged["high"]
    assert judged["value"] == pytest.approx(0.03, abs=0.005)
    assert judged["n_subjects"] == 12
    assert judged["rule"] == "lower end of the 95 % interval of ours on brain − theirs on brain > 0"


def test_no_gain_does_not_hold_more_often_than_the_interval_says():
    claim = Claim("gain", "ours gains", LowerBoundAbove(GAIN))
    held = 0
    for seed in range(200):
        rows = made_rows({"ours": 0.8, "theirs": 0.8}, n_subjects=8, seed=seed, n_slices=1)
        held += judge(rows, [claim], resamples=500)[0]["holds"]
    # One-sided 2.5 % of 200 is 5; twelve or more would happen once in 250 such tests.
    assert held <= 12


def test_a_planted_loss_is_contradicted_and_a_wide_interval_is_undecided():
    loss = made_rows({"ours": 0.78, "theirs": 0.82})
    assert judge(loss, [Claim("gain", "", LowerBoundAbove(GAIN))])[0]["verdict"] == "contradicted"
    null = made_rows({"ours": 0.82, "theirs": 0.82}, seed=3)
    judged = judge(null, [Claim("gain", "", LowerBoundAbove(GAIN))])[0]
    assert (judged["verdict"], judged["holds"]) == ("undecided", False)


def test_each_rule_asks_the_end_of_the_interval_it_names():
    rows = made_rows({"ours": 0.85, "theirs": 0.82})
    rules = {
        "at least -0.005": (LowerBoundAtLeast(GAIN, -0.005), True),
        "at least 0.03": (LowerBoundAtLeast(GAIN, 0.03), False),
        "below 0.1": (UpperBoundBelow(GAIN, 0.1), True),
        "below 0": (UpperBoundBelow(GAIN), False),
        "inside": (Within(GAIN, 0.0, 0.06), True),
        "too narrow": (Within(GAIN, 0.0, 0.03), False),
        "point and end": (PointAndInterval(GAIN, at_least=0.02), True),
        "point too low": (PointAndInterval(GAIN, at_least=0.04), False),
        "end too low": (PointAndInterval(GAIN, at_least=0.02, above=0.03), False),
    }
    judged = judge(rows, [Claim(name, name, rule) for name, (rule, _) in rules.items()])
    assert {each["id"]: each["holds"] for each in judged} == {
        name: holds for name, (_, holds) in rules.items()
    }


def test_all_of_reports_a_rule_that_decides_not_a_vague_one_beside_it():
    levels = {"joint": 0.80, "alone": 0.81}
    rows = pa.concat_tables(
        [made_rows(levels, anatomy="knee", spread=0.8), made_rows(levels, anatomy="brain", spread=0.001)]
    )
    gains = [Difference(on("joint", name), on("alone", name)) for name in ("knee", "brain")]
    both = AllOf(tuple(LowerBoundAtLeast(gain, -0.005) for gain in gains))
    judged = judge(rows, [Claim("as-good", "the joint model is as good", both)])[0]
    vague, clear = judged["parts"]
    assert (vague["verdict"], clear["verdict"]) == ("undecided", "contradicted")
    assert vague["low"] < clear["low"]
    assert [judged[name] for name in ("verdict", "low", "high")] == [
        clear[name] for name in ("verdict", "low", "high")
    ]


def test_all_of_reports_the_rule_nearest_to_failing():
    rows = pa.concat_tables(
        [
            made_rows({"joint": 0.90, "alone": 0.89}, anatomy="knee"),
            made_rows({"joint": 0.80, "alone": 0.83}, anatomy="brain"),
        ]
    )
    both = AllOf(
        tuple(
            LowerBoundAtLeast(Difference(on("joint", name), on("alone", name)), -0.005)
            for name in ("knee", "brain")
        )
    )
    judged = judge(rows, [Claim("as-good", "the joint model is as good", both)])[0]
    assert judged["holds"] is False
    assert judged["value"] == pytest.approx(-0.03, abs=0.005)
    assert [part["verdict"] for part in judged["parts"]] == ["holds", "contradicted"]


@pytest.mark.parametrize(("bound", "verdict"), [(0.02, "holds"), (0.5, "unanswered")])
def test_a_rule_speaks_where_its_conditions_hold(bound, verdict):
    rows = made_rows({"joint": 0.90, "alone": 0.85}, anatomy="knee")
    gain = Difference(on("joint", "knee"), on("alone", "knee"))
    rule = Given(LowerBoundAtLeast(gain, 0.03), (LowerBoundAtLeast(gain, bound),))
    judged = judge(rows, [Claim("given", "the joint model is better, where it is", rule)])[0]
    assert (judged["verdict"], judged["holds"]) == (verdict, verdict == "holds")
    assert judged["value"] == pytest.approx(0.05, abs=0.005)
    assert (judged["note"] == "") is (verdict == "holds")


def shares_of(*anatomies):
    """A share of each, defined where the gap is at least 0.02."""
    cases = []
    for anatomy in anatomies:
        ends = [on(method, anatomy) for method in ("source", "adapted", "target")]
        gap = PointAndInterval(Difference(ends[2], ends[0]), at_least=0.02)
        cases.append(Given(LowerBoundAtLeast(share_of_gap(*ends), 0.5), (gap,)))
    return MeanOfDefined(tuple(cases), 0.9)


def with_gaps(**levels):
    return pa.concat_tables(
        made_rows(dict(zip(("source", "adapted", "target"), each, strict=True)), anatomy=anatomy)
        for anatomy, each in levels.items()
    )


@pytest.mark.parametrize(
    ("heart", "value", "verdict", "counted"),
    [
        ((0.80, 0.81, 0.81), 1.0, "holds", 2),  # no gap there: its share of 1.0 is not asked for
        ((0.80, 0.70, 0.805), 1.0, "holds", 2),  # nor is one far below
        ((0.70, 0.75, 0.80), 0.83, "contradicted", 3),  # a gap, half of it closed: it counts
    ],
)
def test_a_mean_counts_what_is_defined_and_says_how_many(heart, value, verdict, counted):
    rows = with_gaps(knee=(0.70, 0.80, 0.80), brain=(0.60, 0.80, 0.80), heart=heart)
    (judged,) = judge(rows, [Claim("mean", "most is closed", shares_of("knee", "brain", "heart"))])
    assert judged["value"] == pytest.approx(value, abs=0.05)
    assert judged["verdict"] == verdict
    assert judged["holds"] is (verdict == "holds")
    assert judged["note"].startswith(f"the mean of those {counted} of 3 that are defined")
    assert judged["bounds"] == [0.9]


@pytest.mark.parametrize(
    ("knee", "brain"),
    [
        ((0.80, 0.80, 0.801), (0.80, 0.85, 0.80)),
        (
            (0.80, 0.815, 0.81),
            (0.80, 0.815, 0.81),
        ),  # all of it closed and more, of gaps too small to ask about
    ],
)
def test_a_mean_of_nothing_that_is_defined_is_unanswered_and_says_why(knee, brain):
    rows = with_gaps(knee=knee, brain=brain)
    (judged,) = judge(rows, [Claim("mean", "most is closed", shares_of("knee", "brain"))])
    assert (judged["verdict"], judged["holds"]) == ("unanswered", False)
    assert "none of 2 is defined: contradicted" in judged["note"]
    assert "over those of 2 whose conditions hold" in judged["rule"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (made_rows({"ours": 0.85}), "theirs on brain: no rows with method = 'theirs'; left there: ours"),
        (made_rows({"ours": 0.85, "theirs": 0.8}, n_subjects=2), "2 subjects; an interval needs 3"),
        (made_rows({"ours": 0.85, "theirs": float("nan")}), "36 of 36 rows have no finite value"),
        (SCHEMA.empty_table(), "no rows with anatomy = 'brain'; left there: none"),
    ],
)
def test_what_the_rows_cannot_answer_does_not_hold_and_says_why(rows, why):
    judged = judge(rows, [Claim("gain", "ours gains", LowerBoundAbove(GAIN))])[0]
    assert (judged["holds"], judged["low"], judged["high"]) == (False, None, None)
    assert judged["verdict"] == "unanswered"
    assert why in judged["note"]


def test_the_share_of_a_planted_gap_is_found_and_for_errors_too():
    levels = {"source": 0.70, "adapted": 0.76, "target": 0.80}
    share = share_of_gap(on("source"), on("adapted"), on("target"))
    found = Rows(made_rows(levels)).interval(share)
    assert found.value == pytest.approx(0.6, abs=0.03)
    assert found.low < 0.6 < found.high
    errors = made_rows({"source": 0.3, "adapted": 0.24, "target": 0.2}, metric="nmse")
    sides = [on(name, metric="nmse") for name in levels]
    assert Rows(errors).interval(share_of_gap(*sides, lower_is_better=True)).value == pytest.approx(
        0.6, abs=0.03
    )


def test_a_share_of_no_gap_is_undefined_in_a_claim():
    rows = made_rows({"source": 0.80, "adapted": 0.81, "target": 0.80})
    share = share_of_gap(on("source"), on("adapted"), on("target"))
    judged = judge(rows, [Claim("share", "closes the gap", LowerBoundAbove(share), unit="share")])[0]
    assert judged["value"] is None
    assert "does not lie above 0" in judged["note"]


def test_the_worst_group_is_the_lower_mean_and_averages_are_plain():
    rows = pa.concat_tables(
        [made_rows({"m": 0.9}, anatomy="knee"), made_rows({"m": 0.8}, anatomy="brain", seed=1)]
    )
    groups = (on("m", "knee"), on("m", "brain"))
    answered = Rows(rows)
    assert answered.interval(Worst(groups)).value == answered.interval(groups[1]).value
    assert answered.interval(Worst(groups, lower_is_better=True)).value == answered.interval(groups[0]).value
    expected = (answered.interval(groups[0]).value + answered.interval(groups[1]).value) / 2
    assert answered.interval(Average(groups)).value == pytest.approx(expected)


def test_a_rank_correlation_over_methods_finds_the_planted_order():
    ssim = made_rows({"a": 0.7, "b": 0.8, "c": 0.9, "d": 0.95})
    psnr = made_rows({"a": 27, "b": 30, "c": 33, "d": 36}, metric="psnr", spread=0.5)
    first = tuple(on(name) for name in "abcd")
    second = tuple(on(name, metric="psnr") for name in "abcd")
    found = Rows(pa.concat_tables([ssim, psnr])).interval(RankCorrelation(first, second))
    assert (found.value, found.low) == (1.0, 1.0)


def test_the_height_above_a_line_is_what_was_planted():
    x = made_rows({"a": 0.70, "b": 0.80, "c": 0.90, "robust": 0.80}, anatomy="knee")
    y = made_rows({"a": 0.50, "b": 0.60, "c": 0.70, "robust": 0.65}, anatomy="brain", seed=1)
    points = {name: (on(name, "knee"), on(name, "brain")) for name in ("a", "b", "c", "robust")}
    above = AboveLine(*points["robust"], line=tuple(points[name] for name in "abc"))
    found = Rows(pa.concat_tables([x, y])).interval(above)
    assert found.low < 0.05 < found.high
    assert found.value == pytest.approx(0.05, abs=0.01)


def test_training_seeds_enter_the_interval_and_a_method_without_seeds_is_compared_with_them():
    rows = pa.concat_tables(
        [made_rows({"ours": 0.85 + 0.02 * s}, train_seed=s, spread=0.001) for s in (-1, 0, 1)]
        + [made_rows({"theirs": 0.82}, spread=0.001)]
    )
    found = Rows(rows).interval(GAIN)
    assert found.n_seeds == 3
    assert found.high - found.low > 0.05, "three seeds that differ by 0.02 leave the mean uncertain"
    one = Rows(made_rows({"ours": 0.85, "theirs": 0.82}, spread=0.001)).interval(GAIN)
    assert one.high - one.low < 0.01


def test_one_of_several_values_may_be_chosen_and_a_wrong_column_is_named():
    rows = pa.concat_tables([made_rows({"m": 0.9}, anatomy="knee"), made_rows({"m": 0.8}, anatomy="brain")])
    both = Rows(rows).interval(score(method="m", anatomy=["knee", "brain"]))
    assert both.n_subjects == 24
    assert "no column 'colour'" in Rows(rows).interval(score(colour="red")).note


def test_a_ratio_of_negative_quantities_is_undefined_rather_than_flattering():
    rows = made_rows({"a": 0.7, "b": 0.8})
    backwards = Ratio(Difference(on("a"), on("b")), Difference(on("a"), on("b")))
    assert Rows(rows).interval(backwards).value is None


def test_the_summary_is_strict_json_with_the_keys_that_scripts_rely_on(tmp_path):
    claims = judge(
        made_rows({"ours": 0.85}), [Claim("gain", "ours gains", LowerBoundAbove(GAIN), paper=0.05)]
    )
    path = write_summary(tmp_path / "study", "first-look", 12.34, {"data_kind": "simulated"}, claims)
    summary = json.loads(path.read_text())
    assert list(summary) == ["study", "seconds", "data", "claims"]
    keys = {"id", "claim", "rule", "holds", "value", "low", "high", "unit", "paper"}
    assert keys <= set(summary["claims"][0])
    assert [each.name for each in path.parent.iterdir()] == ["summary.json"]


def test_not_significantly_below_asks_for_a_loss_that_survives_the_correction():
    rows = made_rows({"ours": 0.8185, "theirs": 0.82}, n_subjects=8, seed=2)
    interval = Rows(rows).interval(GAIN)
    assert interval.high < 0  # a loss by itself
    judged = judge(
        rows,
        [Claim(str(n), "", NotSignificantlyBelow(GAIN, among=n)) for n in (1, 1000)],
    )
    assert [each["holds"] for each in judged] == [False, True]
    assert "Holm over 1000" in judged[1]["rule"]
    assert judged[1]["high"] > judged[0]["high"]
    lost = made_rows({"ours": 0.78, "theirs": 0.82})
    assert not judge(lost, [Claim("lost", "", NotSignificantlyBelow(GAIN, among=6))])[0]["holds"]


def counted(n_losers, n_subjects=12, n_slices=4):
    """Whether each slice lost: 1 for as many, 0 for the others."""
    rows = made_rows({"m": 0.0}, n_subjects, n_slices=n_slices, metric="loses").to_pylist()
    for index, row in enumerate(rows):
        row["value"] = float(index < n_losers)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


NO_LOSER = Claim("none", "no slice loses", NoneOf(on("m", metric="loses")), unit="share")


def test_one_slice_that_loses_contradicts_that_none_does():
    judged = judge(counted(1), [NO_LOSER])[0]
    assert (judged["verdict"], judged["holds"], judged["note"]) == ("contradicted", False, "")
    assert judged["value"] == pytest.approx(1 / 48)
    assert judged["low"] <= 0  # by its interval it would be undecided
    below = Claim("below", "", UpperBoundBelow(on("m", metric="loses"), 1e-9))
    assert judge(counted(1), [below])[0]["verdict"] == "undecided"


def test_a_counter_example_of_one_subject_counts_but_its_absence_does_not():
    assert judge(counted(1, n_subjects=1), [NO_LOSER])[0]["verdict"] == "contradicted"
    silent = judge(counted(0, n_subjects=2), [NO_LOSER])[0]
    assert (silent["verdict"], silent["holds"]) == ("unanswered", False)


def test_where_none_loses_the_claim_holds_with_what_so_many_subjects_still_allow():
    judged = judge(counted(0), [NO_LOSER])[0]
    assert (judged["verdict"], judged["holds"], judged["value"]) == ("holds", True, 0.0)
    assert judged["note"].startswith("none among 12 subjects, which allows for up to 25 %")
    assert judged["rule"] == "m on brain = 0; one row above 0 contradicts it"
    more = judge(counted(0, n_subjects=40), [NO_LOSER])[0]["note"]
    assert more.startswith("none among 40 subjects, which allows for up to 7.5 %")


def test_slices_that_cannot_be_told_do_not_pass_for_ones_that_lost_nothing():
    rows = [{**row, "value": float("nan")} for row in counted(0).to_pylist()]
    judged = judge(pa.Table.from_pylist(rows, schema=SCHEMA), [NO_LOSER])[0]
    assert (judged["verdict"], judged["holds"]) == ("unanswered", False)


def test_the_best_of_several_is_the_largest_mean_or_the_smallest_error():
    rows = Rows(made_rows({"a": 0.7, "b": 0.9, "c": 0.8}))
    members = tuple(on(name) for name in "abc")
    assert rows.interval(Best(members)).value == rows.interval(members[1]).value
    assert rows.interval(Best(members, lower_is_better=True)).value == rows.interval(members[0]).value
