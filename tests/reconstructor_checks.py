"""What every reconstructor promises, a visitor's as well: one list of checks for all of them."""

from dataclasses import replace

import torch

from reshim.types import Measurement, Reconstructor


def check_reconstructor(
    reconstruct: Reconstructor, measurement: Measurement, tolerance: float = 1e-4
) -> None:
    """Shape, determinism, untouched input, units, slices apart, and no look at what was not acquired.

    `tolerance` is relative to the image's largest magnitude.
    """
    kspace = measurement.kspace.clone()
    image = reconstruct(measurement)
    size = float(image.abs().max())

    assert image.shape == (*kspace.shape[:-3], *kspace.shape[-2:])
    assert image.is_complex()
    assert torch.isfinite(torch.view_as_real(image)).all()
    assert torch.equal(reconstruct(measurement), image), "the same measurement gave another image"
    assert torch.equal(measurement.kspace, kspace), "the measurement was written to"

    unacquired = torch.where(measurement.mask, kspace, torch.nan)
    assert torch.equal(reconstruct(replace(measurement, kspace=unacquired)), image), (
        "unacquired samples count"
    )

    noise = measurement.noise_std
    doubled = replace(measurement, kspace=2 * kspace, noise_std=None if noise is None else 2 * noise)
    torch.testing.assert_close(reconstruct(doubled), 2 * image, rtol=0, atol=2 * tolerance * size)

    for index in range(kspace.shape[0]):
        alone = reconstruct(measurement.item(index))
        torch.testing.assert_close(alone[0], image[index], rtol=0, atol=tolerance * size)
