"""METHOD names that train on the scan itself."""

from dataclasses import replace

import pytest

from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.adaptation.zero_shot import ZeroShot
from reshim.classical.sense import Sense
from reshim.digest import digest
from reshim.errors import UserError
from reshim.methods import OnDevice, method_of, run_named, short_name
from reshim.studies.engine.study import _seen_by
from reshim.training.run_folder import load_run
from tests.conftest import make_measurement
from tests.training.toy import run


def test_a_fit_that_starts_from_a_run_knows_whom_the_run_was_trained_on(tmp_path):
    run(tmp_path / "run", epochs=1)
    method = method_of(f"zs-ssl:{tmp_path / 'run'}")
    assert method.training_subjects == load_run(tmp_path / "run").training_subjects != frozenset()
    assert digest(method) == digest(replace(method, training_subjects=frozenset()))
    assert _seen_by(OnDevice(method, "cpu")) == method.training_subjects


def test_names_stand_for_methods_and_carry_the_budget():
    decoder, zero_shot = (method_of(name, budget_seconds=3.0) for name in ("conv-decoder", "zs-ssl"))
    assert isinstance(decoder, FittedDecoder)
    assert isinstance(zero_shot, ZeroShot)
    assert decoder.budget_seconds == zero_shot.budget_seconds == 3.0
    assert zero_shot.start is None


def test_a_start_that_is_no_run_or_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(UserError, match="no RUN folder"):
        method_of(f"zs-ssl:{tmp_path}")
    with pytest.raises(UserError, match="starts from no RUN"):
        method_of("conv-decoder:runs/knee")
    with pytest.raises(UserError, match="--adapt volume"):
        method_of("zs-ssl", adapt="volume")


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("default", {"adapt": "volume", "budget_seconds": 5.0}, "--adapt volume"),
        ("default", {"budget_seconds": 5.0}, "fits nothing"),
        ("sense", {"adapt": "auto", "budget_seconds": 5.0}, "fits nothing"),
        ("conv-decoder", {"budget_seconds": -1.0}, "seconds above 0"),
        ("conv-decoder", {"budget_seconds": float("nan")}, "seconds above 0"),
        ("zs-ssl", {"adapt_options": ("seed=1",)}, "--adapt-option 'seed=1'"),
    ],
)
def test_what_would_have_no_effect_is_refused(name, arguments, words):
    with pytest.raises(UserError, match=words):
        method_of(name, **arguments)


def test_a_run_that_is_left_as_it_is_takes_no_budget_and_no_options(tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    for arguments in ({"budget_seconds": 5.0}, {"adapt_options": ("steps=3",)}):
        with pytest.raises(UserError, match="--adapt none leaves the network as it is"):
            method_of(str(tmp_path), **arguments)


def test_a_run_and_its_epoch_by_name(tmp_path):
    assert run_named(f"{tmp_path}@3") is None
    (tmp_path / "settings.json").write_text("{}")
    assert run_named(f"{tmp_path}@3") == (tmp_path, 3)
    assert run_named(str(tmp_path)) == (tmp_path, None)
    assert run_named(f"{tmp_path}@best") is None
    called = tmp_path / "of@3"
    called.mkdir()
    (called / "settings.json").write_text("{}")
    assert run_named(str(called)) == (called, None)
    assert short_name(f"{called}@4") == "of@3@4"


def test_on_another_device_a_method_still_explains_itself():
    measurement, _ = make_measurement(rows=16, columns=18, center=6, n=2)
    decoder = FittedDecoder(iterations=2, channels=8, layers=3, seed_shape=(4, 4))
    there = OnDevice(decoder, "cpu").explain(measurement)
    assert there.reason == decoder.explain(measurement).reason
    assert there.action == ("fitted", "fitted")
    assert OnDevice(Sense(), "cpu").explain(measurement).action == ("left", "left")


def test_rows_tell_the_start_apart_from_the_run_itself():
    assert short_name("zs-ssl:runs/knee") == "zs-ssl from knee"
    assert short_name("zs-ssl") == "zs-ssl"


def test_an_unknown_name_lists_them():
    with pytest.raises(UserError, match=r"conv-decoder.*zs-ssl"):
        method_of("magic")
