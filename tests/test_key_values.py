"""Settings as a command line spells them."""

import pytest

from reshim.errors import UserError
from reshim.key_values import key_values, setting


def test_the_first_equals_sign_parts_key_and_value():
    assert key_values("--option", [" steps = 3", "where=a=b"]) == {"steps": "3", "where": "a=b"}


def test_a_setting_may_be_written_with_hyphens():
    assert key_values("--option", ["learning-rate=1"], setting) == {"learning_rate": "1"}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["steps"], "--option 'steps' has no value; write KEY=VALUE"),
        (["steps= "], "has no value"),
        (["=3"], "--option '=3' has no key"),
        (["fit-slices=1", "fit_slices=1"], "--option names fit_slices twice; give one value"),
    ],
)
def test_what_is_no_pair_or_says_a_thing_twice_is_refused(pairs, words):
    with pytest.raises(UserError, match=words):
        key_values("--option", pairs, setting)
