import math

import pytest
import torch

from reshim.simulation import shapes
from reshim.simulation.lattice import Lattice


def line(*values):
    return torch.tensor(values, dtype=torch.float32)


def volume_ml(depth, step_mm):
    return shapes.membership(depth, step_mm).sum().item() * step_mm**3 / 1000


def cube(half_mm, step_mm):
    axis = torch.arange(-half_mm, half_mm + step_mm, step_mm)
    return axis[None, None, :], axis[None, :, None], axis[:, None, None]


def test_depth_of_a_sphere_is_its_radius_minus_the_distance():
    sphere = shapes.Ellipsoid((1.0, -2.0, 3.0), (10.0, 10.0, 10.0))
    x = line(1, 6, 11, 21)
    torch.testing.assert_close(sphere((x, line(-2), line(3))), 10 - (x - 1), atol=1e-4, rtol=0)


def test_the_volume_of_a_turned_ellipsoid_is_four_thirds_pi_times_its_radii():
    ellipsoid = shapes.Ellipsoid((0.5, 0.0, 1.0), (12.0, 18.0, 9.0), (20.0, -35.0, 50.0))
    assert volume_ml(ellipsoid(cube(22, 0.5)), 0.5) == pytest.approx(
        4 / 3 * math.pi * 12 * 18 * 9e-3, rel=2e-3
    )


def test_turning_by_90_degrees_about_z_swaps_the_radii():
    turned = shapes.Ellipsoid((0.0, 0.0, 0.0), (5.0, 11.0, 8.0), (0.0, 0.0, 90.0))
    straight = shapes.Ellipsoid((0.0, 0.0, 0.0), (11.0, 5.0, 8.0))
    torch.testing.assert_close(turned(cube(12, 3)), straight(cube(12, 3)), atol=1e-4, rtol=1e-4)


def test_a_high_power_squares_the_shoulders_and_leaves_the_poles():
    soft = shapes.Ellipsoid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    square = shapes.Ellipsoid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0), power=4.0)
    pole, corner = (line(10), line(0), line(0)), (line(8), line(8), line(0))
    assert square(pole).item() == pytest.approx(0, abs=1e-3)
    assert soft(corner).item() < 0 < square(corner).item()


def test_depth_of_a_box_is_the_distance_to_its_nearest_face():
    box = shapes.Box((0.0, 0.0, 0.0), (4.0, 6.0, 8.0))
    depth = box((line(0, 3, 7, 8), line(0, 0, 0, 9), line(0)))
    torch.testing.assert_close(depth, line(4, 1, -3, -5), atol=1e-5, rtol=0)


def test_a_tube_keeps_its_radius_between_its_corners():
    tube = shapes.Tube(((0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (10.0, 10.0, 0.0)), (2.0, 2.0, 4.0))
    depth = tube((line(5, 10, -3), line(1, 5, 0), line(0)))
    torch.testing.assert_close(depth, line(1, 3, -1), atol=1e-5, rtol=0)


def test_a_tube_of_one_corner_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="1 corners and 2 radii"):
        shapes.Tube(((0.0, 0.0, 0.0),), (1.0, 2.0))


def test_a_smooth_union_is_the_union_away_from_the_crease_and_more_in_it():
    first, second = line(-9, 3, 0), line(4, -8, 0)
    blended = shapes.smooth_union(first, second, 4.0)
    torch.testing.assert_close(blended, line(4, 3, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        shapes.smooth_intersection(first, second, 4.0), line(-9, -8, -1), atol=1e-6, rtol=0
    )


def test_membership_is_the_covered_share_of_a_pixel():
    torch.testing.assert_close(shapes.membership(line(-1, -0.25, 0, 0.5, 2), 1.0), line(0, 0.25, 0.5, 1, 1))


def test_a_thin_shell_keeps_its_area_however_wide_the_pixel():
    depth = torch.arange(-10, 10, 0.01)
    for width in (0.3, 1.0, 3.0):
        assert shapes.shell(depth, 1.0, 1.6, width).sum().item() * 0.01 == pytest.approx(0.6, rel=1e-2)


def test_plane_waves_have_mean_0_deviation_1_and_the_wavelength_asked_for():
    waves = shapes.PlaneWaves.drawn(torch.Generator().manual_seed(3), 12.0, n_waves=64, spread=0.1)
    noise = waves(cube(60, 2))
    assert abs(noise.mean().item()) < 0.05
    assert noise.std().item() == pytest.approx(1, abs=0.05)
    # Rice: a line crosses zero 2/sqrt(3) times a wavelength, for waves in all directions.
    along = waves((torch.arange(0, 6000, 0.25), line(0), line(0)))
    crossings = (along[1:] * along[:-1] < 0).sum().item()
    assert crossings == pytest.approx(6000 / 12 * 2 / math.sqrt(3), rel=0.15)


def test_plane_waves_of_one_seed_are_the_same_and_of_two_differ():
    first, again, other = (
        shapes.PlaneWaves.drawn(torch.Generator().manual_seed(seed), 12.0)(cube(10, 2)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)


def test_a_lattice_reproduces_a_quadratic_between_its_nodes():
    lattice = Lattice((-10.0, -8.0, -6.0), 2.0, (11, 9, 7))

    def quadratic(points):
        x, y, z = points
        return 1 + x - 0.5 * y * z + 0.1 * x * x + 0.2 * z * z

    axes = (torch.linspace(-7, 7, 5), torch.linspace(5, -5, 8), line(-3.3, 0.4))
    read = lattice.read(quadratic(lattice.points())[None], axes)[0]
    x, y, z = axes
    expected = quadratic((x[None, None, :], y[None, :, None], z[:, None, None]))
    torch.testing.assert_close(read, expected, atol=1e-4, rtol=1e-5)


def test_a_lattice_gives_a_point_the_same_value_whatever_else_is_asked():
    lattice = Lattice((0.0, 0.0, 0.0), 3.0, (9, 9, 9))
    values = torch.randn(2, 9, 9, 9, generator=torch.Generator().manual_seed(0))
    axis = torch.linspace(1, 23, 12)
    whole = lattice.read(values, (axis, axis, axis))
    plane = lattice.read(values, (axis, axis, axis[4:5]))
    sagittal = lattice.read(values, (axis[7:8], axis, axis.flip(0)))
    torch.testing.assert_close(whole[:, 4:5], plane, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole[:, :, :, 7:8].flip(1), sagittal, atol=1e-5, rtol=1e-5)


def test_beyond_its_nodes_a_lattice_keeps_its_outermost_value():
    lattice = Lattice((0.0, 0.0, 0.0), 1.0, (5, 5, 5))
    x = lattice.points()[0].expand(5, 5, 5)
    read = lattice.read(x[None], (line(-9, 2.5, 40), line(2), line(2)))
    torch.testing.assert_close(read.flatten(), line(0, 2.5, 4), atol=1e-5, rtol=0)
