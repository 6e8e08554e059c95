import math

import pytest
import torch

from reshim.simulation.coils import CoilArray, Loops, elliptic_integrals, loop_field
from reshim.simulation.fields import CoilFields, interpolation_matrix
from reshim.simulation.geometry import Geometry
from reshim.simulation.protocols import PROTOCOLS

X = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
ORIGIN = torch.zeros(1, 3, dtype=torch.float64)


def biot_savart(point: torch.Tensor, radius: float, segments: int = 4000) -> torch.Tensor:
    """Sum over short wire segments of a loop in the plane z = 0, in units of the field in its middle."""
    angle = 2 * math.pi * (torch.arange(segments, dtype=torch.float64) + 0.5) / segments
    flat = torch.zeros_like(angle)
    wire = radius * torch.stack([angle.cos(), angle.sin(), flat], -1)
    step = torch.stack([-angle.sin(), angle.cos(), flat], -1) * (2 * math.pi * radius / segments)
    offset = point - wire
    field = torch.linalg.cross(step, offset) / offset.norm(dim=-1, keepdim=True) ** 3
    return field.sum(0) * radius / (2 * math.pi)


def test_elliptic_integrals_agree_with_the_tables():
    first, second = elliptic_integrals(torch.tensor([0.0, 0.5, 0.99], dtype=torch.float64))
    assert first.tolist() == pytest.approx([math.pi / 2, 1.8540746773013719, 3.6956373629898747], rel=1e-12)
    assert second.tolist() == pytest.approx([math.pi / 2, 1.3506438810476755, 1.0159935450252239], rel=1e-12)


def test_on_the_axis_the_field_is_that_of_the_textbook():
    height = torch.tensor([0.0, 15.0, 40.0, 120.0], dtype=torch.float64)
    points = torch.stack([height, 0 * height, 0 * height], -1)
    field = Loops(ORIGIN, X, 40.0).sensitivity(points)[0]
    expected = 40.0**3 / (40.0**2 + height**2) ** 1.5
    torch.testing.assert_close(field, torch.complex(expected, 0 * expected), rtol=1e-6, atol=1e-9)


def test_off_the_axis_the_field_is_the_sum_over_the_wire():
    for point in ((10.0, 0.0, 5.0), (0.0, 70.0, 30.0), (30.0, -25.0, 60.0)):
        place = torch.tensor(point, dtype=torch.float64)
        distance, height = place[:2].norm()[None], place[2:]
        axial, radial = loop_field(distance, height, 40.0)
        expected = biot_savart(place, 40.0)
        assert axial.item() == pytest.approx(expected[2].item(), rel=1e-5)
        assert radial.item() == pytest.approx((expected[:2] @ place[:2]).item() / distance.item(), rel=1e-5)


def test_reception_is_bx_minus_i_by_whatever_way_the_loop_faces():
    point = torch.tensor([[20.0, 30.0, 10.0]], dtype=torch.float64)
    facing_x = Loops(ORIGIN, X, 40.0).sensitivity(point)
    # Turn loop and point by 90° about z: x to y, so the field turns too and reception gains a phase of -90°.
    turned = Loops(ORIGIN, X[:, [1, 0, 2]], 40.0).sensitivity(torch.tensor([[-30.0, 20.0, 10.0]]).double())
    torch.testing.assert_close(turned, -1j * facing_x)


def test_a_loop_that_faces_along_b0_is_blind_on_its_axis():
    along_z = Loops(ORIGIN, X[:, [1, 2, 0]], 40.0)
    on_axis = torch.tensor([[0.0, 0.0, 25.0]], dtype=torch.float64)
    assert along_z.sensitivity(on_axis).abs().item() < 1e-9


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_noise_covariance_of_every_array_is_positive_definite(name):
    coils = PROTOCOLS[name].coils
    correlation = coils.loops("a subject").noise_correlation(coils.coupling)
    torch.testing.assert_close(correlation.diagonal(), torch.ones(coils.n_coils, dtype=torch.float64))
    assert torch.linalg.eigvalsh(correlation).min() > 0.1


def test_neighbours_share_more_noise_than_loops_on_opposite_sides():
    array = CoilArray((8,), (0.0,), (110.0, 110.0), 50.0, jitter_mm=0.0)
    correlation = array.loops("a subject").noise_correlation(0.5).abs()
    assert correlation[0, 1] > 5 * correlation[0, 4]


def test_a_subject_finds_the_same_coils_again_and_another_subject_others():
    coils = PROTOCOLS["knee-pd-3t"].coils
    first, again, other = (coils.loops(name).centres_mm for name in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1


def test_cubic_interpolation_repeats_a_quadratic():
    positions = torch.linspace(1, 6, 23, dtype=torch.float64)
    samples = torch.arange(9, dtype=torch.float64)
    values = interpolation_matrix(9, positions) @ (2 * samples**2 - 3 * samples + 1)
    torch.testing.assert_close(values, 2 * positions**2 - 3 * positions + 1)


def test_interpolated_fields_are_those_of_biot_and_savart_inside_the_body():
    geometry = Geometry(64, 64, (3.0, 3.0), (12.0,), 5.0)
    loops = PROTOCOLS["brain-t2-3t"].coils.loops("a subject")
    exact = loops.sensitivity(torch.stack(geometry.points(0), -1)).to(torch.complex64)
    axis = torch.arange(64) * 1.0
    interpolated = CoilFields.of(loops, geometry).at(0, axis, axis)
    x, y, _ = geometry.points(0)
    head = (x / 80) ** 2 + (y / 100) ** 2 < 1
    error = (interpolated - exact)[:, head].abs().max() / exact[:, head].abs().max()
    assert error < 3e-3


def test_rings_without_a_position_are_refused():
    with pytest.raises(ValueError, match="2 rings have 1 positions"):
        CoilArray((4, 4), (0.0,), (100.0, 100.0), 50.0)
