from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import equispaced, make_measurement, smooth_maps
from tests.reconstructor_checks import check_reconstructor

from reshim.classical.grappa import Grappa, NoiseRatios, NotMadeOfLinesError, axis_cells, combined
from reshim.classical.lattice import Cell, banded, every_line, gaps, lattice_lines
from reshim.classical.zero_filled import ZeroFilled
from reshim.physics.fourier import to_kspace
from reshim.types import Calibration


def plane_mask(rows: int, columns: int, steps: tuple[int, int], center: int) -> torch.Tensor:
    mask = equispaced(rows, steps[0], 0).mT & equispaced(columns, steps[1], 0)
    top, left = rows // 2 - center // 2, columns // 2 - center // 2
    mask[..., top : top + center, left : left + center] = True
    return mask


def two_dimensional(steps: tuple[int, int] = (2, 2), center: int = 20, noise: float = 0.0):
    measurement, images = make_measurement(rows=48, columns=44, n_coils=8, acceleration=1, noise=noise)
    mask = plane_mask(48, 44, steps, center)
    block = Calibration(24 - center // 2, 24 + center // 2, 22 - center // 2, 22 + center // 2)
    kspace = torch.where(mask, measurement.kspace, 0)
    return replace(measurement, mask=mask, calibration=block, kspace=kspace, readout_axis=None), images


@pytest.mark.parametrize("acceleration", [2, 3, 4])
def test_promises_of_a_reconstructor_are_kept(acceleration):
    measurement, _ = make_measurement(rows=40, columns=48, acceleration=acceleration, center=20, noise=0.01)
    check_reconstructor(Grappa(), measurement)


def test_promises_are_kept_where_both_axes_are_undersampled():
    check_reconstructor(Grappa(), two_dimensional(noise=0.01)[0])


@pytest.mark.parametrize(("acceleration", "limit"), [(2, 0.02), (3, 0.06), (4, 0.12)])
def test_missing_lines_are_predicted(acceleration, limit):
    measurement, images = make_measurement(
        64, 66, n_coils=8, acceleration=acceleration, center=24, noise=0.002
    )
    error = (Grappa(ridge=1.0)(measurement) - images).norm() / images.norm()
    assert float(error) < limit
    assert float(error) < 0.5 * float((ZeroFilled()(measurement) - images).norm() / images.norm())


def test_both_axes_at_once_are_predicted():
    measurement, images = two_dimensional()
    assert float((Grappa()(measurement) - images).norm() / images.norm()) < 0.1
    assert Grappa().fill(measurement).unfilled == 0


def test_an_irregular_pattern_of_lines_is_filled_gap_by_gap():
    measurement, images = make_measurement(64, 66, n_coils=8, acceleration=1)
    mask = equispaced(66, 66, 24)
    mask[..., [3, 5, 8, 12, 15, 18, 20, 47, 49, 52, 56, 57, 60, 63]] = True
    block = Calibration(0, 64, 21, 45)
    kspace = torch.where(mask, measurement.kspace, 0)
    measurement = replace(measurement, mask=mask, kspace=kspace, calibration=block)
    assert Grappa().fill(measurement).unfilled == 0
    assert float((Grappa()(measurement) - images).norm() / images.norm()) < 0.1


@pytest.mark.parametrize("combine", ["maps", "rss"])
def test_the_image_is_that_of_the_filled_kspace(combine):
    measurement, _ = make_measurement(rows=39, columns=46, acceleration=3, center=16, noise=0.01)
    expected = combined(measurement, Grappa().fill(measurement).kspace, combine)
    torch.testing.assert_close(Grappa(combine=combine)(measurement), expected, rtol=0, atol=2e-6)


def test_acquired_samples_come_through_as_they_were():
    measurement, _ = make_measurement(acceleration=3, center=16, noise=0.01)
    filled = Grappa().fill(measurement).kspace
    assert torch.equal(torch.where(measurement.mask, filled, 0), measurement.kspace)


@pytest.mark.parametrize("acceleration", [2, 3, 4, 5])
def test_a_single_exponential_goes_to_the_right_line(acceleration):
    """A point source is one exponential over k-space, which any kernel predicts exactly: off by one shows."""
    rows, columns = 24, 61
    image = torch.zeros(1, rows, columns, dtype=torch.complex128)
    image[0, 9, 37] = 1
    kspace = to_kspace(smooth_maps(4, rows, columns) * image[:, None])
    measurement, _ = make_measurement(rows, columns, 4, n=1, acceleration=acceleration, center=24)
    mask = measurement.mask
    measurement = replace(measurement, kspace=torch.where(mask, kspace, 0), maps=None)
    filled = Grappa(ridge=1e-12, times_noise=False).fill(measurement)
    inside = slice(2, -2)  # beyond the border of the readout a kernel meets zeros
    torch.testing.assert_close(filled.kspace[..., inside, :], kspace[..., inside, :], rtol=0, atol=1e-4)
    assert float(filled.misfit.max()) < 1e-4


def test_the_ridge_follows_the_noise_and_not_the_units():
    clean, _ = make_measurement(center=20, acceleration=3, noise=0.01)
    noisy, _ = make_measurement(center=20, acceleration=3, noise=0.05)
    assert torch.all(Grappa().weight(noisy) > 8 * Grappa().weight(clean))
    tiny = replace(clean, kspace=clean.kspace * 1e-6)
    torch.testing.assert_close(Grappa().weight(tiny), Grappa().weight(clean), rtol=1e-2, atol=0)


def test_noise_over_signal_is_measured_line_by_line_and_never_on_lines_that_are_not_acquired():
    """Columns with signals of known energy over known noise, which `noise_std` states."""
    generator = torch.Generator().manual_seed(0)
    measurement, _ = make_measurement(rows=400, columns=32, n_coils=4, acceleration=4, center=8)
    strength = torch.where((torch.arange(32) - 16).abs() < 8, 10.0, 2.0)
    kspace = torch.randn(measurement.kspace.shape, generator=generator, dtype=torch.complex64)
    kspace = kspace * (strength.square() + 1).sqrt()
    mask = measurement.mask
    measurement = replace(
        measurement,
        kspace=torch.where(mask, kspace, torch.nan),
        noise_std=torch.full((len(kspace),), 0.5**0.5),
        acquirable=torch.ones_like(mask),
    )
    ratios = NoiseRatios.of(measurement)
    expected = torch.where(mask.flatten(), 1 / strength.square(), 0).expand(len(kspace), -1)
    torch.testing.assert_close(ratios.columns, expected, rtol=0.2, atol=0)
    rows, columns = ratios.of_slice(0)
    assert rows == [1.0] * 400
    assert columns[0] / columns[16] == pytest.approx(25, rel=0.3)


def test_drowned_lines_count_as_ten_times_noise_and_silent_ones_as_nothing():
    measurement, _ = make_measurement(rows=40, columns=32, n_coils=4, acceleration=4, center=8)
    silent = replace(measurement, kspace=torch.zeros_like(measurement.kspace))
    loud = replace(silent, noise_std=torch.ones(len(silent.kspace)))
    assert torch.all(NoiseRatios.of(silent).columns == 0)
    acquired = loud.mask.flatten()
    assert torch.all(NoiseRatios.of(loud).columns[:, acquired] == 10)


def test_gaps_are_cut_by_octaves_of_the_noisiest_source():
    cell = Cell(sources=(0, 4), targets=(1, 2, 3), anchors=(0, 4, 8))
    ratios = [0.0] * 13
    ratios[0], ratios[4], ratios[8], ratios[12] = 1.0, 0.25, 0.26, 2.1
    found = {each.anchors: each.ridge for each in banded([cell], ratios)}
    assert found == {(0,): 1.0, (4,): 4.0**-2, (8,): 4.0}
    assert banded([cell], [0.0] * 13) == [cell]


@given(st.lists(st.floats(0, 1e6), min_size=24, max_size=24), st.integers(2, 5), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_cutting_loses_no_gap(ratios, step, taps):
    cells = gaps(range(0, 24, step), 24, taps, 20)
    cut = banded(cells, ratios)
    kept = sorted((each.sources, each.targets, anchor) for each in cut for anchor in each.anchors)
    assert kept == sorted((each.sources, each.targets, anchor) for each in cells for anchor in each.anchors)


def test_misfit_tells_clean_from_noisy_calibration():
    clean = Grappa().fill(make_measurement(center=20, acceleration=3)[0]).misfit
    noisy = Grappa().fill(make_measurement(center=20, acceleration=3, noise=0.1)[0]).misfit
    assert float(noisy.min()) > 2 * float(clean.max())


def test_gaps_too_wide_for_the_calibration_block_stay_empty_and_are_counted():
    measurement, _ = make_measurement(columns=44, acceleration=2, center=12)
    mask = measurement.mask.clone()
    mask[..., :14] = False
    partial = replace(measurement, mask=mask, kspace=torch.where(mask, measurement.kspace, 0))
    filled = Grappa().fill(partial)
    assert filled.unfilled == 14 * 48
    assert float(filled.kspace[..., :14].abs().max()) == 0


def test_what_could_not_be_acquired_stays_zero():
    measurement, _ = make_measurement(acceleration=2, center=16)
    acquirable = torch.ones(1, 1, 1, 44, dtype=torch.bool)
    acquirable[..., 40:] = False
    mask = measurement.mask & acquirable
    padded = replace(
        measurement, mask=mask, acquirable=acquirable, kspace=torch.where(mask, measurement.kspace, 0)
    )
    assert float(Grappa().fill(padded).kspace[..., 40:].abs().max()) == 0


def test_a_mask_that_is_not_made_of_lines_goes_to_sense_or_is_refused(caplog):
    measurement, images = make_measurement(acceleration=1)
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(1, 1, 48, 44, generator=generator) < 0.5
    mask[..., 14:34, 12:32] = True
    scattered = replace(measurement, mask=mask, kspace=torch.where(mask, measurement.kspace, 0))
    scattered = replace(scattered, calibration=Calibration(14, 34, 12, 32))
    assert float((Grappa()(scattered) - images).norm() / images.norm()) < 0.1
    assert "Sense is used instead" in caplog.text
    with pytest.raises(NotMadeOfLinesError, match="no product of whole rows and columns"):
        Grappa(otherwise=None)(scattered)


def test_even_readout_kernels_are_refused():
    with pytest.raises(ValueError, match="odd width"):
        Grappa(readout_taps=4)


def test_a_regular_pattern_needs_one_kernel_and_a_few_at_its_edges():
    cells = gaps(range(1, 40, 4), 40, 4, 24)
    interior = max(cells, key=lambda cell: len(cell.anchors))
    assert interior.sources == (0, 4, 8, 12)
    assert interior.targets == (4, 5, 6, 7)
    assert len(cells) == 5  # one before the first line, one after the last, one beside each


@settings(deadline=None)
@given(step=st.integers(1, 6), size=st.integers(12, 50), offset=st.integers(0, 5), taps=st.integers(1, 5))
def test_every_line_belongs_to_one_gap_and_is_near_its_sources(step, size, offset, taps):
    lines = list(range(min(offset, step - 1), size, step))
    seen: list[int] = []
    for cell in gaps(lines, size, taps, size):
        for anchor in cell.anchors:
            assert all(anchor + source in lines for source in cell.sources)
            seen += [anchor + target for target in cell.targets]
    assert sorted(seen) == list(range(size))


def test_gaps_beside_the_calibration_block_are_predicted_from_its_lines():
    measurement, _ = make_measurement(columns=44, acceleration=4, center=15)
    start, stop = measurement.calibration.column_start, measurement.calibration.column_stop
    acquired = measurement.mask.flatten()
    assert not acquired[stop]
    beside = {"with": set(), "without": set()}
    for name, block_predicts in (("with", True), ("without", False)):
        for cell in axis_cells(measurement, 2, 5, block_predicts=block_predicts)[1]:
            for anchor in cell.anchors:
                sources = {anchor + line for line in cell.sources}
                assert all(acquired[line] for line in sources)
                if stop in {anchor + line for line in cell.targets}:
                    beside[name] |= sources
    assert stop - 1 in beside["with"]
    assert stop - 1 not in beside["without"]
    assert start < min(beside["with"])


def test_a_fully_sampled_axis_has_centred_kernels():
    assert every_line(3, 5) == [Cell((0, 1, 2, 3, 4), (2,), (-2, -1, 0))]


def test_the_lattice_is_found_beneath_the_calibration_block():
    measurement, _ = make_measurement(columns=44, acceleration=4, center=13)
    assert lattice_lines(measurement) == (list(range(48)), list(range(0, 44, 4)))
    assert lattice_lines(two_dimensional((2, 3))[0]) == (list(range(0, 48, 2)), list(range(0, 44, 3)))
