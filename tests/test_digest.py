import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import nn

from reshim.acquire import Scheme
from reshim.digest import digest


def test_equal_settings_have_equal_digests_and_other_settings_others():
    assert digest(Scheme(acceleration=4)) == digest(Scheme(acceleration=4.0))
    assert digest(Scheme(acceleration=4)) != digest(Scheme(acceleration=8))


def test_weights_count():
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    two.load_state_dict(one.state_dict())
    assert digest(one) == digest(two)
    with torch.no_grad():
        two.weight[0, 0] += 1
    assert digest(one) != digest(two)


def test_what_only_looks_on_does_not_count():
    @dataclasses.dataclass(frozen=True)
    class Method:
        steps: int
        look: object = dataclasses.field(default=None, metadata={"digest": False})

    assert digest(Method(3)) == digest(Method(3, print))
    assert digest(Method(3)) != digest(Method(4))


def test_another_process_agrees():
    code = (
        "from reshim.digest import digest; from reshim.acquire import Scheme; "
        "print(digest(Scheme(), {'a': [1, None]}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert digest(Scheme(), {"a": [1, None]}) == other


def test_something_without_identity_is_refused():
    with pytest.raises(TypeError, match="no digest"):
        digest(object())
