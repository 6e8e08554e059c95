"""METHOD names that train on the scan itself."""

import pytest

from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.adaptation.zero_shot import ZeroShot
from reshim.errors import UserError
from reshim.methods import method_of, short_name


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


def test_rows_tell_the_start_apart_from_the_run_itself():
    assert short_name("zs-ssl:runs/knee") == "zs-ssl from knee"
    assert short_name("zs-ssl") == "zs-ssl"


def test_an_unknown_name_lists_them():
    with pytest.raises(UserError, match=r"conv-decoder.*zs-ssl"):
        method_of("magic")
