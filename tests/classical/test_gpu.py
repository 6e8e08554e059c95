"""What a graphics processor computes is what the processor computes; skipped where there is none."""

import pytest
import torch
from tests.conftest import make_measurement

from reshim.classical import METHODS
from reshim.methods import OnDevice
from reshim.physics.maps import default_estimator

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
BRIEF = {"raki": {"iterations": 5}, "rraki": {"iterations": 5}}


@needs_gpu
@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_the_same_image_on_a_gpu(name):
    measurement, _ = make_measurement(48, 52, acceleration=3, center=20, noise=0.01)
    method = METHODS[name](**BRIEF.get(name, {}))
    expected = method(measurement)
    found = OnDevice(method, "cuda")(measurement)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * float(expected.abs().max()))


@needs_gpu
def test_maps_are_the_same_on_a_gpu():
    measurement, _ = make_measurement(48, 52, acceleration=3, center=20, noise=0.01, with_maps=False)
    expected = default_estimator(measurement).maps
    found = default_estimator(measurement.to("cuda")).maps.cpu()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
