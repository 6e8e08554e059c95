"""Processing does what it says, and leaves alone what it does not name."""

from dataclasses import replace

import pytest
import torch
from tests.conftest import make_measurement

from reshim.acquire import reference
from reshim.physics.fourier import to_image
from reshim.robustness.sources import Processed
from reshim.types import Acquisition


def scan(noise: float = 0.0) -> Acquisition:
    measurement, _ = make_measurement(acceleration=1, rows=48, columns=48, center=48, noise=noise)
    acquirable = torch.ones(1, 1, 1, 48, dtype=torch.bool)
    return Acquisition(measurement.kspace, "scan", (0, 1), (48, 48), acquirable, noise_std=noise or None)


def test_an_interpolated_scan_is_empty_outside_what_was_measured():
    processed = Processed("interpolated", 1.5).of_source(scan()).kspace
    torch.testing.assert_close(processed[..., 8:40, 8:40], scan().kspace[..., 8:40, 8:40])
    assert float(processed.abs().square().sum()) == pytest.approx(
        float(scan().kspace[..., 8:40, 8:40].abs().square().sum()), rel=1e-5
    )
    assert torch.equal(Processed("interpolated", 1.0).of_source(scan()).kspace, scan().kspace)


def test_a_magnitude_has_lost_its_phase_and_nothing_else():
    processed = Processed("magnitude", 1.0).of_source(scan())
    before, after = (reference(one, "mvue") for one in (scan(), processed))
    assert float((after - before).norm() / before.norm()) < 0.05
    phases = (to_image(one.kspace)[:, 0, 24, 10:38].angle() for one in (scan(), processed))
    assert float((next(phases) - next(phases)).abs().max()) > 0.1
    symmetric = processed.kspace[:, :, 1:, 1:]
    assert float((symmetric - scan().kspace[:, :, 1:, 1:]).norm() / symmetric.norm()) > 0.1


def test_a_denoised_scan_is_nearer_to_the_truth():
    truth, noisy = scan().kspace, scan(noise=0.05)
    denoised = Processed("denoised", 2.0).of_source(noisy)
    assert float((denoised.kspace - truth).norm()) < 0.8 * float((noisy.kspace - truth).norm())
    assert denoised.noise_std is None


def test_a_matrix_that_shrinks_is_refused():
    with pytest.raises(ValueError, match="grows"):
        Processed("interpolated", 0.5)
    assert replace(Processed("magnitude", 1.0), dose=0.5).dose == 0.5
