import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reshim.acquire import (
    Scheme,
    find_calibration,
    fully_sampled,
    measure,
    measure_each,
    reference,
    sampling_of,
    without_oversampling,
)
from reshim.physics.fourier import center_crop, center_pad, to_image, to_kspace
from reshim.physics.masks import evaluation_seed
from reshim.types import Acquisition, Calibration
from tests.conftest import body, smooth_maps


def scan(rows: int = 64, columns: int = 60, n: int = 2, crop: tuple[int, int] = (32, 32)) -> Acquisition:
    inside = center_pad(body(*crop, n, torch.complex64), (rows, columns))
    kspace = to_kspace(smooth_maps(4, rows, columns, torch.complex64) * inside[:, None])
    return Acquisition(
        kspace=kspace,
        name="scan.h5",
        slices=tuple(range(n)),
        crop=crop,
        acquirable=torch.ones(1, 1, 1, columns, dtype=torch.bool),
    )


def test_what_the_mask_does_not_acquire_never_arrives():
    acquisition = scan()
    spoilt = acquisition.kspace.clone()
    clean = measure(acquisition, Scheme(), 3)
    spoilt[(~clean.mask).expand_as(spoilt)] = complex(float("nan"), float("inf"))
    again = measure(dataclasses.replace(acquisition, kspace=spoilt), Scheme(), 3)
    assert torch.equal(again.kspace, clean.kspace)
    assert torch.isfinite(torch.view_as_real(again.kspace)).all()


def test_a_measurement_has_no_place_for_a_reference():
    names = {field.name for field in dataclasses.fields(measure(scan(), Scheme(), 3))}
    assert not {name for name in names if "reference" in name or "target" in name or "truth" in name}


def test_a_scan_whose_centre_is_off_is_measured_with_a_warning():
    straight = scan()
    moved = dataclasses.replace(straight, kspace=straight.kspace.roll(6, -1))
    assert measure(straight, Scheme(), 0).warnings == ()
    (warning,) = measure(moved, Scheme(center_lines=20), 0).warnings
    assert "centre of k-space" in warning


def test_one_mask_for_all_slices_drawn_from_the_file_name():
    acquisition = scan(n=3)
    first = measure(acquisition, Scheme(), evaluation_seed("a.h5"))
    assert first.mask.shape == (1, 1, 1, 60)
    assert torch.equal(first.mask, measure(acquisition, Scheme(), evaluation_seed("a.h5")).mask)


def test_slices_of_different_scans_have_masks_of_their_own_and_one_calibration_block():
    acquisition = scan(n=3)
    batch = measure_each(acquisition, Scheme(), [1, 2, 7])
    assert batch.mask.shape == (3, 1, 1, 60)
    assert not torch.equal(batch.mask[0], batch.mask[1]) or not torch.equal(batch.mask[0], batch.mask[2])
    alone = measure(acquisition, Scheme(), 2)
    assert torch.equal(batch.mask[1], alone.mask[0])
    assert batch.calibration == alone.calibration
    columns = batch.calibration.block[1]
    assert batch.mask[..., columns].all()


@pytest.mark.parametrize("name", ["poisson", "radial"])
def test_masks_over_both_axes_keep_their_centre_as_calibration_block(name):
    scheme = Scheme(name, acceleration=4, center_lines=12)
    one = measure(scan(), scheme, 3)
    assert one.mask.shape == (1, 1, 64, 60)
    assert min(one.calibration.shape) >= 12
    assert sampling_of(one, scheme).effective_acceleration == pytest.approx(4, rel=0.12)
    each = measure_each(scan(), scheme, [3, 4])
    assert torch.equal(each.mask[0], one.mask[0])
    assert not torch.equal(each.mask[0], each.mask[1])


def test_an_unknown_mask_names_those_there_are():
    with pytest.raises(ValueError, match="poisson, radial, file"):
        Scheme("poison")


def test_padding_columns_are_cleared_and_do_not_count_as_acquired():
    acquisition = scan()
    acquirable = torch.ones(1, 1, 1, 60, dtype=torch.bool)
    acquirable[..., :10] = False
    measurement = measure(dataclasses.replace(acquisition, acquirable=acquirable), Scheme(center_lines=8), 0)
    assert not measurement.mask[..., :10].any()
    assert (measurement.kspace[..., :10] == 0).all()
    sampling = sampling_of(measurement, Scheme())
    assert sampling.effective_acceleration == pytest.approx(50 / int(measurement.mask.sum()))


def test_removing_oversampling_keeps_the_rows_that_are_scored():
    acquisition = scan()
    reduced = without_oversampling(acquisition)
    assert reduced.kspace.shape[-2:] == (32, 60)
    expected = center_crop(to_image(acquisition.kspace), (32, 60))
    torch.testing.assert_close(to_image(reduced.kspace), expected)


def test_removing_oversampling_commutes_with_undersampling():
    acquisition = scan()
    one = measure(without_oversampling(acquisition), Scheme(), 5).kspace
    two = without_oversampling(
        dataclasses.replace(acquisition, kspace=measure(acquisition, Scheme(), 5).kspace)
    ).kspace
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


def test_noise_keeps_its_deviation_when_oversampling_is_removed():
    acquisition = scan(rows=256, columns=128, crop=(128, 128))
    noise = torch.randn(2, 4, 256, 128, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    reduced = without_oversampling(dataclasses.replace(acquisition, kspace=noise)).kspace
    count = reduced.real.numel()
    assert abs(reduced.real.var().item() - 0.5) < 3 * 0.5 * (2 / count) ** 0.5


def test_an_undersampled_scan_is_not_undersampled_again_and_has_no_reference():
    mask = torch.rand(1, 1, 1, 60) < 0.5
    acquisition = dataclasses.replace(scan(), mask=mask)
    with pytest.raises(ValueError, match="undersampled already"):
        measure(acquisition, Scheme(), 0)
    with pytest.raises(ValueError, match="no mvue reference"):
        reference(acquisition, "mvue")
    assert torch.equal(measure(acquisition, Scheme(mask="file"), 0).mask, mask)
    with pytest.raises(ValueError, match="carries no mask"):
        measure(scan(), Scheme(mask="file"), 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(5, 30), st.integers(5, 30), st.integers(0, 4), st.integers(0, 4), st.integers(0, 1000))
def test_the_calibration_block_found_is_full_and_cannot_grow(rows, columns, up, left, seed):
    mask = torch.rand(1, 1, rows, columns, generator=torch.Generator().manual_seed(seed)) < 0.3
    top, side = max(rows // 2 - up, 0), max(columns // 2 - left, 0)
    mask[..., top : rows // 2 + up + 1, side : columns // 2 + left + 1] = True
    found = find_calibration(mask)
    plane = mask[0, 0]
    assert plane[found.block].all()
    assert found.row_start <= rows // 2 < found.row_stop
    assert found.column_start <= columns // 2 < found.column_stop
    neighbours = [
        plane[row, found.block[1]] for row in (found.row_start - 1, found.row_stop) if 0 <= row < rows
    ]
    neighbours += [
        plane[found.block[0], column]
        for column in (found.column_start - 1, found.column_stop)
        if 0 <= column < columns
    ]
    assert not any(bool(line.all()) for line in neighbours)


def test_without_frequency_zero_there_is_no_calibration_block():
    assert find_calibration(torch.zeros(1, 1, 8, 8, dtype=torch.bool)).is_empty
    assert Calibration(0, 0, 0, 0).shape == (0, 0)


def test_the_rss_reference_is_the_fastmri_definition():
    fastmri = pytest.importorskip("fastmri")
    acquisition = scan()
    theirs = fastmri.rss(fastmri.complex_abs(fastmri.ifft2c(torch.view_as_real(acquisition.kspace))), dim=1)
    torch.testing.assert_close(reference(acquisition, "rss"), center_crop(theirs, (32, 32)))


def test_the_mvue_reference_of_clean_data_is_the_image():
    acquisition = scan(n=1)
    image = body(32, 32, 1).abs().float()
    made = reference(acquisition, "mvue")
    inside = image > 0.3
    assert (made - image)[inside].abs().max() < 0.05


@pytest.mark.parametrize("target", ["rss", "mvue"])
def test_the_reference_of_no_slices_is_empty(target):
    whole = scan()
    nothing = dataclasses.replace(whole, kspace=whole.kspace[:0])
    assert reference(nothing, target).shape == (0, *reference(whole, target).shape[1:])


def test_a_fully_sampled_measurement_holds_everything():
    acquisition = scan()
    measurement = fully_sampled(acquisition)
    assert torch.equal(measurement.kspace, acquisition.kspace)
    assert np.isclose(sampling_of(measurement, Scheme()).effective_acceleration, 1)
