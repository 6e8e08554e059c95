"""Every protocol makes scans that the catalog knows; views and repetitions belong to one subject."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from reshim.catalog import Catalog
from reshim.simulation.artefacts import Artefacts
from reshim.simulation.protocols import PROTOCOLS
from reshim.simulation.scanner import examine, geometry_of
from reshim.simulation.write import simulate


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    simulate(folder / "sim", subjects=1, matrix=16, slices=1)
    return Catalog.index([folder / "sim"], folder / "c.parquet").catalog


def test_there_are_more_than_twenty_and_a_scan_of_each_is_in_the_catalog(catalog):
    records = catalog.records()
    assert len(PROTOCOLS) > 20
    assert len(records) == sum(card.repetitions for card in PROTOCOLS.values())
    for record in records:
        card = PROTOCOLS[record.protocol]
        stated = (record.anatomy, record.contrast, record.field_tesla, record.view, record.n_coils)
        assert stated == (card.anatomy, card.contrast, card.field_tesla, card.view, card.coils.n_coils)
        assert (record.data_kind, record.model) == ("simulated", card.model)


def test_views_of_one_scan_share_the_subject_and_a_name(catalog):
    for scan in ("knee-3d-3t", "brain-3d-3t"):
        views = [record for record in catalog.records() if PROTOCOLS[record.protocol].scan == scan]
        assert {record.view for record in views} == {"axial", "coronal", "sagittal"}
        assert len({record.view_of for record in views}) == 1
        assert len({record.subject for record in views}) == 1
    assert sum(record.view_of is not None for record in catalog.records()) == 6


def test_repetitions_are_scans_of_one_subject(catalog):
    low = [record for record in catalog.records() if record.protocol == "brain-t1-0.3t"]
    assert len({record.scan_id for record in low}) == 3
    assert len({record.subject for record in low}) == 1


def test_scanners_of_one_field_differ_in_model_coils_and_matrix(catalog):
    first, second = (
        next(record for record in catalog.records() if record.protocol == name)
        for name in ("knee-pd-3t", "knee-pd-3t-b")
    )
    assert first.model != second.model
    assert first.n_coils != second.n_coils
    assert PROTOCOLS["knee-pd-3t-b"].matrix_of(320) == 288
    assert PROTOCOLS["knee-pd-1.5t-b"].matrix_of(16) == 16


@pytest.mark.parametrize("n_coils", [12, 8])
def test_arrays_of_one_scanner_differ_in_coils_alone(n_coils):
    many, few = PROTOCOLS["brain-t2-3t"], PROTOCOLS[f"brain-t2-3t-{n_coils}ch"]
    named = {name: getattr(many, name) for name in ("name", "imitates", "scanner", "coils")}
    assert replace(few, **named) == many
    assert (many.coils.n_coils, few.coils.n_coils) == (16, n_coils)


def test_two_repetitions_differ_in_noise_alone(tmp_path):
    first, second, _ = simulate(tmp_path, ["brain-t1-0.3t"], subjects=1, matrix=32, slices=1)
    with h5py.File(first) as one, h5py.File(second) as other:
        assert (one.attrs["repetition"], other.attrs["repetition"]) == (1, 2)
        np.testing.assert_array_equal(one["reconstruction_clean"][()], other["reconstruction_clean"][()])
        apart = (one["kspace"][()] - other["kspace"][()]).ravel()
        # Two independent noises: their difference has twice the variance.
        assert apart.real.std() == pytest.approx(2**0.5 * one.attrs["noise_std"], rel=0.05)


def test_two_views_show_the_same_body_where_they_cross():
    axial, sagittal = (
        geometry_of(PROTOCOLS[f"brain-3d-{view}-3t"], 64, 3, 0, 0) for view in ("axial", "sagittal")
    )
    # Both planes hold the line x = X, z = Z.
    x, z = sagittal.positions_mm[1], axial.positions_mm[1]
    from reshim.simulation import brain

    axial_columns = torch.nonzero((axial.plane(z)[0][0] - x).abs() < axial.spacing_mm[1] / 2).flatten()
    sagittal_rows = torch.nonzero(
        (sagittal.plane(x)[2][:, 0] - z).abs() < sagittal.spacing_mm[0] / 2
    ).flatten()
    first = brain.draw(0, axial).fractions[1].sum(0)[:, axial_columns[0]]
    second = brain.draw(0, sagittal).fractions[1].sum(0)[sagittal_rows[0]]
    shift = axial.center_mm[0] - sagittal.center_mm[1]
    assert shift == pytest.approx(0)
    assert (first - second).abs().mean() < 0.05


def test_motion_leaves_the_truth_and_the_noise():
    card = PROTOCOLS["brain-t2-3t"]
    still = examine(card, 0, 32, 1)
    shaken = examine(card, 0, 32, 1, artefacts=Artefacts(motion=2.0))
    one, other = still.acquire(0), shaken.acquire(0)
    assert torch.equal(one.clean, other.clean)
    middle = slice(16, 18)
    torch.testing.assert_close(one.kspace[..., middle], other.kspace[..., middle])
    assert not torch.allclose(one.kspace, other.kspace, atol=1e-2 * float(one.kspace.abs().max()))


def test_half_the_contrast_is_half_the_lesion():
    card = PROTOCOLS["prostate-t2-3t"]
    full, faint, none = (
        examine(card, 1, 32, 3, lesions=lesions, lesion_contrast=contrast)
        for lesions, contrast in ((True, 1.0), (True, 0.5), (False, 1.0))
    )
    assert full.lesions == faint.lesions != ()
    # The gain is that of each exam; phases are the same.
    scale = [float(exam.objects.abs().sum()) for exam in (full, faint, none)]
    unit = [exam.objects / total for exam, total in zip((full, faint, none), scale, strict=True)]
    whole, half = (unit[0] - unit[2]).abs().sum(), (unit[1] - unit[2]).abs().sum()
    assert float(half / whole) == pytest.approx(0.5, abs=0.1)


def test_a_larger_lesion_has_a_larger_box():
    card = PROTOCOLS["prostate-t2-3t"]
    areas = []
    for size in (1.0, 1.6):
        exam = examine(card, 1, 64, 9, lesions=size)
        areas.append(sum((box[4] - box[2]) * (box[5] - box[3]) for box in exam.lesions))
    assert areas[1] > 1.5 * areas[0] > 0
