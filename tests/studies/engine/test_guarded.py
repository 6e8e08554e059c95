"""What a guard hands out follows, slice by slice, from its verdict."""

from reshim.catalog import Catalog
from reshim.rows import read_rows
from reshim.studies import ttt_harm
from reshim.studies.engine.guarded import keep_guarded
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study


def row(index: int, value: float, adapted: bool | None = None):
    return {
        "scan_id": "a",
        "subject": "a",
        "slice": index,
        "metric": "ssim",
        "target": "mvue",
        "region": "support",
        "value": value,
        "adapted": adapted,
        "train_seed": 0,
    }


def test_the_guard_hands_out_the_fit_where_it_accepts_it_and_the_network_elsewhere(tmp_path):
    study = Study("x", tmp_path, object.__new__(Catalog), Scale.TINY, 0, tmp_path)
    study.keep([row(0, 0.8), row(1, 0.7)], method="before", test="Q")
    study.keep([row(0, 0.2), row(1, 0.1)], method="before", test="P")
    study.keep([row(0, 0.9, True), row(1, 0.6, False)], method="fitted", test="Q")
    for _ in range(2):  # a study that meets a pair of distributions both ways asks twice
        keep_guarded(study, "before", "fitted", "guarded", "Q")
    rows = study.store.collect(study.finished, tmp_path / "rows.parquet").to_pylist()
    given = {r["slice"]: (r["value"], r["adapted"]) for r in rows if r["method"] == "guarded"}
    assert given == {0: (0.9, True), 1: (0.7, False)}
    assert read_rows(tmp_path / "rows.parquet").num_rows == 8


def test_a_guard_that_refuses_everything_lets_nothing_through_whatever_reconciling_gains(tmp_path):
    def shares(verdicts):
        study = Study("x", tmp_path / str(verdicts), object.__new__(Catalog), Scale.TINY, 0, tmp_path)
        scores = ((ttt_harm.BEFORE, 0.70), (ttt_harm.RECONCILED, 0.80), (ttt_harm.UNGUARDED, 0.81))
        for method, value in scores:
            rows = [row(index, value, verdict) for index, verdict in enumerate(verdicts)]
            study.keep(rows, method=method, test="Q")
        ttt_harm.guarded(study, "Q")
        collected = study.store.collect(study.finished, tmp_path / "rows.parquet").to_pylist()
        found = {}
        for each in collected:
            found.setdefault(each["metric"], []).append(each["value"])
        return {name: sum(values) / len(values) for name, values in found.items()}

    assert shares((False, False))[ttt_harm.LET_THROUGH] == 0
    assert shares((False, False))[ttt_harm.KEPT] == 1
    assert shares((True, False))[ttt_harm.LET_THROUGH] == 0.5
