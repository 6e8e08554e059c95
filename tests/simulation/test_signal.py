import math

import numpy as np
import pytest
from scipy import special

from reshim.simulation.signal import (
    ernst_angle_deg,
    fat_at_echo,
    inversion_recovery,
    null_inversion_ms,
    spin_echo,
    spoiled_gradient_echo,
    through_slice,
    with_contrast_agent,
)
from reshim.simulation.tissues import properties


def test_a_spin_echo_of_one_t1_and_one_t2_is_known_on_paper():
    assert spin_echo(800, 80, 800, 80) == pytest.approx((1 - 1 / math.e) / math.e)


def test_an_echo_train_shortens_the_recovery():
    assert spin_echo(800, 80, 1000, 80, train_ms=200) == pytest.approx(spin_echo(800, 80, 800, 80))


def test_inversion_without_time_to_recover_turns_the_magnetisation_over():
    assert inversion_recovery(800, 80, 1e9, 0, 0) == pytest.approx(-1)


def test_inversion_recovery_is_zero_at_its_null_for_every_train():
    for train in (0.0, 150.0):
        null = null_inversion_ms(4300, 9000, train)
        assert inversion_recovery(4300, 2000, 9000, 85, null, train) == pytest.approx(0, abs=1e-12)
    assert null_inversion_ms(1000, 1e9) == pytest.approx(1000 * math.log(2))


def test_the_gradient_echo_is_the_steady_state_of_pulse_after_pulse():
    t1, t2_star, repetition, echo, flip = 700.0, 40.0, 25.0, 4.0, 30.0
    rest, angle, along = math.exp(-repetition / t1), math.radians(flip), 1.0
    for _ in range(2000):
        across, along = along * math.sin(angle), 1 + (along * math.cos(angle) - 1) * rest
    signal = spoiled_gradient_echo(t1, t2_star, repetition, echo, flip)
    assert signal == pytest.approx(across * math.exp(-echo / t2_star), rel=1e-9)


def test_the_gradient_echo_is_strongest_at_the_ernst_angle():
    flips = np.arange(1, 90, 0.01)
    signals = [spoiled_gradient_echo(832, 50, 250, 2.5, flip) for flip in flips]
    assert flips[np.argmax(signals)] == pytest.approx(ernst_angle_deg(832, 250), abs=0.01)


def test_contrast_agent_adds_its_relaxivity_to_the_rates():
    before = properties("lesion", 3.0)
    after = with_contrast_agent(before, 0.5, 3.0)
    assert 1000 / after.t1_ms - 1000 / before.t1_ms == pytest.approx(3.7 * 0.5)
    assert 1000 / after.t2_ms - 1000 / before.t2_ms == pytest.approx(5.2 * 0.5)
    assert with_contrast_agent(before, 0.0, 3.0).t1_ms == pytest.approx(before.t1_ms)


def test_fats_lines_are_in_phase_at_first_and_never_again_as_strong():
    assert fat_at_echo(127.7, 0.0) == pytest.approx(1)
    later = [abs(fat_at_echo(127.7, echo)) for echo in (1.0, 2.3, 4.6, 9.2)]
    assert max(later) < 1
    # Only the line at -3.4 ppm and its neighbours agree once they have turned once.
    assert 0.6 < later[1] < 0.9


def test_through_a_slice_relaxed_spins_give_the_mean_sine_of_the_arch():
    # Bessel and Struve: the mean of sin(a cos t) over a quarter turn is the Struve function H0(a).
    assert through_slice(1e-3, 1e9, 1e3, 0.0, 90.0) == pytest.approx(special.struve(0, math.pi / 2), rel=1e-3)


def test_through_a_slice_long_t1_keeps_more_of_its_signal_than_at_the_nominal_flip():
    def ratio(equation):
        return equation(371.0, 1e9, 250.0, 0.0, 70.0) / equation(832.0, 1e9, 250.0, 0.0, 70.0)

    assert ratio(through_slice) < 0.9 * ratio(spoiled_gradient_echo)
