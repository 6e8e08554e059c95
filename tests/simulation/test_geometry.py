import pytest

from reshim.simulation.geometry import Geometry


@pytest.mark.parametrize(
    ("view", "down", "right"),
    [
        ("axial", (0, 1, 0), (1, 0, 0)),
        ("coronal", (0, 0, -1), (1, 0, 0)),
        ("sagittal", (0, 0, -1), (0, 1, 0)),
    ],
)
def test_rows_and_columns_run_as_a_radiologist_sees_them(view, down, right):
    axes = Geometry(8, 6, (2.0, 3.0), (10.0,), 5.0, view).points(0)
    assert tuple((axis[1, 0] - axis[0, 0]).item() / 2 for axis in axes) == down
    assert tuple((axis[0, 1] - axis[0, 0]).item() / 3 for axis in axes) == right


def test_the_centre_of_the_grid_is_the_origin_also_for_odd_sizes():
    for rows, columns in ((8, 6), (7, 5)):
        x, y, z = Geometry(rows, columns, (1.0, 1.0), (-4.0,), 5.0).points(0)
        centre = (rows // 2, columns // 2)
        assert (x[centre], y[centre], z[centre]) == (0, 0, -4)


def test_sub_planes_fill_the_thickness_evenly():
    geometry = Geometry(4, 4, (1.0, 1.0), (10.0,), 6.0, n_sub=3)
    assert [geometry.points(0, sub)[2][0, 0].item() for sub in geometry.subs] == pytest.approx([8, 10, 12])


def test_a_volume_without_slices_is_refused():
    with pytest.raises(ValueError, match="4x4 with 0 slices"):
        Geometry(4, 4, (1.0, 1.0), (), 5.0)
