import pytest
import torch

from reshim.training.schedule import OneCycle


@pytest.mark.parametrize(("total", "warm_up"), [(100, 0.1), (37, 0.3), (400, 0.01)])
def test_every_rate_equals_that_of_torch(total, warm_up):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.4,
        total_steps=total,
        pct_start=warm_up,
        anneal_strategy="linear",
        div_factor=25,
        final_div_factor=1,
        cycle_momentum=False,
    )
    ours = OneCycle(0.4, total, warm_up)
    for step in range(total):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step + 1 < total:
            theirs.step()


def test_known_values():
    schedule = OneCycle(1.0, 101, 0.5 / 101 * 2, start_divisor=10, final_divisor=2)
    assert schedule(0) == pytest.approx(1.0)  # a warm-up of one step is none
    assert schedule(100) == pytest.approx(0.05)
    assert OneCycle(1.0, 101, 11 / 101, 10)(5) == pytest.approx(0.1 + 0.9 * 0.5)
    assert OneCycle(1.0, 1)(0) == pytest.approx(1.0)
