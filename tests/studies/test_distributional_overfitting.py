"""The rule for stopping early is chosen where it gains, among those that cost little."""

import numpy as np

from reshim.studies.distributional_overfitting import CANDIDATES, Trajectory, choose, spread
from reshim.training.settings import EarlyStop


def saturating(rate, epochs=60):
    return [0.6 + 0.3 * (1 - np.exp(-epoch / rate)) for epoch in range(epochs)]


def rising_then_falling(peak, epochs=60):
    return [0.8 - 1e-4 * (epoch - peak) ** 2 for epoch in range(epochs)]


def test_where_robustness_peaks_early_a_rule_that_stops_near_it_is_chosen():
    home = saturating(5)
    middle = EarlyStop(share=0.002, window=6)
    peaked = Trajectory(home, rising_then_falling(middle.epoch(home)))
    assert abs(choose([peaked], tolerance=0.05).epoch(home) - middle.epoch(home)) <= 1


def test_a_short_window_is_a_short_patience_so_a_pause_at_home_does_not_choose_it():
    home = [*saturating(3, 10), *[0.85] * 4, *np.linspace(0.86, 0.95, 40)]
    pausing = Trajectory(home, rising_then_falling(53, 54))
    assert {EarlyStop(share, 3).epoch(home) for share in (0.0005, 0.002)} != {None}
    assert choose([pausing], tolerance=0.003).window > 3


def test_where_every_rule_costs_too_much_the_cheapest_is_chosen():
    home = [0.5, *[0.6] * 25, 0.9]
    assert all(rule.epoch(home) is not None for rule in CANDIDATES)
    chosen = choose([Trajectory(home, home)], tolerance=0.003)
    assert chosen.window == max(rule.window for rule in CANDIDATES)


def test_no_rule_is_chosen_that_costs_more_than_allowed_where_a_cheap_one_exists():
    home = saturating(5)
    falling = Trajectory(home, rising_then_falling(0))
    cheap = choose([falling], tolerance=0.003)
    assert home[-1] - home[falling.chosen(cheap)] <= 0.003
    earliest = min(rule.epoch(home) for rule in CANDIDATES if rule.epoch(home) is not None)
    assert choose([falling], tolerance=1.0).epoch(home) == earliest


def test_a_checkpoint_is_the_best_at_home_before_the_rule_stops():
    trajectory = Trajectory([0.1, 0.5, 0.6, 0.61, 0.605, 0.606, 0.9], [0.3, 0.9, 0.1, 0, 0, 0, 0])
    assert trajectory.chosen(None) == 6
    assert trajectory.chosen(EarlyStop(share=0.05, window=2)) == 3
    assert trajectory.peak == 1


def test_the_epochs_that_are_looked_at_reach_from_the_first_to_the_last():
    assert spread(60, 8)[0] == 1
    assert spread(60, 8)[-1] == 60
    assert spread(2, 8) == [1, 2]
