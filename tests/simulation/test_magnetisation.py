import math
from dataclasses import replace

import pytest
import torch

from reshim.simulation.geometry import Geometry
from reshim.simulation.magnetisation import displaced, magnetisation, signal_of
from reshim.simulation.protocols import PROTOCOLS
from reshim.simulation.tissues import properties


def signal(tissue: str, protocol: str) -> float:
    card = PROTOCOLS[protocol]
    return signal_of(properties(tissue, card.field_tesla), card)


@pytest.mark.parametrize("field", ["1.5t", "3t"])
def test_contrasts_are_those_that_a_radiologist_knows(field):
    order = {
        f"brain-t1-{field}": ("scalp_fat", "white", "grey", "csf"),
        f"brain-t2-{field}": ("csf", "grey", "white", "muscle"),
        f"knee-pd-{field}": ("marrow_fat", "cartilage", "muscle", "meniscus", "cortical_bone"),
    }
    for protocol, tissues in order.items():
        signals = [signal(tissue, protocol) for tissue in tissues]
        assert signals == sorted(signals, reverse=True), protocol


@pytest.mark.parametrize("field", ["1.5t", "3t"])
def test_flair_nulls_the_fluid_and_shows_the_lesion(field):
    brightest = signal("lesion", f"brain-flair-{field}")
    assert brightest > signal("grey", f"brain-flair-{field}")
    assert abs(signal("csf", f"brain-flair-{field}")) < 0.03 * brightest


@pytest.mark.parametrize("field", ["1.5t", "3t"])
def test_contrast_agent_brightens_what_takes_it_up_and_leaves_the_brain(field):
    for tissue in ("lesion", "vessel"):
        assert signal(tissue, f"brain-t1-post-{field}") > 1.2 * signal(tissue, f"brain-t1-{field}")
    assert signal("white", f"brain-t1-post-{field}") == signal("white", f"brain-t1-{field}")


def test_blood_is_dark_on_spin_echoes_and_bright_on_gradient_echoes():
    assert signal("vessel", "brain-t2-3t") < 0.3 * signal("grey", "brain-t2-3t")
    assert signal("vessel", "brain-t1-3t") > signal("grey", "brain-t1-3t")


def test_displacement_moves_an_image_down_by_fractions_of_a_row():
    image = torch.zeros(16, 4)
    image[6] = 1
    for rows in (2.25, -1.5):
        moved = displaced(image, rows)
        assert (moved.sum(1) * torch.arange(16)).sum().item() / 4 == pytest.approx(6 + rows)
        assert moved.sum().item() == pytest.approx(4)


def object_of(balls, card, geometry) -> torch.Tensor:
    tissues = [properties(name, card.field_tesla) for name in ("fat", "muscle", "fluid", "lesion")]
    generator = torch.Generator().manual_seed(0)
    return magnetisation(balls(0, geometry), geometry, card, tissues, generator)[0]


def test_fat_lies_displaced_along_the_readout_and_water_does_not(balls):
    card = replace(PROTOCOLS["brain-t2-1.5t"], bandwidth_hz=50.0)
    geometry = Geometry(200, 200, (1.0, 1.0), (0.0,), 5.0)
    image = object_of(balls, card, geometry).abs()
    fat_rows = torch.nonzero(image[:, 100] > 0).flatten()
    assert card.fat_shift_mm < -2
    # The outermost tissue is fat: its upper edge at row 100 - 70 has moved by the shift.
    assert fat_rows[0].item() - 30 == pytest.approx(card.fat_shift_mm, abs=1.01)
    water = image[100, 125:].flatten()
    assert water[0] > 0


def test_fat_suppression_darkens_fat_alone(balls):
    geometry = Geometry(160, 160, (1.0, 1.0), (0.0,), 5.0)
    plain = replace(PROTOCOLS["knee-pd-3t"], bandwidth_hz=1e9)
    suppressed = replace(plain, fat_residual=0.1)
    before, after = (object_of(balls, card, geometry).abs() for card in (plain, suppressed))
    muscle, fat = (80, 30), (80, 15)
    assert after[muscle] == before[muscle]
    assert 0.09 < (after[fat] / before[fat]).item() < 0.7


@pytest.mark.parametrize(("turns", "angle"), [(0.5, math.pi), (1.0, 0.0)])
def test_fat_and_water_oppose_each_other_where_the_echo_time_says_so(balls, turns, angle):
    card = replace(PROTOCOLS["brain-t1-3t"], bandwidth_hz=1e9)
    card = replace(card, echo_ms=1000 * turns / abs(card.fat_offset_hz))
    image = object_of(balls, card, Geometry(280, 280, (0.5, 0.5), (0.0,), 5.0))
    # Along the middle row the muscle ends and the fat begins 60 mm from the centre.
    muscle, fat = image[140, 140 - 119], image[140, 140 - 121]
    # Fat's smaller lines pull its phase a little off that of the largest.
    assert abs((fat * muscle.conj()).angle().item()) == pytest.approx(angle, abs=0.15)
