"""The digital knee: one body whatever is asked of it, of a size that knees have."""

import math
from dataclasses import replace

import pytest
import torch

from reshim.simulation import knee
from reshim.simulation.geometry import Anatomy, Geometry
from reshim.simulation.knee_lesions import findings_of

CORONAL = Geometry(
    rows=128,
    columns=128,
    spacing_mm=(1.25, 1.25),
    positions_mm=(-40.0, -10.0, 5.0, 30.0),
    thickness_mm=3.0,
    view="coronal",
)
# Thin and fine, to measure on.
RULER = Geometry(
    rows=320, columns=256, spacing_mm=(0.5, 0.5), positions_mm=(0.0,), thickness_mm=0.5, n_sub=1
)  # fmt: skip


@pytest.fixture(scope="module")
def anatomy():
    return knee.draw(3, CORONAL)


def of(anatomy: Anatomy, *tissues: str) -> torch.Tensor:
    """The summed fractions of some tissues, (slice, row, column)."""
    return anatomy.fractions[:, [anatomy.tissues.index(tissue) for tissue in tissues]].sum(1)


def test_the_same_subject_is_drawn_with_the_same_bits(anatomy):
    again = knee.draw(3, CORONAL)
    assert torch.equal(again.fractions, anatomy.fractions)
    assert torch.equal(again.texture, anatomy.texture)


def test_two_subjects_differ_and_so_do_two_seeds(anatomy):
    for other in (knee.draw(4, CORONAL), knee.draw(3, CORONAL, seed=1)):
        assert (other.fractions - anatomy.fractions).abs().mean() > 0.01


@pytest.mark.parametrize("view", ["coronal", "sagittal", "axial"])
def test_partial_volumes_are_shares(view):
    drawn = knee.draw(5, replace(CORONAL, view=view), lesions=True)
    assert drawn.fractions.min() >= 0
    assert drawn.fractions.sum(1).max() <= 1 + 1e-5
    # The middle of the leg is all body.
    assert drawn.fractions.sum(1)[1, 64, 64] > 0.99
    assert drawn.texture.min() > 0.3
    assert drawn.texture.max() < 2.0
    assert drawn.texture[drawn.fractions.sum(1) > 0.99].mean().item() == pytest.approx(1, abs=0.03)


def test_beside_the_leg_is_air(anatomy):
    assert anatomy.fractions.sum(1)[:, 64, 0].max() < 0.01
    assert anatomy.texture[:, 64, 0].eq(1).all()


def test_every_tissue_of_a_knee_is_there():
    positions = tuple(range(-44, 44, 8))
    whole = knee.draw(2, replace(CORONAL, positions_mm=tuple(map(float, positions))))
    volumes = whole.fractions.sum((0, 2, 3)) * 1.25**2 * 8
    for tissue, volume in zip(whole.tissues, volumes.tolist(), strict=True):
        assert (volume == 0) if tissue == "lesion" else (volume > 500), f"{tissue}: {volume:.0f} mm³"


@pytest.mark.parametrize("view", ["coronal", "axial"])
def test_a_slice_is_the_same_whichever_others_are_asked_for(view):
    geometry = replace(CORONAL, view=view)
    together = knee.draw(3, geometry, lesions=True)
    alone = knee.draw(3, replace(geometry, positions_mm=(5.0,)), lesions=True)
    assert torch.equal(alone.fractions[0], together.fractions[2])
    assert torch.equal(alone.texture[0], together.texture[2])


def test_a_sagittal_section_is_what_coronal_sections_have_at_its_place():
    grid = {"rows": 120, "columns": 120, "spacing_mm": (1.0, 1.0), "thickness_mm": 1.0, "n_sub": 1}
    sagittal = knee.draw(6, Geometry(positions_mm=(18.0,), view="sagittal", **grid))
    # Column c of a centred grid lies at c − 60 mm.
    places = range(15, 105, 6)
    coronal = knee.draw(6, Geometry(positions_mm=tuple(c - 60.0 for c in places), view="coronal", **grid))
    across = sagittal.fractions[0, :, :, list(places)].permute(2, 0, 1)
    down = coronal.fractions[:, :, :, 60 + 18]
    assert (across - down).abs().mean() < 0.002
    assert (across - down).abs().max() < 0.35
    # The same comparison 3 mm off finds another place.
    assert (across - coronal.fractions[:, :, :, 60 + 21]).abs().mean() > 0.01


def test_a_larger_field_of_view_shows_the_same_knee(anatomy):
    larger = knee.draw(3, replace(CORONAL, rows=256))
    assert (larger.fractions[:, :, 64:192] - anatomy.fractions).abs().mean() < 0.002
    # Far off the leg is a straight stump.
    assert torch.equal(larger.fractions[:, :, 0], larger.fractions[:, :, 20])


@pytest.mark.parametrize("subject", range(4))
def test_condyles_are_as_wide_as_the_literature_says(subject):
    rows = replace(RULER, view="coronal", positions_mm=(-4.0, 2.0, 8.0), thickness_mm=3.0)
    bone = of(knee.draw(subject, rows), "marrow_fat", "cortical_bone")
    # From 10 to 55 mm above the middle: the condyles' level.
    width = 0.5 * bone[:, 160 - 110 : 160 - 20].sum(-1).max().item()
    assert 65 < width < 95


@pytest.mark.parametrize("subject", range(3))
def test_cartilage_is_as_thick_as_the_literature_says(subject):
    places = (-24.0, -20.0, 20.0, 24.0)
    drawn = knee.draw(subject, replace(RULER, view="sagittal", positions_mm=places))
    cartilage = of(drawn, "cartilage")
    # Femoral and tibial layers lie one upon the other in the middle of the joint: halve what is found there.
    middle = 0.5 * cartilage[:, 100:220, 118:140].sum(1).median(dim=-1).values / 2
    # A sagittal plane may miss the middle of a condyle, so the best of two counts.
    assert ((middle.view(2, 2).amax(1) > 1.5) & (middle.view(2, 2).amax(1) < 4)).all(), middle
    # Behind the condyles there is the femur's own.
    behind = 0.5 * cartilage[:, 100:150, 140:].sum(-1).median(dim=-1).values
    assert 1.5 < behind.max() < 4, behind


@pytest.mark.parametrize("subject", range(4))
def test_the_cortex_of_the_femoral_shaft_is_a_few_mm(subject):
    drawn = knee.draw(subject, replace(RULER, view="axial", rows=256, positions_mm=(90.0,)))
    cortex, marrow = (of(drawn, t).sum().item() * 0.25 for t in ("cortical_bone", "marrow_fat"))
    radius = math.sqrt((cortex + marrow) / math.pi)
    assert 11 < radius < 22
    assert 1.5 < radius - math.sqrt(marrow / math.pi) < 6


def test_without_lesions_there_is_no_lesion(anatomy):
    assert anatomy.lesions == ()
    assert of(anatomy, "lesion").max() == 0


@pytest.mark.parametrize("subject", range(6))
def test_boxes_hold_the_findings_and_nothing_else_changes(subject):
    seen = 0
    for finding in findings_of(subject, 0):
        place = replace(CORONAL, positions_mm=(finding.center[1],))
        with_findings, without = knee.draw(subject, place, lesions=True), knee.draw(subject, place)
        outside = torch.ones(128, 128, dtype=torch.bool)
        for lesion in with_findings.lesions:
            row0, column0, row1, column1 = (round(edge / 1.25) for edge in lesion.box_mm)
            assert of(with_findings, "lesion")[0, row0:row1, column0:column1].max() > 0.05
            outside[row0:row1, column0:column1] = False
            seen += 1
        assert of(with_findings, "lesion")[0, outside].max() <= 0.05 + 1e-6
        assert (with_findings.fractions - without.fractions)[0][:, outside].abs().max() <= 0.05 + 1e-6
    assert seen
