"""Test-time training under one shift: the judge tells a closed gap from an open one, and from none at all."""

import json

import pytest
from tests.studies.planted import leaves_of, rows_at

from reshim.cli import main
from reshim.evaluation.claims import Claim, judge
from reshim.rows import read_rows
from reshim.studies import recipe_of, ttt_acceleration, ttt_anatomy, ttt_dataset, ttt_modality, ttt_shares
from reshim.studies.engine import lab
from reshim.studies.engine.shifts import ADAPTED, MANY, RECONCILED, UNET, UNGUARDED, Shift, wavelet_of

SHIFT = Shift(lab.KNEE_PD, lab.BRAIN_T2, kinds=(UNET,))
STUDIES = {
    "ttt-acceleration, 4x to 2x": ttt_acceleration.PUBLISHED,
    "ttt-acceleration, 2x to 4x": ttt_acceleration.HARDER,
    "ttt-anatomy": ttt_anatomy.SHIFT,
    "ttt-dataset": ttt_dataset.SHIFT,
    "ttt-modality": ttt_modality.SHIFT,
}


def planted(
    adapted: float,
    source: float = 0.80,
    target: float = 0.90,
    wavelet: float = 0.78,
    reconciled: float = 0.89,
    many: float = 0.885,
    shift: Shift = SHIFT,
    claims: tuple[Claim, ...] = SHIFT.claims(),
) -> dict:
    """Verdicts on rows: on Q, P's network has `source`, fitted `adapted`, and Q's own has `target`."""
    means = {}
    P, Q = shift.source, shift.target
    for leaf in leaves_of(claims):
        where = dict(leaf.where)
        method, test = where["method"], where["test"]
        if method in (wavelet_of(P), wavelet_of(Q)):
            means[leaf] = wavelet
        elif test == P.label:
            means[leaf] = 0.88
        else:
            kind = next(each for each in shift.kinds if method.startswith(each.name))
            means[leaf] = {
                kind.of(P): source,
                kind.of(P, RECONCILED): reconciled,
                kind.of(P, UNGUARDED): adapted,
                kind.of(P, ADAPTED): adapted,
                kind.of(Q): target,
                kind.of(Q, RECONCILED): target,
                kind.of(Q, ADAPTED): target,
                kind.of(MANY): many,
                kind.of(MANY, ADAPTED): many + 0.01,
            }[method]
    return {claim["id"]: claim for claim in judge(rows_at(means), claims, resamples=1000)}


def test_a_gap_that_is_closed_is_seen():
    found = planted(adapted=0.895)
    assert all(claim["holds"] for claim in found.values())
    assert found["share-unet"]["value"] == pytest.approx(0.95, abs=0.01)


def test_a_gap_that_stays_open_is_seen():
    found = planted(adapted=0.83, reconciled=0.84)
    assert found["gap-unet"]["holds"]
    for name in ("share-unet", "reconciled-unet", "fit-adds-unet", "left-unet"):
        assert found[name]["verdict"] == "contradicted", name


def test_a_diverse_start_that_is_no_better_is_seen():
    found = planted(adapted=0.895, many=0.79)
    assert found["many-unet"]["verdict"] == found["left-many-unet"]["verdict"] == "contradicted"


def test_the_other_definitions_of_the_share_differ_where_the_target_gains_too():
    P, Q = SHIFT.source, SHIFT.target
    leaf = {UNET.of(P): 0.80, UNET.of(P, ADAPTED): 0.88, UNET.of(Q): 0.90, UNET.of(Q, ADAPTED): 0.92}
    claims = {claim.id: claim for claim in SHIFT.claims()}
    wanted = {"share-unet": 0.8, "share-b-unet": 1 - 0.04 / 0.1, "share-c-unet": 0.08 / 0.12}
    means = {
        leaf_: leaf.get(dict(leaf_.where)["method"], 0.7 if "wavelet" in str(leaf_.where) else 0.95)
        for leaf_ in leaves_of([claims[name] for name in wanted])
    }
    for found in judge(rows_at(means, noise=0.0), [claims[name] for name in wanted]):
        assert found["value"] == pytest.approx(wanted[found["id"]], abs=1e-6)


def test_without_a_gap_there_is_no_share_of_it():
    found = planted(adapted=0.90, source=0.90)
    assert found["gap-unet"]["verdict"] == "contradicted"
    assert found["share-unet"]["verdict"] == "unanswered"


def test_where_a_classical_method_is_better_at_home_the_share_does_not_count():
    found = planted(adapted=0.90, wavelet=0.93)
    assert not found["home-unet"]["holds"]
    assert not found["share-unet"]["holds"]


@pytest.mark.parametrize("name", STUDIES)
def test_the_claims_of_each_study_are_told_on_its_own_shift(name):
    shift = STUDIES[name]
    rules = [claim.rule for claim in shift.claims()]
    claims = tuple(claim for claim in recipe_of(name.split(",")[0]).CLAIMS if claim.rule in rules)
    assert len(claims) == len(rules)

    def verdicts(**levels):
        found = planted(shift=shift, claims=claims, **levels)
        return {ident: claim["verdict"] for ident, claim in found.items()}

    closed = verdicts(adapted=0.895)
    assert closed == dict.fromkeys(closed, "holds")
    opened = verdicts(adapted=0.82, reconciled=0.83)
    none = verdicts(adapted=0.80, target=0.80, reconciled=0.80)
    poor = verdicts(adapted=0.895, many=0.79)
    assert [ident for ident in poor if "many" in ident] == [
        f"{question}-{kind.name.lower().replace('-', '')}"
        for kind in shift.kinds
        for question in ("many", "left-many")
        if shift.many
    ]
    for ident in closed:
        question = ident.split("-")[0]
        if question in ("share", "reconciled"):
            assert (opened[ident], none[ident]) == ("contradicted", "unanswered"), ident
        elif "many" in ident:
            assert poor[ident] == "contradicted", ident
        elif question in ("fit", "left"):
            assert opened[ident] == "contradicted", ident
        elif question == "gap":
            assert (opened[ident], none[ident]) == ("holds", "contradicted"), ident


def test_every_shift_has_claims_of_its_own():
    for name in ("anatomy", "dataset", "modality", "acceleration"):
        ids = [claim.id for claim in recipe_of(f"ttt-{name}").CLAIMS]
        assert len(set(ids)) == len(ids)
        assert {"gap-unet", "gap-varnet", "share-unet", "share-varnet"} <= set(ids)


@pytest.mark.parametrize(("given_back", "holds"), [(0.095, True), (0.06, False)])
def test_the_shares_of_all_shifts_together_are_judged(given_back, holds):
    def mean_of(where: dict) -> float:
        if where["method"].startswith("L1-wavelet"):
            return 0.70
        shift = next((each for each in ttt_shares.SHIFTS if each.target.label == where["test"]), None)
        if shift is None:  # at home
            return 0.85
        of_source = [kind.of(shift.source) for kind in ttt_shares.KINDS]
        if where["method"] in of_source:
            return 0.80
        if any(where["method"].startswith(kind.of(shift.target)) for kind in ttt_shares.KINDS):
            return 0.90
        return 0.80 + given_back

    means = {leaf: mean_of(dict(leaf.where)) for leaf in leaves_of(ttt_shares.CLAIMS)}
    found = judge(rows_at(means), ttt_shares.CLAIMS)
    assert [claim["holds"] for claim in found] == [holds] * len(found)
    told = [claim["note"] for claim in found if claim["id"].startswith("mean-defined-share")]
    assert len(told) == len(ttt_shares.KINDS)
    assert all(note.startswith("the mean of those 4 of 4") for note in told)


def test_a_share_whose_networks_lose_to_wavelets_at_home_is_not_in_the_mean():
    kind, poor = ttt_shares.KINDS[0], ttt_shares.SHIFTS[3].target.label
    claims = [claim for claim in ttt_shares.CLAIMS if claim.id == "mean-defined-share-unet"]

    def mean_of(where: dict) -> float:
        if where["method"].startswith("L1-wavelet"):
            return 0.95 if where["test"] == poor else 0.70
        shift = next((each for each in ttt_shares.SHIFTS if each.target.label == where["test"]), None)
        if shift is None or where["method"] == kind.of(shift.target):
            return 0.90
        return 0.80 if where["method"] == kind.of(shift.source) or shift.target.label == poor else 0.89

    (found,) = judge(rows_at({leaf: mean_of(dict(leaf.where)) for leaf in leaves_of(claims)}), claims)
    assert found["note"].startswith("the mean of those 3 of 4")
    assert found["value"] == pytest.approx(0.9, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ttt-anatomy", "ttt-dataset", "ttt-modality", "ttt-acceleration", "ttt-shares"]
)
def test_the_tiny_form_runs_from_scans_to_a_page(name, tmp_path):
    assert main(["study", name, "--tiny", "--out", str(tmp_path)]) == 0
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert [claim["id"] for claim in claims] == [claim.id for claim in recipe_of(name).CLAIMS]
    rows = read_rows(tmp_path / "rows.parquet")
    called = list(
        zip(
            *(
                rows[c].to_pylist()
                for c in ("scan_id", "slice", "method", "test", "metric", "target", "region")
            ),
            strict=True,
        )
    )
    assert len(set(called)) == len(called), "a slice was counted twice"
    assert (tmp_path / "index.html").exists()
