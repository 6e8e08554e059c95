"""The anatomies of the trunk and the phantom: one body whatever is asked of it, findings in their boxes."""

from dataclasses import replace

import pytest
import torch

from reshim.simulation import phantom
from reshim.simulation.geometry import TO_APEX, TO_INFERIOR, TO_LATERAL, Geometry
from reshim.simulation.scanner import ANATOMIES, drawer_of
from reshim.simulation.tissues import TISSUES

PLANES = Geometry(48, 48, (7.3, 7.3), (-10.0, 12.0), 5.0, "axial", 2)
NEW = ("prostate", "pelvis", "heart", "abdomen", "breast", "phantom")


def test_every_anatomy_of_the_scanner_is_tried_here_or_beside():
    assert set(ANATOMIES) == {*NEW, "brain", "knee"}


@pytest.mark.parametrize("name", NEW)
def test_shares_are_shares_of_known_tissues_and_the_same_again(name):
    drawn = drawer_of(name)(3, PLANES)
    assert set(drawn.tissues) <= set(TISSUES)
    assert drawn.fractions.min() >= 0
    assert drawn.fractions.sum(1).max() <= 1 + 1e-5
    assert drawn.lesions == ()
    again = drawer_of(name)(3, PLANES)
    assert torch.equal(again.fractions, drawn.fractions)
    assert torch.equal(again.texture, drawn.texture)
    body = drawn.fractions.sum(1) > 0.99
    assert 0.1 < body.float().mean() < 0.9
    assert drawn.texture[body].mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", NEW)
def test_subjects_and_seeds_differ(name):
    drawn = drawer_of(name)(3, PLANES).fractions
    for other in (drawer_of(name)(4, PLANES), drawer_of(name)(3, PLANES, seed=1)):
        assert (other.fractions - drawn).abs().sum(1).mean() > (0.005 if name == "phantom" else 0.05)


@pytest.mark.parametrize("name", NEW)
def test_a_slice_does_not_depend_on_the_others(name):
    alone = drawer_of(name)(3, replace(PLANES, positions_mm=(12.0,)))
    torch.testing.assert_close(alone.fractions[0], drawer_of(name)(3, PLANES).fractions[1])


@pytest.mark.parametrize("name", NEW)
def test_boxes_hold_the_findings_and_nothing_else_changes(name):
    view = "short-axis" if name == "heart" else "axial"
    planes = replace(PLANES, rows=96, columns=96, spacing_mm=(3.6, 3.6), view=view)
    planes = replace(planes, positions_mm=(-12.0, 0.0, 12.0))
    seen = 0
    for subject in range(2):
        ill, well = drawer_of(name)(subject, planes, lesions=True), drawer_of(name)(subject, planes)
        changed = (ill.fractions - well.fractions).abs().sum(1) > 0.11
        for lesion in ill.lesions:
            row0, column0, row1, column1 = (round(edge / 3.6) for edge in lesion.box_mm)
            assert changed[lesion.slice, row0:row1, column0:column1].any()
            changed[lesion.slice, row0:row1, column0:column1] = False
            seen += 1
        best = {lesion.slice for lesion in ill.lesions}
        assert not changed[list(best)].any() or len(ill.lesions) > 1
    assert seen


def test_the_hearts_directions_are_a_right_angled_frame():
    frame = torch.tensor([TO_LATERAL, TO_INFERIOR, TO_APEX], dtype=torch.float64)
    torch.testing.assert_close(frame @ frame.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(frame).item() == pytest.approx(1)


def test_the_long_axis_holds_the_line_to_the_apex():
    plane = replace(PLANES, view="long-axis", positions_mm=(0.0,))
    x, y, z = plane.points(0)
    middle = (plane.rows // 2, plane.columns // 2)
    assert [float(axis[middle]) for axis in (x, y, z)] == pytest.approx([0, 0, 0], abs=1e-4)
    up = [float(axis[middle[0] - 4, middle[1]]) / (4 * 7.3) for axis in (x, y, z)]
    assert up == pytest.approx(TO_APEX, abs=1e-4)


def test_the_ventricle_is_blood_within_muscle_in_both_planes():
    for view in ("short-axis", "long-axis"):
        fine = replace(PLANES, spacing_mm=(2.0, 2.0), rows=64, columns=64, view=view, positions_mm=(0.0,))
        drawn = drawer_of("heart")(1, fine)
        blood, muscle = (drawn.fractions[0, drawn.tissues.index(name)] for name in ("blood", "myocardium"))
        row, column = 32, 32
        assert blood[row, column] > 0.95
        assert muscle[row, column:].max() > 0.9


def test_the_phantoms_plates_and_gaps_are_as_wide_as_stated(monkeypatch):
    class Straight:
        def uniform(self, low: float, high: float) -> float:
            return 0.0

    monkeypatch.setattr(phantom, "numpy_generator_of", lambda *_: Straight())
    fine = Geometry(400, 400, (0.5, 0.5), (0.0,), 1.0, "axial", 1)
    drawn = phantom.draw(0, fine)
    water = drawn.fractions[0, drawn.tissues.index("doped_water")]
    line = (water[200 - 68] < 0.5)[104:]  # y = -34, from the first plate on
    edges = torch.nonzero(line[1:] != line[:-1]).flatten()[:7]
    assert (edges.diff() * 0.5).tolist() == pytest.approx([4.0] * 6, abs=0.51)
