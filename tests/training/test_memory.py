import platform

import pytest
import torch

from reshim.training.forecast import resident_bytes
from reshim.training.memory import give_freed_memory_back, keep_freed_memory


def test_glibc_listens_and_others_are_left_alone(monkeypatch):
    if platform.libc_ver()[0] == "glibc":
        assert keep_freed_memory()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps nothing on our word")
def test_holes_between_what_stays_are_given_back():
    keep_freed_memory()
    # Blocks of 4 MB, each between two small ones that stay.
    pairs = [(torch.ones(2**20), torch.ones(100)) for _ in range(40)]
    small = [one for _, one in pairs]
    del pairs
    before = resident_bytes()
    assert give_freed_memory_back()
    assert before - resident_bytes() > 100 * 2**20
    assert len(small) == 40
