"""``--adapt-option``: settings as text, and what is said of those that make no sense."""

import pytest
from tests.adaptation.test_at_test_time import Gain

from reshim.adaptation.at_test_time import MEASURED, AdaptedAtTestTime
from reshim.adaptation.modes import adapted
from reshim.adaptation.options import with_options
from reshim.adaptation.reference import ReferenceAdaptation
from reshim.digest import digest
from reshim.errors import UserError
from reshim.studies.engine.shifts import fitted
from reshim.training.run_folder import Trained

RUN = type("Run", (), {"network": Gain(0.6), "fallback": Gain(0.7), "train_seed": 3})()


def changed(*options, mode="volume"):
    return adapted(RUN, mode, options=options)


def test_texts_become_values_of_the_settings_own_kind():
    fit = changed(
        "steps=7",
        "learning_rate=1e-4",
        "guarded=False",
        "parameters=last-stage",
        "fit-slices=2",
        "trust_radius=0.5",
    ).base
    assert (fit.steps, fit.learning_rate, fit.guarded) == (7, 1e-4, False)
    assert (fit.parameters, fit.fit_slices, fit.trust_radius) == ("last-stage", 2, 0.5)
    assert changed("trust_radius=none").base.trust_radius is None
    assert changed("from_neighbour=true", mode="slice").base.from_neighbour
    reference = changed("window=20", "leak=false", mode="reference")
    assert (reference.window, reference.leak, reference.with_replacement) == (20, False, True)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("steps", "has no value; write KEY=VALUE"),
        ("steps=", "has no value; write KEY=VALUE"),
        ("stepps=3", "no setting 'stepps'.*steps=300"),
        ("base=3", "no setting 'base'"),
        ("budget_seconds=3", "no setting"),
        ("steps=3.5", "steps takes a whole number"),
        ("guarded=1", "guarded takes true or false"),
        ("learning_rate=fast", "takes a number"),
        ("learning_rate=nan", "takes a number"),
        ("parameters=some", "all, affine, low-rank, last-stage"),
        ("fit_slices=few", "a whole number or none"),
        ("fit_slices=0", "at least 1"),
        ("stop=late", "held-out, noise"),
        ("judge_share=1.5", "lies in"),
        ("readout_share=0", "readout_share is 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_rule(option, words):
    with pytest.raises(UserError, match=words):
        changed(option)


@pytest.mark.parametrize("mode", ["reconcile", "auto"])
def test_modes_that_fit_nothing_have_no_settings(mode):
    with pytest.raises(UserError, match="slice, volume, reference"):
        adapted(RUN, mode, shift_score=lambda measurement: 1.0, options=["steps=3"])


def test_slice_and_volume_are_what_the_studies_measured():
    trained, supervised = (Trained(n, {"training": {"seed": 3}}) for n in (RUN.network, RUN.fallback))
    assert digest(adapted(RUN, "volume").base) == digest(fitted(trained, supervised, tiny=False))
    by_slice = adapted(RUN, "slice").base
    assert {name: getattr(by_slice, name) for name in MEASURED} == MEASURED
    assert by_slice.scope == "slice"


def test_settings_that_came_later_count_only_where_they_were_changed():
    before = AdaptedAtTestTime(RUN.network, RUN.fallback)
    assert digest(before) == digest(with_options(before, ["fit_slices=none"], "volume"))
    assert digest(before) != digest(with_options(before, ["fit_slices=2"], "volume"))
    assert digest(before) != digest(with_options(before, ["virtual_coils=2"], "volume"))
    assert digest(before) == digest(with_options(before, ["stop=held-out", "bf16=false"], "volume"))
    assert digest(before) != digest(with_options(before, ["stop=noise"], "volume"))
    assert digest(before) != digest(with_options(before, ["bf16=true"], "volume"))
    reference = ReferenceAdaptation(RUN.network)
    assert digest(reference) == digest(with_options(reference, ["fill_background=false"], "reference"))
    assert digest(reference) != digest(with_options(reference, ["fill_background=true"], "reference"))
