"""The judge sees planted robustness, and none where the ways of training are alike."""

import json

import pytest
from tests.studies.answers import verdicts

from reshim.cli import main
from reshim.rows import read_rows
from reshim.studies.jittering import CLAIMS, LEVELS, NETWORKS, TRAININGS, VALIDATION, at, label


def planted(jitter: float, adversarial: float, clean: float = 0.0):
    """Slopes over the budget are 5, less so much for each way of training; `clean` is what both cost."""

    def value(where):
        way = where["method"].partition(", ")[2]
        gain = jitter if "jittered" in way else adversarial if way else 0.0
        return 0.9 - (clean if way else 0) - (5 - gain) * where["budget"]

    return value


def test_robustness_by_either_way_is_seen():
    found = verdicts(CLAIMS, planted(jitter=4, adversarial=4))
    assert found == dict.fromkeys(found, "holds")


def test_ways_that_change_nothing_help_nothing():
    found = verdicts(CLAIMS, planted(jitter=0, adversarial=0))
    assert found["adversarial-helps"] in ("undecided", "contradicted")
    assert found["jittering-helps"] in ("undecided", "contradicted")


def test_jittering_that_falls_short_or_costs_much_is_told():
    found = verdicts(CLAIMS, planted(jitter=1, adversarial=4, clean=0.05))
    assert found["jittering-suffices"] == "contradicted"
    assert found["clean-scans"] == "contradicted"


@pytest.mark.slow
def test_the_tiny_form_chooses_a_level_on_validation_subjects_and_attacks_every_model(tmp_path):
    assert main(["study", "jittering", "--tiny", "--out", str(tmp_path)]) == 0
    rows = read_rows(tmp_path / "rows.parquet").to_pylist()
    tested = {row["method"] for row in rows if row["test"] != VALIDATION}
    assert tested == {label(network, way) for network in NETWORKS for way in ("", *TRAININGS)}
    tried = [row for row in rows if row["test"] == VALIDATION]
    assert {row["method"] for row in tried} == {label(n, at(level)) for n in NETWORKS for level in LEVELS}
    assert {row["split"] for row in tried} == {"val"}
    assert {row["split"] for row in rows if row["test"] != VALIDATION} == {"test"}
    notes = sorted((tmp_path / "tuned").glob("*jittered*.json"))
    assert len(notes) == len(NETWORKS)
    for note in map(json.loads, (path.read_text() for path in notes)):
        assert note["chosen"] == note["values"][note["scores"].index(max(note["scores"]))]
    assert len(list((tmp_path / "images").glob("*.npz"))) == 2 * len(NETWORKS)
    claims = json.loads((tmp_path / "summary.json").read_text())["claims"]
    assert not [claim["id"] for claim in claims if claim["verdict"] == "unanswered"]
