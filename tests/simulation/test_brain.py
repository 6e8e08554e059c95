import pytest
import torch

from reshim.simulation import brain
from reshim.simulation.brain_layers import TISSUES
from reshim.simulation.brain_lesions import EDEMA, MASS, WHITE_LESION, Finding, boxes_of, findings_of
from reshim.simulation.geometry import Geometry
from reshim.simulation.shapes import Ellipsoid, PlaneWaves


def grid(*positions_mm, view="axial", size=64, spacing_mm=3.6, thickness_mm=4.0, n_sub=3):
    return Geometry(size, size, (spacing_mm, spacing_mm), positions_mm, thickness_mm, view, n_sub)


def volumes_ml(subject):
    """Volume of each tissue over the whole head."""
    positions = tuple(float(z) for z in range(-92, 96, 4))
    anatomy = brain.draw(subject, grid(*positions, size=116, spacing_mm=2.0, n_sub=2))
    volumes = anatomy.fractions.sum((0, 2, 3)) * 2.0 * 2.0 * 4.0 / 1000
    return dict(zip(anatomy.tissues, volumes.tolist(), strict=True))


def of(anatomy, *names):
    return sum(anatomy.fractions[:, anatomy.tissues.index(name)] for name in names)


def test_fractions_lie_between_0_and_1_and_sum_to_at_most_1():
    fractions = brain.draw(3, grid(-40.0, 0.0, 40.0)).fractions
    assert fractions.min() >= 0
    assert fractions.sum(1).max() <= 1 + 1e-5
    assert fractions.sum(1).amax((1, 2)).min() == pytest.approx(1, abs=1e-5)


def test_texture_is_positive_and_about_1():
    anatomy = brain.draw(3, grid(0.0))
    assert anatomy.texture.min() >= 0
    inside = anatomy.texture[anatomy.fractions.sum(1) > 0.99]
    assert inside.mean().item() == pytest.approx(1, abs=0.01)
    assert 0.005 < inside.std() < 0.1


def test_the_same_subject_has_the_same_bits_when_its_form_is_made_again():
    first = brain.draw(3, grid(10.0), lesions=True)
    brain.form_of.cache_clear()
    again = brain.draw(3, grid(10.0), lesions=True)
    assert torch.equal(first.fractions, again.fractions)
    assert torch.equal(first.texture, again.texture)
    assert first.lesions == again.lesions


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_a_slice_is_the_same_whichever_others_are_asked_for(view):
    alone = brain.draw(3, grid(10.0, view=view))
    among = brain.draw(3, grid(-30.0, 10.0, 55.0, view=view))
    assert torch.equal(alone.fractions[0], among.fractions[1])
    assert torch.equal(alone.texture[0], among.texture[1])


def test_two_subjects_and_two_populations_differ():
    one, other, elsewhere = (
        brain.draw(subject, grid(10.0), seed).fractions for subject, seed in ((3, 0), (4, 0), (3, 1))
    )
    assert (one - other).abs().sum(1).mean() > 0.1
    assert (one - elsewhere).abs().sum(1).mean() > 0.1


def test_planes_of_all_views_cut_the_same_body():
    steps = torch.arange(-24, 24).tolist()
    thin = {"size": 48, "spacing_mm": 4.0, "thickness_mm": 1e-3, "n_sub": 1}
    # (slice z, tissue, row y, column x); sagittal and coronal rows run from head to foot.
    axial = brain.draw(4, grid(*(-4.0 * step for step in steps), **thin)).fractions
    sagittal = brain.draw(4, grid(24.0, view="sagittal", **thin)).fractions[0]
    coronal = brain.draw(4, grid(-8.0, view="coronal", **thin)).fractions[0]
    torch.testing.assert_close(axial[:, :, :, 24 + 6].movedim(0, 1), sagittal, atol=2e-3, rtol=0)
    torch.testing.assert_close(axial[:, :, 24 - 2, :].movedim(0, 1), coronal, atol=2e-3, rtol=0)


def test_a_thick_slice_is_the_mean_of_the_thin_ones_in_it():
    thick = brain.draw(4, grid(10.0, thickness_mm=6.0, n_sub=3)).fractions[0]
    thin = brain.draw(4, grid(8.0, 10.0, 12.0, thickness_mm=1e-3, n_sub=1)).fractions
    torch.testing.assert_close(thin.mean(0), thick, atol=2e-3, rtol=0)


@pytest.mark.parametrize("subject", [0, 5])
def test_volumes_are_those_of_adults(subject):
    """Ranges: C. D. Smith et al., Neurobiol. Aging 28:1075 (2007); skull: bounds of plausibility."""
    volume = volumes_ml(subject)
    matter = volume["grey"] + volume["white"] + volume["deep_grey"]
    assert 1000 < matter < 1700
    assert 0.9 < (volume["grey"] + volume["deep_grey"]) / volume["white"] < 1.6
    assert 120 < volume["csf"] < 450
    assert 20 < volume["deep_grey"] < 60
    assert 8 < volume["eye"] < 20
    assert 250 < volume["skull"] + volume["marrow"] < 900
    assert volume["lesion"] == 0


def test_the_cortical_ribbon_is_2_to_4_mm_thick():
    """Thickness is volume over the mean area of its two surfaces, each the total slope of a membership."""
    step = 0.8
    positions = tuple(30 + step * index for index in range(10))
    anatomy = brain.draw(1, grid(*positions, size=240, spacing_mm=step, thickness_mm=step, n_sub=1))
    white = of(anatomy, "white", "deep_grey")
    whole = of(anatomy, "grey") + white

    def area(membership):
        slopes = torch.gradient(membership, spacing=step)
        return sum(slope.square() for slope in slopes).sqrt().sum() * step**3

    thickness_mm = 2 * (whole - white).sum() * step**3 / (area(whole) + area(white))
    assert 2 < thickness_mm < 4


def test_the_brain_is_wrapped_in_fluid_skull_fat_and_skin():
    """A ray from the skin inwards meets the layers in their order."""
    anatomy = brain.draw(0, grid(25.0, size=256, spacing_mm=0.9, thickness_mm=1.0))
    ray = anatomy.fractions[0, :, 133, :]
    first = [
        int((ray[TISSUES.index(t)] > 0.4).nonzero()[0])
        for t in ("skin", "scalp_fat", "skull", "csf", "grey", "white")
    ]
    assert first == sorted(first)
    assert len(set(first)) == len(first)


def test_air_is_outside_the_head_and_in_its_sinuses():
    anatomy = brain.draw(1, grid(-45.0, size=128, spacing_mm=1.8))
    filled = anatomy.fractions[0].sum(0)
    assert filled[:, 0].max() == 0
    assert filled[-1].max() == 0
    assert filled[16:40, 60:68].min() < 0.05


def sphere(center, radius, name=WHITE_LESION):
    waves = PlaneWaves.drawn(torch.Generator().manual_seed(0), 8.0, 4)
    return Finding(name, Ellipsoid(center, (radius, radius, radius)), waves, 0.0)


def test_the_box_of_a_planted_sphere_is_its_diameter():
    geometry = grid(0.0, 5.0, size=64, spacing_mm=1.0, thickness_mm=1.0)
    finding = sphere((10.0, -6.0, 5.0), 4.0)
    areas = torch.zeros(2, 1, 64, 64)
    for index in range(2):
        white = torch.zeros(len(TISSUES), 64, 64)
        white[TISSUES.index("white")] = 1
        planes = [geometry.points(index, sub) for sub in geometry.subs]
        points = tuple(torch.stack(axis) for axis in zip(*planes, strict=True))
        areas[index, 0] = finding.plant(white, points)
        assert white.sum(0).min() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(white[TISSUES.index("lesion")], areas[index, 0])
    (box,) = boxes_of((finding,), areas, geometry.spacing_mm)
    assert (box.name, box.slice) == (WHITE_LESION, 1)
    # Row 32 and column 32 lie at the centre of the grid, half a pixel into the box's coordinates.
    assert box.box_mm == pytest.approx((26.5 - 4, 42.5 - 4, 26.5 + 4, 42.5 + 4), abs=1.0)
    assert areas[1, 0].sum().item() == pytest.approx(torch.pi * 16, rel=0.05)


def test_lesions_lie_in_their_boxes_and_nowhere_without_them():
    positions = tuple(float(z) for z in range(10, 50, 4))
    geometry = grid(*positions, size=128, spacing_mm=1.8)
    sick, well = (brain.draw(9, geometry, lesions=planted) for planted in (True, False))
    assert well.lesions == ()
    assert of(well, "lesion").max() == 0
    assert sick.lesions
    for lesion in sick.lesions:
        row, column, to_row, to_column = (round(edge / 1.8) for edge in lesion.box_mm)
        inside = of(sick, "lesion")[lesion.slice, row:to_row, column:to_column]
        assert inside.max() > 0.2, f"{lesion.name} on slice {lesion.slice} is empty"
    torch.testing.assert_close(sick.fractions.sum(1), well.fractions.sum(1), atol=1e-5, rtol=0)


def test_a_mass_lies_in_its_oedema_and_takes_its_place():
    findings = {finding.name: finding for finding in findings_of(brain.form_of(3, 0))}
    mass, edema = findings[MASS], findings[EDEMA]
    assert mass.body.center == edema.body.center
    geometry = grid(mass.body.center[2], size=128, spacing_mm=1.8)
    anatomy = brain.draw(3, geometry, lesions=True)
    boxes = {lesion.name: lesion.box_mm for lesion in anatomy.lesions}
    (top, left, bottom, right), (row, column, to_row, to_column) = boxes[EDEMA], boxes[MASS]
    assert top < row < to_row < bottom
    assert left < column < to_column < right
    center = (round((row + to_row) / 3.6), round((column + to_column) / 3.6))
    assert of(anatomy, "lesion", "csf")[0][center] > 0.9
