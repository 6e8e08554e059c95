"""What fitting costs and whom it harms: the reckoning on traces and rows that are made up."""

import dataclasses
import json
import time

import pytest
import torch
from tests.adaptation.test_at_test_time import Gain
from tests.conftest import make_measurement
from tests.studies.planted import leaves_of, rows_at
from tests.training.toy import record

from reshim.adaptation.at_test_time import AdaptedAtTestTime
from reshim.adaptation.modes import adapted
from reshim.adaptation.reconciled import Reconciled
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.classical.l1_wavelet import L1Wavelet
from reshim.cli import main
from reshim.digest import digest
from reshim.evaluation.claims import judge
from reshim.evaluation.quantities import Score
from reshim.studies import recipe_of, ttt_cost, ttt_harm
from reshim.studies.engine import tracing, ways_of_fitting
from reshim.studies.engine.study import Study
from reshim.training.run_folder import Trained

SLOW = ("ttt-controls", "ttt-cost", "ttt-harm")


def by_metric(trace, level):
    return {row["metric"]: row["value"] for row in tracing.rows_of(trace, level)}


def test_the_time_to_a_level_is_that_of_the_first_look_that_reaches_it():
    found = by_metric(tracing.Trace([0.0, 2.0, 4.0, 6.0], [0.5, 0.7, 0.9, 0.8], 0.85, 6.0), level=0.8)
    assert found[tracing.TO_REFERENCE] == 4.0
    assert found["SSIM at its best look"] == 0.9
    assert found["SSIM where it stopped"] == 0.85


def test_a_level_that_is_never_reached_counts_as_ten_times_the_whole():
    found = by_metric(tracing.Trace([0.0, 6.0], [0.5, 0.7], 0.7, 6.0), level=0.8)
    assert found[tracing.TO_REFERENCE] == 60.0
    assert found["reaches the reference's SSIM"] == 0.0


def test_what_is_handed_out_is_there_at_the_end():
    """The reference hands out its last image, which no look may have been at."""
    found = by_metric(tracing.Trace([0.0, 2.0, 4.0], [0.5, 0.6, 0.7], 0.75, 4.0), level=0.75)
    assert found[tracing.TO_REFERENCE] == 4.0
    assert found["reaches the reference's SSIM"] == 1.0
    assert found[tracing.LOOKS] == 3.0


def test_looks_before_are_off_the_clock_and_every_check_is_a_look(monkeypatch):
    """By a clock that a solve moves by 10 s, the inference of what is shown by 100 s, any other by 1 s."""
    measurement, _ = make_measurement(n=1, noise=1e-3)
    now, seen = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Ticking(Gain):
        def forward(self, given):
            is_shown = not self.training and int(given.mask.sum()) == int(measurement.mask.sum())
            now[0] += 100 if is_shown else 1
            return super().forward(given)

    def solved(self, item, image, steps):
        now[0] += 10
        return image

    monkeypatch.setattr(Reconciled, "_solved", solved)
    fit = lambda show: AdaptedAtTestTime(  # noqa: E731
        Ticking(0.6), Gain(0.6), steps=4, check_every=1, patience=9, guarded=False, on_snapshot=show
    )
    tracing.Closed(fit, lambda *told: seen.append(told[:2])).explain(measurement)
    # To the first look: its inference, image and solve; to each further one a step and an inference more.
    assert seen == [(step, 111 + 2 * step) for step in range(5)]


def test_looks_at_a_closed_fit_see_reconciled_images_and_the_one_that_is_handed_out():
    measurement, _ = make_measurement(n=1, noise=1e-3)
    seen = []
    make = lambda look: AdaptedAtTestTime(  # noqa: E731
        Gain(0.6), Gain(0.6), steps=4, check_every=2, guarded=False, on_snapshot=look
    )
    closed = tracing.Closed(make, lambda step, seconds, image: seen.append((step, image)))
    outcome = closed.explain(measurement)
    steps, images = zip(*seen, strict=True)
    assert steps == (0, 2, 4)
    assert any(torch.equal(image, outcome.image) for image in images)
    alone = []
    make(lambda step, seconds, image: alone.append(image)).explain(measurement)
    torch.testing.assert_close(images[0], Reconciled(Gain(0.6)).reconcile(measurement, alone[0]))


@pytest.mark.parametrize("tiny", [False, True])
def test_each_way_of_fitting_can_be_made_and_is_on_the_page(tiny):
    joint, supervised = (Trained(Gain(gain), {"training": {"seed": 0}}) for gain in (0.6, 0.7))
    ways = ways_of_fitting.variants(joint, supervised, tiny, steps=4, check_every=2)
    starts = ways_of_fitting.other_starts(joint, joint, supervised, tiny, steps=4, check_every=2)
    plain = ways_of_fitting.without_network(L1Wavelet(), tiny)
    assert (tuple(starts), tuple(plain)) == (ways_of_fitting.STARTED, ways_of_fitting.NETWORKLESS)
    made = {**ways, **starts, **plain}
    assert set(made) <= set(ways_of_fitting.METHODS)
    assert set(ways) == (
        set(ways_of_fitting.TIMED) if tiny else set(ways_of_fitting.METHODS) - {*starts, *plain}
    )
    assert all(isinstance(make(lambda *_: None), tracing.Fit) for make in made.values())


def test_other_starts_are_fitted_from_the_network_that_they_name():
    many, released, supervised = (Trained(Gain(gain), {"training": {"seed": 0}}) for gain in (0.5, 0.6, 0.7))
    starts = ways_of_fitting.other_starts(many, released, supervised, True, steps=4, check_every=2)
    for name, make in starts.items():
        wanted = many if "many protocols" in name else released
        fit = make(lambda *_: None)
        assert isinstance(fit, ReferenceAdaptation) == name.startswith("reference"), name
        assert getattr(fit, "base", getattr(fit, "network", None)) is wanted.network, name


def test_the_wavelet_method_is_traced_with_one_look_and_longer_with_more_iterations():
    measurement, image = make_measurement(n=2, noise=0.02)
    wavelet = L1Wavelet(iterations=2)
    plain = ways_of_fitting.without_network(wavelet, tiny=False)
    found = {name: tracing.traces(make, measurement, image.abs(), range(2)) for name, make in plain.items()}
    assert all(len(trace.ssim) == 1 for some in found.values() for trace in some)
    short, long = (found[name][0] for name in ways_of_fitting.NETWORKLESS)
    assert short.final == short.ssim[0]
    assert long.total > 5 * short.total
    looks = []
    once = plain[ways_of_fitting.WAVELET](lambda step, seconds, image: looks.append(image))
    torch.testing.assert_close(once.explain(measurement).image, wavelet(measurement))
    assert len(looks) == 1


def test_a_trace_is_named_after_all_that_it_depends_on():
    """Another network, or another setting, is another way; who looks on is not."""

    def named(gain=0.6, tiny=False, **often):
        joint, supervised = (Trained(Gain(each), {"training": {"seed": 0}}) for each in (gain, gain + 0.1))
        ways = ways_of_fitting.variants(joint, supervised, tiny, **{"steps": 4, "check_every": 2, **often})
        plain = ways_of_fitting.without_network(L1Wavelet(iterations=2), tiny)
        return {name: digest(make(ttt_cost._nobody)) for name, make in {**ways, **plain}.items()}

    first = named()
    assert first == named()
    assert len(set(first.values())) == len(first)
    assert not {name for name, of in named(gain=0.7).items() if of == first[name]} - {
        *ways_of_fitting.NETWORKLESS
    }
    longer = named(steps=6)
    assert {longer[name] != first[name] for name in ("volume", ways_of_fitting.FAST)} == {True}
    assert longer[ways_of_fitting.REFERENCE] == first[ways_of_fitting.REFERENCE]


@pytest.mark.parametrize("name", ["volume, fitted on one of its slices", "volume, stopped at the noise"])
def test_a_way_that_fits_less_is_traced_on_all_slices(name):
    measurement, image = make_measurement(columns=88, n=3, noise=1e-3)
    joint = Trained(Gain(0.6), {"training": {"seed": 0}})
    make = ways_of_fitting.variants(joint, joint, False, steps=4, check_every=2)[name]
    found = tracing.traces(make, measurement, image.abs(), range(3))
    assert [len(trace.ssim) for trace in found] == [3, 3, 3]


@dataclasses.dataclass(frozen=True)
class Reaches:
    """A way of fitting of which a trace says so."""

    level: float

    def __call__(self, look):
        return self


def test_ways_without_a_network_are_judged_by_the_same_reference_and_drawn_beside_it(tmp_path, monkeypatch):
    measurement, image = make_measurement(n=4, noise=0.02)
    study, kept, traced = object.__new__(Study), [], []
    study.folder = tmp_path
    monkeypatch.setattr(Study, "pair_of", lambda *_: (measurement, image.abs()))
    monkeypatch.setattr(Study, "keep", lambda self, rows, **columns: kept.append((rows, columns)))

    def trace(make, measurement, target, chosen):
        traced.append(make)
        return [tracing.Trace([1.0], [make.level], make.level, 1.0)] * len(chosen)

    monkeypatch.setattr(ttt_cost, "traces", trace)
    scan = record("a scan", n_slices=4)
    ways = {ways_of_fitting.REFERENCE: Reaches(0.8), "volume": Reaches(0.7)}
    plain = {ways_of_fitting.WAVELET: Reaches(0.9)}
    for _ in range(2):
        levels = ttt_cost._try(study, scan, ways, 3)
        ttt_cost._try(study, scan, plain, None, levels)
    assert levels == [0.8, 0.8]
    assert [way.level for way in traced] == [0.8, 0.7, 0.9], "what was traced once is not traced again"
    other = {ways_of_fitting.REFERENCE: (Reaches(0.6), [0, 2])}
    found = ttt_cost._traced(study, scan, ttt_cost.TARGET.scheme, other, [0, 2])
    assert found[ways_of_fitting.REFERENCE][0].final == 0.6, "nor is it taken for another network's"
    reached = {
        columns["method"]: (row["value"], row["train_seed"])
        for rows, columns in kept
        for row in rows
        if row["metric"] == "reaches the reference's SSIM"
    }
    assert reached == {
        ways_of_fitting.REFERENCE: (1.0, 3),
        "volume": (0.0, 3),
        ways_of_fitting.WAVELET: (1.0, None),
    }
    assert (tmp_path / "curves" / "l1-wavelet-a-scan.jsonl").exists()


def first_of(leaf):
    """A score over several test sets, answered by rows of the first."""
    pairs = ((name, value[0] if isinstance(value, tuple) else value) for name, value in leaf.where)
    return Score(tuple(pairs), leaf.label)


def judged(claims, value_of):
    means = {first_of(leaf): value_of(dict(leaf.where)) for leaf in leaves_of(claims)}
    return {claim["id"]: claim for claim in judge(rows_at(means, noise=0.0), claims)}


@pytest.mark.parametrize(("fast", "holds"), [(1.0, True), (10.0, False)])
def test_the_speed_up_is_judged_by_the_ratio_of_seconds(fast, holds):
    def value_of(where):
        if where["metric"] == tracing.TO_REFERENCE:
            return fast
        return 60.0 if where["metric"] == "seconds to its end" else 0.9

    found = judged(ttt_cost.CLAIMS, value_of)
    assert found["speedup"]["holds"] is holds
    assert found["speedup-of-reconciling"]["holds"] is holds


@pytest.mark.parametrize(("first", "holds"), [(60.0, True), (12.0, False)])
def test_with_one_oracle_on_both_sides_the_reference_is_asked_for_its_first_look(first, holds):
    def value_of(where):
        if where["metric"] == tracing.TO_REFERENCE:
            return first if where["method"] == ways_of_fitting.REFERENCE else 1.0
        return 60.0 if where["metric"] == tracing.TO_END else 0.9

    found = judged(ttt_cost.CLAIMS, value_of)
    assert found["speedup-same-oracle"]["holds"] is holds
    assert found["speedup-of-reconciling-same-oracle"]["holds"] is holds
    assert found["speedup"]["holds"] is True


def test_one_shift_without_a_speed_up_decides():
    slow = ttt_cost.CASES[-1].test

    def value_of(where):
        if where["metric"] == tracing.TO_REFERENCE:
            return 10.0 if where["test"] == slow else 1.0
        return 60.0 if where["metric"] == "seconds to its end" else 0.9

    assert judged(ttt_cost.CLAIMS, value_of)["speedup"]["holds"] is False


def test_slices_that_share_a_fit_share_its_time():
    measurement, image = make_measurement(n=3, noise=1e-3)
    target = image.abs()
    make = lambda look: AdaptedAtTestTime(  # noqa: E731
        Gain(0.6), Gain(0.6), steps=4, check_every=2, guarded=False, on_snapshot=look
    )
    together = tracing.traces(make, measurement, target, range(3))
    assert len({tuple(trace.seconds) for trace in together}) == 1
    assert [len(trace.ssim) for trace in together] == [3, 3, 3]
    apart = tracing.traces(
        lambda look: ReferenceAdaptation(Gain(0.6), max_steps=4, window=2, on_snapshot=look),
        measurement,
        target,
        range(3),
    )
    assert len({tuple(trace.seconds) for trace in apart}) == 3


@pytest.mark.parametrize(("lost", "through"), [(0.0, 1.0), (0.2, 0.3)])
def test_harm_and_refused_gains_are_told(lost, through):
    def value_of(where):
        metric = where["metric"]
        if metric.startswith("loses"):
            return lost
        return (
            through
            if metric in (ttt_harm.LET_THROUGH, ttt_harm.KEPT, ttt_harm.FITS, ttt_harm.MENDED)
            else 0.9
            - 0.1 * lost * (where["method"] in (ttt_harm.GUARDED, ttt_harm.AUTO, ttt_harm.NOT_CALIBRATED))
        )

    found = judged(ttt_harm.CLAIMS, value_of)
    assert found["in-distribution"]["holds"] is found["auto-in-distribution"]["holds"] is (lost == 0)
    assert found["let-through"]["holds"] is found["auto-let-through"]["holds"] is (through == 1)
    assert found["fits-let-through"]["holds"] is found["gains-kept"]["holds"] is (through == 1)
    for ident in ("auto-in-distribution", "auto-losers", "auto-great-losers", "auto-let-through"):
        assert found[f"{ident}-uncalibrated"]["holds"] is found[ident]["holds"]
        assert found[f"{ident}-uncalibrated"]["rule"] != found[ident]["rule"]
    # Made-up subjects differ by more than the bounds of 2 % and 0, which no row of ones and zeros does.
    assert found["losers"]["value"] == pytest.approx(lost, abs=1e-9)


def test_harm_is_told_of_each_kind_of_network_by_itself():
    def value_of(where):
        test = where["test"] if isinstance(where["test"], str) else where["test"][0]
        bad = test.endswith("VarNet")
        if where["metric"] == "ssim":
            return 0.9 - 0.2 * (bad and where["method"] != ttt_harm.BEFORE)
        return float(bad if where["metric"].startswith("loses") else not bad)

    found = judged(ttt_harm.CLAIMS, value_of)
    own = {name: claim["holds"] for name, claim in found.items() if not name.endswith("-varnet")}
    assert set(found) == {*own, *(f"{name}-varnet" for name in own)}
    assert all(found[f"{name}-varnet"]["holds"] is False for name in own)
    # Made-up subjects differ by more than the bounds of 2 % and 0, which no row of ones and zeros does.
    assert {held for name, held in own.items() if "losers" not in name} == {True}


def test_auto_without_its_calibration_leaves_a_usual_scan_that_it_would_reconcile():
    measurement, _ = make_measurement(noise=1e-3)

    class Foretells:
        digest, mends_usual = "of a calibration", True

        def __call__(self, measurement):
            return type("Foretold", (), {"unknown": None})()

    run = type("Run", (), {"network": Gain(0.6), "fallback": Gain(0.9)})()
    auto = adapted(run, "auto", None, lambda measurement: 0.4, Foretells())
    without = ttt_harm.not_calibrated(auto)
    assert auto.explain(measurement).action == ("reconciled", "reconciled")
    assert without.explain(measurement).action == ("left", "left")
    assert digest(without) != digest(auto)
    # Rows of one calibration are not those of none, even where it says that usual scans are best left.
    assert digest(without) != digest(dataclasses.replace(auto, mends_usual=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_tiny_form_runs_from_scans_to_a_page(name, tmp_path):
    assert main(["study", name, "--tiny", "--out", str(tmp_path)]) == 0
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert [claim["id"] for claim in claims] == [claim.id for claim in recipe_of(name).CLAIMS]
    assert (tmp_path / "index.html").exists()
