"""Items are dealt to threads in order, one torch thread each, and nothing else changes."""

import threading

import pytest
import torch

from reshim.physics.one_each import one_each


@pytest.fixture(params=[1, 3])
def threads(request):
    """As many threads as asked for; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_items", [0, 1, 5])
def test_results_come_in_order_from_one_torch_thread_each_and_the_number_of_threads_stays(threads, n_items):
    seen = []

    def double(item):
        seen.append(torch.get_num_threads())
        return 2 * item

    items = torch.arange(float(n_items)).requires_grad_(n_items > 0)
    results = list(one_each(double, items))
    assert [float(each) for each in results] == [2.0 * index for index in range(n_items)]
    assert set(seen) <= {1}
    assert not any(each.requires_grad for each in results)
    assert torch.get_num_threads() == threads


def test_items_are_worked_on_side_by_side():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    together = threading.Barrier(2, timeout=20)
    try:
        assert list(one_each(lambda item: together.wait() in (0, 1), torch.zeros(2))) == [True, True]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n_items", [1, 4])
def test_an_error_ends_it_and_leaves_the_threads_as_they_were(threads, n_items):
    def fail(item):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        list(one_each(fail, torch.zeros(n_items)))
    assert torch.get_num_threads() == threads


def test_under_inference_mode_results_can_be_written_into_its_tensors():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            items = torch.randn(3, 4, 4)
            out = torch.empty(3, 4)
            for index, each in enumerate(one_each(lambda item: torch.linalg.eigvalsh(item @ item.mT), items)):
                out[index] = each
        assert torch.isfinite(out).all()
    finally:
        torch.set_num_threads(before)
